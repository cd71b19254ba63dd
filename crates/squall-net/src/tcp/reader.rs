//! The thread that takes or makes connections, reads them, and sends what is to be said on them.
//!
//! It waits on two sets: that of the sockets with records, and that of everything else (the listening socket, commands,
//! hand-shakes, receipts that a socket did not take), which is a member of the first. While the run loop has too much
//! to take, it waits on the second alone.

use super::connection::{Arrival, Connection, Phase};
use super::dial::Dialer;
use super::news::News;
use super::queue::{Beside, Buffer, Queue};
use super::receipts::{self, Board};
use super::{Counts, Origin, Source, Status, StreamOptions};
use crate::sys::{self, Epoll, Interest, Ready};
use crate::tls::Step;
use squall_core::framing::{RecordFault, Splitter};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
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
/// Most connections that can wait in the kernel to be accepted (`net.core.somaxconn` by default).
const BACKLOG: usize = 4096;
/// Pause of accepting when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Largest read.
const MAX_READ: usize = 16 << 20;
/// What the longest record needs beside twice its length: its delimiter, and the room for the read that ends it.
const BESIDE_RECORD: usize = 256 << 10;
/// How long a TLS hand-shake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the last receipts may take to be sent when the source closes.
const LAST_RECEIPTS: Duration = Duration::from_secs(1);
/// How long a sender that goes on is listened to after its last receipt: a close in mid-sentence would be a reset, which
/// can overtake the receipt.
const LINGER: Duration = Duration::from_millis(250);

/// What became of a connection that was read.
enum After {
    /// It is open; so many bytes came.
    Open(usize),
    Closed,
}

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
            let timeout = if self.buffered.is_empty() { self.next_due() } else { Some(Duration::ZERO) };
            self.data.wait(&mut ready, timeout);
            if ready.is_empty() {
                self.do_what_is_due();
            }
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
            if self.status.stopping.load(Relaxed) || self.has_nobody_to_read() {
                self.finish();
                break;
            }
        }
        self.part();
    }

    /// Whether nothing will ever come: every server has closed, and none is to be called again.
    fn has_nobody_to_read(&self) -> bool {
        let is_done = |dialer: &Dialer| self.ends_alone && dialer.is_done();
        self.dialer.as_ref().is_some_and(is_done) && self.connections.values().all(|one| one.phase == Phase::Receipting)
    }

    // -- everything but records ------------------------------------------------------------------------------------

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

    fn do_what_is_due(&mut self) {
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
        while let Some((until, number)) = self.shaking.front().copied()
            && now >= until
        {
            self.shaking.pop_front();
            let late = |one: &Connection| matches!(one.phase, Phase::Handshake);
            if self.connections.get(&number).is_some_and(late) {
                self.handshake_failed(number, format!("it took more than {} s", HANDSHAKE.as_secs()));
            }
        }
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

    // -- connections -----------------------------------------------------------------------------------------------

    fn accept(&mut self, at_most: usize) {
        for _ in 0..at_most {
            let Some(listener) = &self.listener else { return };
            match sys::accept(listener.as_fd()) {
                Ok(socket) => self.welcome(socket, None),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(_) => {
                    // No descriptors or memory left: the kernel keeps the connections waiting meanwhile.
                    self.control.remove(listener.as_fd());
                    self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, socket: OwnedFd, server: Option<usize>) {
        if server.is_none() && self.connections.len() >= self.options.max_connections {
            self.status.counts.refused.fetch_add(1, Relaxed);
            return;
        }
        let host = server.and_then(|index| Some(self.dialer.as_ref()?.server(index).host.as_str())).unwrap_or("");
        let session = match self.options.tls.as_ref().map(|tls| tls.session(host)).transpose() {
            Ok(session) => session,
            Err(defect) => return self.not_welcome(server, &defect.to_string()),
        };
        let number = self.next;
        self.next += 1;
        let mut connection = Connection::new(socket, session, self.splitter.clone());
        connection.server = server;
        self.status.counts.accepted.fetch_add(1, Relaxed);
        self.status.counts.connections.fetch_add(1, Relaxed);
        let phase = connection.phase;
        self.connections.insert(number, connection);
        if phase == Phase::Handshake {
            self.shaking.push_back((Instant::now() + HANDSHAKE, number));
            self.shake_hands(number);
        } else {
            self.open(number);
        }
    }

    fn not_welcome(&mut self, server: Option<usize>, because: &str) {
        if let (Some(index), Some(dialer)) = (server, &self.dialer) {
            dialer.lost(index, because.to_owned());
        }
    }

    /// From now on records may come.
    fn open(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.phase = Phase::Open;
        if self.data.add(connection.fd(), number).is_err() {
            return self.close(number, "no memory is left to wait for it");
        }
        if connection.has_more() {
            self.buffered.push(number);
        }
        if let (Some(index), Some(dialer)) = (connection.server, &self.dialer) {
            dialer.is_up(index);
        }
    }

    fn shake_hands(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.handshake() {
            Ok(Step::Done) => {
                self.wait_for(number, None);
                self.open(number);
            }
            Ok(Step::WantsRead) => self.wait_for(number, Some(Interest::Read)),
            Ok(Step::WantsWrite) => self.wait_for(number, Some(Interest::Write)),
            Err(error) => self.handshake_failed(number, error.to_string()),
        }
    }

    fn wait_for(&mut self, number: u64, interest: Option<Interest>) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.wait_for(interest, &self.control, number).is_err() {
            self.close(number, "no memory is left to wait for it");
        }
    }

    fn handshake_failed(&mut self, number: u64, because: String) {
        self.status.counts.handshakes.fetch_add(1, Relaxed);
        let Some(connection) = self.connections.get(&number) else { return };
        if connection.server.is_none() {
            let peer = sys::peer(connection.fd()).unwrap_or_else(|| "a client".to_owned());
            let news = News::Handshake { peer, because: because.clone() };
            self.queue.push(number, Buffer::default(), Beside::news(news));
        }
        self.close(number, &format!("the TLS hand-shake failed: {because}"));
    }

    fn close(&mut self, number: u64, because: &str) {
        let Some(connection) = self.connections.remove(&number) else { return };
        self.rest_bytes -= connection.rest_memory_bytes();
        self.data.remove(connection.fd());
        self.control.remove(connection.fd());
        self.status.counts.connections.fetch_sub(1, Relaxed);
        if self.board.is_some() && connection.phase == Phase::Open {
            self.queue.push(number, Buffer::default(), Beside { is_last: true, ..Beside::default() });
        }
        if let (Some(index), Some(dialer), false) = (connection.server, &self.dialer, self.is_finishing) {
            dialer.lost(index, because.to_owned());
        }
    }

    // -- records -----------------------------------------------------------------------------------------------------

    /// Reads a connection once, as soon as there is room for what comes.
    fn read(&mut self, number: u64, at_most: usize) -> After {
        while !self.queue.has_room() {
            self.serve_control(self.next_due());
        }
        let Some(connection) = self.connections.get_mut(&number) else { return After::Closed };
        if connection.phase != Phase::Open {
            return After::Closed;
        }
        let before_bytes = connection.rest_memory_bytes();
        let arrival = connection.read(&mut self.scratch, at_most);
        self.rest_bytes = self.rest_bytes - before_bytes + connection.rest_memory_bytes();
        if connection.has_more() {
            self.buffered.push(number);
        }
        match arrival {
            Ok(Arrival { bytes, found }) => {
                self.status.counts.bytes.fetch_add(bytes as u64, Relaxed);
                let is_last = bytes == 0 && self.board.is_some();
                self.hand_over(number, Beside { faults: found.faults, skipped: found.skipped, news: None, is_last });
                self.make_room();
                if bytes > 0 {
                    return After::Open(bytes);
                }
                self.sender_is_done(number);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return After::Open(0);
            }
            Err(error) => {
                self.status.counts.resets.fetch_add(1, Relaxed);
                self.close(number, &error.to_string());
            }
        }
        After::Closed
    }

    /// Closes, once the receipt of the last record is sent.
    fn sender_is_done(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if self.board.is_none() || (connection.all_ended() && !connection.has_unsent()) {
            connection.phase = Phase::Receipting;
            connection.end_writing();
            return self.close(number, "it closed the connection");
        }
        connection.phase = Phase::Receipting;
        self.data.remove(connection.fd());
        self.flush(number);
    }

    /// Gives the records in the scratch buffer to the run loop, at once: while the loop keeps up, each read is a chunk.
    fn hand_over(&mut self, number: u64, beside: Beside) {
        if self.scratch.records.is_empty() && beside.is_nothing() {
            return;
        }
        count(&self.status.counts, self.scratch.records.len(), &beside.faults);
        self.queue.push_from(number, &mut self.scratch, beside);
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
        let because = fault.to_string();
        self.scratch.clear();
        self.hand_over(number, Beside::fault(fault));
        self.close(number, &because);
    }

    // -- receipts ----------------------------------------------------------------------------------------------------

    fn send_receipts(&mut self) {
        let Some(board) = &self.board else { return };
        (self.receipts_due, self.receipts_sent) = (None, Instant::now());
        for (number, ended) in board.take() {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.ended(ended);
                self.flush(number);
            }
        }
    }

    /// Sends what is to be sent, and closes if that was the last.
    fn flush(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.flush() {
            Err(_) => {
                self.status.counts.resets.fetch_add(1, Relaxed);
                self.close(number, "the other side takes no receipts");
            }
            Ok(true) if connection.phase == Phase::Receipting && connection.all_ended() => {
                connection.end_writing();
                self.close(number, "it closed the connection");
            }
            Ok(false) => self.wait_for(number, Some(Interest::Write)),
            // That an open connection is over is seen when it is read.
            Ok(true) if connection.phase == Phase::Open => self.wait_for(number, None),
            Ok(true) => self.wait_for(number, Some(Interest::End)),
        }
    }

    // -- the end -----------------------------------------------------------------------------------------------------

    /// Takes the connections that wait and what the sockets hold.
    fn finish(&mut self) {
        self.is_finishing = true;
        self.accept(BACKLOG);
        self.listener = None;
        if let Some(dialer) = &self.dialer {
            dialer.stop();
        }
        self.obey();
        let mut numbers: Vec<u64> = self.connections.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            self.drain(number);
        }
        self.queue.end();
    }

    /// Takes what a socket holds by now, and not what a fast sender adds meanwhile.
    fn drain(&mut self, number: u64) {
        let Some(connection) = self.connections.get(&number) else { return };
        match connection.phase {
            Phase::Receipting | Phase::Stopped => return,
            Phase::Handshake => return self.close(number, "the source ends"),
            Phase::Open => {}
        }
        let mut held = sys::readable_bytes(connection.fd());
        while (held > 0 || self.has_more(number)) && !self.queue.is_abandoned() {
            match self.read(number, held.clamp(1, self.read_bytes)) {
                After::Open(0) => break,
                After::Open(bytes) => held = held.saturating_sub(bytes),
                After::Closed => return,
            }
        }
        self.part_from(number);
    }

    fn has_more(&self, number: u64) -> bool {
        self.connections.get(&number).is_some_and(Connection::has_more)
    }

    /// Closes a connection. If its sender was done its rest may be a record, else it is half of one.
    fn part_from(&mut self, number: u64) {
        let Some(connection) = self.connections.get(&number) else { return };
        let bytes = connection.rest_bytes();
        if sys::has_ended(connection.fd()) {
            self.read(number, 1);
            if self.board.is_none() {
                self.close(number, "the source ends");
            }
            return;
        }
        if bytes > 0 {
            self.scratch.clear();
            self.hand_over(number, Beside::fault(RecordFault::Half { bytes }));
        }
        match self.board {
            None => self.close(number, "the source ends"),
            Some(_) => self.stop_reading(number),
        }
    }

    /// Reads no more of a sender that may go on, until its receipts are sent.
    fn stop_reading(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.phase = Phase::Stopped;
        self.data.remove(connection.fd());
        self.queue.push(number, Buffer::default(), Beside { is_last: true, ..Beside::default() });
        self.flush(number);
    }

    /// Sends receipts until the run loop is done, and then the last.
    fn part(&mut self) {
        self.queue.end();
        self.is_finishing = true;
        while !self.queue.is_abandoned() && !self.connections.is_empty() {
            self.serve_control(self.next_due());
        }
        let until = Instant::now() + LAST_RECEIPTS;
        self.send_receipts();
        while self.connections.values().any(Connection::has_unsent) && Instant::now() < until {
            self.serve_control(Some(receipts::EVERY));
        }
        self.linger();
    }

    /// Says that nothing more is sent, and throws away what is still being sent to us.
    fn linger(&mut self) {
        if self.board.is_none() {
            return;
        }
        self.connections.values_mut().for_each(Connection::end_writing);
        let until = Instant::now() + LINGER;
        while !self.connections.is_empty() && Instant::now() < until {
            self.connections.retain(|_, connection| !connection.discard());
            std::thread::sleep(Duration::from_millis(1));
        }
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
