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
#[derive(Clone)]
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

    /// What was recorded after `before`, an earlier state of this one.
    fn since(&self, before: &Latency) -> Latency {
        if self.weight == before.weight {
            return Latency::new();
        }
        let mut gained = self.clone();
        if let (Some(now), Some(before)) = (&mut gained.histogram, &before.histogram) {
            now.subtract(before.as_ref()).expect("counts only grow");
        }
        gained.sum_ns -= before.sum_ns;
        gained.weight -= before.weight;
        gained
    }
}

/// How far back [`RecentLatency`] looks at least; at most twice as far.
pub const RECENT_NS: u64 = 10 * S;

/// What a growing distribution recorded lately.
///
/// It keeps what the distribution was at the last two borders between spans of 10 s, and takes the older off what it
/// is now: recording costs nothing more.
pub struct RecentLatency {
    marks: [(u64, Latency); 2],
}

impl RecentLatency {
    /// Nothing was recorded before `now_ns`.
    pub fn new(now_ns: u64) -> Self {
        RecentLatency { marks: [(now_ns, Latency::new()), (now_ns, Latency::new())] }
    }

    /// What `latency` recorded in the last 10 to 20 s, if this is asked at least once in 10 s.
    pub fn of(&mut self, latency: &Latency, now_ns: u64) -> Latency {
        if now_ns >= self.marks[1].0 + RECENT_NS {
            self.marks.swap(0, 1);
            self.marks[1] = (now_ns, latency.clone());
        }
        latency.since(&self.marks[0].1)
    }
}

/// The spans that figures are told for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// 600 seconds.
    TenMinutes,
    /// 10,800 seconds.
    ThreeHours,
    /// 86,400 seconds.
    Day,
    /// Since counting began.
    AllTime,
}

impl Window {
    /// All of them, the shortest first.
    pub const ALL: [Window; 4] = [Window::TenMinutes, Window::ThreeHours, Window::Day, Window::AllTime];

    /// Its length; `None` for all time.
    pub const fn length_ns(self) -> Option<u64> {
        match self {
            Window::TenMinutes => Some(600 * S),
            Window::ThreeHours => Some(10_800 * S),
            Window::Day => Some(86_400 * S),
            Window::AllTime => None,
        }
    }

    /// What Storm's API calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Window::TenMinutes => "600",
            Window::ThreeHours => "10800",
            Window::Day => "86400",
            Window::AllTime => ":all-time",
        }
    }
}

const S: u64 = 1_000_000_000;
const BUCKETS: u64 = 20;

/// What a total was at a border of a bucket.
#[derive(Clone, Copy)]
struct Mark {
    at_ns: u64,
    total: u64,
}

/// How a growing total grew in each window.
///
/// Fed with the total, so that the hot path only counts. Each window keeps the total at the borders of 20 buckets and
/// interpolates in the oldest.
///
/// Bound: 22 marks a window.
pub struct Windows {
    marks: [VecDeque<Mark>; 3],
    latest: Mark,
}

impl Windows {
    /// Counting starts at `now_ns`, from zero.
    pub fn new(now_ns: u64) -> Self {
        let start = Mark { at_ns: now_ns, total: 0 };
        Windows { marks: std::array::from_fn(|_| VecDeque::from([start])), latest: start }
    }

    /// Says what the total is now; to be called at least once in the shortest bucket (31 s).
    pub fn observe(&mut self, now_ns: u64, total: u64) {
        self.latest = Mark { at_ns: now_ns, total };
        for (window, marks) in Window::ALL.into_iter().zip(&mut self.marks) {
            let Some(window_ns) = window.length_ns() else { continue };
            let bucket_ns = window_ns / (BUCKETS - 1);
            if marks.back().is_none_or(|newest| now_ns >= newest.at_ns + bucket_ns) {
                marks.push_back(self.latest);
            }
            while marks.len() > 1 && marks[1].at_ns + window_ns <= now_ns {
                marks.pop_front();
            }
        }
    }

    /// How much of the total, as last observed, came in the window that ends at `now_ns`.
    pub fn over(&self, window: Window, now_ns: u64) -> f64 {
        let total = self.latest.total as f64;
        let (Some(window_ns), Some(marks)) = (window.length_ns(), self.marks.get(window as usize)) else {
            return total;
        };
        let begin_ns = now_ns.saturating_sub(window_ns);
        let later = marks.partition_point(|mark| mark.at_ns <= begin_ns);
        let Some(before) = later.checked_sub(1).map(|at| marks[at]) else { return total - marks[0].total as f64 };
        let after = marks.get(later).copied().unwrap_or(self.latest);
        let share = (begin_ns - before.at_ns) as f64 / (after.at_ns - before.at_ns).max(1) as f64;
        total - (before.total as f64 + (after.total - before.total) as f64 * share.min(1.0))
    }
}

/// The share of its time, over the last ten minutes, that a bolt's task was executing: 1 is saturated.
pub fn capacity(mean_execute_ns: f64, executed: f64, uptime_ns: u64) -> f64 {
    let window_ns = uptime_ns.min(600 * S);
    if window_ns == 0 { 0.0 } else { mean_execute_ns * executed / window_ns as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn recent_durations_are_those_of_the_last_ten_to_twenty_seconds() {
        let (mut latency, mut recent) = (Latency::new(), RecentLatency::new(0));
        for second in 1..=100_u64 {
            latency.record(if second <= 50 { 1_000_000 } else { 5_000_000 }, 2);
            let lately = recent.of(&latency, second * S);
            let told_s = lately.count() / 2;
            assert!((10.min(second)..20).contains(&told_s), "{told_s} of second {second}");
            let is_mixed = second > 50 && told_s > second - 50;
            let least_ms = if second <= 50 || is_mixed { 1.0 } else { 5.0 };
            assert!((lately.percentile_ns(0.0) as f64 / 1e6 / least_ms - 1.0).abs() < 0.02);
            assert!((lately.max_ns() as f64 / 1e6 / if second <= 50 { 1.0 } else { 5.0 } - 1.0).abs() < 0.02);
            assert!(lately.mean_ns() <= 5e6 && lately.sum_ns() <= latency.sum_ns());
        }
        assert_eq!(recent.of(&latency, 109 * S).count(), 20);
        assert_eq!(recent.of(&latency, 110 * S).count(), 0);
        assert_eq!(recent.of(&latency, 111 * S).max_ns(), 0);
    }

    #[test]
    fn a_window_forgets_what_is_older() {
        let mut windows = Windows::new(0);
        for second in 0..=1200 {
            windows.observe(second * S, second.min(300) * 10);
        }
        let over = Window::ALL.map(|window| windows.over(window, 1200 * S));
        assert_eq!(over, [0.0, 3000.0, 3000.0, 3000.0]);
    }

    #[test]
    fn a_window_interpolates_its_oldest_bucket() {
        let mut windows = Windows::new(0);
        for second in 0..=1000 {
            windows.observe(second * S, second);
        }
        let counted = windows.over(Window::TenMinutes, 1000 * S);
        assert!((counted - 600.0).abs() < 1.0, "{counted}");
        assert!(windows.marks[0].len() as u64 <= BUCKETS + 2);
    }

    #[test]
    fn a_window_goes_on_forgetting_when_nothing_is_observed() {
        let mut windows = Windows::new(0);
        (0..=100).for_each(|second| windows.observe(second * S, second));
        assert_eq!(windows.over(Window::TenMinutes, 2000 * S), 0.0);
    }

    #[test]
    fn capacity_is_one_when_a_task_does_nothing_but_execute() {
        assert_eq!(capacity(1e6, 60_000.0, 60 * S), 1.0);
        assert_eq!(capacity(1e6, 60_000.0, 6_000 * S), 0.1);
        assert_eq!(capacity(1e6, 1.0, 0), 0.0);
    }
}
