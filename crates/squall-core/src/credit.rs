//! How many tuples a worker may send to one task of another (semantics 25).
//!
//! Grants are totals since the link's session began, so a repeated one gives nothing. The receiver grants what its task
//! took out of the mailbox, not what came: a slow task holds up those who send to it, and nobody else. A session begins
//! without credit, as tuples of the one before, or of the sender's earlier life, may still be in the mailbox.
//!
//! Bound: a mailbox holds at most the window of each sending worker, and what local tasks may put there.

use crate::link::Violation;
use std::collections::VecDeque;

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
        Credit { window, granted: 0, sent: 0 }
    }

    /// How many tuples may be sent now.
    #[inline]
    pub fn room(&self) -> u64 {
        self.granted - self.sent
    }

    /// So many tuples are in a frame now; at most [`Credit::room`].
    #[inline]
    pub fn spend(&mut self, tuples: u64) {
        assert!(tuples <= self.room(), "the caller has asked how many may be sent");
        self.sent += tuples;
    }

    /// The peer grants `total` since the session began. Whether there is more room than before.
    pub fn grant(&mut self, total: u64) -> Result<bool, Violation> {
        let most = self.sent + self.window;
        if total > most {
            return Err(Violation::Credit { most, came: total });
        }
        let is_more = total > self.granted;
        self.granted = self.granted.max(total);
        Ok(is_more)
    }

    /// How many tuples the peer's task has not taken yet, as far as is known.
    pub fn under_way(&self) -> u64 {
        self.sent - self.granted.saturating_sub(self.window).min(self.sent)
    }
}

/// Tuples of one frame, side by side in the mailbox.
struct Mark {
    /// How many tuples the mailbox had ever taken when these were in it, modulo 2^32.
    pushed: u32,
    tuples: u32,
}

/// The receiver's side, for one task and one sending worker, over all its lives and sessions.
///
/// Bound: a mark for each frame whose tuples wait, so at most the window.
pub struct Inflow {
    window: u64,
    received: u64,
    granted: u64,
    marks: VecDeque<Mark>,
    /// Tuples of frames that have marks.
    marked: u64,
}

impl Inflow {
    /// Nothing came, and nothing was granted yet.
    pub fn new(window: u64) -> Inflow {
        Inflow { window, received: 0, granted: 0, marks: VecDeque::new(), marked: 0 }
    }

    /// A new session begins. What came before it and still waits takes room.
    pub fn begin(&mut self) {
        (self.received, self.granted) = (0, 0);
    }

    /// A frame with so many tuples came. To be called before they are put into the mailbox, and refused with them.
    pub fn receive(&mut self, tuples: u32) -> Result<(), Violation> {
        let received = self.received + u64::from(tuples);
        if received > self.granted {
            return Err(Violation::Credit { most: self.granted, came: received });
        }
        self.received = received;
        Ok(())
    }

    /// The frame's tuples are in the mailbox now, which has taken `pushed` in all (`Mailbox::pushed`).
    pub fn pushed(&mut self, tuples: u32, pushed: u32) {
        if tuples > 0 {
            self.marks.push_back(Mark { pushed, tuples });
            self.marked += u64::from(tuples);
        }
    }

    /// What is to be granted, if a quarter of the window is free again since the last grant, or anything while the mailbox
    /// `is_empty` (so that who waits for the last of them hears of it). It counts as granted.
    ///
    /// `passed` is how many tuples have left the mailbox's queue (`Mailbox::passed`), `aside` how many of them, of this
    /// sender, were only set aside because their channel is held: they still take room.
    pub fn grant_due(&mut self, passed: u32, aside: u64, is_empty: bool) -> Option<u64> {
        let taken = self.waiting(passed) + aside;
        let total = (self.received + self.window).saturating_sub(taken);
        let enough = if is_empty { 1 } else { (self.window / 4).max(1) };
        (total >= self.granted + enough).then(|| {
            self.granted = total;
            total
        })
    }

    /// How many tuples of this sender are still in the mailbox's queue, of which `passed` have left (`Mailbox::passed`).
    pub fn waiting(&mut self, passed: u32) -> u64 {
        while let Some(mark) = self.marks.front() {
            // Distances in a mailbox are far below 2^31, so the sign survives the wrapping.
            let behind = mark.pushed.wrapping_sub(passed) as i32;
            let tuples = u64::from(mark.tuples);
            if behind > 0 {
                return self.marked - tuples + tuples.min(behind as u64);
            }
            self.marked -= tuples;
            self.marks.pop_front();
        }
        self.marked
    }
}
