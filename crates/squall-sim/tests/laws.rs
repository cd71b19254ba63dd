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

fn assert_caught(mutant: Mutant) {
    let (_, law, within) = Mutant::ALL.into_iter().find(|(known, _, _)| *known == mutant).expect("a defect");
    let caught = (0..within).any(|seed| broken_law(&run(seed, Some(mutant))) == Some(law));
    assert!(caught, "{mutant:?} did not break {law:?} in {within} seeds");
}

/// A test for each defect, and one that none is left out.
macro_rules! defects {
    ($($test:ident: $mutant:ident,)*) => {
        mod defect_is_caught {
            $(#[test]
            fn $test() {
                super::assert_caught(squall_sim::Mutant::$mutant);
            })*

            #[test]
            fn and_none_is_left_out() {
                let tested = [$(squall_sim::Mutant::$mutant),*];
                assert_eq!(tested, squall_sim::Mutant::ALL.map(|(mutant, _, _)| mutant));
            }
        }
    };
}

defects! {
    init_not_idempotent: InitNotIdempotent,
    end_without_init: EndWithoutInit,
    acks_repeated: AcksRepeated,
    incarnation_ignored: IncarnationIgnored,
    reuse_ignored: ReuseIgnored,
    fail_keeps_tree: FailKeepsTree,
    ends_twice: EndsTwice,
    four_bit_ids: FourBitIds,
    same_seed_everywhere: SameSeedEverywhere,
    ack_before_emit: AckBeforeEmit,
    child_left_out: ChildLeftOut,
    bundle_acks_first_root_only: BundleAcksFirstRootOnly,
    shared_root_overwritten: SharedRootOverwritten,
    failure_acked: FailureAcked,
    hold_never_times_out: HoldNeverTimesOut,
    repeats_delivered: RepeatsDelivered,
    dropped_untold: DroppedUntold,
    loss_ignored: LossIgnored,
    only_older_than_loss_failed: OnlyOlderThanLossFailed,
    start_before_known: StartBeforeKnown,
    loss_counts: LossCounts,
    commit_newest: CommitNewest,
    limit_ignored: LimitIgnored,
    retry_forgotten: RetryForgotten,
    never_dead: NeverDead,
}

#[test]
fn the_naive_ledger_without_a_defect_breaks_nothing() {
    let broken = (0..SEEDS / 10).find_map(|seed| run(seed, Some(Mutant::NaiveLedger)).violation);
    assert_eq!(broken, None);
}

#[test]
fn every_law_is_broken_by_some_defect() {
    let laws: BTreeSet<Law> = Mutant::ALL.into_iter().map(|(_, law, _)| law).collect();
    assert!(laws.len() >= 9);
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
