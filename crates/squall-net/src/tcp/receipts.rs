//! Receipts on their way from who counts to the reader's thread, which sends (semantics 32).
//!
//! The run loop counts what has ended, the journal's thread what is stored.
//!
//! Only the newest number of a connection matters, so there is one for each, and the reader is told once until it has
//! looked. It looks at most every [`EVERY`], so a fast loop costs no system call for each record.

use super::storing::Kept;
use crate::sys;
use squall_core::tally::{Grown, Outputs, Tally};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Least time between two looks of the reader: a tenth of what a receipt may take.
pub(super) const EVERY: Duration = Duration::from_millis(10);

/// What is known of one connection, for the reader.
pub(super) struct Line {
    connection: u64,
    ended: AtomicU64,
    /// It is in the list of those that have grown.
    listed: AtomicBool,
}

impl Line {
    pub fn new(connection: u64) -> Arc<Line> {
        Arc::new(Line { connection, ended: AtomicU64::new(0), listed: AtomicBool::new(false) })
    }
}

/// The connections whose count has grown since the reader looked.
///
/// Bound: each is in it once.
pub(super) struct Board {
    grown: Mutex<Vec<Arc<Line>>>,
    signalled: AtomicBool,
    command: Arc<OwnedFd>,
}

impl Board {
    pub fn new(command: Arc<OwnedFd>) -> Board {
        Board { grown: Mutex::default(), signalled: AtomicBool::new(false), command }
    }

    /// Whether there is something to send. Cost: one load.
    pub fn has_news(&self) -> bool {
        self.signalled.load(Ordering::Acquire)
    }

    /// The connections that have grown, with how many of their records have ended.
    pub fn take(&self) -> Vec<(u64, u64)> {
        self.signalled.store(false, Ordering::Release);
        let grown = std::mem::take(&mut *self.grown.lock().expect("no thread panics while it holds the list"));
        let newest = |line: Arc<Line>| {
            // Before the number is read: it may grow meanwhile, and is then listed again.
            line.listed.swap(false, Ordering::AcqRel);
            (line.connection, line.ended.load(Ordering::Acquire))
        };
        grown.into_iter().map(newest).collect()
    }

    pub fn tell(&self, line: &Arc<Line>, ended: u64) {
        line.ended.store(ended, Ordering::Release);
        if line.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.grown.lock().expect("as in `take`").push(line.clone());
        if !self.signalled.swap(true, Ordering::AcqRel) {
            sys::signal(self.command.as_raw_fd());
        }
    }
}

/// The loop's end: counts which records have ended, for receipts and for the journal.
pub struct Ends {
    tally: Tally,
    lines: Vec<Option<Arc<Line>>>,
    /// Of a source that sends receipts of what has ended.
    board: Option<Arc<Board>>,
    /// Of a source with a journal.
    kept: Option<Arc<Kept>>,
}

impl Ends {
    pub(super) fn new(outputs: Outputs, board: Option<Arc<Board>>, kept: Option<Arc<Kept>>) -> Ends {
        let tally = if kept.is_some() { Tally::in_one_order(outputs) } else { Tally::new(outputs) };
        Ends { tally, lines: Vec::new(), board, kept }
    }

    /// The next record of a connection begins; see [`Ends::slot`].
    #[inline]
    pub fn begin_record(&mut self, slot: u32) {
        self.tally.begin_record(slot);
    }

    /// All outputs of the record are sent.
    #[inline]
    pub fn end_record(&mut self) {
        let grown = self.tally.end_record();
        self.tell(grown);
    }

    /// A record was skipped.
    pub fn skip(&mut self, slot: u32) {
        let grown = self.tally.skip(slot);
        self.tell(grown);
    }

    /// An output of the current record begins; its ticket.
    #[inline]
    pub fn begin(&mut self) -> u32 {
        self.tally.begin()
    }

    /// The number in the journal (its low half) of the record whose output has a ticket.
    #[inline]
    pub fn origin(&self, ticket: u32) -> Option<u32> {
        Some(self.kept.as_ref()?.number(self.tally.place_of(ticket)?))
    }

    /// The number in the journal (its low half) of the record whose outputs are being sent.
    pub fn current_origin(&self) -> Option<u32> {
        Some(self.kept.as_ref()?.number(self.tally.current_place()?))
    }

    /// The output of a ticket ended for good.
    #[inline]
    pub fn end(&mut self, ticket: u32) {
        let grown = self.tally.end(ticket);
        self.tell(grown);
    }

    /// The slot of a connection.
    pub fn slot(&mut self, connection: u64) -> u32 {
        let slot = self.tally.slot(connection);
        self.lines.resize(self.lines.len().max(slot as usize + 1), None);
        let line = &mut self.lines[slot as usize];
        if line.as_ref().is_none_or(|line| line.connection != connection) {
            *line = Some(Line::new(connection));
        }
        slot
    }

    /// Nothing more comes from a connection.
    pub fn close(&mut self, connection: u64) {
        self.tally.close(connection);
    }

    #[inline]
    fn tell(&self, grown: Option<Grown>) {
        if let Some(kept) = &self.kept {
            kept.ended(self.tally.ended_prefix());
        }
        if let Some(Grown { slot, ended, .. }) = grown
            && let Some(board) = &self.board
            && let Some(line) = &self.lines[slot as usize]
        {
            board.tell(line, ended);
        }
    }
}
