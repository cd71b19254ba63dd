//! Identities of tuples and of those who make them.
//!
//! A root id says which worker's life it belongs to, so a late ack of an earlier life is dropped by
//! one comparison (`docs/semantics.md` rules 14 and 15).

use std::cell::Cell;

/// One life of one worker process. 0 is never given; [`Incarnation::BUNDLE`] is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u16);

impl Incarnation {
    /// Marks a [`RootId`] that stands for several roots (see [`crate::ack::Bundles`]).
    pub const BUNDLE: Incarnation = Incarnation(u16::MAX);
}

/// Which assignment, and which life in it: the fence of every frame, checkpoint and state write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// Given by nimbus; compared first.
    pub epoch: u64,
    /// Given by the supervisor or the embedded parent.
    pub incarnation: Incarnation,
}

/// A tree's id: incarnation 16 bits, reuse 28, slot 20. Zero means "not tracked".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootId(pub u64);

/// Bits of a [`RootId`] that name the slot.
pub const SLOT_BITS: u32 = 20;
/// Bits of a [`RootId`] that count the slot's reuses.
pub const REUSE_BITS: u32 = 28;
/// The most trees one worker can have open.
pub const MAX_SLOTS: u32 = 1 << SLOT_BITS;
const REUSE_MASK: u32 = (1 << REUSE_BITS) - 1;

impl RootId {
    /// Of a tuple that nobody tracks.
    pub const NONE: RootId = RootId(0);

    /// The id of the tree in `slot` in its `reuse`-th use.
    #[inline(always)]
    pub fn new(incarnation: Incarnation, reuse: u32, slot: u32) -> RootId {
        RootId((incarnation.0 as u64) << 48 | ((reuse & REUSE_MASK) as u64) << SLOT_BITS | slot as u64)
    }

    /// The life of the worker that opened the tree.
    #[inline(always)]
    pub fn incarnation(self) -> Incarnation {
        Incarnation((self.0 >> 48) as u16)
    }

    /// How often the slot had been used before.
    #[inline(always)]
    pub fn reuse(self) -> u32 {
        (self.0 >> SLOT_BITS) as u32 & REUSE_MASK
    }

    /// The slot in the opener's ledger.
    #[inline(always)]
    pub fn slot(self) -> u32 {
        self.0 as u32 & (MAX_SLOTS - 1)
    }

    /// Whether a tree hangs on this id.
    #[inline(always)]
    pub fn is_tracked(self) -> bool {
        self.0 != 0
    }

    /// Whether the id stands for several roots.
    #[inline(always)]
    pub fn is_bundle(self) -> bool {
        self.incarnation() == Incarnation::BUNDLE
    }
}

/// The next reuse count of a slot; it never becomes so that a root id would be zero.
#[inline(always)]
pub fn next_reuse(reuse: u32) -> u32 {
    (reuse + 1) & REUSE_MASK
}

/// 64 random bits an edge: splitmix64 from a seed of the operating system's (or the simulator's).
pub struct EdgeIds(Cell<u64>);

impl EdgeIds {
    /// A generator of its own for each incarnation.
    pub fn new(seed: u64) -> Self {
        EdgeIds(Cell::new(seed))
    }

    /// The next edge id.
    #[inline(always)]
    pub fn next_id(&self) -> u64 {
        let s = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(s);
        mix(s)
    }
}

/// The finisher of splitmix64: a permutation of 64 bits in which each bit depends on all.
#[inline(always)]
pub fn mix(x: u64) -> u64 {
    let z = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
