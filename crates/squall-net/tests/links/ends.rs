//! Two ends of a link, each as a run loop would drive it.

use squall_core::frame::Body;
use squall_core::ids::{Incarnation, Token};
use squall_core::link::{Action, Came, Event, LinkEnd, Violation, Violations};
use squall_net::link::{Address, Broken, Gate, GateOptions, Identity, LinkEvent, Peer, Refusal, Secret, Socket};
use squall_net::wake::Waiter;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const LINK: u64 = 1;
pub const SECRET: [u8; 32] = [7; 32];

pub fn token(incarnation: u16) -> Token {
    Token { epoch: 1, incarnation: Incarnation(incarnation) }
}

/// A path of its own for each socket; nothing is there.
pub fn path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("squall-link-{}-{number}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// Fails when the condition is not met in time.
pub fn until(mut is_met: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_met() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::yield_now();
    }
}

/// One end of a link.
pub struct End {
    pub gate: Gate,
    pub waiter: Waiter,
    own: Token,
    pub peer: Peer,
    /// What the link is told that a turn takes. How long one does take is not ours.
    pub turn_ns: u64,
    /// How long a stream that broke is sought.
    pub within: Option<Duration>,
    pub end: LinkEnd,
    socket: Option<Socket>,
    pub wants_write: bool,
    now_ns: u64,
    pub sent: u32,
    /// The orders that were delivered, by number.
    pub delivered: u32,
    pub violations: Violations,
    pub ups: u32,
    pub refused: Vec<(Option<u32>, Refusal)>,
    pub given_up: u32,
}

/// Worker 1 with incarnation 11, worker 2 with 12, and so on.
pub fn identity(worker: u32, secret: [u8; 32]) -> Identity {
    Identity { worker, token: token(worker as u16 + 10), secret: Secret::new(&secret) }
}

pub fn peer(worker: u32, address: Option<Address>) -> Peer {
    Peer { worker, token: token(worker as u16 + 10), session: 0, address }
}

impl End {
    pub fn new(identity: Identity, listen_at: Option<&Path>, peer: Peer, options: GateOptions) -> End {
        let listener = listen_at.map(|path| UnixListener::bind(path).unwrap().into());
        End::with(identity, listener, peer, options)
    }

    pub fn with(identity: Identity, listener: Option<OwnedFd>, peer: Peer, options: GateOptions) -> End {
        let waiter = Waiter::new().unwrap();
        let own = identity.token;
        let gate = Gate::start(identity, listener, options, waiter.waker()).unwrap();
        gate.seek(peer.clone(), None);
        End {
            gate,
            waiter,
            own,
            turn_ns: 0,
            within: None,
            end: LinkEnd::new(own, peer.token, peer.session, 0),
            peer,
            socket: None,
            wants_write: false,
            now_ns: 0,
            sent: 0,
            delivered: 0,
            violations: Violations::default(),
            ups: 0,
            refused: Vec::new(),
            given_up: 0,
        }
    }

    /// Another life of the peer, or another session.
    pub fn seek(&mut self, peer: Peer) {
        self.gate.seek(peer.clone(), None);
        self.end = LinkEnd::new(self.own, peer.token, peer.session, self.now_ns);
        self.peer = peer;
    }

    pub fn send(&mut self, bytes: usize) {
        let mut order = self.sent.to_le_bytes().to_vec();
        order.resize(4 + bytes, 0);
        self.end.out.push(&Body::Command(&order)).unwrap();
        self.sent += 1;
    }

    pub fn is_up(&self) -> bool {
        self.socket.is_some()
    }

    /// One turn of the loop.
    pub fn turn(&mut self, timeout: Duration) {
        let mut ready = Vec::new();
        self.waiter.wait_any(&mut ready, Some(timeout));
        for event in self.gate.take() {
            match event {
                LinkEvent::Up { token, session, stream, .. } => {
                    let action = self.end.step(Event::Found { token, session }, self.now_ns);
                    assert!(matches!(action, Action::Use { .. }));
                    self.waiter.watch(stream.as_fd(), LINK, false).unwrap();
                    self.socket = Some(Socket::new(stream, usize::MAX));
                    (self.wants_write, self.ups) = (false, self.ups + 1);
                }
                LinkEvent::Refused { peer, cause } => self.refused.push((peer, cause)),
                LinkEvent::GivenUp { token, session, .. } => self.step(Event::NotFound { token, session }),
            }
        }
        self.now_ns += self.turn_ns;
        match self.serve() {
            Ok(()) => self.step(Event::Look),
            Err(Broken::Violation(violation)) => self.break_off(Some(violation)),
            Err(Broken::Closed | Broken::Io(_)) => self.lose(),
        }
    }

    pub fn lose(&mut self) {
        self.break_off(None);
    }

    fn break_off(&mut self, violation: Option<Violation>) {
        self.socket = None;
        self.step(Event::Broken(violation));
    }

    fn step(&mut self, event: Event) {
        match self.end.step(event, self.now_ns) {
            Action::Nothing | Action::Use { .. } | Action::Miss { .. } => {}
            Action::Seek { within_ns } => {
                self.socket = None;
                self.gate.seek(self.peer.clone(), within_ns.and(self.within));
            }
            Action::LetIn => self.gate.seek(self.peer.clone(), None),
            Action::GiveUp => {
                self.gate.forget(self.peer.worker);
                self.given_up += 1;
            }
        }
    }

    fn serve(&mut self) -> Result<(), Broken> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let LinkEnd { taken: incoming, out: outgoing, .. } = &mut self.end;
        let delivered = &mut self.delivered;
        let result = socket.read(|header, body| {
            match incoming.take(header, body)? {
                Came::Again => {}
                Came::Receipt(expected) => outgoing.receipt(expected)?,
                Came::Next => {
                    let Body::Command(order) = body else { panic!("nobody sends others") };
                    assert_eq!(order[..4], delivered.to_le_bytes(), "once, and in order");
                    *delivered += 1;
                }
            }
            Ok(())
        });
        if let Err(Broken::Violation(violation)) = &result {
            self.violations.count(violation);
        }
        result?;
        if let Some(received) = incoming.receipt_due() {
            outgoing.tell_received(received);
        }
        socket.write(outgoing)?;
        if socket.wants_write() != self.wants_write {
            self.wants_write = socket.wants_write();
            self.waiter.watch(socket.as_fd(), LINK, self.wants_write).unwrap();
        }
        Ok(())
    }
}

/// Lets both run until a condition is met.
pub fn run(a: &mut End, b: &mut End, mut is_met: impl FnMut(&mut End, &mut End) -> bool) {
    until(|| {
        a.turn(Duration::from_micros(100));
        b.turn(Duration::ZERO);
        is_met(a, b)
    });
}

/// Whether all that was sent has come, and both know it.
pub fn is_settled(a: &mut End, b: &mut End) -> bool {
    (a.delivered, b.delivered) == (b.sent, a.sent) && a.end.out.unreceipted() + b.end.out.unreceipted() == 0
}

/// Worker 1, which calls, and worker 2, which listens at `at`; the caller takes its way over `way`.
pub fn pair_over(at: &Path, way: &Path, options: &GateOptions) -> (End, End) {
    let address = Some(Address::Unix(way.to_owned()));
    let callee = End::new(identity(2, SECRET), Some(at), peer(1, None), options.clone());
    let caller = End::new(identity(1, SECRET), None, peer(2, address), options.clone());
    (caller, callee)
}

pub fn pair() -> (End, End, PathBuf) {
    let at = path();
    let (caller, callee) = pair_over(&at, &at, &GateOptions::default());
    (caller, callee, at)
}

/// The same over TCP.
pub fn pair_by_tcp(options: &GateOptions) -> (End, End) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let callee = End::with(identity(2, SECRET), Some(listener.into()), peer(1, None), options.clone());
    let caller = End::new(identity(1, SECRET), None, peer(2, Some(Address::Tcp(at))), options.clone());
    (caller, callee)
}
