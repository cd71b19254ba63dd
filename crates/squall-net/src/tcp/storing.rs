//! The thread between the reader and the run loop of a source with a journal (semantics 33).
//!
//! It takes what the reader has pushed, makes all of it durable in one commit, says so where receipts are of stored
//! records, and passes it on. While it waits for the disk the reader goes on, so the next commit has what came
//! meanwhile: the slower the disk, the larger the groups. When the disk takes nothing, chunks stay where they are, the
//! queue fills, and the sockets are not read.

use super::Status;
use super::news::News;
use super::queue::{Beside, Buffer, Chunk, JOURNAL, Queue, Unstored};
use super::receipts::{Board, Line};
use crate::journal::Journal;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of one commit, and a chunk more.
const GROUP_BYTES: usize = 16 << 20;
/// How often it is looked at what has ended, when nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Pause after a disk that took nothing.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// What the loop tells the journal: how many of its records have ended.
pub(super) struct Kept {
    /// How many had when the journal was opened.
    began: u64,
    ended: AtomicU64,
}

impl Kept {
    pub fn new(journal: &Journal) -> Kept {
        Kept { began: journal.began(), ended: AtomicU64::new(journal.began()) }
    }

    /// So many of the records that the loop took have ended, with all before them.
    #[inline]
    pub fn ended(&self, prefix: u64) {
        self.ended.store(self.began + prefix, Ordering::Release);
    }

    /// The number, as far as its low half goes, of a record by its place among those that the loop took.
    #[inline]
    pub fn number(&self, place: u32) -> u32 {
        place.wrapping_add(self.began as u32)
    }

    fn now(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }
}

/// Receipts of what is stored.
struct StoredReceipts {
    board: Arc<Board>,
    connections: HashMap<u64, (Arc<Line>, u64)>,
}

impl StoredReceipts {
    /// The records of a chunk are stored, and those that were skipped between them need no sending again.
    fn tell(&mut self, chunk: &Chunk) {
        let number = chunk.connection;
        let (line, stored) = self.connections.entry(number).or_insert_with(|| (Line::new(number), 0));
        let more = chunk.len() + chunk.skipped().len();
        if more > 0 {
            *stored += more as u64;
            self.board.tell(line, *stored);
        }
        if chunk.is_last() {
            self.connections.remove(&number);
        }
    }
}

pub(super) struct Storing {
    journal: Journal,
    kept: Arc<Kept>,
    queue: Arc<Queue>,
    status: Arc<Status>,
    receipts: Option<StoredReceipts>,
    /// The loop sends receipts, so it is to know whose a record is.
    by_connection: bool,
    is_stuck: bool,
    looked_at: Instant,
}

impl Storing {
    /// Args: `board` is where what is stored is told; `by_connection`: the loop tells what has ended.
    pub fn new(
        journal: Journal,
        kept: Arc<Kept>,
        queue: Arc<Queue>,
        status: Arc<Status>,
        board: Option<Arc<Board>>,
        by_connection: bool,
    ) -> Storing {
        let receipts = board.map(|board| StoredReceipts { board, connections: HashMap::new() });
        let storing = Storing {
            journal,
            kept,
            queue,
            status,
            receipts,
            by_connection,
            is_stuck: false,
            looked_at: Instant::now(),
        };
        storing.count();
        storing
    }

    /// Replays what had not ended, then stores until nothing more comes, and keeps the mark until the loop is done.
    pub fn run(mut self) {
        let bytes = self.journal.cut_bytes();
        if bytes > 0 {
            self.tell(News::Cut { dir: self.dir(), bytes });
        }
        if self.replay() && self.store_all() {
            self.queue.end_stored();
            while self.queue.rest(LOOK_EVERY) {
                self.look();
            }
        }
        self.journal.close(self.kept.now());
    }

    /// Passes on what was stored before. Whether the loop has taken it.
    fn replay(&mut self) -> bool {
        loop {
            if !self.queue.wait_to_replay() {
                return false;
            }
            match self.journal.next_replayed() {
                Ok(None) => return true,
                Ok(Some(group)) => {
                    self.recovered();
                    self.status.counts.replayed.fetch_add(group.records.len() as u64, Ordering::Relaxed);
                    let buffer = Buffer { data: group.data, records: group.records };
                    self.queue.push_past(JOURNAL, buffer, Beside::default());
                    if self.looked_at.elapsed() >= LOOK_EVERY {
                        self.look();
                    }
                }
                Err(error) => {
                    if !self.stuck(&error) {
                        return false;
                    }
                }
            }
        }
    }

    /// Stores and passes on what is read. Whether that came to its end.
    fn store_all(&mut self) -> bool {
        loop {
            match self.queue.take_unstored(GROUP_BYTES, LOOK_EVERY) {
                Unstored::Abandoned => return false,
                Unstored::Ended => return true,
                Unstored::Chunks(chunks) if chunks.is_empty() => self.look(),
                Unstored::Chunks(chunks) => {
                    if !self.store(chunks) {
                        return false;
                    }
                }
            }
        }
    }

    fn store(&mut self, mut chunks: VecDeque<Chunk>) -> bool {
        if chunks.iter().any(|chunk| !chunk.is_empty()) {
            while let Err(error) = self.journal.append(chunks.iter().flat_map(Chunk::records), self.kept.now()) {
                if !self.stuck(&error) {
                    return false;
                }
            }
            self.recovered();
        }
        for chunk in &mut chunks {
            if let Some(receipts) = &mut self.receipts {
                receipts.tell(chunk);
            }
            if !self.by_connection {
                chunk.is_stored();
            }
        }
        self.queue.pass_on(chunks);
        self.trim();
        true
    }

    /// Nothing is stored: what has ended meanwhile is marked.
    fn look(&mut self) {
        self.looked_at = Instant::now();
        let ended = self.kept.now();
        if ended > self.journal.marked() {
            let _ = self.journal.mark(ended); // the next try, or the next commit, says it too
        }
        self.trim();
    }

    fn trim(&mut self) {
        self.journal.trim(self.kept.now());
        self.count();
    }

    fn count(&self) {
        let counts = &self.status.counts;
        counts.journal_bytes.store(self.journal.bytes(), Ordering::Relaxed);
        counts.journal_waiting.store(self.journal.next() - self.kept.now(), Ordering::Relaxed);
    }

    /// The disk does not do what it should: says so once, and rests. Whether it is to be tried again.
    fn stuck(&mut self, error: &io::Error) -> bool {
        if !std::mem::replace(&mut self.is_stuck, true) {
            self.tell(News::Unstored { dir: self.dir(), because: error.to_string() });
        }
        let goes_on = self.queue.rest(TRY_AGAIN);
        self.trim();
        goes_on
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.is_stuck, false) {
            self.tell(News::StoresAgain { dir: self.dir() });
        }
    }

    fn dir(&self) -> String {
        self.journal.dir().display().to_string()
    }

    fn tell(&self, news: News) {
        self.queue.push_past(JOURNAL, Buffer::default(), Beside { news: Some(news), ..Beside::default() });
    }
}
