//! The thread that takes or makes connections, reads them, and sends what is to be said on them.
//!
//! It waits on two sets: that of the sockets with records, and that of everything else (the listening socket, commands,
//! hand-shakes, receipts that a socket did not take), which is a member of the first. While the run loop has too much
//! to take, it waits on the second alone.

mod connections;
mod leaving;
mod records;

use super::connection::{Connection, Phase};
use super::dial::Dialer;
use super::queue::{Buffer, Queue};
use super::receipts::{self, Board};
use super::{Origin, Source, Status, StreamOptions};
use crate::sys::{self, Epoll, Ready};
use squall_core::framing::Splitter;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const LISTENER: u64 = 0;
const COMMAND: u64 = 1;
const CONTROL: u64 = 2;
const FIRST_CONNECTION: u64 = 3;
/// Connections taken before those that are open are read again.
const ACCEPTS_A_ROUND: usize = 256;
/// Pause of accepting when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Largest read.
const MAX_READ: usize = 16 << 20;
/// What the longest record needs beside twice its length: its delimiter, and the room for the read that ends it.
const BESIDE_RECORD: usize = 256 << 10;

pub(super) struct Reader {
    listener: Option<OwnedFd>,
    dialer: Option<Dialer>,
    /// No server is called twice.
    ends_alone: bool,
    /// When what cannot be waited for by a descriptor is due.
    accept_again: Option<Instant>,
    receipts_due: Option<Instant>,
    receipts_sent: Instant,
    /// The sockets with records, and `control`.
    data: Epoll,
    control: Epoll,
    connections: HashMap<u64, Connection>,
    /// Connections that have something although their sockets do not say so.
    buffered: Vec<u64>,
    /// Connections in their hand-shakes, in the order they began.
    shaking: VecDeque<(Instant, u64)>,
    next: u64,
    /// Not used yet: each connection gets a clone.
    splitter: Splitter,
    options: StreamOptions,
    /// What is read into.
    scratch: Buffer,
    read_bytes: usize,
    /// Memory of the unfinished records of all connections.
    rest_bytes: usize,
    max_rest_bytes: usize,
    is_finishing: bool,
    queue: Arc<Queue>,
    status: Arc<Status>,
    board: Option<Arc<Board>>,
    command: Arc<OwnedFd>,
}

impl Reader {
    pub fn new(origin: Origin, splitter: Splitter, options: StreamOptions, source: &Source) -> io::Result<Reader> {
        let (queue, status, command) = (source.queue.clone(), source.status.clone(), source.command.clone());
        let (data, control) = (Epoll::new()?, Epoll::new()?);
        data.add(control.as_fd(), CONTROL)?;
        control.add(command.as_fd(), COMMAND)?;
        let (mut listener, mut dialer, mut ends_alone) = (None, None, false);
        match origin {
            Origin::Listen(fd) => {
                control.add(fd.as_fd(), LISTENER)?;
                listener = Some(fd);
            }
            Origin::Call(calls) => {
                ends_alone = !calls.reconnect;
                dialer = Some(Dialer::start(calls, queue.clone(), status.clone(), command.clone())?);
            }
        }
        Ok(Reader {
            listener,
            dialer,
            ends_alone,
            accept_again: None,
            receipts_due: None,
            receipts_sent: Instant::now() - receipts::EVERY,
            data,
            control,
            connections: HashMap::new(),
            buffered: Vec::new(),
            shaking: VecDeque::new(),
            next: FIRST_CONNECTION,
            splitter,
            scratch: Buffer::default(),
            read_bytes: options.client_buffer.clamp(1, MAX_READ),
            rest_bytes: 0,
            max_rest_bytes: options.rest_bytes.max(2 * options.max_record + BESIDE_RECORD),
            options,
            is_finishing: false,
            queue,
            status,
            board: source.board.clone(),
            command,
        })
    }

    /// Serves until it is told to stop, then takes what is there, and ends.
    pub fn run(mut self) {
        let mut ready = Vec::new();
        while !self.queue.is_abandoned() {
            if self.status.stopping.load(Relaxed) || self.has_nobody_to_read() {
                self.finish();
                break;
            }
            let timeout = if self.buffered.is_empty() { self.next_due() } else { Some(Duration::ZERO) };
            self.data.wait(&mut ready, timeout);
            self.do_what_is_due();
            for Ready { number, .. } in ready.drain(..) {
                match number {
                    CONTROL => self.serve_control(Some(Duration::ZERO)),
                    connection => {
                        self.read(connection, self.read_bytes);
                    }
                }
            }
            for number in std::mem::take(&mut self.buffered) {
                self.read(number, self.read_bytes);
            }
        }
        self.part();
    }

    /// Whether nothing will ever come: every server has closed, and none is to be called again.
    fn has_nobody_to_read(&self) -> bool {
        let is_done = |dialer: &Dialer| self.ends_alone && dialer.is_done();
        self.dialer.as_ref().is_some_and(is_done) && self.connections.values().all(|one| one.phase == Phase::Receipting)
    }

    /// How long nothing is due.
    fn next_due(&self) -> Option<Duration> {
        let shaking = self.shaking.front().map(|(until, _)| *until);
        let due = [self.accept_again, self.receipts_due, shaking].into_iter().flatten().min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Waits for what is no record, and does it.
    fn serve_control(&mut self, timeout: Option<Duration>) {
        let mut ready = Vec::new();
        self.control.wait(&mut ready, timeout);
        for Ready { number, is_over } in ready {
            match number {
                LISTENER => self.accept(ACCEPTS_A_ROUND),
                COMMAND => self.obey(),
                connection => self.go_on(connection, is_over),
            }
        }
        self.do_what_is_due();
    }

    /// Cost: three looks when nothing waits for its time.
    fn do_what_is_due(&mut self) {
        if self.accept_again.is_none() && self.receipts_due.is_none() && self.shaking.is_empty() {
            return;
        }
        let now = Instant::now();
        if self.accept_again.is_some_and(|at| now >= at)
            && let Some(listener) = &self.listener
            && self.control.add(listener.as_fd(), LISTENER).is_ok()
        {
            self.accept_again = None;
        }
        if self.receipts_due.is_some_and(|at| now >= at) {
            self.send_receipts();
        }
        self.end_late_handshakes(now);
    }

    /// Another thread wants something: it is looked for, as the command does not say what.
    fn obey(&mut self) {
        sys::clear(self.command.as_fd());
        let made = self.dialer.as_ref().map(Dialer::take).unwrap_or_default();
        for (server, socket) in made {
            self.welcome(socket, Some(server));
        }
        if self.receipts_due.is_none() && self.board.as_ref().is_some_and(|board| board.has_news()) {
            self.receipts_due = Some(self.receipts_sent + receipts::EVERY);
        }
    }

    /// A hand-shake, or a receipt that the socket did not take, goes on; or the connection is over.
    fn go_on(&mut self, number: u64, is_over: bool) {
        match self.connections.get(&number).map(|one| one.phase) {
            Some(Phase::Handshake) => self.shake_hands(number),
            Some(Phase::Receipting | Phase::Stopped) if is_over => self.close(number, "the other side is gone"),
            Some(_) => self.flush(number),
            None => {}
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue.end();
    }
}
