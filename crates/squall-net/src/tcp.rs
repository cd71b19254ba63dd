//! A native TCP source: one thread reads all connections of one listening socket and cuts their bytes into records.
//!
//! Plain epoll instead of an asynchronous runtime (tokio): one loop, no task for each connection, and to stop reading
//! is to stop the loop. Cost: a small layer of system calls of our own, and a thread for each listening socket. The
//! ways of a byte: socket → buffer → [`Chunk`], which is that buffer with the places of its records; only the bytes of
//! an unfinished record are copied. When the run loop does not take, the thread sleeps, the kernel's windows fill, and
//! the senders feel it.

mod connection;
mod queue;
mod reader;

pub use queue::Chunk;

use crate::sys;
use crate::wake::Wake;
use queue::Queue;
use reader::Reader;
use squall_core::framing::{Framing, Splitter};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Most memory of unfinished records if nothing else is asked for.
pub const REST_BYTES: usize = 64 << 20;

/// How to listen.
#[derive(Clone, Debug)]
pub struct ListenOptions {
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
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
    records: AtomicU64,
    oversize: AtomicU64,
    half: AtomicU64,
    crowded: AtomicU64,
    resets: AtomicU64,
}

/// Counters of a source at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpStats {
    /// Connections open now.
    pub connections: u64,
    /// Connections taken so far.
    pub accepted: u64,
    /// Connections over the limit, closed at once.
    pub refused: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Records found.
    pub records: u64,
    /// Records skipped, as they were over the limit.
    pub oversize: u64,
    /// Records whose end never came.
    pub half: u64,
    /// Connections closed inside a record, as unfinished records took too much memory.
    pub crowded: u64,
    /// Connections that ended by an error.
    pub resets: u64,
}

impl TcpStats {
    /// Every counter with its name.
    pub fn pairs(&self) -> [(&'static str, u64); 9] {
        [
            ("connections", self.connections),
            ("accepted", self.accepted),
            ("refused", self.refused),
            ("bytes", self.bytes),
            ("records", self.records),
            ("oversize", self.oversize),
            ("half", self.half),
            ("crowded", self.crowded),
            ("resets", self.resets),
        ]
    }
}

/// What the handle and the reader's thread both see, beside the queue.
#[derive(Default)]
struct Status {
    counts: Counts,
    stopping: AtomicBool,
}

/// A listening source, as the run loop holds it; dropping it ends its thread and its connections.
pub struct TcpListen {
    queue: Arc<Queue>,
    status: Arc<Status>,
    command: Arc<OwnedFd>,
}

impl TcpListen {
    /// Starts the reading thread on a socket that is listening already; `wake` is called when chunks come.
    ///
    /// An error of the kind `InvalidInput` says that nothing can be split by these options.
    pub fn start(fd: OwnedFd, options: ListenOptions, wake: Wake) -> io::Result<TcpListen> {
        let splitter = Splitter::new(options.framing.clone(), options.max_record)
            .map_err(|defect| io::Error::new(ErrorKind::InvalidInput, defect))?;
        sys::set_nonblocking(fd.as_fd())?;
        let command = Arc::new(sys::eventfd()?);
        let queue = Arc::new(Queue::new(options.queue_bytes, wake));
        let status = Arc::new(Status::default());
        let shared = (queue.clone(), status.clone(), command.clone());
        let reader = Reader::new(TcpListener::from(fd), splitter, &options, shared)?;
        std::thread::Builder::new().name("squall-tcp".into()).spawn(move || reader.run())?;
        Ok(TcpListen { queue, status, command })
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

    /// Takes no more connections; what the sockets hold by now is still delivered.
    pub fn stop_accepting(&self) {
        self.status.stopping.store(true, Relaxed);
        self.nudge();
    }

    /// Whether nothing more will come, and everything was taken.
    pub fn finished(&self) -> bool {
        self.queue.is_finished()
    }

    /// The counters now.
    pub fn stats(&self) -> TcpStats {
        let counts = &self.status.counts;
        TcpStats {
            connections: counts.connections.load(Relaxed),
            accepted: counts.accepted.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            bytes: counts.bytes.load(Relaxed),
            records: counts.records.load(Relaxed),
            oversize: counts.oversize.load(Relaxed),
            half: counts.half.load(Relaxed),
            crowded: counts.crowded.load(Relaxed),
            resets: counts.resets.load(Relaxed),
        }
    }

    /// Bytes of memory in chunks that were not dropped yet.
    pub fn held_bytes(&self) -> usize {
        self.queue.held_bytes()
    }

    fn nudge(&self) {
        sys::signal(self.command.as_raw_fd());
    }
}

impl Drop for TcpListen {
    fn drop(&mut self) {
        self.queue.abandon();
        self.nudge();
    }
}
