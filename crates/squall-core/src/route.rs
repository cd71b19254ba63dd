//! Which tasks a tuple goes to.
//!
//! One [`Route`] is one subscription as one emitting task sees it. Its targets are numbered in the
//! ascending order of task ids; what a number stands for is the caller's affair.
//!
//! Source: rules of Storm 1.2.1 `daemon/executor.clj`, `grouping/*`; keys by our own stable hash.

use crate::cell::Local;
use crate::ids::mix;
use crate::key;
use std::cell::Cell;

/// What routing must know about a row.
pub trait Payload: Sized {
    /// Why a row has no key, or a custom grouping no answer.
    type Err;
    /// Another reference to the same row (fan-out). Must not run user code.
    fn dup(&self) -> Self;
    /// Stable hash of the key fields; may run user code, so it is called outside every borrow.
    fn key(&self, fields: &[u16]) -> Result<u64, Self::Err>;
    /// Moves a row from one place to another; may leave out bytes that mean nothing.
    ///
    /// # Safety
    /// `from` is initialised and is not used afterwards; `to` is valid for writes and holds nothing to be dropped.
    #[inline(always)]
    unsafe fn relocate(from: *const Self, to: *mut Self) {
        // SAFETY: as the caller promises.
        unsafe { std::ptr::copy_nonoverlapping(from, to, 1) }
    }
    /// What the user's grouping number `which` answers for this row: target numbers.
    fn custom(&self, which: u32) -> Result<Vec<u32>, Self::Err>;
}

/// How one subscription picks its targets.
pub enum Grouping {
    /// In turn; the turns follow the targets' loads. Also local-or-shuffle, over the local targets.
    Shuffle(Turns),
    /// By the stable hash of these fields' values.
    Fields(Box<[u16]>),
    /// By two candidates of the key, whichever this task has sent less to.
    PartialKey(PartialKey),
    /// Every target.
    All,
    /// The lowest task id.
    Global,
    /// At random.
    Any(Cell<u64>),
    /// Only where the emitter says.
    Direct,
    /// The user's grouping, by its number.
    Custom(u32),
}

/// The answer for one row.
#[derive(Debug, PartialEq, Eq)]
pub enum Pick {
    /// One target.
    One(u32),
    /// Every target.
    All,
    /// These targets.
    Many(Vec<u32>),
}

/// One subscription as one emitting task sees it.
pub struct Route {
    /// How targets are picked.
    pub grouping: Grouping,
    /// How many targets there are.
    pub targets: u32,
}

impl Route {
    /// A subscription with `targets` targets.
    pub fn new(grouping: Grouping, targets: u32) -> Self {
        Route { grouping, targets }
    }

    /// The targets of `row`. A direct subscription answers nothing here.
    #[inline(always)]
    pub fn pick<P: Payload>(&self, row: &P) -> Result<Pick, P::Err> {
        let n = self.targets;
        Ok(match &self.grouping {
            Grouping::Fields(_) | Grouping::Shuffle(_) if n == 1 => Pick::One(0),
            Grouping::Fields(fields) => Pick::One(key::task_of(row.key(fields)?, n)),
            Grouping::Shuffle(turns) => Pick::One(turns.next_target()),
            Grouping::Global => Pick::One(0),
            Grouping::All => Pick::All,
            Grouping::PartialKey(state) => Pick::One(state.choose(row.key(&state.fields)?, n)),
            Grouping::Any(state) => {
                state.set(state.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
                Pick::One(((mix(state.get()) as u128 * n as u128) >> 64) as u32)
            }
            Grouping::Direct => Pick::Many(Vec::new()),
            Grouping::Custom(which) => Pick::Many(row.custom(*which)?),
        })
    }
}

/// The turns of a shuffle: a repeated sequence of targets, made anew when loads differ.
pub struct Turns {
    order: Local<Box<[u32]>>,
    at: Cell<u32>,
}

impl Turns {
    /// Equal turns in an order drawn from `seed`.
    pub fn new(targets: u32, seed: u64) -> Self {
        let mut order: Vec<u32> = (0..targets).collect();
        shuffle(&mut order, seed);
        Turns { order: Local::new(order.into()), at: Cell::new(0) }
    }

    /// The next target in turn.
    #[inline(always)]
    pub fn next_target(&self) -> u32 {
        let at = self.at.get() as usize;
        let (target, n) = self.order.with(|order| (order[at], order.len()));
        self.at.set(if at + 1 >= n { 0 } else { at as u32 + 1 });
        target
    }

    /// Gives a target with load `l` (0 idle to 1 full) ⌊101 − 100·l⌋ turns in each round; an unknown load is full.
    pub fn reweigh(&self, loads: &[f64], seed: u64) {
        // A load that is no number makes 0 turns of it; one turn is the least.
        let turns = |load: &f64| ((101.0 - load.clamp(0.0, 1.0) * 100.0) as u32).max(1);
        let weights: Vec<u32> = loads.iter().map(turns).collect();
        let mut order: Vec<u32> = match weights.iter().all(|w| *w == weights[0]) {
            true => (0..weights.len() as u32).collect(),
            false => spread(&weights),
        };
        shuffle(&mut order, seed);
        self.order.replace(order.into());
        self.at.set(0);
    }
}

fn spread(weights: &[u32]) -> Vec<u32> {
    let turns = |(target, weight): (usize, &u32)| std::iter::repeat_n(target as u32, *weight as usize);
    weights.iter().enumerate().flat_map(turns).collect()
}

fn shuffle(order: &mut [u32], seed: u64) {
    for i in (1..order.len()).rev() {
        let random = mix(seed.wrapping_add((i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        order.swap(i, ((random as u128 * (i as u128 + 1)) >> 64) as usize);
    }
}

/// The state of a partial-key subscription: what this task has sent where.
pub struct PartialKey {
    /// The key fields.
    pub fields: Box<[u16]>,
    sent: Local<Box<[u64]>>,
}

impl PartialKey {
    /// Nothing sent yet.
    pub fn new(fields: Box<[u16]>, targets: u32) -> Self {
        PartialKey { fields, sent: Local::new(vec![0; targets as usize].into()) }
    }

    fn choose(&self, hash: u64, targets: u32) -> u32 {
        let first = key::task_of(hash, targets);
        let mut second = key::task_of(key::second(hash), targets);
        if second == first {
            second = (first + 1) % targets;
        }
        self.sent.with(|sent| {
            let chosen = if sent[first as usize] > sent[second as usize] { second } else { first };
            sent[chosen as usize] += 1;
            chosen
        })
    }
}
