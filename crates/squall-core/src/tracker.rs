//! In which order things ended, told as one number: how many of the first have all ended.
//!
//! Kafka offsets, file positions, the journal and receipts all need the same answer: records begin in order, end in any
//! order, and what may be committed is the contiguous prefix of the ended ones (semantics 31). A bit each since the
//! oldest record still under way is all it takes; a heap or a set of ended positions would cost a hundred times that.

use std::collections::VecDeque;

/// The place of a record in the order of beginning, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

const WORD: u64 = u64::BITS as u64;

/// Records under way, and the prefix of ended ones.
///
/// Bound: a bit for each record begun since the oldest that has not ended; the caller bounds how many may be under way.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// Ended bits of the positions from `base` on; a word leaves when all of it has ended.
    ended: VecDeque<u64>,
    base: u64,
    next: u64,
    prefix: u64,
    outstanding: u64,
}

impl Tracker {
    /// Nothing has begun.
    pub fn new() -> Self {
        Tracker::default()
    }

    /// The next record begins.
    #[inline]
    pub fn begin(&mut self) -> Position {
        let at = self.next;
        if at - self.base == self.ended.len() as u64 * WORD {
            self.ended.push_back(0);
        }
        self.next += 1;
        self.outstanding += 1;
        Position(at)
    }

    /// A record ended. Whether that was news: an end that repeats itself, or of a record that never began, is ignored.
    #[inline]
    pub fn end(&mut self, position: Position) -> bool {
        let at = position.0;
        if at < self.prefix || at >= self.next {
            return false;
        }
        let (word, bit) = self.place(at);
        if self.ended[word] & bit != 0 {
            return false;
        }
        self.ended[word] |= bit;
        self.outstanding -= 1;
        if at == self.prefix {
            self.advance();
        }
        true
    }

    /// As [`Tracker::end`], from the low half of a position: what an entry of the ledger has room for. It is enough, as
    /// fewer than 2^32 records are under way.
    #[inline]
    pub fn end_low(&mut self, low: u32) -> bool {
        self.end(Position(self.prefix + low.wrapping_sub(self.prefix as u32) as u64))
    }

    /// How many records have ended such that all before them have too.
    pub fn ended_prefix(&self) -> u64 {
        if mutant!(EndedCounted) { self.next - self.outstanding } else { self.prefix }
    }

    /// The records under way, in their order.
    pub fn unended(&self) -> impl Iterator<Item = Position> + '_ {
        (self.prefix..self.next).map(Position).filter(|position| {
            let (word, bit) = self.place(position.0);
            self.ended[word] & bit == 0
        })
    }

    /// How many records are under way.
    pub fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// How many records have begun.
    pub fn begun(&self) -> u64 {
        self.next
    }

    fn place(&self, at: u64) -> (usize, u64) {
        let offset = at - self.base;
        ((offset / WORD) as usize, 1 << (offset % WORD))
    }

    fn advance(&mut self) {
        while let Some(word) = self.ended.front() {
            let ended = word.trailing_ones() as u64;
            self.prefix = self.base + ended;
            if ended < WORD {
                return;
            }
            self.ended.pop_front();
            self.base += WORD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // semantics 31
    #[test]
    fn the_prefix_waits_for_the_oldest() {
        let mut tracker = Tracker::new();
        let positions: Vec<Position> = (0..200).map(|_| tracker.begin()).collect();
        positions[1..].iter().for_each(|position| assert!(tracker.end(*position)));
        assert_eq!((tracker.ended_prefix(), tracker.outstanding()), (0, 1));
        assert!(tracker.end(positions[0]));
        assert_eq!((tracker.ended_prefix(), tracker.outstanding()), (200, 0));
    }

    // semantics 31
    #[test]
    fn what_has_not_ended_is_listed_from_the_prefix_on() {
        let mut tracker = Tracker::new();
        let positions: Vec<Position> = (0..200).map(|_| tracker.begin()).collect();
        positions[..70].iter().for_each(|position| assert!(tracker.end(*position)));
        assert!(tracker.end(positions[72]) && tracker.end(positions[199]));
        let expected: Vec<Position> = (70..199).filter(|at| *at != 72).map(Position).collect();
        assert_eq!(tracker.unended().collect::<Vec<_>>(), expected);
    }

    // semantics 31
    #[test]
    fn repeated_and_unknown_ends_change_nothing() {
        let mut tracker = Tracker::new();
        let first = tracker.begin();
        tracker.begin();
        assert!(tracker.end(first));
        assert!(!tracker.end(first) && !tracker.end(Position(2)));
        assert_eq!((tracker.ended_prefix(), tracker.outstanding(), tracker.begun()), (1, 1, 2));
    }

    #[test]
    fn the_low_half_of_a_position_is_enough() {
        let start = (1_u64 << 32) - 2;
        let mut tracker = Tracker { base: start & !63, next: start, prefix: start, ..Tracker::default() };
        tracker.ended.push_back((1 << (start & 63)) - 1);
        let lows: Vec<u32> = (0..4).map(|_| tracker.begin().0 as u32).collect();
        assert_eq!(lows, [u32::MAX - 1, u32::MAX, 0, 1]);
        for low in [lows[3], lows[1], lows[0]] {
            assert!(tracker.end_low(low));
        }
        assert_eq!((tracker.ended_prefix(), tracker.outstanding()), (start + 2, 1));
        assert!(tracker.end_low(lows[2]) && !tracker.end_low(lows[2]));
        assert_eq!(tracker.ended_prefix(), start + 4);
    }

    #[test]
    fn what_has_ended_takes_no_memory() {
        let mut tracker = Tracker::new();
        for _ in 0..100_000 {
            let position = tracker.begin();
            tracker.end(position);
        }
        assert!(tracker.ended.len() <= 1);
    }
}
