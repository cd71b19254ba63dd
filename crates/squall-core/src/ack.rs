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
/// In a slot's `entry`: the spout has said which edges it sent.
const INITED: u32 = 1 << 31;

/// What an ack touches. The entries lie elsewhere and are reused last in, first out, so that the few that are open stay
/// in the processor's cache while the slots go round.
struct Slot {
    xor: u64,
    /// The tree's id while it is open; while it is not, what the next one's will be, without its incarnation.
    root: RootId,
    /// The entry's index and the mark [`INITED`].
    entry: u32,
    /// The next free slot, while this one is free.
    next_free: u32,
}

/// The open trees of one worker. `E` is what the spout side wants back when a tree ends.
pub struct Ledger<E> {
    slots: Vec<Slot>,
    entries: Vec<MaybeUninit<E>>,
    free_entries: Vec<u32>,
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
        // A closed slot keeps its next root without the incarnation, so 0 would make it look open.
        assert!(incarnation.0 != 0 && incarnation != Incarnation::BUNDLE, "no life has the number {}", incarnation.0);
        let first_slots = first_slots.clamp(1, MAX_SLOTS).next_power_of_two();
        let (slots, entries, free_entries) = (Vec::new(), Vec::new(), Vec::new());
        let (free_head, free_tail, pending, stale) = (NIL, NIL, 0, 0);
        Ledger { slots, entries, free_entries, free_head, free_tail, incarnation, first_slots, pending, stale }
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

    /// Whether no more trees can be opened.
    pub fn is_full(&self) -> bool {
        self.pending == MAX_SLOTS
    }

    /// How many inits, acks and fails came for trees that had ended.
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// Opens a tree. `None` when 2^20 are open.
    #[inline(always)]
    pub fn open(&mut self, entry: E) -> Option<RootId> {
        // SAFETY: written at once; the place holds nothing.
        unsafe {
            let (root, place) = self.open_place()?;
            place.write(entry);
            Some(root)
        }
    }

    /// As [`Ledger::open`], with the place where the entry stays.
    ///
    /// # Safety
    /// The caller initialises the place before anything else happens to the ledger.
    #[inline(always)]
    pub unsafe fn open_place(&mut self) -> Option<(RootId, *mut E)> {
        if self.free_head == NIL && !self.grow() {
            return None;
        }
        let entry_at = match self.free_entries.pop() {
            Some(at) => at,
            None => self.grow_entries(),
        };
        let at = self.free_head;
        // SAFETY: the free lists hold only indices of slots and of unused entries.
        unsafe {
            let place = self.entries.get_unchecked_mut(entry_at as usize).as_mut_ptr();
            let slot = self.slots.get_unchecked_mut(at as usize);
            self.free_head = slot.next_free;
            self.pending += 1;
            slot.xor = 0;
            slot.root = RootId(slot.root.0 | (self.incarnation.0 as u64) << 48);
            slot.entry = entry_at;
            Some((slot.root, place))
        }
    }

    /// Says which edges the spout sent; the first time counts. The entry, if all are acked already.
    #[inline(always)]
    pub fn init(&mut self, root: RootId, xor: u64) -> Option<E> {
        // SAFETY: read once, before anything else happens to the ledger.
        self.init_place(root, xor).map(|place| unsafe { place.read() })
    }

    /// As [`Ledger::init`], with the entry where it lies: the caller takes it out before it touches the ledger again.
    #[inline(always)]
    pub fn init_place(&mut self, root: RootId, xor: u64) -> Option<*const E> {
        let at = self.find(root)?;
        let slot = &mut self.slots[at];
        if slot.entry & INITED != 0 && !mutant!(InitRepeated) {
            return None;
        }
        slot.entry |= INITED;
        slot.xor ^= xor;
        self.settle(at)
    }

    /// A tuple was acked; `xor` is its id XOR the ids of the tuples anchored to it. The entry, if
    /// that ended the tree.
    #[inline(always)]
    pub fn ack(&mut self, root: RootId, xor: u64) -> Option<E> {
        // SAFETY: read once, before anything else happens to the ledger.
        self.ack_place(root, xor).map(|place| unsafe { place.read() })
    }

    /// As [`Ledger::ack`], with the entry where it lies: the caller takes it out before it touches the ledger again.
    #[inline(always)]
    pub fn ack_place(&mut self, root: RootId, xor: u64) -> Option<*const E> {
        let at = self.find(root)?; // a late ack of a finished tree finds no slot
        // SAFETY: `find` checked the index.
        unsafe { self.slots.get_unchecked_mut(at) }.xor ^= xor;
        self.settle(at)
    }

    /// Ends the tree at once, whatever is still in flight. The entry, if it was open.
    pub fn fail(&mut self, root: RootId) -> Option<E> {
        let at = self.find(root)?;
        // SAFETY: read once, before anything else happens to the ledger.
        Some(unsafe { self.close(at).read() })
    }

    /// The entry of an open tree.
    pub fn entry(&self, root: RootId) -> Option<&E> {
        let at = self.position(root)?;
        Some(self.entry_of(&self.slots[at]))
    }

    /// The entry of an open tree, to be changed.
    pub fn entry_mut(&mut self, root: RootId) -> Option<&mut E> {
        let at = self.position(root)?;
        let entry = self.slots[at].entry & !INITED;
        // SAFETY: an open slot's entry is initialised.
        Some(unsafe { self.entries[entry as usize].assume_init_mut() })
    }

    /// Every open tree, in the order of its slots.
    pub fn iter(&self) -> impl Iterator<Item = (RootId, &E)> {
        let open = self.slots.iter().filter(|slot| self.owns(slot.root));
        open.map(|slot| (slot.root, self.entry_of(slot)))
    }

    fn entry_of(&self, slot: &Slot) -> &E {
        // SAFETY: an open slot's entry is initialised.
        unsafe { self.entries[(slot.entry & !INITED) as usize].assume_init_ref() }
    }

    /// The slot of an open tree. Comparing the whole id checks the incarnation, the reuse and the openness at once.
    #[inline(always)]
    fn position(&self, root: RootId) -> Option<usize> {
        let at = root.slot() as usize;
        (self.slots.get(at)?.root == root && self.owns(root)).then_some(at)
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
    fn settle(&mut self, at: usize) -> Option<*const E> {
        // SAFETY: the caller found `at` open.
        let slot = unsafe { self.slots.get_unchecked(at) };
        (slot.xor == 0 && (slot.entry & INITED != 0 || mutant!(EndsBeforeInit))).then(|| self.close(at))
    }

    /// Closes a tree; its entry is to be taken out of its place before anything else happens to the ledger.
    #[inline(always)]
    fn close(&mut self, at: usize) -> *const E {
        let slot = &mut self.slots[at];
        let entry = slot.entry & !INITED;
        let reuse = slot.root.reuse();
        let next = if mutant!(ReuseStays) { reuse } else { next_reuse(reuse) };
        slot.root = RootId::new(Incarnation(0), next, at as u32);
        slot.next_free = NIL;
        self.pending -= 1;
        if self.free_head == NIL {
            self.free_head = at as u32;
        } else {
            self.slots[self.free_tail as usize].next_free = at as u32;
        }
        self.free_tail = at as u32;
        self.free_entries.push(entry);
        self.entries[entry as usize].as_ptr()
    }

    #[cold]
    #[inline(never)]
    fn grow_entries(&mut self) -> u32 {
        self.entries.push(MaybeUninit::uninit());
        self.entries.len() as u32 - 1
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
            root: RootId::new(Incarnation(0), 1, i),
            entry: 0,
            next_free: if i + 1 == to { NIL } else { i + 1 },
        }));
        (self.free_head, self.free_tail) = (from, to - 1);
        true
    }
}

impl<E> Drop for Ledger<E> {
    fn drop(&mut self) {
        for slot in &self.slots {
            if slot.root.incarnation() == self.incarnation {
                // SAFETY: an open slot's entry is initialised.
                unsafe { self.entries[(slot.entry & !INITED) as usize].assume_init_drop() };
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
        if mutant!(BundleKept) {
            return self.held[at as usize].clone();
        }
        self.free.push(at);
        std::mem::take(&mut self.held[at as usize])
    }
}

/// Acks on their way to the worker that owns the roots: XORs to apply, in order; neighbours of one root merge.
#[derive(Default)]
pub struct Acks(pub Vec<(RootId, u64)>);

impl Acks {
    /// Adds one ack.
    #[inline(always)]
    pub fn ack(&mut self, root: RootId, xor: u64) {
        match self.0.last_mut() {
            Some(last) if last.0 == root && mutant!(AcksOverwrite) => last.1 = xor,
            Some(last) if last.0 == root || mutant!(AcksMergeOthers) => last.1 ^= xor,
            _ => self.0.push((root, xor)),
        }
    }
}
