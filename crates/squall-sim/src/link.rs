//! One direction of a link between two lives: everything once and in order, over a network that does what it likes.
//!
//! The sender keeps what was not receipted and sends it again; the receiver gives each sequence number on once, and
//! keeps what came too early. Rule: semantics 20 and 23.

use std::collections::{BTreeMap, VecDeque};

/// How far ahead of the expected frame others are kept.
const EARLY: u64 = 1024;

/// The sending end.
#[derive(Default)]
pub struct Sender {
    next: u64,
    unreceipted: VecDeque<(u64, Vec<u8>)>,
}

impl Sender {
    /// The number that the next frame has.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Takes the frame with [`Sender::next_sequence`] over.
    pub fn keep(&mut self, frame: Vec<u8>) {
        self.unreceipted.push_back((self.next, frame));
        self.next += 1;
    }

    /// Every frame below `expected` came.
    pub fn receipt(&mut self, expected: u64) {
        while self.unreceipted.front().is_some_and(|(sequence, _)| *sequence < expected) {
            self.unreceipted.pop_front();
        }
    }

    /// What was not receipted, the oldest first.
    pub fn unreceipted(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.unreceipted.iter().map(|(_, frame)| frame)
    }

    /// Whether all was receipted.
    pub fn is_idle(&self) -> bool {
        self.unreceipted.is_empty()
    }
}

/// The receiving end.
#[derive(Default)]
pub struct Receiver {
    expected: u64,
    early: BTreeMap<u64, Vec<u8>>,
}

impl Receiver {
    /// The number of the next frame to be given on; what a receipt says.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// A frame came; the frames that are now in order.
    pub fn take(&mut self, sequence: u64, frame: &[u8]) -> Vec<Vec<u8>> {
        if (self.expected..self.expected + EARLY).contains(&sequence) {
            self.early.entry(sequence).or_insert_with(|| frame.to_vec());
        }
        let mut ready = Vec::new();
        while let Some(frame) = self.early.remove(&self.expected) {
            ready.push(frame);
            self.expected += 1;
        }
        ready
    }

    /// A frame came and everything before it is given up (for [`crate::Mutant::GapsSkipped`]).
    pub fn take_and_skip(&mut self, sequence: u64, frame: &[u8]) -> Vec<Vec<u8>> {
        if sequence < self.expected {
            return Vec::new();
        }
        self.expected = sequence + 1;
        vec![frame.to_vec()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // semantics 20, semantics 23
    #[test]
    fn everything_comes_once_and_in_order() {
        let mut receiver = Receiver::default();
        let mut came = Vec::new();
        for sequence in [2, 0, 0, 2, 1, 4, 1, 3, 4] {
            came.extend(receiver.take(sequence, &[sequence as u8]));
        }
        assert_eq!(came, [[0], [1], [2], [3], [4]]);
        assert_eq!(receiver.expected(), 5);
    }

    // semantics 20
    #[test]
    fn only_what_was_not_receipted_is_kept() {
        let mut sender = Sender::default();
        (0..5).for_each(|frame| sender.keep(vec![frame]));
        sender.receipt(3);
        sender.receipt(1);
        assert_eq!(sender.unreceipted().flatten().copied().collect::<Vec<u8>>(), [3, 4]);
        assert_eq!((sender.next_sequence(), sender.is_idle()), (5, false));
    }
}
