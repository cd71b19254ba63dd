//! Ids: what is packed comes out again, and no root is mistaken for "not tracked".

use proptest::prelude::*;
use squall_core::ids::{EdgeIds, Incarnation, MAX_SLOTS, REUSE_BITS, RootId, mix, next_reuse};
use std::collections::HashSet;

proptest! {
    // semantics 14
    #[test]
    fn a_root_says_who_opened_it_and_where(life in 1_u16..u16::MAX, reuse in 0_u32..1 << REUSE_BITS, slot in 0..MAX_SLOTS) {
        let root = RootId::new(Incarnation(life), reuse, slot);
        prop_assert_eq!((root.incarnation(), root.reuse(), root.slot()), (Incarnation(life), reuse, slot));
        prop_assert!(root.is_tracked() && !root.is_bundle());
        let used_again = RootId::new(Incarnation(life), next_reuse(reuse), slot);
        prop_assert!(used_again != root && used_again.slot() == slot && used_again.is_tracked());
    }

    // semantics 15
    #[test]
    fn edge_ids_do_not_repeat_and_lives_differ(seed in any::<u64>()) {
        let (here, there) = (EdgeIds::new(seed), EdgeIds::new(mix(seed)));
        let ids: HashSet<u64> = (0..2_000).flat_map(|_| [here.next_id(), there.next_id()]).collect();
        prop_assert_eq!(ids.len(), 4_000);
    }

    #[test]
    fn each_bit_of_the_mixer_depends_on_all(value in any::<u64>()) {
        let flipped: u32 = (0..64).map(|bit| (mix(value) ^ mix(value ^ 1 << bit)).count_ones()).sum();
        prop_assert!((1_500..2_600).contains(&flipped), "{} of 4,096 bits flipped, not about half", flipped);
    }
}
