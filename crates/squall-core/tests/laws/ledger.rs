//! The ledger against a model that remembers which edges are in flight.

use proptest::prelude::*;
use squall_core::ack::{Acks, Bundles, Ledger};
use squall_core::ids::{EdgeIds, Incarnation, MAX_SLOTS, RootId};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

#[derive(Clone, Debug)]
enum Step {
    Open,
    /// Announces the edges of an open tree, also a second time.
    Init(usize),
    /// Acks an edge in flight of some tree, creating so many more under it.
    Ack(usize, usize, usize),
    Fail(usize),
    /// Acks a tree that has ended.
    Late(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Open),
        3 => any::<usize>().prop_map(Step::Init),
        9 => (any::<usize>(), any::<usize>(), 0_usize..3).prop_map(|(tree, edge, born)| Step::Ack(tree, edge, born)),
        1 => any::<usize>().prop_map(Step::Fail),
        1 => any::<usize>().prop_map(Step::Late),
    ];
    proptest::collection::vec(step, 0..300)
}

struct Tree {
    /// What the spout sent.
    sent: Vec<u64>,
    inited: bool,
    in_flight: Vec<u64>,
    entry: Rc<()>,
}

#[derive(Default)]
struct Model {
    open: BTreeMap<RootId, Tree>,
    ended: Vec<RootId>,
    stale: u64,
}

impl Model {
    fn some_open(&self, which: usize) -> Option<RootId> {
        self.open.keys().nth(which % self.open.len().max(1)).copied()
    }

    /// Whether the ledger should have ended the tree; forgets it if so.
    fn settle(&mut self, root: RootId) -> bool {
        let ends = self.open.get(&root).is_some_and(|tree| tree.inited && tree.in_flight.is_empty());
        if ends {
            self.open.remove(&root);
            self.ended.push(root);
        }
        ends
    }
}

fn xor(ids: &[u64]) -> u64 {
    ids.iter().fold(0, |sum, id| sum ^ id)
}

fn run(step: Step, ledger: &mut Ledger<Rc<()>>, model: &mut Model, ids: &EdgeIds) -> Result<(), TestCaseError> {
    let fresh = |n: usize| -> Vec<u64> { (0..n).map(|_| ids.next_id()).collect() };
    match step {
        Step::Open => {
            let entry = Rc::new(());
            let root = ledger.open(Rc::clone(&entry)).expect("a free slot");
            prop_assert!(root.is_tracked() && !root.is_bundle() && ledger.owns(root));
            prop_assert!(!model.ended.contains(&root), "a root id was given twice");
            let sent = fresh(1 + model.open.len() % 3);
            let clash = model.open.insert(root, Tree { in_flight: sent.clone(), sent, inited: false, entry });
            prop_assert!(clash.is_none());
        }
        Step::Init(which) => {
            let Some(root) = model.some_open(which) else { return Ok(()) };
            let tree = model.open.get_mut(&root).expect("open");
            tree.inited = true;
            let ended = ledger.init(root, xor(&tree.sent)).is_some();
            prop_assert_eq!(ended, model.settle(root));
        }
        Step::Ack(which, edge, born) => {
            let Some(root) = model.some_open(which) else { return Ok(()) };
            let tree = model.open.get_mut(&root).expect("open");
            if tree.in_flight.is_empty() {
                return Ok(());
            }
            let acked = tree.in_flight.swap_remove(edge % tree.in_flight.len());
            let children = fresh(born);
            tree.in_flight.extend(&children);
            let ended = ledger.ack(root, acked ^ xor(&children)).is_some();
            prop_assert_eq!(ended, model.settle(root));
        }
        Step::Fail(which) => {
            let Some(root) = model.some_open(which) else { return Ok(()) };
            prop_assert!(ledger.fail(root).is_some());
            model.open.remove(&root);
            model.ended.push(root);
        }
        Step::Late(which) => {
            let Some(root) = model.ended.get(which % model.ended.len().max(1)).copied() else { return Ok(()) };
            model.stale += 3;
            let none = ledger.ack(root, 5).is_none() & ledger.init(root, 5).is_none() & ledger.fail(root).is_none();
            prop_assert!(none, "a tree that had ended ended again");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    // semantics 14, semantics 15
    #[test]
    fn trees_end_exactly_when_nothing_is_in_flight(steps in steps(), seed in any::<u64>()) {
        let mut ledger = Ledger::new(Incarnation(3));
        let (mut model, ids) = (Model::default(), EdgeIds::new(seed));
        for step in steps {
            run(step, &mut ledger, &mut model, &ids)?;
            prop_assert_eq!(ledger.pending() as usize, model.open.len());
            prop_assert_eq!(ledger.stale(), model.stale);
        }
        let listed: Vec<RootId> = ledger.iter().map(|(root, _)| root).collect();
        let open: HashSet<RootId> = model.open.keys().copied().collect();
        prop_assert_eq!(listed.len(), open.len());
        prop_assert!(listed.iter().all(|root| open.contains(root) && ledger.entry(*root).is_some()));
        drop(ledger);
        prop_assert!(model.open.values().all(|tree| Rc::strong_count(&tree.entry) == 1), "an entry leaked");
    }
}

// With distinct powers of two no proper subset of ids cancels, so the law is exact; with 1, 2, 3 it would not be.
// semantics 15
#[test]
fn a_tree_of_powers_of_two_ends_at_its_last_ack_and_not_before() {
    for first in 0..8 {
        let mut ledger = Ledger::new(Incarnation(1));
        let root = ledger.open(()).expect("a free slot");
        let acks: Vec<u64> = (0..8).map(|i| 1 << ((first + i * 3) % 8)).collect();
        let (last, others) = acks.split_last().expect("eight");
        let all: u64 = acks.iter().sum();
        assert!(ledger.ack(root, others[0]).is_none(), "acks may come before the init");
        assert!(ledger.init(root, all).is_none());
        assert!(others[1..].iter().all(|id| ledger.ack(root, *id).is_none()));
        assert!(ledger.ack(root, *last).is_some());
    }
}

// semantics 14
#[test]
fn roots_of_other_lives_and_of_bundles_are_not_found() {
    let mut ledger = Ledger::new(Incarnation(2));
    let root = ledger.open(()).expect("a free slot");
    let elsewhere = RootId::new(Incarnation(1), root.reuse(), root.slot());
    assert!(!ledger.owns(elsewhere) && ledger.fail(elsewhere).is_none());
    assert!(ledger.fail(Bundles::default().put([(root, 1)].into())).is_none());
    assert!(ledger.entry(RootId::NONE).is_none());
    assert_eq!(ledger.pending(), 1);
}

// A frame may bring any 64 bits; those that a closed slot would have next must not open it.
// semantics 14
#[test]
fn forged_roots_find_nothing() {
    let mut ledger = Ledger::new(Incarnation(1));
    let root = ledger.open(()).expect("a free slot");
    ledger.fail(root);
    for life in [0, 1, 2, u16::MAX] {
        for reuse in 0..4 {
            let forged = RootId::new(Incarnation(life), reuse, root.slot());
            assert!(ledger.ack(forged, 0).is_none() && ledger.init(forged, 0).is_none());
            assert!(ledger.fail(forged).is_none() && ledger.entry(forged).is_none());
        }
    }
    assert_eq!(ledger.pending(), 0);
}

// semantics 14
#[test]
#[should_panic(expected = "no life has the number 0")]
fn a_ledger_of_no_life_is_refused() {
    Ledger::<()>::new(Incarnation(0));
}

// First in, first out: the other 65,535 slots are used before a slot is used again.
// semantics 14
#[test]
fn a_slot_is_reused_as_late_as_can_be() {
    let mut ledger = Ledger::new(Incarnation(1));
    let first = ledger.open(()).expect("a free slot");
    ledger.fail(first);
    let again = (1..=1 << 16).find(|_| {
        let root = ledger.open(()).expect("a free slot");
        ledger.fail(root);
        root.slot() == first.slot()
    });
    assert_eq!(again, Some(1 << 16));
}

// semantics 14
#[test]
fn a_full_ledger_says_so_and_recovers() {
    let mut ledger = Ledger::new(Incarnation(1));
    let roots: Vec<RootId> = std::iter::from_fn(|| ledger.open(())).collect();
    assert_eq!(roots.len() as u32, MAX_SLOTS);
    assert!(ledger.fail(roots[77]).is_some());
    assert_eq!(ledger.open(()).map(RootId::slot), Some(roots[77].slot()));
}

#[test]
fn bundles_are_given_back_once_and_their_places_reused() {
    let mut bundles = Bundles::default();
    let pairs = |edge: u64| -> Box<[(RootId, u64)]> { [(RootId(1), edge), (RootId(2), edge + 1)].into() };
    let ids: Vec<RootId> = (0..5).map(|i| bundles.put(pairs(i))).collect();
    assert!(ids.iter().all(|id| id.is_bundle()));
    assert_eq!(bundles.get(ids[3])[0].1, 3);
    assert_eq!(bundles.take(ids[3]), pairs(3));
    assert_eq!(bundles.put(pairs(9)), ids[3]);
}

// Two acks of one root that follow each other travel as one.
#[test]
fn neighbouring_acks_merge_without_changing_their_sum() {
    let mut acks = Acks::default();
    [(1, 5), (1, 6), (2, 7), (1, 8)].into_iter().for_each(|(root, xor)| acks.ack(RootId(root), xor));
    assert_eq!(acks.0, [(RootId(1), 3), (RootId(2), 7), (RootId(1), 8)]);
}
