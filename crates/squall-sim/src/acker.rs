//! The ledger that a simulated worker has: the shipping one, or a naive one with a defect.

use crate::mutant::Mutant;
use squall_core::ack::Ledger;
use squall_core::ids::{Incarnation, RootId, next_reuse};
use std::collections::VecDeque;

/// The pool starts small, so that slots are reused while acks are late.
const FIRST_SLOTS: u32 = 8;

/// Either ledger.
pub enum Acker<E> {
    /// What ships.
    Shipping(Ledger<E>),
    /// The model with a defect.
    Naive(NaiveLedger<E>),
}

impl<E: Copy> Acker<E> {
    /// The shipping ledger, or the naive one if `mutant` is a defect of the ledger.
    pub fn new(life: Incarnation, mutant: Option<Mutant>) -> Self {
        match mutant {
            Some(
                Mutant::InitNotIdempotent
                | Mutant::EndWithoutInit
                | Mutant::IncarnationIgnored
                | Mutant::ReuseIgnored
                | Mutant::FailKeepsTree
                | Mutant::EndsTwice
                | Mutant::NaiveLedger,
            ) => Acker::Naive(NaiveLedger::new(life, mutant)),
            _ => Acker::Shipping(Ledger::with_slots(life, FIRST_SLOTS)),
        }
    }

    /// As [`Ledger::open`].
    pub fn open(&mut self, entry: E) -> Option<RootId> {
        match self {
            Acker::Shipping(ledger) => ledger.open(entry),
            Acker::Naive(ledger) => Some(ledger.open(entry)),
        }
    }

    /// As [`Ledger::init`].
    pub fn init(&mut self, root: RootId, xor: u64) -> Option<E> {
        match self {
            Acker::Shipping(ledger) => ledger.init(root, xor),
            Acker::Naive(ledger) => ledger.init(root, xor),
        }
    }

    /// As [`Ledger::ack`].
    pub fn ack(&mut self, root: RootId, xor: u64) -> Option<E> {
        match self {
            Acker::Shipping(ledger) => ledger.ack(root, xor),
            Acker::Naive(ledger) => ledger.ack(root, xor),
        }
    }

    /// As [`Ledger::fail`].
    pub fn fail(&mut self, root: RootId) -> Option<E> {
        match self {
            Acker::Shipping(ledger) => ledger.fail(root),
            Acker::Naive(ledger) => ledger.fail(root),
        }
    }

    /// Whether the tree is open.
    pub fn is_open(&self, root: RootId) -> bool {
        self.entry(root).is_some()
    }

    /// As [`Ledger::entry`].
    pub fn entry(&self, root: RootId) -> Option<&E> {
        match self {
            Acker::Shipping(ledger) => ledger.entry(root),
            Acker::Naive(ledger) => ledger.slots[ledger.find(root)?].tree.as_ref().map(|tree| &tree.entry),
        }
    }

    /// As [`Ledger::entry_mut`].
    pub fn entry_mut(&mut self, root: RootId) -> Option<&mut E> {
        match self {
            Acker::Shipping(ledger) => ledger.entry_mut(root),
            Acker::Naive(ledger) => {
                let at = ledger.find(root)?;
                ledger.slots[at].tree.as_mut().map(|tree| &mut tree.entry)
            }
        }
    }

    /// How many trees are open.
    pub fn pending(&self) -> u32 {
        match self {
            Acker::Shipping(ledger) => ledger.pending(),
            Acker::Naive(ledger) => ledger.slots.iter().filter(|slot| slot.tree.is_some()).count() as u32,
        }
    }

    /// The open trees.
    pub fn open_trees(&self) -> Vec<(RootId, E)> {
        match self {
            Acker::Shipping(ledger) => ledger.iter().map(|(root, entry)| (root, *entry)).collect(),
            Acker::Naive(ledger) => ledger.open_trees(),
        }
    }
}

struct Tree<E> {
    xor: u64,
    inited: bool,
    entry: E,
}

struct Slot<E> {
    reuse: u32,
    tree: Option<Tree<E>>,
    /// What the last tree here was for.
    last: Option<E>,
}

/// The rules of the ledger in the plainest form, and one broken.
pub struct NaiveLedger<E> {
    life: Incarnation,
    slots: Vec<Slot<E>>,
    free: VecDeque<u32>,
    defect: Option<Mutant>,
}

impl<E: Copy> NaiveLedger<E> {
    /// An empty one; without a defect it must pass every law.
    pub fn new(life: Incarnation, defect: Option<Mutant>) -> Self {
        NaiveLedger { life, slots: Vec::new(), free: VecDeque::new(), defect }
    }

    fn open(&mut self, entry: E) -> RootId {
        if self.free.is_empty() {
            self.free.push_back(self.slots.len() as u32);
            self.slots.push(Slot { reuse: 1, tree: None, last: None });
        }
        let at = self.free.pop_front().expect("one was free or made");
        let slot = &mut self.slots[at as usize];
        slot.tree = Some(Tree { xor: 0, inited: false, entry });
        RootId::new(self.life, slot.reuse, at)
    }

    fn find(&self, root: RootId) -> Option<usize> {
        let at = root.slot() as usize;
        let slot = self.slots.get(at)?;
        let life = root.incarnation() == self.life || self.defect == Some(Mutant::IncarnationIgnored);
        let reuse = root.reuse() == slot.reuse || self.defect == Some(Mutant::ReuseIgnored);
        (slot.tree.is_some() && life && reuse).then_some(at)
    }

    fn init(&mut self, root: RootId, xor: u64) -> Option<E> {
        let Some(at) = self.find(root) else { return self.last_if_ends_twice(root) };
        let tree = self.slots[at].tree.as_mut()?;
        if !tree.inited || self.defect == Some(Mutant::InitNotIdempotent) {
            tree.xor ^= xor;
        }
        tree.inited = true;
        self.settle(at)
    }

    fn ack(&mut self, root: RootId, xor: u64) -> Option<E> {
        let at = self.find(root)?;
        self.slots[at].tree.as_mut()?.xor ^= xor;
        self.settle(at)
    }

    fn fail(&mut self, root: RootId) -> Option<E> {
        let at = self.find(root)?;
        if self.defect == Some(Mutant::FailKeepsTree) {
            return self.slots[at].tree.as_ref().map(|tree| tree.entry);
        }
        self.close(at)
    }

    fn last_if_ends_twice(&mut self, root: RootId) -> Option<E> {
        let slot = self.slots.get_mut(root.slot() as usize)?;
        let just_ended = slot.tree.is_none() && next_reuse(root.reuse()) == slot.reuse;
        if just_ended && self.defect == Some(Mutant::EndsTwice) { slot.last.take() } else { None }
    }

    fn settle(&mut self, at: usize) -> Option<E> {
        let tree = self.slots[at].tree.as_ref()?;
        let may_end = tree.inited || self.defect == Some(Mutant::EndWithoutInit);
        if tree.xor == 0 && may_end { self.close(at) } else { None }
    }

    fn close(&mut self, at: usize) -> Option<E> {
        let slot = &mut self.slots[at];
        slot.reuse = next_reuse(slot.reuse);
        self.free.push_back(at as u32);
        slot.last = slot.tree.take().map(|tree| tree.entry);
        slot.last
    }

    fn open_trees(&self) -> Vec<(RootId, E)> {
        let open = |(at, slot): (usize, &Slot<E>)| {
            let tree = slot.tree.as_ref()?;
            Some((RootId::new(self.life, slot.reuse, at as u32), tree.entry))
        };
        self.slots.iter().enumerate().filter_map(open).collect()
    }
}
