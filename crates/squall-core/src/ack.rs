//! Tuple trees, and when they end.
//!
//! The ledger does not store the tree. It stores, for each root, the XOR of every edge id created
//! or finished under it. An id enters twice, at its creation and at its ack, so it cancels; the XOR
//! is zero when nothing is in flight. Ids are random 64-bit: a false zero costs 2^-64 an update.
//!
//! The ledger lives in the worker of the spout that opened the root. Init is idempotent (a repeated
//! one would cancel itself and end the tree early), and an ack may come before it. Slots are reused
//! first in, first out, so a slot's reuse count moves as slowly as it can.
//!
//! Pure: no clock, no thread, no socket. The caller carries out the returned entry.

use crate::ids::{Incarnation, MAX_SLOTS, RootId, next_reuse};
use std::mem::MaybeUninit;

const NIL: u32 = u32::MAX;
const FIRST_SLOTS: u32 = 1 << 16;
const OPEN: u8 = 1;
const INITED: u8 = 2;

/// 16 bytes, apart from the entry: an ack touches nothing else.
struct Slot {
    xor: u64,
    reuse: u32,
    /// The next free slot, while this one is free.
    next_free: u32,
}

/// The open trees of one worker. `E` is what the spout side wants back when a tree ends.
pub struct Ledger<E> {
    slots: Vec<Slot>,
    entries: Vec<MaybeUninit<E>>,
    open: Vec<u8>,
    free_head: u32,
    free_tail: u32,
    incarnation: Incarnation,
    first_slots: u32,
    pending: u32,
    stale: u64,
}

impl<E> Ledger<E> {
    /// An empty ledger of this life of the worker.
    pub fn new(incarnation: Incarnation) -> Self {
        Ledger::with_slots(incarnation, FIRST_SLOTS)
    }

    /// An empty ledger whose pool starts at `first_slots`, rounded up to a power of two. A small one reuses its slots
    /// soon, which is what a test of late acks wants.
    pub fn with_slots(incarnation: Incarnation, first_slots: u32) -> Self {
        let first_slots = first_slots.clamp(1, MAX_SLOTS).next_power_of_two();
        let (slots, entries, open) = (Vec::new(), Vec::new(), Vec::new());
        let (free_head, free_tail, pending, stale) = (NIL, NIL, 0, 0);
        Ledger { slots, entries, open, free_head, free_tail, incarnation, first_slots, pending, stale }
    }

    /// Whether the root was opened here, in this life.
    #[inline(always)]
    pub fn owns(&self, root: RootId) -> bool {
        root.incarnation() == self.incarnation
    }

    /// How many trees are open.
    #[inline(always)]
    pub fn pending(&self) -> u32 {
        self.pending
    }

    /// How many inits, acks and fails came for trees that had ended.
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// Opens a tree. `None` when 2^20 are open.
    #[inline(always)]
    pub fn open(&mut self, entry: E) -> Option<RootId> {
        if self.free_head == NIL && !self.grow() {
            return None;
        }
        let at = self.free_head;
        // SAFETY: the free list holds only indices of slots; the three vectors have one length.
        unsafe {
            let slot = self.slots.get_unchecked_mut(at as usize);
            self.free_head = slot.next_free;
            slot.xor = 0;
            self.entries.get_unchecked_mut(at as usize).write(entry);
            *self.open.get_unchecked_mut(at as usize) = OPEN;
            self.pending += 1;
            Some(RootId::new(self.incarnation, slot.reuse, at))
        }
    }

    /// Says which edges the spout sent; the first time counts. The entry, if all are acked already.
    #[inline(always)]
    pub fn init(&mut self, root: RootId, xor: u64) -> Option<E> {
        let at = self.find(root)?;
        let state = &mut self.open[at];
        if *state & INITED != 0 {
            return None;
        }
        *state |= INITED;
        self.slots[at].xor ^= xor;
        self.settle(at)
    }

    /// A tuple was acked; `xor` is its id XOR the ids of the tuples anchored to it. The entry, if
    /// that ended the tree.
    #[inline(always)]
    pub fn ack(&mut self, root: RootId, xor: u64) -> Option<E> {
        let at = self.find(root)?; // a late ack of a finished tree finds no slot
        // SAFETY: `find` checked the index.
        unsafe { self.slots.get_unchecked_mut(at) }.xor ^= xor;
        self.settle(at)
    }

    /// Ends the tree at once, whatever is still in flight. The entry, if it was open.
    pub fn fail(&mut self, root: RootId) -> Option<E> {
        let at = self.find(root)?;
        Some(self.close(at))
    }

    /// The entry of an open tree.
    pub fn entry(&self, root: RootId) -> Option<&E> {
        let at = self.position(root)?;
        // SAFETY: an open slot's entry is initialised.
        Some(unsafe { self.entries[at].assume_init_ref() })
    }

    /// The entry of an open tree, to be changed.
    pub fn entry_mut(&mut self, root: RootId) -> Option<&mut E> {
        let at = self.position(root)?;
        // SAFETY: an open slot's entry is initialised.
        Some(unsafe { self.entries[at].assume_init_mut() })
    }

    /// Every open tree, in the order of its slots.
    pub fn iter(&self) -> impl Iterator<Item = (RootId, &E)> {
        self.open.iter().enumerate().filter(|(_, state)| **state & OPEN != 0).map(|(at, _)| {
            let root = RootId::new(self.incarnation, self.slots[at].reuse, at as u32);
            // SAFETY: an open slot's entry is initialised.
            (root, unsafe { self.entries[at].assume_init_ref() })
        })
    }

    #[inline(always)]
    fn position(&self, root: RootId) -> Option<usize> {
        let at = root.slot() as usize;
        let open = *self.open.get(at)? & OPEN != 0;
        // The comparison of the whole id checks the incarnation and the reuse at once.
        let same = open && RootId::new(self.incarnation, self.slots[at].reuse, at as u32) == root;
        same.then_some(at)
    }

    #[inline(always)]
    fn find(&mut self, root: RootId) -> Option<usize> {
        let found = self.position(root);
        if found.is_none() {
            self.stale += 1;
        }
        found
    }

    #[inline(always)]
    fn settle(&mut self, at: usize) -> Option<E> {
        // SAFETY: the caller found `at` open.
        let done = unsafe { self.slots.get_unchecked(at).xor == 0 && *self.open.get_unchecked(at) & INITED != 0 };
        done.then(|| self.close(at))
    }

    #[inline(always)]
    fn close(&mut self, at: usize) -> E {
        let slot = &mut self.slots[at];
        slot.reuse = next_reuse(slot.reuse);
        slot.next_free = NIL;
        self.open[at] = 0;
        self.pending -= 1;
        if self.free_head == NIL {
            self.free_head = at as u32;
        } else {
            self.slots[self.free_tail as usize].next_free = at as u32;
        }
        self.free_tail = at as u32;
        // SAFETY: it was open, so its entry is initialised, and it is read once: it is closed now.
        unsafe { self.entries[at].assume_init_read() }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> bool {
        let (from, to) = match self.slots.len() as u32 {
            0 => (0, self.first_slots),
            MAX_SLOTS => return false,
            n => (n, n * 2),
        };
        self.slots.extend((from..to).map(|i| Slot {
            xor: 0,
            reuse: 1,
            next_free: if i + 1 == to { NIL } else { i + 1 },
        }));
        self.entries.resize_with(to as usize, MaybeUninit::uninit);
        self.open.resize(to as usize, 0);
        (self.free_head, self.free_tail) = (from, to - 1);
        true
    }
}

impl<E> Drop for Ledger<E> {
    fn drop(&mut self) {
        for at in 0..self.open.len() {
            if self.open[at] & OPEN != 0 {
                // SAFETY: an open slot's entry is initialised.
                unsafe { self.entries[at].assume_init_drop() };
            }
        }
    }
}

/// The (root, edge) pairs of tuples that belong to several trees: joins, and what hangs below them.
///
/// A mailbox entry has room for one root; the others lie here under a [`RootId`] of the reserved
/// incarnation. Each tuple owns its bundle.
#[derive(Default)]
pub struct Bundles {
    held: Vec<Box<[(RootId, u64)]>>,
    free: Vec<u32>,
}

impl Bundles {
    /// Keeps `pairs` and names them.
    pub fn put(&mut self, pairs: Box<[(RootId, u64)]>) -> RootId {
        let at = match self.free.pop() {
            Some(at) => {
                self.held[at as usize] = pairs;
                at
            }
            None => {
                self.held.push(pairs);
                self.held.len() as u32 - 1
            }
        };
        RootId((Incarnation::BUNDLE.0 as u64) << 48 | at as u64)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.held.len() - self.free.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pairs under `id`.
    pub fn get(&self, id: RootId) -> &[(RootId, u64)] {
        &self.held[id.0 as u32 as usize]
    }

    /// Gives the pairs back and forgets them.
    pub fn take(&mut self, id: RootId) -> Box<[(RootId, u64)]> {
        let at = id.0 as u32;
        self.free.push(at);
        std::mem::take(&mut self.held[at as usize])
    }
}

/// Acks and fails on their way to the workers that own the roots; neighbours of one root merge.
#[derive(Default)]
pub struct AckFrame {
    /// XORs to apply, in order.
    pub acks: Vec<(RootId, u64)>,
    /// Roots to fail.
    pub fails: Vec<RootId>,
}

impl AckFrame {
    /// Adds one ack.
    #[inline(always)]
    pub fn ack(&mut self, root: RootId, xor: u64) {
        match self.acks.last_mut() {
            Some(last) if last.0 == root => last.1 ^= xor,
            _ => self.acks.push((root, xor)),
        }
    }
}
