//! The laws hold in every history, and every defect breaks one.
//!
//! `make sim SEEDS=1000000` lives through more of them.

use squall_sim::Law;
use squall_sim::{History, Mutant, run};
use std::collections::BTreeSet;

/// Unoptimised builds are some thirty times slower.
const SEEDS: u64 = if cfg!(debug_assertions) { 300 } else { 6_000 };

fn broken_law(history: &History) -> Option<Law> {
    history.violation.as_ref().map(|violation| violation.law)
}

// semantics 7, semantics 8, semantics 14, semantics 15, semantics 16, semantics 19, semantics 20, semantics 31
#[test]
fn the_laws_hold_in_every_history() {
    let (mut crashes, mut dead, mut acked, mut repeated) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let history = run(seed, None);
        assert_eq!(history.violation, None, "seed {seed}, after {} events", history.events);
        crashes += history.crashes;
        (dead, acked) = (dead + history.dead, acked + history.acked);
        repeated += history.tries - history.acked - history.dead;
    }
    // The histories are worth something only if they have in them what the laws are about.
    let seeds = SEEDS as usize;
    assert!(crashes as usize > seeds && dead > seeds && acked > seeds * 10 && repeated > seeds * 10);
}

#[test]
fn a_seed_tells_the_same_history_each_time() {
    (0..50).for_each(|seed| assert_eq!(run(seed, None), run(seed, None)));
}

#[test]
fn the_naive_ledger_without_a_defect_breaks_nothing() {
    let broken = (0..SEEDS / 10).find_map(|seed| run(seed, Some(Mutant::NaiveLedger)).violation);
    assert_eq!(broken, None);
}

// The ledger's second line of defence: an ack that came twice can hang a tree, which its age would show, but it never
// ends one, since the end also needs the init.
// semantics 15
#[test]
fn repeated_acks_hang_trees_and_lose_nothing() {
    let laws: BTreeSet<Law> =
        (0..SEEDS / 10).filter_map(|seed| broken_law(&run(seed, Some(Mutant::AcksRepeated)))).collect();
    let of_loss = [Law::NothingUnprocessedIsAcked, Law::NothingUnendedIsCommitted, Law::StoredIsThere];
    assert!(laws.contains(&Law::EverythingEnds) && of_loss.iter().all(|law| !laws.contains(law)), "{laws:?}");
}
