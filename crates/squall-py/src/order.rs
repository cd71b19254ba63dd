//! In which order the outputs of a spout end, where someone wants to know.

use squall_core::tracker::Tracker;
use squall_net::tcp::Ends;

/// What keeps the order of a spout's outputs.
#[allow(clippy::large_enum_variant)] // one a spout, never moved
pub enum Order {
    /// All in one: for positions.
    Whole(Tracker),
    /// By connection and record: for receipts and the journal.
    Records(Ends),
}

impl Order {
    /// The next output begins; what its entry in the ledger keeps.
    #[inline(always)]
    pub fn begin(&mut self) -> u32 {
        match self {
            Order::Whole(tracker) => tracker.begin().0 as u32,
            Order::Records(ends) => ends.begin(),
        }
    }

    /// An output has ended for good: it was acked, or its dead letter is on disk.
    #[inline(always)]
    pub fn end(&mut self, place: u32) {
        match self {
            Order::Whole(tracker) => drop(tracker.end_low(place)),
            Order::Records(ends) => ends.end(place),
        }
    }

    /// What an output, by its place, is known by over all lives of the worker, if it comes again from the next.
    #[inline(always)]
    pub fn origin(&self, place: u32) -> Option<u32> {
        match self {
            Order::Whole(_) => Some(place),
            Order::Records(ends) => ends.origin(place),
        }
    }

    /// How many outputs have ended such that all before them have, if that is kept.
    pub fn ended_prefix(&self) -> Option<u64> {
        match self {
            Order::Whole(tracker) => Some(tracker.ended_prefix()),
            Order::Records(_) => None,
        }
    }

    /// How many outputs have begun, and those of them that have not ended, if that is kept.
    pub fn unended(&self) -> Option<(u64, Vec<u64>)> {
        match self {
            Order::Whole(tracker) => Some((tracker.begun(), tracker.unended().map(|position| position.0).collect())),
            Order::Records(_) => None,
        }
    }
}
