//! Figures against the lists of what they sum up.

use proptest::prelude::*;
use squall_core::metrics::{Latency, Sampler, Window, Windows};

const S: u64 = 1_000_000_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    // semantics 37
    #[test]
    fn each_block_of_events_has_one_sample_that_stands_for_it(rate in 0.005_f64..=1.0, seed in any::<u64>()) {
        let block = (1.0 / rate) as u32;
        let mut sampler = Sampler::new(rate, seed);
        for _ in 0..20 {
            let weights: Vec<u32> = (0..block).filter_map(|_| sampler.hit()).collect();
            prop_assert_eq!(weights, [block]);
        }
    }

    // A total that is told every second is known at the window's border but for what one bucket can hide.
    #[test]
    fn a_window_counts_what_came_in_it(rates in proptest::collection::vec(0_u64..50, 1..40)) {
        let mut windows = Windows::new(0);
        let mut totals = vec![0_u64];
        for second in 1..=3_000_u64 {
            let rate = rates[(second / 100) as usize % rates.len()];
            totals.push(totals[second as usize - 1] + rate);
            windows.observe(second * S, totals[second as usize]);
        }
        let exact = (totals[3_000] - totals[2_400]) as f64;
        let counted = windows.over(Window::TenMinutes, 3_000 * S);
        let in_a_bucket = 50.0 * 33.0;
        prop_assert!((counted - exact).abs() <= in_a_bucket, "{} for {}", counted, exact);
        for window in [Window::ThreeHours, Window::Day, Window::AllTime] {
            prop_assert_eq!(windows.over(window, 3_000 * S), totals[3_000] as f64);
        }
    }

    #[test]
    fn a_longer_window_never_counts_less(steps in proptest::collection::vec((0_u64..5_000, 0_u64..1_000), 1..200)) {
        let (mut windows, mut now_ns, mut total) = (Windows::new(0), 0, 0);
        for (wait_s, more) in steps {
            now_ns += wait_s * S;
            total += more;
            windows.observe(now_ns, total);
            let counts = Window::ALL.map(|window| windows.over(window, now_ns));
            prop_assert!(counts.is_sorted() && counts[0] >= 0.0, "{:?}", counts);
            prop_assert_eq!(counts[3], total as f64);
        }
    }

    #[test]
    fn percentiles_and_means_are_those_of_the_list(mut durations in proptest::collection::vec(1_000_u64..1_000_000_000, 1..300)) {
        let mut latency = Latency::new();
        durations.iter().for_each(|ns| latency.record(*ns, 20));
        durations.sort_unstable();
        let exact = durations[(durations.len() - 1) / 2] as f64;
        let median = latency.percentile_ns(50.0) as f64;
        prop_assert!((median / exact - 1.0).abs() < 0.01, "{} for {}", median, exact);
        let mean = durations.iter().sum::<u64>() as f64 / durations.len() as f64;
        prop_assert!((latency.mean_ns() / mean - 1.0).abs() < 1e-9);
        prop_assert_eq!(latency.count(), durations.len() as u64 * 20);
        let longest = *durations.last().expect("one at least") as f64;
        prop_assert!((latency.max_ns() as f64 / longest - 1.0).abs() < 0.01);
    }
}

// Durations from under a microsecond to over an hour are taken, and so is a sample that weighs nothing.
#[test]
fn no_duration_is_refused() {
    let mut latency = Latency::new();
    [0, 1, u64::MAX].into_iter().for_each(|ns| latency.record(ns, 1));
    latency.record(5, 0);
    assert_eq!(latency.count(), 3);
    assert!(latency.max_ns() >= 3_600 * S);
}

#[test]
fn windows_are_named_as_in_storm() {
    assert_eq!(Window::ALL.map(Window::name), ["600", "10800", "86400", ":all-time"]);
}
