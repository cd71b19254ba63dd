//! The thread that accepts connections and reads them.

use super::connection::{Arrival, Connection};
use super::queue::{Buffer, Queue};
use super::{Counts, ListenOptions, Status};
use crate::sys::{self, Epoll};
use squall_core::framing::{RecordFault, Splitter};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const LISTENER: u64 = 0;
const COMMAND: u64 = 1;
const FIRST_CONNECTION: u64 = 2;
/// Connections taken before those that are open are read again.
const ACCEPTS_A_ROUND: usize = 256;
/// Most connections that can wait in the kernel to be accepted (`net.core.somaxconn` by default).
const BACKLOG: usize = 4096;
/// Pause of accepting when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Largest read.
const MAX_READ: usize = 16 << 20;
/// What the longest record needs beside twice its length: its delimiter, and the room for the read that ends it.
const BESIDE_RECORD: usize = 256 << 10;

/// What became of a connection that was read.
enum After {
    /// It is open; so many bytes came.
    Open(usize),
    Closed,
}

pub(super) struct Reader {
    listener: TcpListener,
    accept_again: Option<Instant>,
    epoll: Epoll,
    connections: HashMap<u64, Connection>,
    next: u64,
    /// Not used yet: each connection gets a clone.
    splitter: Splitter,
    /// What is read into.
    scratch: Buffer,
    read_bytes: usize,
    max_connections: usize,
    /// Memory of the unfinished records of all connections.
    rest_bytes: usize,
    max_rest_bytes: usize,
    queue: Arc<Queue>,
    status: Arc<Status>,
    /// Open as long as the thread may wait for it.
    _command: Arc<OwnedFd>,
}

impl Reader {
    pub fn new(
        listener: TcpListener,
        splitter: Splitter,
        options: &ListenOptions,
        (queue, status, command): (Arc<Queue>, Arc<Status>, Arc<OwnedFd>),
    ) -> io::Result<Reader> {
        let epoll = Epoll::new()?;
        epoll.add(listener.as_fd(), LISTENER)?;
        epoll.add(command.as_fd(), COMMAND)?;
        Ok(Reader {
            listener,
            accept_again: None,
            epoll,
            connections: HashMap::new(),
            next: FIRST_CONNECTION,
            splitter,
            scratch: Buffer::default(),
            read_bytes: options.client_buffer.clamp(1, MAX_READ),
            max_connections: options.max_connections,
            rest_bytes: 0,
            max_rest_bytes: options.rest_bytes.max(2 * options.max_record + BESIDE_RECORD),
            queue,
            status,
            _command: command,
        })
    }

    /// Serves until it is told to stop, then takes what is there, and ends.
    pub fn run(mut self) {
        let mut ready = Vec::new();
        while !self.queue.is_abandoned() {
            self.epoll.wait(&mut ready, self.accept_again.map(|_| ACCEPT_PAUSE));
            self.resume_accepting();
            for number in ready.drain(..) {
                match number {
                    LISTENER => self.accept(ACCEPTS_A_ROUND),
                    COMMAND => {}
                    connection => {
                        self.read(connection, self.read_bytes);
                    }
                }
            }
            if self.status.stopping.load(Relaxed) {
                return self.finish();
            }
        }
    }

    fn resume_accepting(&mut self) {
        if self.accept_again.is_some_and(|at| Instant::now() >= at)
            && self.epoll.add(self.listener.as_fd(), LISTENER).is_ok()
        {
            self.accept_again = None;
        }
    }

    fn accept(&mut self, at_most: usize) {
        for _ in 0..at_most {
            match self.listener.accept() {
                Ok((socket, _)) => self.welcome(socket),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(_) => {
                    // No descriptors or memory left: the kernel keeps the connections waiting meanwhile.
                    self.epoll.remove(self.listener.as_fd());
                    self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, socket: TcpStream) {
        let number = self.next;
        let welcome = self.connections.len() < self.max_connections
            && socket.set_nonblocking(true).is_ok()
            && self.epoll.add(socket.as_fd(), number).is_ok();
        let counts = &self.status.counts;
        if !welcome {
            counts.refused.fetch_add(1, Relaxed);
            return;
        }
        self.next += 1;
        counts.accepted.fetch_add(1, Relaxed);
        counts.connections.fetch_add(1, Relaxed);
        self.connections.insert(number, Connection::new(socket, self.splitter.clone()));
    }

    /// Reads a connection once, as soon as there is room for what comes.
    fn read(&mut self, number: u64, at_most: usize) -> After {
        self.queue.wait_for_room();
        let Some(connection) = self.connections.get_mut(&number) else { return After::Closed };
        let before_bytes = connection.rest_memory_bytes();
        let arrival = connection.read(&mut self.scratch, at_most);
        self.rest_bytes = self.rest_bytes - before_bytes + connection.rest_memory_bytes();
        match arrival {
            Ok(Arrival { bytes, faults }) => {
                self.status.counts.bytes.fetch_add(bytes as u64, Relaxed);
                self.hand_over(number, faults);
                self.make_room();
                if bytes > 0 {
                    return After::Open(bytes);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return After::Open(0);
            }
            Err(_) => {
                self.status.counts.resets.fetch_add(1, Relaxed);
            }
        }
        self.close(number);
        After::Closed
    }

    /// Gives the records in the scratch buffer to the run loop, at once: while the loop keeps up, each read is a chunk.
    fn hand_over(&mut self, number: u64, faults: Vec<RecordFault>) {
        if self.scratch.records.is_empty() && faults.is_empty() {
            return;
        }
        count(&self.status.counts, self.scratch.records.len(), &faults);
        // A copy of its size for a small read: else a trickle of lines would hold a large buffer for each of them.
        let buffer = match self.scratch.data.len() < self.scratch.data.capacity() / 4 {
            true => self.scratch.clone(),
            false => std::mem::replace(&mut self.scratch, self.queue.spare_buffer()),
        };
        self.queue.push(number, buffer, faults);
    }

    /// Closes connections until the unfinished records are within their limit, those with the longest first.
    fn make_room(&mut self) {
        while self.rest_bytes > self.max_rest_bytes {
            let longest = self.connections.iter().max_by_key(|(number, one)| (one.rest_memory_bytes(), **number));
            let Some((&number, connection)) = longest else { return };
            let fault = RecordFault::Crowded { bytes: connection.rest_bytes(), rest_bytes: self.max_rest_bytes };
            self.give_up(number, fault);
        }
    }

    /// Closes a connection inside a record.
    fn give_up(&mut self, number: u64, fault: RecordFault) {
        self.scratch.clear();
        self.hand_over(number, vec![fault]);
        self.close(number);
    }

    fn close(&mut self, number: u64) {
        if let Some(connection) = self.connections.remove(&number) {
            self.rest_bytes -= connection.rest_memory_bytes();
            self.epoll.remove(connection.fd());
            self.status.counts.connections.fetch_sub(1, Relaxed);
        }
    }

    /// Takes the connections that wait and what the sockets hold.
    fn finish(mut self) {
        self.accept(BACKLOG);
        let mut numbers: Vec<u64> = self.connections.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            self.drain(number);
        }
    }

    /// Takes what a socket holds by now, and not what a fast sender adds meanwhile.
    fn drain(&mut self, number: u64) {
        let Some(connection) = self.connections.get(&number) else { return };
        let mut held = sys::readable_bytes(connection.fd());
        while held > 0 && !self.queue.is_abandoned() {
            match self.read(number, held.min(self.read_bytes)) {
                After::Open(0) => break,
                After::Open(bytes) => held = held.saturating_sub(bytes),
                After::Closed => return,
            }
        }
        self.part_from(number);
    }

    /// Closes a connection. If its sender was done its rest may be a record, else it is half of one.
    fn part_from(&mut self, number: u64) {
        let Some(connection) = self.connections.get(&number) else { return };
        let bytes = connection.rest_bytes();
        if sys::has_ended(connection.fd()) {
            self.read(number, 1);
        } else if bytes > 0 {
            return self.give_up(number, RecordFault::Half { bytes });
        }
        self.close(number);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue.end();
    }
}

fn count(counts: &Counts, records: usize, faults: &[RecordFault]) {
    counts.records.fetch_add(records as u64, Relaxed);
    for fault in faults {
        let counter = match fault {
            RecordFault::TooLong { .. } => &counts.oversize,
            RecordFault::Half { .. } => &counts.half,
            RecordFault::Crowded { .. } => &counts.crowded,
        };
        counter.fetch_add(1, Relaxed);
    }
}
