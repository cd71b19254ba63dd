//! Which of a stream's tuples a tap looks at: a share of them, at a bounded rate, for a bounded share of the time.
//!
//! A tap must not slow down what it looks at, whatever it is asked for. So the rate counts tuples that were shown, and
//! the time is that of everything a look does (an expression, texts of values); a tuple that finds either used up is
//! skipped and counted, without a look.
//!
//! Pure: no clock, no thread. The caller says what time it is and what a look has cost.

use crate::flow::RateLimit;
use crate::ids::mix;

/// Most tuples that are refused without a look at the clock.
const MOST_REFUSED: u32 = 63;
/// Time that may be used at once after a pause.
const MOST_SAVED_NS: f64 = 5e6;

/// What a tap is allowed.
#[derive(Clone, Copy)]
pub struct Allowed {
    /// Share of the tuples that it is for.
    pub ratio: f64,
    /// Tuples that it may show in a second; None: any number.
    pub shown_per_s: Option<f64>,
    /// Share of the time that its looks may take; None: all.
    pub time_ratio: Option<f64>,
}

/// What became of a stream's tuples at a tap; the rest was not in its share of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Tuples that came by.
    pub passed: u64,
    /// Tuples that were in the tap's share of them and were not looked at, as rate or time was used up.
    pub skipped: u64,
}

/// Decides for each tuple whether a tap looks at it.
pub struct Gate {
    threshold: u64,
    state: u64,
    rate: RateLimit,
    time_ratio: Option<f64>,
    saved_ns: f64,
    at_ns: u64,
    is_looking: bool,
    /// Tuples to refuse without a look at the clock, which would cost more than the rest: few after the first refusal,
    /// twice as many after each that follows, so that the gate of a slow stream opens in time.
    refuse: u32,
    refuse_next: u32,
    seen: Seen,
}

impl Gate {
    /// A gate that nothing has come by.
    pub fn new(allowed: Allowed, seed: u64) -> Self {
        let mut rate = RateLimit::new(allowed.shown_per_s);
        rate.settle(u32::MAX, 0); // a whole burst may come at once
        Gate {
            threshold: (allowed.ratio * u64::MAX as f64) as u64, // saturates
            state: seed,
            rate,
            time_ratio: allowed.time_ratio,
            saved_ns: MOST_SAVED_NS,
            at_ns: 0,
            is_looking: false,
            refuse: 0,
            refuse_next: 0,
            seen: Seen::default(),
        }
    }

    /// A tuple comes by; whether to look at it. A look is ended by [`Gate::looked`]. The time is asked for only if it
    /// matters.
    ///
    /// A tuple that comes by during a look is skipped: what a look runs may itself emit, or let another thread do so.
    pub fn admits(&mut self, now_ns: impl FnOnce() -> u64) -> bool {
        self.seen.passed += 1;
        if !self.is_in_share() {
            return false;
        }
        if self.is_looking || self.is_used_up(now_ns) {
            self.seen.skipped += 1;
            return false;
        }
        self.is_looking = true;
        true
    }

    /// Whether rate or time is used up; else takes what one look needs of the rate.
    fn is_used_up(&mut self, now_ns: impl FnOnce() -> u64) -> bool {
        if self.refuse > 0 {
            self.refuse -= 1;
            return true;
        }
        let now_ns = now_ns();
        if self.has_time(now_ns) && self.rate.take(now_ns, 1) == 1 {
            self.refuse_next = 0;
            return false;
        }
        self.refuse = self.refuse_next;
        self.refuse_next = (2 * self.refuse_next + 1).min(MOST_REFUSED);
        true
    }

    /// The look has ended: what it took, and whether the tuple was shown.
    pub fn looked(&mut self, took_ns: u64, shown: bool) {
        self.is_looking = false;
        self.saved_ns -= took_ns as f64;
        self.rate.settle(1, shown as u32);
    }

    /// What has come by so far.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    #[inline(always)]
    fn is_in_share(&mut self) -> bool {
        if self.threshold == u64::MAX {
            return true;
        }
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state) < self.threshold
    }

    fn has_time(&mut self, now_ns: u64) -> bool {
        let Some(ratio) = self.time_ratio else { return true };
        let since_ns = now_ns.saturating_sub(self.at_ns) as f64;
        self.at_ns = self.at_ns.max(now_ns);
        self.saved_ns = (self.saved_ns + since_ns * ratio).min(MOST_SAVED_NS);
        self.saved_ns > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const ALL: Allowed = Allowed { ratio: 1.0, shown_per_s: None, time_ratio: None };

    /// How many of `tuples`, spread over a second, are looked at, each look taking `took_ns`.
    fn looks(gate: &mut Gate, tuples: u64, took_ns: u64, shown: bool) -> u64 {
        let admitted = |i: &u64| {
            let admitted = gate.admits(|| S + i * (S / tuples));
            if admitted {
                gate.looked(took_ns, shown);
            }
            admitted
        };
        (0..tuples).filter(admitted).count() as u64
    }

    #[test]
    fn a_gate_without_bounds_admits_all() {
        let mut gate = Gate::new(ALL, 1);
        assert_eq!(looks(&mut gate, 10_000, S, true), 10_000);
        assert_eq!(gate.seen(), Seen { passed: 10_000, skipped: 0 });
    }

    #[test]
    fn a_share_is_taken_and_the_rest_is_not_skipped() {
        for ratio in [0.01, 0.1, 0.7] {
            let mut gate = Gate::new(Allowed { ratio, ..ALL }, 1);
            let share = looks(&mut gate, 100_000, 0, true) as f64 / 100_000.0;
            assert!((share / ratio - 1.0).abs() < 0.1, "{share} of {ratio}");
            assert_eq!(gate.seen().skipped, 0);
        }
    }

    #[test]
    fn a_second_shows_no_more_than_its_rate_and_a_burst() {
        let mut gate = Gate::new(Allowed { shown_per_s: Some(1000.0), ..ALL }, 1);
        let shown = looks(&mut gate, 500_000, 0, true);
        assert!((1000..=1060).contains(&shown), "{shown}");
        assert_eq!(gate.seen(), Seen { passed: 500_000, skipped: 500_000 - shown });
    }

    #[test]
    fn a_burst_is_shown_although_no_time_passes() {
        let mut gate = Gate::new(Allowed { shown_per_s: Some(1000.0), time_ratio: Some(0.1), ..ALL }, 1);
        let mut shown = 0;
        while gate.admits(|| 0) {
            gate.looked(0, true);
            shown += 1;
        }
        assert_eq!(shown, 50);
    }

    #[test]
    fn what_is_looked_at_and_not_shown_does_not_count_against_the_rate() {
        let mut gate = Gate::new(Allowed { shown_per_s: Some(10.0), ..ALL }, 1);
        assert_eq!(looks(&mut gate, 100_000, 0, false), 100_000);
    }

    #[test]
    fn looks_take_no_more_than_their_share_of_the_time() {
        let mut gate = Gate::new(Allowed { time_ratio: Some(0.2), ..ALL }, 1);
        let took_ns = 20_000 * looks(&mut gate, 100_000, 20_000, false);
        assert!((190_000_000..=206_000_000).contains(&took_ns), "{took_ns}");
    }

    #[test]
    fn a_single_long_look_is_paid_off_before_the_next() {
        let mut gate = Gate::new(Allowed { time_ratio: Some(0.5), ..ALL }, 1);
        assert!(gate.admits(|| S));
        gate.looked(S, false);
        assert!(!gate.admits(|| 2 * S) && gate.admits(|| 3 * S));
    }

    #[test]
    fn what_comes_by_during_a_look_is_skipped() {
        let mut gate = Gate::new(ALL, 1);
        assert!(gate.admits(|| S) && !gate.admits(|| S) && !gate.admits(|| S));
        gate.looked(0, true);
        assert!(gate.admits(|| S));
        assert_eq!(gate.seen(), Seen { passed: 4, skipped: 2 });
    }
}
