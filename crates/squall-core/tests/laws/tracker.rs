//! The completion tracker against a set of ended positions.

use proptest::prelude::*;
use squall_core::tracker::{Position, Tracker};
use std::collections::BTreeSet;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    // semantics 31
    #[test]
    fn the_prefix_is_what_ended_without_a_gap(steps in proptest::collection::vec((any::<bool>(), any::<u64>()), 0..600)) {
        let mut tracker = Tracker::new();
        let (mut begun, mut ended) = (0_u64, BTreeSet::new());
        for (begin, which) in steps {
            if begin {
                prop_assert_eq!(tracker.begin(), Position(begun));
                begun += 1;
            } else {
                // Now and then one that ended before, or that never began.
                let position = which % (begun + 2);
                prop_assert_eq!(tracker.end(Position(position)), position < begun && ended.insert(position));
            }
            let prefix = (0..begun).find(|position| !ended.contains(position)).unwrap_or(begun);
            prop_assert_eq!(tracker.ended_prefix(), prefix);
            prop_assert_eq!(tracker.outstanding(), begun - ended.iter().filter(|at| **at < begun).count() as u64);
            ended.retain(|position| *position < begun);
        }
    }
}
