//! How much a worker may send to one task of another (semantics 25).
//!
//! Credit is spent by rows and by their bytes, so that a mailbox of large rows is bounded as one of many is. Grants are
//! totals since the link's session began, so a repeated one gives nothing. The receiver grants what its task took out of
//! the mailbox, not what came: a slow task holds up those who send to it, and nobody else. A session begins without
//! credit, as tuples of the one before, or of the sender's earlier life, may still be in the mailbox.
//!
//! A frame goes as long as there is room for its rows; its bytes may take more than that. Dropped: that it waits for its
//! bytes too, since a small window would never have room for the largest row.
//!
//! Bound: of each sending worker a mailbox holds at most a window of rows, and a window of [`ROW_BYTES`] in bytes as they
//! were sent, and the bytes of one frame; beside it, what local tasks may put there. Rows that were set aside because
//! their channel is held count as rows only.

use crate::link::Violation;
use std::collections::VecDeque;

/// So many bytes of rows take as much credit as one row does.
pub const ROW_BYTES: usize = 2048;

/// What rows with so many bytes take of the credit.
#[inline]
pub fn weight(rows: usize, bytes: usize) -> u64 {
    if mutant!(BytesNotCounted) { rows as u64 } else { rows as u64 + (bytes / ROW_BYTES) as u64 }
}

/// The sender's side, for one task of a peer and one session.
#[derive(Clone, Copy, Debug)]
pub struct Credit {
    window: u64,
    granted: u64,
    sent: u64,
}

impl Credit {
    /// Without room, until the peer grants some. `window` is what the peer uses, too.
    pub fn new(window: u64) -> Credit {
        Credit { window, granted: if mutant!(SessionBeginsWithCredit) { window } else { 0 }, sent: 0 }
    }

    /// How many rows may be sent now in a frame.
    #[inline]
    pub fn room(&self) -> u64 {
        if mutant!(CreditUnchecked) { u64::from(u32::MAX) } else { self.granted.saturating_sub(self.sent) }
    }

    /// So many rows, at most [`Credit::room`], with so many bytes are in a frame now.
    #[inline]
    pub fn spend(&mut self, rows: usize, bytes: usize) {
        assert!(rows as u64 <= self.room(), "the caller has asked how many may be sent");
        self.sent += if mutant!(RowsNotSpent) { 0 } else { weight(rows, bytes) };
    }

    /// The peer grants `total` since the session began. Whether there is more room than before.
    pub fn grant(&mut self, total: u64) -> Result<bool, Violation> {
        let most = self.sent + self.window;
        if total > most {
            return Err(Violation::Credit { most, came: total });
        }
        let is_more = total > self.granted;
        if !(mutant!(GrantForgotten) && self.granted > 0) {
            self.granted = self.granted.max(total);
        }
        Ok(is_more)
    }

    /// What the peer's task has not taken yet, as far as is known, as [`weight`] counts it.
    pub fn under_way(&self) -> u64 {
        self.sent - self.granted.saturating_sub(self.window).min(self.sent)
    }
}

/// Rows of one frame, side by side in the mailbox.
struct Mark {
    /// How many rows the mailbox had ever taken when these were in it, modulo 2^32.
    pushed: u32,
    rows: u32,
    /// What they take for their bytes, until the last of them is taken.
    more: u64,
}

/// The receiver's side, for one task and one sending worker, over all its lives and sessions.
///
/// Bound: a mark for each frame whose rows wait, so at most the window.
pub struct Inflow {
    window: u64,
    received: u64,
    granted: u64,
    marks: VecDeque<Mark>,
    /// Rows of frames that have marks, and what these take for their bytes.
    marked: u64,
    more: u64,
}

impl Inflow {
    /// Nothing came, and nothing was granted yet.
    pub fn new(window: u64) -> Inflow {
        Inflow { window, received: 0, granted: 0, marks: VecDeque::new(), marked: 0, more: 0 }
    }

    /// A new session begins. What came before it and still waits takes room.
    pub fn begin(&mut self) {
        (self.received, self.granted) = (0, 0);
        if mutant!(BeginForgetsWaiting) {
            (self.marked, self.more) = (0, 0);
            self.marks.clear();
        }
    }

    /// A frame with so many rows of so many bytes came. To be called before they are put into the mailbox, and refused
    /// with them.
    pub fn receive(&mut self, rows: usize, bytes: usize) -> Result<(), Violation> {
        let came = self.received + rows as u64;
        if rows > 0 && came > self.granted && !mutant!(CreditUnchecked) {
            return Err(Violation::Credit { most: self.granted, came });
        }
        self.received += weight(rows, bytes);
        Ok(())
    }

    /// The frame's rows are in the mailbox now, which has taken `pushed` in all (`Mailbox::pushed`).
    pub fn pushed(&mut self, rows: usize, bytes: usize, pushed: u32) {
        if rows > 0 {
            let more = weight(0, bytes);
            self.marks.push_back(Mark { pushed, rows: rows as u32, more });
            self.marked += rows as u64;
            self.more += more;
        }
    }

    /// What is to be granted, if a quarter of the window is free again since the last grant, or anything while the mailbox
    /// `is_empty` (so that who waits for the last of them hears of it). It counts as granted.
    ///
    /// `passed` is how many rows have left the mailbox's queue (`Mailbox::passed`), `aside` how many of them, of this
    /// sender, were only set aside because their channel is held: they still take room.
    pub fn grant_due(&mut self, passed: u32, aside: u64, is_empty: bool) -> Option<u64> {
        let waiting = if mutant!(WaitingNotCounted) { 0 } else { self.waiting(passed) + self.more };
        let taken = waiting + if mutant!(AsideNotCounted) { 0 } else { aside };
        let more = if mutant!(GrantBeyondWindow) { self.window } else { 0 };
        let total = (self.received + self.window + more).saturating_sub(taken);
        let enough = if is_empty && !mutant!(LastTakenUntold) { 1 } else { (self.window / 4).max(1) };
        (total >= self.granted + enough).then(|| {
            self.granted = if mutant!(GrantNotNoted) { self.granted } else { total };
            total
        })
    }

    /// How many rows of this sender are still in the mailbox's queue, of which `passed` have left (`Mailbox::passed`).
    pub fn waiting(&mut self, passed: u32) -> u64 {
        while let Some(mark) = self.marks.front() {
            // Distances in a mailbox are far below 2^31, so the sign survives the wrapping.
            let behind = mark.pushed.wrapping_sub(passed) as i32;
            let rows = u64::from(mark.rows);
            if behind > 0 {
                return self.marked - rows + rows.min(behind as u64);
            }
            self.marked -= rows;
            self.more -= mark.more;
            self.marks.pop_front();
        }
        self.marked
    }
}
