//! A native TCP source: one thread reads all connections of one listening socket and cuts their bytes into records.
//!
//! Plain epoll instead of an asynchronous runtime: one thread, one loop, no task for each connection, and stopping to
//! read is stopping the loop. When the bytes that the run loop has not taken yet pass a limit the thread sleeps, so the
//! kernel's windows fill and the senders feel it. A chunk is the buffer that was read into, with the places of its
//! records; only an unfinished record's bytes are copied to the next buffer.

use crate::sys::{self, Epoll};
use crate::wake::Wake;
use squall_core::framing::{Framing, RecordFault, Splitter};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const LISTENER: u64 = 0;
const COMMAND: u64 = 1;
const FIRST_CONNECTION: u64 = 2;
/// Pause of accepting when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Buffers kept for reuse.
const SPARE_BUFFERS: usize = 16;
/// Below this a read is copied into a buffer of its size, so that trickling clients cost no memory.
const SMALL_READ: usize = 4096;

/// How to listen.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// How records are told apart.
    pub framing: Framing,
    /// Longest record in bytes; longer ones are skipped and reported.
    pub max_record: usize,
    /// More connections than this are closed at once.
    pub max_connections: usize,
    /// Bytes of one read.
    pub client_buffer: usize,
    /// Bytes that may wait for the run loop before sockets are not read any more.
    pub queue_bytes: usize,
}

/// Counters of a source.
#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
    records: AtomicU64,
    faults: AtomicU64,
    resets: AtomicU64,
}

/// Counters of a source at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpStats {
    /// Connections open now.
    pub connections: u64,
    /// Connections taken so far.
    pub accepted: u64,
    /// Connections over the limit.
    pub refused: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Records found.
    pub records: u64,
    /// Records skipped or cut off.
    pub faults: u64,
    /// Connections that ended by an error.
    pub resets: u64,
}

impl TcpStats {
    /// Every counter with its name.
    pub fn pairs(&self) -> [(&'static str, u64); 7] {
        [
            ("connections", self.connections),
            ("accepted", self.accepted),
            ("refused", self.refused),
            ("bytes", self.bytes),
            ("records", self.records),
            ("faults", self.faults),
            ("resets", self.resets),
        ]
    }
}

/// Records of one connection, in the buffer they were read into.
pub struct Chunk {
    /// Number of the connection.
    pub connection: u64,
    data: Vec<u8>,
    records: Vec<Range<u32>>,
    faults: Vec<RecordFault>,
    shared: Arc<Shared>,
}

impl Chunk {
    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none (only faults).
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Record `i`.
    #[inline(always)]
    pub fn record(&self, i: usize) -> &[u8] {
        let range = &self.records[i];
        &self.data[range.start as usize..range.end as usize]
    }

    /// What was wrong with records between these.
    pub fn faults(&self) -> &[RecordFault] {
        &self.faults
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.shared.release(std::mem::take(&mut self.data));
    }
}

#[derive(Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    spare: Vec<Vec<u8>>,
}

struct Shared {
    options: ListenOptions,
    queue: Mutex<Queue>,
    room: Condvar,
    /// Bytes in chunks that were not dropped yet.
    held_bytes: AtomicUsize,
    waiting_chunks: AtomicUsize,
    stopping: AtomicBool,
    finished: AtomicBool,
    counts: Counts,
    wake: Wake,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no thread panics while it holds the queue")
    }

    fn release(&self, mut data: Vec<u8>) {
        let size = data.len();
        let before = self.held_bytes.fetch_sub(size, Relaxed);
        let limit = self.options.queue_bytes;
        let mut queue = self.lock();
        if data.capacity() > SMALL_READ && queue.spare.len() < SPARE_BUFFERS {
            data.clear();
            queue.spare.push(data);
        }
        drop(queue);
        if before > limit / 2 && before - size <= limit / 2 {
            self.room.notify_all();
        }
    }

    fn push(&self, chunk: Chunk) {
        self.held_bytes.fetch_add(chunk.data.len(), Relaxed);
        self.lock().chunks.push_back(chunk);
        self.waiting_chunks.fetch_add(1, Relaxed);
        self.wake.wake();
    }

    /// Sleeps while the run loop has too much to take.
    fn wait_for_room(&self) {
        let limit = self.options.queue_bytes;
        if self.held_bytes.load(Relaxed) < limit {
            return;
        }
        let mut queue = self.lock();
        while self.held_bytes.load(Relaxed) > limit / 2 && !self.abandoned() {
            queue = self.room.wait_timeout(queue, Duration::from_millis(100)).expect("as in `lock`").0;
        }
    }

    /// Whether the run loop let go of the source.
    fn abandoned(&self) -> bool {
        self.finished.load(Relaxed)
    }
}

/// A listening source, as the run loop holds it.
pub struct TcpListen {
    shared: Arc<Shared>,
    command: Arc<OwnedFd>,
}

impl TcpListen {
    /// Starts the reading thread on a socket that is listening already.
    pub fn start(fd: OwnedFd, options: ListenOptions, wake: Wake) -> io::Result<TcpListen> {
        let options_splitter = Splitter::new(options.framing.clone(), options.max_record);
        let splitter = options_splitter.map_err(|defect| io::Error::new(ErrorKind::InvalidInput, defect))?;
        sys::set_nonblocking(fd.as_fd())?;
        let command = Arc::new(sys::eventfd()?);
        let shared = Arc::new(Shared {
            options,
            queue: Mutex::default(),
            room: Condvar::new(),
            held_bytes: AtomicUsize::new(0),
            waiting_chunks: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            counts: Counts::default(),
            wake,
        });
        let mut reader = Reader::new(TcpListener::from(fd), command.clone(), splitter, shared.clone())?;
        std::thread::Builder::new().name("squall-tcp".into()).spawn(move || reader.run())?;
        Ok(TcpListen { shared, command })
    }

    /// The next chunk, if one is there.
    #[inline]
    pub fn try_take(&self) -> Option<Chunk> {
        if !self.has_chunks() {
            return None;
        }
        let chunk = self.shared.lock().chunks.pop_front()?;
        self.shared.waiting_chunks.fetch_sub(1, Relaxed);
        Some(chunk)
    }

    /// Whether a chunk waits.
    #[inline]
    pub fn has_chunks(&self) -> bool {
        self.shared.waiting_chunks.load(Relaxed) > 0
    }

    /// Takes no more connections; what the sockets hold by now is still delivered.
    pub fn stop_accepting(&self) {
        self.shared.stopping.store(true, Relaxed);
        self.nudge();
    }

    /// Whether nothing more will come, and everything was taken.
    pub fn finished(&self) -> bool {
        self.shared.finished.load(Relaxed) && !self.has_chunks()
    }

    /// The counters now.
    pub fn stats(&self) -> TcpStats {
        let counts = &self.shared.counts;
        TcpStats {
            connections: counts.connections.load(Relaxed),
            accepted: counts.accepted.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            bytes: counts.bytes.load(Relaxed),
            records: counts.records.load(Relaxed),
            faults: counts.faults.load(Relaxed),
            resets: counts.resets.load(Relaxed),
        }
    }

    /// Bytes in chunks that the run loop has not dropped yet.
    pub fn held_bytes(&self) -> usize {
        self.shared.held_bytes.load(Relaxed)
    }

    fn nudge(&self) {
        let one = 1_u64;
        // SAFETY: writes 8 bytes of a local.
        unsafe { libc::write(self.command.as_raw_fd(), (&raw const one).cast(), 8) };
    }
}

impl Drop for TcpListen {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Relaxed);
        self.shared.finished.store(true, Relaxed);
        self.shared.room.notify_all();
        self.nudge();
    }
}

struct Connection {
    socket: TcpStream,
    splitter: Splitter,
    /// The unfinished record.
    rest: Vec<u8>,
    /// Bytes still to read before closing, once the source stops.
    last_bytes: Option<usize>,
}

struct Reader {
    listener: Option<TcpListener>,
    accept_again: Option<Instant>,
    command: Arc<OwnedFd>,
    epoll: Epoll,
    connections: HashMap<u64, Connection>,
    next: u64,
    splitter: Splitter,
    shared: Arc<Shared>,
}

/// Whether a connection goes on after a read.
#[derive(PartialEq, Eq)]
enum After {
    Open,
    Ended,
    Reset,
}

impl Reader {
    fn new(listener: TcpListener, command: Arc<OwnedFd>, splitter: Splitter, shared: Arc<Shared>) -> io::Result<Reader> {
        let epoll = Epoll::new()?;
        epoll.add(listener.as_fd(), LISTENER)?;
        epoll.add(command.as_fd(), COMMAND)?;
        let connections = HashMap::new();
        let listener = Some(listener);
        Ok(Reader { listener, accept_again: None, command, epoll, connections, next: FIRST_CONNECTION, splitter, shared })
    }

    fn run(&mut self) {
        let mut ready = Vec::new();
        while !self.shared.abandoned() {
            let timeout_ms = if self.accept_again.is_some() { ACCEPT_PAUSE.as_millis() as i32 } else { -1 };
            self.epoll.wait(&mut ready, timeout_ms);
            self.resume_accepting();
            for number in ready.drain(..) {
                match number {
                    LISTENER => self.accept(),
                    COMMAND => {}
                    connection => self.read(connection),
                }
            }
            if self.shared.stopping.load(Relaxed) {
                self.finish();
                return;
            }
        }
    }

    /// Takes what is waiting and what the sockets hold, then ends.
    fn finish(&mut self) {
        self.accept_again = None;
        self.accept();
        self.listener = None;
        for connection in self.connections.values_mut() {
            connection.last_bytes = Some(sys::readable_bytes(connection.socket.as_fd()));
        }
        let mut numbers: Vec<u64> = self.connections.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            while !self.shared.abandoned() && self.connections.get(&number).is_some_and(|c| c.last_bytes != Some(0)) {
                self.read(number);
            }
            self.cut_off(number);
        }
        self.shared.finished.store(true, Relaxed);
        self.shared.wake.wake();
    }

    /// Closes a connection whose sender was not done: half a record is no record.
    fn cut_off(&mut self, number: u64) {
        if let Some(connection) = self.connections.get_mut(&number) {
            if !connection.rest.is_empty() {
                let half = RecordFault::Half { bytes: connection.rest.len() };
                self.shared.counts.faults.fetch_add(1, Relaxed);
                self.shared.push(self.chunk(number, Vec::new(), Vec::new(), vec![half]));
            }
            self.close(number, After::Ended);
        }
    }

    fn resume_accepting(&mut self) {
        if self.accept_again.is_some_and(|at| Instant::now() >= at) {
            self.accept_again = None;
            if let Some(listener) = &self.listener {
                let _ = self.epoll.add(listener.as_fd(), LISTENER);
            }
            self.accept();
        }
    }

    fn accept(&mut self) {
        while let Some(listener) = &self.listener {
            match listener.accept() {
                Ok((socket, _)) => self.welcome(socket),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => {}
                Err(_) => {
                    // No descriptors or memory left: the kernel keeps the connection waiting meanwhile.
                    self.epoll.remove(listener.as_fd());
                    self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, socket: TcpStream) {
        let counts = &self.shared.counts;
        if self.connections.len() >= self.shared.options.max_connections {
            counts.refused.fetch_add(1, Relaxed);
            return;
        }
        let number = self.next;
        if socket.set_nonblocking(true).is_err() || self.epoll.add(socket.as_fd(), number).is_err() {
            counts.refused.fetch_add(1, Relaxed);
            return;
        }
        self.next += 1;
        counts.accepted.fetch_add(1, Relaxed);
        counts.connections.fetch_add(1, Relaxed);
        let splitter = self.splitter.clone();
        self.connections.insert(number, Connection { socket, splitter, rest: Vec::new(), last_bytes: None });
    }

    fn read(&mut self, number: u64) {
        self.shared.wait_for_room();
        let Some(mut connection) = self.connections.remove(&number) else { return };
        let after = self.read_once(number, &mut connection);
        self.connections.insert(number, connection);
        if after != After::Open {
            self.close(number, after);
        }
    }

    fn read_once(&self, number: u64, connection: &mut Connection) -> After {
        let mut buffer = self.shared.lock().spare.pop().unwrap_or_default();
        buffer.extend_from_slice(&connection.rest);
        let kept = buffer.len();
        let wanted = connection.last_bytes.unwrap_or(usize::MAX).min(self.shared.options.client_buffer).max(1);
        buffer.resize(kept + wanted, 0);
        let read = match connection.socket.read(&mut buffer[kept..]) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                connection.last_bytes = connection.last_bytes.map(|_| 0);
                return After::Open;
            }
            Err(_) => return After::Reset,
        };
        buffer.truncate(kept + read);
        connection.last_bytes = connection.last_bytes.map(|left| left.saturating_sub(read));
        let mut records = Vec::new();
        let found = match read {
            0 => connection.splitter.end(&buffer, &mut records),
            _ => connection.splitter.split(&buffer, &mut records),
        };
        self.shared.counts.bytes.fetch_add(read as u64, Relaxed);
        connection.rest.clear();
        connection.rest.extend_from_slice(&buffer[found.consumed..]);
        buffer.truncate(found.consumed);
        self.hand_over(number, buffer, records, found.faults);
        if read == 0 { After::Ended } else { After::Open }
    }

    fn hand_over(&self, number: u64, mut buffer: Vec<u8>, records: Vec<Range<u32>>, faults: Vec<RecordFault>) {
        if records.is_empty() && faults.is_empty() {
            self.keep(buffer);
            return;
        }
        let counts = &self.shared.counts;
        counts.records.fetch_add(records.len() as u64, Relaxed);
        counts.faults.fetch_add(faults.len() as u64, Relaxed);
        if buffer.len() < SMALL_READ {
            let copy = buffer.clone();
            self.keep(std::mem::replace(&mut buffer, copy));
        }
        self.shared.push(self.chunk(number, buffer, records, faults));
    }

    fn keep(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut queue = self.shared.lock();
        if queue.spare.len() < SPARE_BUFFERS {
            queue.spare.push(buffer);
        }
    }

    fn chunk(&self, connection: u64, data: Vec<u8>, records: Vec<Range<u32>>, faults: Vec<RecordFault>) -> Chunk {
        Chunk { connection, data, records, faults, shared: self.shared.clone() }
    }

    fn close(&mut self, number: u64, after: After) {
        if let Some(connection) = self.connections.remove(&number) {
            self.epoll.remove(connection.socket.as_fd());
            self.shared.counts.connections.fetch_sub(1, Relaxed);
            if after == After::Reset {
                self.shared.counts.resets.fetch_add(1, Relaxed);
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.epoll.remove(self.command.as_fd());
        self.shared.finished.store(true, Relaxed);
        self.shared.wake.wake();
    }
}
