//! The gate's thread.

use super::super::handshake::{Callee, Handshake, Hello, nonce};
use super::super::refusal::Refusal;
use super::super::stream::Stream;
use super::connection::{Connection, Next};
use super::sought::Sought;
use super::{Address, Command, GateOptions, Identity, LinkEvent, Peer, Shared};
use crate::sys::{self, Epoll, Interest, Ready, SockAddr};
use crate::tls::Tls;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const LISTENER: u64 = 0;
const COMMAND: u64 = 1;
const FIRST_CONNECTION: u64 = 2;
/// Pause of accepting when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Keeper {
    identity: Identity,
    options: GateOptions,
    listener: Option<OwnedFd>,
    accept_again: Option<Instant>,
    set: Epoll,
    connections: HashMap<u64, Connection>,
    /// Of them, those by which we are called.
    callers: usize,
    next: u64,
    sought: HashMap<u32, Sought>,
    calls: u64,
    shared: Arc<Shared>,
}

impl Keeper {
    pub fn new(
        identity: Identity,
        listener: Option<OwnedFd>,
        options: GateOptions,
        shared: Arc<Shared>,
    ) -> io::Result<Keeper> {
        let set = Epoll::new()?;
        set.add(shared.command.as_fd(), COMMAND)?;
        if let Some(listener) = &listener {
            sys::set_nonblocking(listener.as_fd())?;
            set.add(listener.as_fd(), LISTENER)?;
        }
        Ok(Keeper {
            identity,
            options,
            listener,
            accept_again: None,
            set,
            connections: HashMap::new(),
            callers: 0,
            next: FIRST_CONNECTION,
            sought: HashMap::new(),
            calls: 0,
            shared,
        })
    }

    pub fn run(mut self) {
        let mut ready = Vec::new();
        while !self.shared.is_over.load(Ordering::Acquire) {
            self.set.wait(&mut ready, self.next_due());
            let mut has_callers = false;
            // Those that came earlier first: a newcomer may be let in at their cost.
            for Ready { number, .. } in ready.drain(..) {
                match number {
                    LISTENER => has_callers = true,
                    COMMAND => self.obey(),
                    connection => self.go_on(connection),
                }
            }
            if has_callers {
                self.accept();
            }
            self.do_what_is_due();
        }
    }

    fn next_due(&self) -> Option<Duration> {
        let connections = self.connections.values().map(|one| one.deadline);
        let sought = self.sought.values().flat_map(|one| [one.give_up_at, one.call_at]).flatten();
        let due = connections.chain(sought).chain(self.accept_again).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        if self.accept_again.is_some_and(|at| now >= at) {
            let is_heard = self.listener.as_ref().is_none_or(|one| self.set.add(one.as_fd(), LISTENER).is_ok());
            self.accept_again = (!is_heard).then(|| now + ACCEPT_PAUSE);
        }
        let late = self.connections.iter().filter(|(_, one)| now >= one.deadline);
        for number in late.map(|(number, _)| *number).collect::<Vec<_>>() {
            if let Some(connection) = self.part(number) {
                self.refuse(connection.calls, Refusal::Late);
            }
        }
        let given_up = self.sought.iter().filter(|(_, one)| one.give_up_at.is_some_and(|at| now >= at));
        for worker in given_up.map(|(worker, _)| *worker).collect::<Vec<_>>() {
            if let Some(Peer { token, session, .. }) = self.forget(worker).map(|sought| sought.peer) {
                self.shared.tell(LinkEvent::GivenUp { peer: worker, token, session });
            }
        }
        let due = self.sought.iter().filter(|(_, one)| one.call_at.is_some_and(|at| now >= at));
        for worker in due.map(|(worker, _)| *worker).collect::<Vec<_>>() {
            self.call(worker);
        }
    }

    fn obey(&mut self) {
        sys::clear(self.shared.command.as_fd());
        let commands = std::mem::take(&mut *self.shared.commands());
        for command in commands {
            match command {
                Command::Seek(peer, within) => {
                    let (worker, before) = (peer.worker, self.forget(peer.worker));
                    let is_called = worker > self.identity.worker;
                    self.sought.insert(worker, Sought::new(peer, within, &self.options, before, is_called));
                }
                Command::Forget(worker) => drop(self.forget(worker)),
            }
        }
    }

    fn forget(&mut self, worker: u32) -> Option<Sought> {
        let sought = self.sought.remove(&worker)?;
        if let Some(connection) = sought.connection {
            self.part(connection);
        }
        Some(sought)
    }

    /// The connection is the gate's no more.
    fn part(&mut self, number: u64) -> Option<Connection> {
        let connection = self.connections.remove(&number)?;
        self.set.remove(connection.stream.as_fd());
        self.callers -= usize::from(connection.calls.is_none());
        Some(connection)
    }

    /// A connection with the peer, or with a stranger, came to nothing.
    fn refuse(&mut self, called: Option<u32>, cause: Refusal) {
        self.shared.refusals.count(cause);
        let is_news = match called.and_then(|worker| self.sought.get_mut(&worker)) {
            Some(sought) => sought.call_failed(cause),
            None => true,
        };
        if is_news {
            self.shared.tell(LinkEvent::Refused { peer: called, cause });
        }
    }

    /// Takes as many callers as there may be hand-shakes; the set reports the others again.
    fn accept(&mut self) {
        for _ in 0..self.options.max_handshakes.div_ceil(2) {
            let Some(listener) = &self.listener else { return };
            match sys::accept(listener.as_fd()) {
                Ok(socket) => self.welcome(socket),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if has_no_descriptors(&error) => {
                    self.set.remove(listener.as_fd());
                    self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
                    return self.refuse(None, Refusal::NoDescriptors);
                }
                Err(_) => {} // a caller that has hung up
            }
        }
    }

    fn welcome(&mut self, socket: OwnedFd) {
        if self.callers >= self.options.max_handshakes {
            let callers = self.connections.iter().filter(|(_, one)| one.calls.is_none());
            let least = callers.min_by_key(|(number, one)| (!one.is_silent(), **number)).map(|(number, _)| *number);
            if least.is_some_and(|number| self.part(number).is_some()) {
                self.refuse(None, Refusal::Crowded);
            }
        }
        let own = Callee { worker: self.identity.worker, token: self.identity.token };
        let Ok(once) = nonce() else { return self.refuse(None, Refusal::NoDescriptors) };
        let handshake = Handshake::answer(self.identity.secret.clone(), own, once);
        let is_unix = sys::is_unix(socket.as_fd()).unwrap_or(false);
        let server = self.options.tls.as_ref().filter(|_| !is_unix).map(|(server, _)| server);
        if server.is_none() && sys::is_of_other_host(socket.as_fd()) {
            return self.refuse(None, Refusal::Unsecured);
        }
        match streamed(socket, server, "") {
            Ok(stream) => self.begin(Connection::new(stream, handshake, None, self.deadline())),
            Err(_) => self.refuse(None, Refusal::HungUp),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.handshake
    }

    fn begin(&mut self, connection: Connection) {
        let (number, called) = (self.next, connection.calls);
        let interest = if called.is_some() { Interest::Write } else { Interest::Read };
        if self.set.set(connection.stream.as_fd(), number, interest).is_err() {
            return self.refuse(called, Refusal::NoDescriptors);
        }
        self.next += 1;
        self.callers += usize::from(called.is_none());
        self.connections.insert(number, connection);
        match called.and_then(|worker| self.sought.get_mut(&worker)) {
            Some(sought) => sought.connection = Some(number),
            None => self.go_on(number), // its hello may be there
        }
    }

    /// Calls a peer that is sought.
    fn call(&mut self, worker: u32) {
        let Some(sought) = self.sought.get_mut(&worker) else { return };
        let Some(address) = sought.peer.address.clone() else { return };
        sought.call_at = None;
        if matches!(address, Address::Tcp(at) if !at.ip().to_canonical().is_loopback()) && self.options.tls.is_none() {
            return self.refuse(Some(worker), Refusal::Unsecured);
        }
        self.calls += 1;
        let hello = Hello {
            from: self.identity.worker,
            to: worker,
            token: self.identity.token,
            peer_token: sought.peer.token,
            session: sought.peer.session,
            call: self.calls,
        };
        match self.connection_to(&address, hello) {
            Ok(connection) => self.begin(connection),
            Err(error) if has_no_descriptors(&error) => self.refuse(Some(worker), Refusal::NoDescriptors),
            Err(_) => self.refuse(Some(worker), Refusal::Unreachable),
        }
    }

    fn connection_to(&self, address: &Address, hello: Hello) -> io::Result<Connection> {
        let client = self.options.tls.as_ref().map(|(_, client)| client);
        let stream = match address {
            Address::Unix(path) => streamed(sys::connect(&SockAddr::unix(path)?)?, None, "")?,
            Address::Tcp(at) => streamed(sys::connect(&SockAddr::from(*at))?, client, &at.ip().to_string())?,
        };
        let handshake = Handshake::call(self.identity.secret.clone(), hello, nonce()?);
        Ok(Connection::new(stream, handshake, Some(hello.to), self.deadline()))
    }

    fn go_on(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let called = connection.calls;
        match connection.go_on() {
            Ok(Next::Wait(interest)) => {
                if self.set.set(connection.stream.as_fd(), number, interest).is_err() {
                    self.part(number);
                    self.refuse(called, Refusal::NoDescriptors);
                }
            }
            Ok(Next::Judge(hello)) => self.judge(number, &hello),
            Ok(Next::Welcome) => self.give_out(number, called),
            Err(refusal) => {
                self.part(number);
                self.refuse(called, refusal);
            }
        }
    }

    /// A caller has proved that it belongs to the run.
    fn judge(&mut self, number: u64, hello: &Hello) {
        let verdict = self.verdict(hello);
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match verdict.and(connection.judge(verdict)) {
            Ok(()) => self.give_out(number, Some(hello.from)),
            Err(refusal) => {
                self.part(number);
                self.shared.refusals.count(refusal);
                let sought = self.sought.get_mut(&hello.from);
                if sought.is_none_or(|sought| sought.is_news(refusal)) {
                    self.shared.tell(LinkEvent::Refused { peer: Some(hello.from), cause: refusal });
                }
            }
        }
    }

    fn verdict(&mut self, hello: &Hello) -> Result<(), Refusal> {
        let own = Callee { worker: self.identity.worker, token: self.identity.token };
        if hello.to != own.worker || hello.from >= own.worker {
            return Err(Refusal::WrongWorker);
        }
        if hello.peer_token > own.token {
            return Err(Refusal::Superseded);
        }
        self.sought.get_mut(&hello.from).ok_or(Refusal::NotSought)?.judge(hello, own)
    }

    fn give_out(&mut self, number: u64, peer: Option<u32>) {
        let Some(connection) = self.part(number) else { return };
        let Some(sought) = peer.and_then(|worker| self.sought.get_mut(&worker)) else { return };
        sought.is_up();
        let Peer { worker, token, session, .. } = sought.peer;
        self.shared.tell(LinkEvent::Up { peer: worker, token, session, stream: connection.stream });
    }
}

fn has_no_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

fn streamed(socket: OwnedFd, tls: Option<&Tls>, host: &str) -> io::Result<Stream> {
    tune(socket.as_fd());
    let session = tls.map(|tls| tls.session(host)).transpose();
    Ok(Stream::new(socket, session.map_err(|defect| io::Error::other(defect.to_string()))?))
}

/// Frames leave at once, and a host that is gone is noticed. Unix sockets need neither, and refuse both.
fn tune(socket: BorrowedFd<'_>) {
    for (level, name, value) in [
        (libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 5),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 5),
    ] {
        let _ = sys::set_option(socket, level, name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::handshake::Secret;
    use super::super::super::refusal::Refusals;
    use super::*;
    use crate::wake::Waiter;
    use squall_core::ids::{Incarnation, Token};

    fn keeper() -> Keeper {
        let identity = Identity {
            worker: 1,
            token: Token { epoch: 1, incarnation: Incarnation(1) },
            secret: Secret::new(&[7; 32]),
        };
        let shared = Arc::new(Shared {
            commands: Default::default(),
            command: sys::eventfd().unwrap(),
            is_over: Default::default(),
            events: Default::default(),
            has_events: Default::default(),
            wake: Waiter::new().unwrap().waker(),
            refusals: Refusals::default(),
        });
        Keeper::new(identity, None, GateOptions::default(), shared).unwrap()
    }

    // A file stands for a listener that the system cannot watch just now: it can never be watched.
    #[test]
    fn a_listener_that_cannot_be_watched_again_is_tried_later_and_not_in_a_circle() {
        let mut keeper = keeper();
        keeper.listener = Some(std::fs::File::open("/proc/self/exe").unwrap().into());
        keeper.accept_again = Some(Instant::now());
        keeper.do_what_is_due();
        assert!(keeper.next_due().is_some_and(|due| due > ACCEPT_PAUSE / 2));
    }
}
