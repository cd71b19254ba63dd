//! A native source of records from sockets: one thread reads all connections and cuts their bytes into records.
//!
//! Connections come from one listening socket, or are made to servers. Plain epoll instead of an asynchronous runtime
//! (tokio): one loop, no task for each connection, and to stop reading is to leave the sockets alone. Cost: a small
//! layer of system calls of our own, and a thread for each source. The ways of a byte: socket → (TLS →) buffer →
//! [`Chunk`], which is that buffer with the places of its records; only the bytes of an unfinished record are copied.
//! When the run loop does not take, the kernel's windows fill, and the senders feel it; hand-shakes and receipts go on.

mod connection;
mod datagrams;
mod dial;
mod news;
mod queue;
mod reader;
mod receipts;
mod storing;

pub use datagrams::DatagramOptions;
pub use news::News;
pub use queue::Chunk;
pub use receipts::Ends;

use crate::journal::Journal;
use crate::sys;
use crate::tls::Tls;
use crate::wake::Wake;
use queue::Queue;
use reader::Reader;
use receipts::Board;
use squall_core::framing::{Framing, Splitter};
use squall_core::tally::Outputs;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use storing::{Kept, Storing};

/// Most memory of unfinished records if nothing else is asked for.
pub const REST_BYTES: usize = 64 << 20;

/// How long a TLS hand-shake may take if nothing else is asked for.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// How records come from connections.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// How records are told apart.
    pub framing: Framing,
    /// Longest record in bytes; longer ones are skipped and reported.
    pub max_record: usize,
    /// More connections than this are closed at once.
    pub max_connections: usize,
    /// Most bytes of one read.
    pub client_buffer: usize,
    /// Bytes of memory in chunks that were not dropped yet, at which sockets are not read any more.
    ///
    /// Bound: one chunk more.
    pub queue_bytes: usize,
    /// Bytes of memory in the unfinished records of all connections, beyond which the connection with the longest is
    /// closed, with a fault. One record of `max_record` has room in any case.
    ///
    /// Bound: one read more.
    pub rest_bytes: usize,
    /// Connections are encrypted.
    pub tls: Option<Tls>,
    /// How long a TLS hand-shake may take.
    pub handshake: Duration,
    /// What is told on each connection of its records (semantics 32).
    pub receipts: Receipts,
}

/// What senders are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipts {
    /// Nothing.
    None,
    /// How many of their records have ended.
    Processed,
    /// How many of their records are in the journal.
    Stored,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// A name, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Whom to call, and when to call again.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// One connection is made to each.
    pub servers: Vec<Server>,
    /// A server that was lost is called again. Else the source ends when the last has closed its connection.
    pub reconnect: bool,
    /// First pause between two calls.
    pub first_pause_ns: u64,
    /// The pause is doubled up to this.
    pub longest_pause_ns: u64,
    /// How long a call may take.
    pub timeout: Duration,
}

/// Where connections come from.
pub enum Origin {
    /// A socket that is listening already, of any family.
    Listen(OwnedFd),
    /// Servers.
    Call(CallOptions),
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        #[derive(Default)]
        struct Counts {
            $($name: AtomicU64,)*
        }

        /// Counters of a source at one moment.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct SourceStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            fn now(&self) -> SourceStats {
                SourceStats { $($name: self.$name.load(Relaxed),)* }
            }
        }

        impl SourceStats {
            /// Every counter with its name.
            pub fn pairs(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections open now.
    connections,
    /// Connections taken so far, or made.
    accepted,
    /// Connections over the limit, closed at once.
    refused,
    /// Bytes read.
    bytes,
    /// Records found.
    records,
    /// Records skipped, as they were over the limit.
    oversize,
    /// Records whose end never came.
    half,
    /// Connections closed inside a record, as unfinished records took too much memory.
    crowded,
    /// Connections that ended by an error.
    resets,
    /// TLS hand-shakes that failed or took too long.
    handshakes,
    /// Calls of a server that did not reach it.
    unreachable,
    /// Datagrams that the kernel dropped, as nobody read them in time.
    dropped,
    /// Records of the journal that were taken again, as they had not ended before.
    replayed,
    /// Bytes of the journal on disk now.
    journal_bytes,
    /// Records in the journal that have not ended, by now or half a second ago.
    journal_waiting,
}

/// What the handle and the reader's thread both see, beside the queue.
#[derive(Default)]
struct Status {
    counts: Counts,
    stopping: AtomicBool,
}

/// A source, as the run loop holds it; dropping it ends its thread and its connections.
pub struct Source {
    queue: Arc<Queue>,
    status: Arc<Status>,
    command: Arc<OwnedFd>,
    board: Option<Arc<Board>>,
    receipts: Receipts,
    kept: Option<Arc<Kept>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Source {
    /// Starts the reading thread; `wake` is called when chunks come. With a journal all records come by way of it, and
    /// first those of it that had not ended.
    ///
    /// An error of the kind `InvalidInput` says that nothing can be split by these options.
    pub fn start(origin: Origin, options: StreamOptions, journal: Option<Journal>, wake: Wake) -> io::Result<Source> {
        let splitter = Splitter::new(options.framing.clone(), options.max_record)
            .map_err(|defect| io::Error::new(ErrorKind::InvalidInput, defect))?;
        if let Origin::Listen(fd) = &origin {
            sys::set_nonblocking(fd.as_fd())?;
        }
        if options.receipts == Receipts::Stored && journal.is_none() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "nothing is stored without a journal"));
        }
        let mut source = Source::new(options.queue_bytes, wake, journal.is_some())?;
        source.receipts = options.receipts;
        source.board = (options.receipts != Receipts::None).then(|| Arc::new(Board::new(source.command.clone())));
        let reader = Reader::new(origin, splitter, options, &source)?;
        if let Some(journal) = journal {
            let kept = Arc::new(Kept::new(&journal));
            source.kept = Some(kept.clone());
            let (queue, status) = (source.queue.clone(), source.status.clone());
            let board = source.board.clone().filter(|_| source.receipts == Receipts::Stored);
            let by_connection = source.receipts == Receipts::Processed;
            let storing = Storing::new(journal, kept, queue, status, board, by_connection);
            source.run("squall-journal", move || storing.run())?;
        }
        source.run("squall-source", move || reader.run())?;
        Ok(source)
    }

    /// Starts the reading thread of a socket that is bound already: each datagram is a record.
    pub fn datagrams(fd: OwnedFd, options: DatagramOptions, wake: Wake) -> io::Result<Source> {
        let source = Source::new(options.queue_bytes, wake, false)?;
        let reader = datagrams::Reader::new(fd, options, &source)?;
        source.run("squall-source", move || reader.run())?;
        Ok(source)
    }

    fn new(queue_bytes: usize, wake: Wake, is_journaled: bool) -> io::Result<Source> {
        let command = Arc::new(sys::eventfd()?);
        let queue = Arc::new(Queue::new(queue_bytes, wake, command.clone(), is_journaled));
        let (receipts, threads) = (Receipts::None, Mutex::default());
        Ok(Source { queue, status: Arc::default(), command, board: None, receipts, kept: None, threads })
    }

    fn run(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work)?;
        self.threads.lock().expect("no thread panics while it holds it").push(thread);
        Ok(())
    }

    /// What the loop counts by, if anybody wants to know what has ended.
    pub fn ends(&self, outputs: Outputs) -> Option<Ends> {
        let board = self.board.clone().filter(|_| self.receipts == Receipts::Processed);
        (board.is_some() || self.kept.is_some()).then(|| Ends::new(outputs, board, self.kept.clone()))
    }

    /// The next chunk, if one is there. Cost: one load when none is.
    #[inline]
    pub fn try_take(&self) -> Option<Chunk> {
        self.queue.take()
    }

    /// Whether a chunk waits.
    #[inline]
    pub fn has_chunks(&self) -> bool {
        self.queue.has_chunks()
    }

    /// Takes and makes no more connections; what the sockets hold by now is still delivered.
    pub fn stop_accepting(&self) {
        self.status.stopping.store(true, Relaxed);
        self.nudge();
    }

    /// Whether nothing more will come, and everything was taken.
    pub fn finished(&self) -> bool {
        self.queue.is_finished()
    }

    /// The counters now.
    pub fn stats(&self) -> SourceStats {
        self.status.counts.now()
    }

    /// Bytes of memory in chunks that were not dropped yet.
    pub fn held_bytes(&self) -> usize {
        self.queue.held_bytes()
    }

    /// Ends: sends the last receipts, closes the connections, and waits for that, two seconds at most, and for the disk.
    pub fn close(&self) {
        self.queue.abandon();
        for thread in self.threads.lock().expect("as in `run`").drain(..) {
            let _ = thread.join();
        }
    }

    fn nudge(&self) {
        sys::signal(self.command.as_raw_fd());
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}
