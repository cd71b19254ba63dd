//! Measuring without slowing down: exact counters summed in windows, latencies sampled.
//!
//! Source: windows, buckets and sampling of Storm 1.2.1 `stats.clj`.

use crate::ids::mix;
use hdrhistogram::Histogram;
use std::collections::VecDeque;

/// Fires once, at a random place, in each block of 1/rate events.
pub struct Sampler {
    block: u32,
    left: u32,
    rest: u32,
    state: u64,
}

impl Sampler {
    /// Samples the fraction `rate` of the events; 0 none, 1 all.
    pub fn new(rate: f64, seed: u64) -> Self {
        let block = if rate > 0.0 { (1.0 / rate).min(u32::MAX as f64 / 2.0) as u32 } else { 0 };
        let mut sampler = Sampler { block: block.max((rate > 0.0) as u32), left: 0, rest: 0, state: seed };
        if sampler.block > 0 {
            sampler.begin_block();
        } else {
            sampler.left = u32::MAX;
        }
        sampler
    }

    /// Counts one event. The weight of the sample, if it is one.
    #[inline(always)]
    pub fn hit(&mut self) -> Option<u32> {
        if self.left > 0 {
            self.left -= 1;
            return None;
        }
        self.fire()
    }

    #[cold]
    #[inline(never)]
    fn fire(&mut self) -> Option<u32> {
        if self.block == 0 {
            self.left = u32::MAX;
            return None;
        }
        self.begin_block();
        Some(self.block)
    }

    /// The next sample lies at a random place of the next block; what is left of this block passes first.
    fn begin_block(&mut self) {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let at = ((mix(self.state) as u128 * self.block as u128) >> 64) as u32;
        self.left = self.rest + at;
        self.rest = self.block - 1 - at;
    }
}

/// A distribution of durations with a relative error below 1 %.
pub struct Latency {
    histogram: Option<Box<Histogram<u64>>>,
    sum_ns: u128,
    weight: u64,
}

const LONGEST_NS: u64 = 3_600_000_000_000;

impl Default for Latency {
    fn default() -> Self {
        Latency::new()
    }
}

impl Latency {
    /// Nothing recorded; takes no memory until something is.
    pub fn new() -> Self {
        Latency { histogram: None, sum_ns: 0, weight: 0 }
    }

    /// Records `ns` as `weight` events.
    pub fn record(&mut self, ns: u64, weight: u32) {
        let histogram = self.histogram.get_or_insert_with(|| {
            let mut histogram = Histogram::new(2).expect("2 digits are allowed");
            histogram.auto(true);
            Box::new(histogram)
        });
        histogram.record_n(ns.clamp(1, LONGEST_NS), weight as u64).expect("the histogram resizes");
        self.sum_ns += ns as u128 * weight as u128;
        self.weight += weight as u64;
    }

    /// How many events were recorded.
    pub fn count(&self) -> u64 {
        self.weight
    }

    /// The sum of all durations.
    pub fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// The duration that `percent` of the events did not exceed.
    pub fn percentile_ns(&self, percent: f64) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.value_at_percentile(percent))
    }

    /// The longest duration.
    pub fn max_ns(&self) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.max())
    }

    /// The mean duration.
    pub fn mean_ns(&self) -> f64 {
        if self.weight == 0 { 0.0 } else { self.sum_ns as f64 / self.weight as f64 }
    }
}

/// Storm's windows, in seconds; all-time is what the total itself says.
pub const WINDOWS_S: [u64; 3] = [600, 10_800, 86_400];
const BUCKETS: u64 = 20;

/// How a growing total grew in each of Storm's windows.
///
/// Fed with the total, so that the hot path only counts. Each window keeps the total at 20 bucket borders and
/// interpolates in the oldest bucket.
pub struct Windows {
    marks: [VecDeque<(u64, f64)>; 3],
}

impl Windows {
    /// Counting starts at `now_ns`, from zero.
    pub fn new(now_ns: u64) -> Self {
        Windows { marks: std::array::from_fn(|_| VecDeque::from([(now_ns, 0.0)])) }
    }

    /// Says what the total is now; at least once in the shortest bucket (31 s).
    pub fn observe(&mut self, now_ns: u64, total: f64) {
        for (marks, window_s) in self.marks.iter_mut().zip(WINDOWS_S) {
            let (window_ns, bucket_ns) = (window_s * 1_000_000_000, window_s * 1_000_000_000 / (BUCKETS - 1));
            if marks.back().is_none_or(|(at, _)| now_ns >= at + bucket_ns) {
                marks.push_back((now_ns, total));
            }
            while marks.len() > 1 && marks[1].0 + window_ns <= now_ns {
                marks.pop_front();
            }
        }
    }

    /// How much of `total` came in window number `window` of [`WINDOWS_S`].
    pub fn over(&self, window: usize, now_ns: u64, total: f64) -> f64 {
        let marks = &self.marks[window];
        let window_ns = WINDOWS_S[window] * 1_000_000_000;
        let Some(begin_ns) = now_ns.checked_sub(window_ns) else { return total - marks[0].1 };
        let (first_ns, first) = marks[0];
        if begin_ns <= first_ns {
            return total - first;
        }
        let (next_ns, next) = marks.get(1).copied().unwrap_or((now_ns, total));
        let share = (begin_ns - first_ns) as f64 / (next_ns - first_ns).max(1) as f64;
        total - (first + (next - first) * share.min(1.0))
    }
}

/// The share of its time that a bolt's task was executing: 1 is saturated.
pub fn capacity(execute_ns_over_window: f64, uptime_ns: u64) -> f64 {
    let window_ns = uptime_ns.min(WINDOWS_S[0] * 1_000_000_000);
    if window_ns == 0 { 0.0 } else { execute_ns_over_window / window_ns as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    // semantics 37
    #[test]
    fn each_block_of_twenty_has_one_sample_that_weighs_twenty() {
        let mut sampler = Sampler::new(0.05, 7);
        for _ in 0..500 {
            let weights: Vec<u32> = (0..20).filter_map(|_| sampler.hit()).collect();
            assert_eq!(weights, [20]);
        }
    }

    #[test]
    fn rate_one_samples_all_and_rate_zero_none() {
        let (mut all, mut none) = (Sampler::new(1.0, 1), Sampler::new(0.0, 1));
        assert!((0..100).all(|_| all.hit() == Some(1)));
        assert!((0..100).all(|_| none.hit().is_none()));
    }

    #[test]
    fn percentiles_are_within_one_percent() {
        let mut latency = Latency::new();
        (1..=1000).for_each(|us| latency.record(us * 1000, 1));
        let p99 = latency.percentile_ns(99.0) as f64;
        assert!((p99 / 990_000.0 - 1.0).abs() < 0.02, "{p99}");
        assert_eq!((latency.count(), latency.mean_ns()), (1000, 500_500.0));
    }

    #[test]
    fn a_window_forgets_what_is_older() {
        let mut windows = Windows::new(0);
        for second in 0..=1200 {
            windows.observe(second * S, second.min(300) as f64 * 10.0);
        }
        assert_eq!(windows.over(0, 1200 * S, 3000.0), 0.0);
        assert_eq!(windows.over(1, 1200 * S, 3000.0), 3000.0);
    }

    #[test]
    fn a_window_interpolates_its_oldest_bucket() {
        let mut windows = Windows::new(0);
        for second in 0..=1000 {
            windows.observe(second * S, second as f64);
        }
        let counted = windows.over(0, 1000 * S, 1000.0);
        assert!((counted - 600.0).abs() < 1.0, "{counted}");
    }
}
