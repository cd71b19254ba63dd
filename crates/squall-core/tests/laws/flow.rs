//! Flow control: what no run of observations may break.

use proptest::prelude::*;
use squall_core::flow::{HighWater, PendingLimit, RateLimit};
use squall_core::ids::MAX_SLOTS;
use squall_core::retry::{Action, Failure, Verdict, backoff_ns, verdict};

proptest! {
    // semantics 17
    #[test]
    fn an_adaptive_limit_stays_between_its_ends(observed in proptest::collection::vec((0_u32..2_000_000, any::<bool>(), any::<bool>()), 0..2_000)) {
        let mut limit = PendingLimit::new(None);
        for (pending, over, empty) in observed {
            limit.observe(pending, over, empty);
            prop_assert!((64..=MAX_SLOTS / 2).contains(&limit.limit()));
            prop_assert_eq!(limit.room(pending), limit.limit().saturating_sub(pending));
        }
    }

    // A spout that is held up only by the limit, while nothing else runs, always gets on in the end.
    // semantics 17
    #[test]
    fn a_join_that_needs_many_inputs_gets_them(needed in 1_u32..MAX_SLOTS / 2, shrunk in 0_u32..1_000) {
        let mut limit = PendingLimit::new(None);
        (0..shrunk).for_each(|_| limit.observe(1, true, false));
        let mut pending = 0;
        let turns = (0..100).take_while(|_| {
            pending += limit.room(pending);
            limit.observe(pending, false, true);
            pending < needed
        });
        prop_assert!(turns.count() < 20);
    }

    // semantics 17
    #[test]
    fn a_fixed_limit_never_moves(fixed in 1_u32..MAX_SLOTS / 2, observed in proptest::collection::vec((any::<u32>(), any::<bool>(), any::<bool>()), 0..50)) {
        let mut limit = PendingLimit::new(Some(fixed));
        observed.into_iter().for_each(|(pending, over, empty)| limit.observe(pending, over, empty));
        prop_assert_eq!(limit.room(0), fixed);
    }

    #[test]
    fn fullness_changes_only_at_its_marks(lengths in proptest::collection::vec(0_usize..120, 0..200)) {
        let (mut mark, mut was) = (HighWater::new(100, 0.9, 0.4), false);
        for length in lengths {
            let expected = if length >= 90 { true } else if length <= 40 { false } else { was };
            was = mark.room(length) == 0;
            prop_assert_eq!(was, expected);
        }
    }

    #[test]
    fn a_rate_is_never_exceeded_by_more_than_a_burst(per_s in 0.5_f64..50_000.0, asks in proptest::collection::vec((0_u64..200_000_000, 0_u32..500), 1..200)) {
        let mut rate = RateLimit::new(Some(per_s));
        let (mut now_ns, mut taken) = (0, 0.0);
        for (step_ns, wanted) in asks {
            now_ns += step_ns;
            let got = rate.take(now_ns, wanted);
            prop_assert!(got <= wanted);
            taken += got as f64;
            let allowed = now_ns as f64 / 1e9 * per_s + (per_s / 20.0).max(1.0);
            prop_assert!(taken <= allowed + 0.001, "{} of {}", taken, allowed);
        }
    }

    #[test]
    fn a_token_is_there_when_it_was_promised(per_s in 0.01_f64..1e6, start_ns in 0_u64..1 << 60) {
        let mut rate = RateLimit::new(Some(per_s));
        while rate.take(start_ns, u32::MAX) > 0 {}
        let next_ns = rate.next_at_ns();
        prop_assert!(next_ns > start_ns);
        prop_assert_eq!(rate.take(next_ns, 1), 1);
    }

    // semantics 8
    #[test]
    fn a_root_is_tried_once_more_than_its_retries(retries in 0_u32..50) {
        let failure = Failure { action: Action::Retry, counts: true, after_ns: None };
        let (mut attempt, mut tries) = (1, 1);
        while let Verdict::Again { attempt: next, after_ns } = verdict(failure, attempt, retries) {
            prop_assert_eq!(after_ns, backoff_ns(attempt));
            (attempt, tries) = (next, tries + 1);
        }
        prop_assert_eq!(tries, retries + 1);
        prop_assert_eq!(verdict(failure, attempt, retries), Verdict::Dead);
    }
}

#[test]
fn a_rate_of_nothing_never_gives_and_does_not_overflow() {
    let mut rate = RateLimit::new(Some(0.0));
    while rate.take(1 << 62, 10) > 0 {}
    assert_eq!(rate.next_at_ns(), u64::MAX);
    assert_eq!(RateLimit::new(None).take(0, 10), 10);
}
