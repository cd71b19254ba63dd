//! Chunks on their way from the reader's thread to the run loop, and their buffers on the way back.
//!
//! Memory is counted as it was allocated, not as it is filled, and until a chunk is dropped, not until it is taken: so
//! neither many small reads nor a run loop that sits on a chunk can pass the bound.
//!
//! Where there is a journal, chunks stop on their way until it has them: the reader pushes them into a lane of their own,
//! from which the journal's thread takes them, and passes them on.

use super::news::News;
use crate::sys;
use crate::wake::Wake;
use squall_core::framing::RecordFault;
use std::collections::VecDeque;
use std::mem::size_of;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Buffers kept for reuse.
const SPARE_BUFFERS: usize = 16;
/// A buffer of less is an exact copy that was made for one chunk.
const WORTH_KEEPING: usize = 16 << 10;
/// The largest that is kept, so that one long record does not hold its memory for ever.
const TOO_LARGE_TO_KEEP: usize = 1 << 20;
/// Chunks that wait for the loop while a journal is replayed.
const REPLAYED_CHUNKS: usize = 2;
/// What one fault is counted as.
const FAULT_BYTES: usize = size_of::<RecordFault>() + 64;

/// Bytes, and where the records lie in them.
#[derive(Clone, Default)]
pub(super) struct Buffer {
    pub data: Vec<u8>,
    pub records: Vec<Range<u32>>,
}

impl Buffer {
    pub fn clear(&mut self) {
        self.data.clear();
        self.records.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.data.capacity() + self.records.capacity() * size_of::<Range<u32>>()
    }
}

/// What came beside the records of a chunk.
#[derive(Default)]
pub(super) struct Beside {
    /// What was wrong with records between these.
    pub faults: Vec<RecordFault>,
    /// For each record that was skipped, how many of the chunk come before it.
    pub skipped: Vec<u32>,
    /// What happened to the connection.
    pub news: Option<News>,
    /// Nothing more comes from the connection.
    pub is_last: bool,
}

impl Beside {
    pub fn fault(fault: RecordFault) -> Beside {
        Beside { faults: vec![fault], ..Beside::default() }
    }

    pub fn is_nothing(&self) -> bool {
        self.faults.is_empty() && self.news.is_none() && !self.is_last
    }
}

/// Records of one connection, in the buffer that they were read into.
pub struct Chunk {
    /// Number of the connection.
    pub connection: u64,
    buffer: Buffer,
    beside: Beside,
    memory_bytes: usize,
    queue: Arc<Queue>,
}

/// The connection of all records that the loop is to count as the journal's alone.
pub(super) const JOURNAL: u64 = 0;

impl Chunk {
    /// From now on it is of the journal: what concerns its connection is settled.
    pub(super) fn is_stored(&mut self) {
        self.connection = JOURNAL;
        self.beside.skipped.clear();
        self.beside.is_last = false;
    }

    /// Bytes of its records.
    pub(super) fn data_bytes(&self) -> usize {
        self.buffer.data.len()
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.buffer.records.len()
    }

    /// Whether it holds none (only faults).
    pub fn is_empty(&self) -> bool {
        self.buffer.records.is_empty()
    }

    /// Record `i`.
    #[inline(always)]
    pub fn record(&self, i: usize) -> &[u8] {
        let range = &self.buffer.records[i];
        &self.buffer.data[range.start as usize..range.end as usize]
    }

    /// All records, in the order they were sent.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.record(i))
    }

    /// What was wrong with records between these.
    pub fn faults(&self) -> &[RecordFault] {
        &self.beside.faults
    }

    /// For each record that was skipped, as it was too long, how many of these come before it.
    pub fn skipped(&self) -> &[u32] {
        &self.beside.skipped
    }

    /// What happened to the connection.
    pub fn news(&self) -> Option<&News> {
        self.beside.news.as_ref()
    }

    /// Whether nothing more comes from the connection. Said only where receipts are sent.
    pub fn is_last(&self) -> bool {
        self.beside.is_last
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.queue.release(std::mem::take(&mut self.buffer), self.memory_bytes);
    }
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// Those that the journal has not got yet.
    unstored: VecDeque<Chunk>,
    /// The reader will push nothing more.
    is_read: bool,
    spare: Vec<Buffer>,
    /// Memory of all chunks that were not dropped yet.
    held_bytes: usize,
    /// Reading has stopped until half of the limit is free.
    reader_waits: bool,
    /// The run loop will take nothing more.
    abandoned: bool,
}

/// The way between the two threads.
pub(super) struct Queue {
    limit_bytes: usize,
    state: Mutex<State>,
    /// Signalled when there is room again, or nothing more is to be done.
    command: Arc<OwnedFd>,
    /// How many chunks wait, to be looked at without the lock.
    waiting: AtomicUsize,
    /// Nothing more will come.
    ended: AtomicBool,
    wake: Wake,
    /// What the reader pushes goes to the journal first.
    is_journaled: bool,
    /// The journal's thread has something to do.
    stored: Condvar,
}

/// What the journal's thread finds.
pub(super) enum Unstored {
    /// Chunks to be stored, or none within the time.
    Chunks(VecDeque<Chunk>),
    /// None, and none will come.
    Ended,
    /// The run loop is done.
    Abandoned,
}

impl Queue {
    pub fn new(limit_bytes: usize, wake: Wake, command: Arc<OwnedFd>, is_journaled: bool) -> Queue {
        let (state, waiting, ended) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
        Queue { limit_bytes, state, command, waiting, ended, wake, is_journaled, stored: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the queue")
    }

    /// Hands a chunk to the journal, if there is one, or to the run loop, and wakes it.
    pub fn push(self: &Arc<Self>, connection: u64, buffer: Buffer, beside: Beside) {
        self.push_to(self.is_journaled, connection, buffer, beside);
    }

    /// Hands a chunk to the run loop, past those that are not stored yet.
    pub fn push_past(self: &Arc<Self>, connection: u64, buffer: Buffer, beside: Beside) {
        self.push_to(false, connection, buffer, beside);
    }

    fn push_to(self: &Arc<Self>, journal: bool, connection: u64, buffer: Buffer, beside: Beside) {
        let memory_bytes = size_of::<Chunk>() + buffer.memory_bytes() + beside.faults.len() * FAULT_BYTES;
        let chunk = Chunk { connection, buffer, beside, memory_bytes, queue: self.clone() };
        let mut state = self.lock();
        state.held_bytes += memory_bytes;
        if state.abandoned {
            drop(state); // before the chunk, which locks to give its memory back
            return;
        }
        if journal {
            state.unstored.push_back(chunk);
            drop(state);
            return self.stored.notify_all();
        }
        state.chunks.push_back(chunk);
        self.waiting.store(state.chunks.len(), Ordering::Release);
        drop(state);
        self.wake.wake();
    }

    /// Takes what is to be stored next: the chunks that have come together, up to so many bytes and one chunk more.
    pub fn take_unstored(&self, at_most_bytes: usize, wait: Duration) -> Unstored {
        let nothing_yet = |state: &mut State| state.unstored.is_empty() && !state.is_read && !state.abandoned;
        let (mut state, _) = self.stored.wait_timeout_while(self.lock(), wait, nothing_yet).expect("as in `lock`");
        if state.abandoned {
            return Unstored::Abandoned;
        }
        if state.unstored.is_empty() && state.is_read {
            return Unstored::Ended;
        }
        let (mut chunks, mut bytes) = (VecDeque::new(), 0);
        while bytes < at_most_bytes
            && let Some(chunk) = state.unstored.pop_front()
        {
            bytes += chunk.data_bytes();
            chunks.push_back(chunk);
        }
        Unstored::Chunks(chunks)
    }

    /// Passes on what is stored.
    pub fn pass_on(&self, mut chunks: VecDeque<Chunk>) {
        let mut state = self.lock();
        if state.abandoned {
            return drop(state); // before the chunks, which lock to give their memory back
        }
        state.chunks.append(&mut chunks);
        self.waiting.store(state.chunks.len(), Ordering::Release);
        drop(state);
        self.wake.wake();
    }

    /// Waits until the loop has taken nearly all that was replayed. Whether it goes on taking.
    pub fn wait_to_replay(&self) -> bool {
        let has_enough = |state: &mut State| state.chunks.len() >= REPLAYED_CHUNKS && !state.abandoned;
        let state = self.stored.wait_while(self.lock(), has_enough).expect("as in `lock`");
        !state.abandoned
    }

    /// Waits for a time, or until the run loop is done. Whether it is not.
    pub fn rest(&self, wait: Duration) -> bool {
        let goes_on = |state: &mut State| !state.abandoned;
        let (state, _) = self.stored.wait_timeout_while(self.lock(), wait, goes_on).expect("as in `lock`");
        !state.abandoned
    }

    /// Hands over what was read into `scratch`, which is empty then.
    ///
    /// A small read is copied to a buffer of its size: else a trickle of lines would hold a large one for each of them.
    pub fn push_from(self: &Arc<Self>, connection: u64, scratch: &mut Buffer, beside: Beside) {
        let buffer = match scratch.data.len() < scratch.data.capacity() / 4 {
            true => scratch.clone(),
            false => std::mem::replace(scratch, self.spare_buffer()),
        };
        scratch.clear();
        self.push(connection, buffer, beside);
    }

    /// Tells the run loop what happened to a connection, unless it has too much to take: so a flood of bad clients costs
    /// no memory. It is counted in any case.
    pub fn push_news(self: &Arc<Self>, connection: u64, news: News) {
        if self.held_bytes() < self.limit_bytes.saturating_mul(2) {
            self.push_past(connection, Buffer::default(), Beside { news: Some(news), ..Beside::default() });
        }
    }

    #[inline]
    pub fn has_chunks(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    #[inline]
    pub fn take(&self) -> Option<Chunk> {
        if !self.has_chunks() {
            return None;
        }
        let mut state = self.lock();
        let chunk = state.chunks.pop_front();
        self.waiting.store(state.chunks.len(), Ordering::Release);
        drop(state);
        if self.is_journaled {
            self.stored.notify_all(); // a replay may wait for room
        }
        chunk
    }

    fn release(&self, mut buffer: Buffer, memory_bytes: usize) {
        let mut state = self.lock();
        state.held_bytes -= memory_bytes;
        if state.spare.len() < SPARE_BUFFERS && (WORTH_KEEPING..=TOO_LARGE_TO_KEEP).contains(&buffer.memory_bytes()) {
            buffer.clear();
            state.spare.push(buffer);
        }
        if state.reader_waits && state.held_bytes <= self.limit_bytes / 2 {
            state.reader_waits = false;
            drop(state);
            sys::signal(self.command.as_raw_fd());
        }
    }

    /// Whether the reader may read on. If not, the command is signalled when it may.
    ///
    /// It may again at half of the limit, so that the two threads do not wake each other for every chunk.
    pub fn has_room(&self) -> bool {
        let mut state = self.lock();
        state.reader_waits |= state.held_bytes >= self.limit_bytes && !state.abandoned;
        !state.reader_waits
    }

    /// An empty buffer, used before if there is one.
    pub fn spare_buffer(&self) -> Buffer {
        self.lock().spare.pop().unwrap_or_default()
    }

    /// The reader is done.
    pub fn end(&self) {
        if self.is_journaled {
            self.lock().is_read = true;
            self.stored.notify_all();
        } else {
            self.end_stored();
        }
    }

    /// All that was read is stored, and passed on.
    pub fn end_stored(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake.wake();
    }

    /// Whether nothing more will come and everything was taken.
    pub fn is_finished(&self) -> bool {
        self.ended.load(Ordering::Acquire) && !self.has_chunks()
    }

    /// The run loop is done: what waits is dropped.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.reader_waits = false;
        let chunks = (std::mem::take(&mut state.chunks), std::mem::take(&mut state.unstored));
        self.waiting.store(0, Ordering::Release);
        drop(state); // before the chunks, which lock to give their memory back
        drop(chunks);
        self.stored.notify_all();
        sys::signal(self.command.as_raw_fd());
    }

    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    pub fn held_bytes(&self) -> usize {
        self.lock().held_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake::Waiter;
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn queue(limit_bytes: usize) -> Arc<Queue> {
        Arc::new(Queue::new(limit_bytes, Waiter::new().unwrap().waker(), Arc::new(sys::eventfd().unwrap()), false))
    }

    fn buffer(capacity: usize) -> Buffer {
        Buffer { data: Vec::with_capacity(capacity), records: Vec::new() }
    }

    #[test]
    fn memory_counts_as_allocated_and_until_the_chunk_is_dropped() {
        let queue = queue(1 << 20);
        queue.push(7, buffer(100_000), Beside::default());
        let chunk = queue.take().unwrap();
        assert!(queue.held_bytes() >= 100_000);
        drop(chunk);
        assert_eq!(queue.held_bytes(), 0);
    }

    #[test]
    fn a_buffer_comes_back_unless_it_is_very_small_or_large() {
        let queue = queue(1 << 20);
        for capacity in [100, 100_000, 10_000_000] {
            queue.push(7, buffer(capacity), Beside::default());
            drop(queue.take());
        }
        assert_eq!(queue.spare_buffer().data.capacity(), 100_000);
        assert_eq!(queue.spare_buffer().data.capacity(), 0);
    }

    #[test]
    fn an_abandoned_queue_keeps_nothing_alive() {
        let queue = queue(1 << 20);
        queue.push(7, buffer(10), Beside::default());
        queue.abandon();
        queue.push(7, buffer(10), Beside::default());
        assert!(queue.take().is_none());
        assert_eq!((queue.held_bytes(), Arc::strong_count(&queue)), (0, 1));
    }

    #[test]
    fn reading_stops_at_the_limit_until_half_of_it_is_free_or_nothing_is_wanted() {
        for give_up in [false, true] {
            let queue = queue(1000);
            queue.push(7, buffer(300), Beside::default());
            assert!(queue.has_room());
            queue.push(7, buffer(800), Beside::default());
            let chunk = queue.take();
            assert!(!queue.has_room());
            drop(chunk);
            assert!(!queue.has_room(), "more than half is held");
            if give_up {
                queue.abandon();
            } else {
                drop(queue.take());
            }
            assert!(sys::wait_readable(queue.command.as_fd(), Some(Duration::ZERO)));
            assert!(queue.has_room());
        }
    }
}
