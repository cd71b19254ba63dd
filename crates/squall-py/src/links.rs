//! The links to the other workers, served in the run loop between its tasks (semantics 20, 25, 27).
//!
//! Frames go out when enough waits for a peer, when it has waited for a while, or when the loop runs dry.

use crate::codec;
use crate::core::Core;
use crate::failures::Failure;
use crate::fault;
use crate::gil::Fixed;
use crate::task::{OutStream, Task};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use squall_core::ack::Acks;
use squall_core::cell::Local;
use squall_core::credit::Inflow;
use squall_core::frame::MAX_FRAME_BYTES;
use squall_core::frame::{
    Body, Grant, Header, Item, Items, MAX_DETAIL_BYTES, Row, RowPlace, Rows, decode, write_items,
};
use squall_core::ids::{Incarnation, RootId, Token};
use squall_core::link::{Came, Limits, LinkIn, LinkOut, Silence, Violation, Violations};
use squall_core::retry;
use squall_net::link::{self as net, Address, Broken, Gate, GateOptions, Identity, LinkEvent, Secret, Socket};
use squall_net::wake::Waiter;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// Tuples that a worker may send to a task of another one before that has taken any.
///
/// As much as a worker sends in some milliseconds, so that one whose processor was taken away for so long holds up nobody.
pub const WINDOW: u64 = 8192;
/// Rows for one task that are worth a frame: two calls of the system for these are little beside their encoding.
const FRAME_ROWS: usize = 512;
/// Rows, and their bytes, that one frame has at most (a single row may have more).
const FRAME_ROWS_MOST: usize = 2048;
const FRAME_BYTES_MOST: usize = 1 << 20;
/// Acks that are worth a frame.
const FRAME_ACKS: usize = 512;
/// Acks, grants or roots that one frame has at most.
const FRAME_ITEMS_MOST: usize = 1 << 16;
/// What waits for longer goes out however little it is.
const FLUSH_NS: u64 = 200_000;
/// The assignment of an embedded run.
const EPOCH: u64 = 1;
/// How long a peer may say nothing of what it was sent before another stream is tried.
const SILENT_NS: u64 = 5_000_000_000;
/// Deaths of workers on a root's tuples from which it is tried alone, and from which it is given up.
pub const ALONE_FROM: u8 = 2;
pub const DEAD_FROM: u8 = 3;
/// How long a stream may be gone before the link is given up (semantics 20).
const RESUME_WITHIN: Duration = Duration::from_secs(1);

/// What another thread wants done in the loop.
pub enum Order {
    /// A life of a worker takes tuples, in this session of its link.
    Peer { worker: u32, incarnation: u16, session: u64, path: PathBuf },
    /// A life of a worker is over, or the link to it; the roots of the calls that it died in.
    Lost { worker: u32, incarnation: u16, suspects: Vec<RootId> },
}

/// The links of one worker.
pub struct Links {
    number: u32,
    gate: Gate,
    peers: Vec<Peer>,
    /// Where the last root of another worker was found.
    last: Cell<usize>,
    violations: Local<Violations>,
    flushed_ns: Cell<u64>,
    scratch: Local<Vec<u8>>,
}

/// Another worker, as far as this one knows.
struct Peer {
    worker: u32,
    /// Which life it has; 0: none.
    incarnation: Cell<u16>,
    link: Local<Option<Link>>,
    /// Taken out while frames are read from it.
    socket: Local<Option<Socket>>,
    acks: Local<Acks>,
    /// Its tasks, once it was there.
    tasks: Fixed<Rc<Task>>,
    /// What came and will, by the task that it is for; over all lives, as it may wait for long.
    inflows: Local<Vec<(Rc<Task>, Inflow)>>,
    /// Frames that may bring work, in both directions.
    sent: Cell<u64>,
    received: Cell<u64>,
}

/// The state of the link to one life of a peer.
struct Link {
    /// Whom the gate is to seek.
    peer: net::Peer,
    is_up: bool,
    out: LinkOut,
    taken: LinkIn,
    silence: Silence,
}

impl Peer {
    /// Adds a frame to the link, if there is one. Those that could be too long were cut to fit.
    fn push(&self, body: &Body<'_>) {
        let pushed = self.link.with(|link| link.as_mut().map(|link| link.out.push(body).expect("cut to fit")));
        if pushed.is_some() && brings_work(body) {
            self.sent.set(self.sent.get() + 1);
        }
    }

    /// Adds frames with these items, written to `out`, as many as they need.
    fn push_items<'a, T: Item>(&self, out: &'a mut Vec<u8>, items: &[T], body: impl Fn(Items<'a, T>) -> Body<'a>) {
        out.clear();
        write_items(out, items);
        for part in out.chunks(FRAME_ITEMS_MOST * T::BYTES) {
            self.push(&body(Items::new(part).expect("whole items")));
        }
    }

    fn with_inflow(
        &self,
        task: &Rc<Task>,
        f: impl FnOnce(&mut Inflow) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        self.inflows.with(|inflows| {
            let inflow = inflows.iter_mut().find(|(target, _)| Rc::ptr_eq(target, task));
            inflow.map_or(Ok(()), |(_, inflow)| f(inflow))
        })
    }
}

/// Whether a frame may give its receiver something to do.
fn brings_work(body: &Body<'_>) -> bool {
    matches!(body, Body::Data { .. } | Body::Ack(_) | Body::Fail { .. } | Body::End(_))
}

impl Links {
    /// The stream to a peer is of no more use: another one is sought, which goes on where this one stopped.
    fn mend(&self, peer: &Peer, broken: &Broken) {
        if let Broken::Violation(violation) = broken {
            self.violations.with(|violations| violations.count(violation));
        }
        peer.link.with(|link| {
            if let Some(link) = link {
                link.out.detach();
                link.is_up = false;
                self.gate.seek(link.peer.clone(), Some(RESUME_WITHIN));
            }
        });
    }

    /// Whether the stream to a peer is open at this end only, as far as one can tell.
    fn is_silent(&self, peer: &Peer, now_ns: u64) -> bool {
        let silent_ns = |link: &mut Link| if link.is_up { link.silence.for_ns(&link.out, now_ns) } else { 0 };
        peer.link.with(|link| link.as_mut().map_or(0, silent_ns)) > SILENT_NS
    }

    /// Writes what the link to a peer has, as far as the socket takes it.
    fn write(&self, waiter: &Waiter, peer: &Peer) {
        let Some(mut socket) = peer.socket.replace(None) else { return };
        let (before, written) = (
            socket.wants_write(),
            peer.link.with(|link| match link {
                Some(link) if link.out.has_unsent() => socket.write(&mut link.out),
                _ => Ok(()),
            }),
        );
        match written {
            Ok(()) => {
                if socket.wants_write() != before {
                    // Of a socket that cannot be watched the loop hears at its next look, a millisecond later at most.
                    let _ = waiter.watch(socket.as_fd(), u64::from(peer.worker), socket.wants_write());
                }
                drop(peer.socket.replace(Some(socket)));
            }
            Err(broken) => {
                drop(socket);
                self.mend(peer, &broken);
            }
        }
    }

    fn peer_of(&self, incarnation: Incarnation) -> Option<&Peer> {
        let last = &self.peers[self.last.get()];
        if last.incarnation.get() == incarnation.0 {
            return Some(last);
        }
        let found = self.peers.iter().position(|peer| peer.incarnation.get() == incarnation.0)?;
        self.last.set(found);
        Some(&self.peers[found])
    }
}

impl Core {
    /// Whether there are no other workers.
    pub fn is_alone(&self) -> bool {
        self.links().is_none()
    }

    fn links(&self) -> Option<&Links> {
        // SAFETY: set once, before the first run, and dropped by `close`, which is not called from within one.
        self.links.with(|links| unsafe { (*(links as *const Option<Box<Links>>)).as_deref() })
    }

    /// Whether this life of another worker may not be over. Of one that is away it is not known which it has.
    pub fn may_live(&self, incarnation: Incarnation) -> bool {
        let may_be = |peer: &Peer| [0, incarnation.0].contains(&peer.incarnation.get());
        self.links().is_some_and(|links| links.peers.iter().any(may_be))
    }

    /// Acks a root of another worker. Of a life that is over there is nobody to tell.
    #[inline(never)]
    pub fn ack_over(&self, root: RootId, xor: u64) {
        if let Some(peer) = self.links().and_then(|links| links.peer_of(root.incarnation())) {
            peer.acks.with(|acks| acks.ack(root, xor));
        }
    }

    /// Fails roots of other workers: each of those gets what happened, and decides.
    #[cold]
    pub fn fail_over(&self, py: Python<'_>, roots: &[RootId], failure: &Failure) {
        let Some(links) = self.links() else { return };
        let mut by_worker: BTreeMap<u32, Vec<RootId>> = BTreeMap::new();
        for root in roots {
            if let Some(peer) = links.peer_of(root.incarnation()) {
                by_worker.entry(peer.worker).or_default().push(*root);
            }
        }
        let about = (failure.task.index, failure.error.bind(py), failure.input.as_ref(), MAX_DETAIL_BYTES);
        let detail = match self.hooks(py).call_method1("failure_told", about).and_then(|told| told.extract::<Vec<u8>>())
        {
            Ok(detail) => detail,
            Err(fault) => {
                fault.write_unraisable(py, None);
                Vec::new()
            }
        };
        for (worker, roots) in by_worker {
            let Some(peer) = links.peers.iter().find(|peer| peer.worker == worker) else { continue };
            self.send_acks(links, peer); // an ack of the same root that came before goes before
            let mut bytes = Vec::new();
            peer.push_items(&mut bytes, &roots, |roots| Body::Fail {
                failure: failure.verdict,
                together: failure.together,
                task: failure.task.task_id as u32,
                detail: &detail,
                roots,
            });
        }
    }

    /// Takes in what came from other workers. Whether anything did.
    pub fn receive(&self, py: Python<'_>) -> bool {
        let Some(links) = self.links() else { return false };
        let mut worked = false;
        for order in self.orders.replace(Vec::new()) {
            worked = true;
            self.carry_out(py, links, order);
        }
        for event in links.gate.take() {
            worked = true;
            self.link_event(py, links, event);
        }
        for peer in &links.peers {
            let Some(mut socket) = peer.socket.replace(None) else { continue };
            let read = socket.read(|header, body| {
                worked = true;
                self.take_frame(py, peer, header, body)
            });
            match read {
                Ok(_) => drop(peer.socket.replace(Some(socket))),
                Err(broken) => {
                    drop(socket);
                    links.mend(peer, &broken);
                }
            }
        }
        worked
    }

    /// A life of another worker, or its end, in the order in which the parent has told of them.
    fn carry_out(&self, py: Python<'_>, links: &Links, order: Order) {
        match order {
            Order::Peer { worker, incarnation, session, path } => self.seek(links, worker, incarnation, session, path),
            Order::Lost { worker, incarnation, suspects } => self.lose(py, links, worker, incarnation, &suspects),
        }
    }

    fn seek(&self, links: &Links, worker: u32, incarnation: u16, session: u64, path: PathBuf) {
        let Some(peer) = links.peers.iter().find(|peer| peer.worker == worker) else { return };
        let is_known = |link: &mut Option<Link>| link.as_ref().is_some_and(|link| link.peer.session == session);
        if peer.link.with(is_known) {
            return;
        }
        let token = Token { epoch: EPOCH, incarnation: Incarnation(incarnation) };
        let address = (worker > links.number).then_some(Address::Unix(path));
        let sought = net::Peer { worker, token, session, address };
        links.gate.seek(sought.clone(), None);
        let own = Token { epoch: EPOCH, incarnation: self.incarnation };
        peer.incarnation.set(incarnation);
        peer.sent.set(0);
        peer.received.set(0);
        peer.link.replace(Some(Link {
            peer: sought,
            is_up: false,
            out: LinkOut::new(own, session, Limits::default()),
            taken: LinkIn::new(token, session),
            silence: Silence::default(),
        }));
        if peer.tasks.get().is_empty() {
            let of_peer = |task: &&Rc<Task>| task.far().is_some_and(|far| far.worker == worker);
            self.tasks.get().iter().filter(of_peer).for_each(|task| peer.tasks.push(task.clone()));
        }
        peer.inflows.with(|inflows| {
            if inflows.is_empty() {
                let bolts = self.order.with(|order| order.clone()).into_iter();
                inflows.extend(bolts.map(|task| (task, Inflow::new(WINDOW))));
            }
            inflows.iter_mut().for_each(|(_, inflow)| inflow.begin());
        });
    }

    /// What was on its way to or from a lost worker is gone with it: each root that it may have had a part of fails
    /// without counting (semantics 19).
    #[cold]
    fn lose(&self, py: Python<'_>, links: &Links, worker: u32, incarnation: u16, suspects: &[RootId]) {
        let Some(peer) = links.peers.iter().find(|peer| peer.worker == worker) else { return };
        let dropped = match peer.incarnation.get() == incarnation {
            true => self.let_go(links, peer),
            false => Vec::new(),
        };
        suspects.iter().for_each(|root| self.suspect(py, worker, *root));
        let reaches = |spout: u32| {
            let is_there = |task: &Rc<Task>| task.far().is_some_and(|far| far.worker == worker);
            self.task(spout).spout().workers.with(|workers| workers.iter().any(is_there))
        };
        let spouts: Vec<u32> = self.spouts.with(|spouts| spouts.iter().map(|spout| spout.index).collect());
        let reaching: Vec<u32> = spouts.into_iter().filter(|spout| reaches(*spout)).collect();
        let roots: Vec<RootId> = self.ledger.with(|ledger| {
            ledger.iter().filter(|(_, pending)| reaching.contains(&pending.spout)).map(|(root, _)| root).collect()
        });
        let Some((task, _)) = self.tasks_of_worker(worker).next() else { return };
        let task = self.task(task.index);
        let error = fault::worker_lost(worker).into_value(py).into_any();
        let verdict = retry::Failure { action: retry::Action::Retry, counts: false, after_ns: None };
        let failure = Failure { number: self.next_failure(), task, error, verdict, input: None, together: false };
        roots.into_iter().for_each(|root| self.fail_root(py, root, &failure));
        if !dropped.is_empty() {
            self.fail_over(py, &dropped, &failure);
        }
    }

    /// Drops the link to a life of another worker. The roots of third workers of whose tuples that takes some: such a
    /// worker may have emitted them when it had heard of the loss already, so it has to be told.
    #[cold]
    fn let_go(&self, links: &Links, peer: &Peer) -> Vec<RootId> {
        peer.incarnation.set(0);
        links.gate.forget(peer.worker);
        drop((peer.socket.replace(None), peer.acks.replace(Acks::default())));
        let mut roots = BTreeSet::new();
        let mut note =
            |rows: Rows<'_>| roots.extend(rows.iter().flat_map(|row| row.trees.iter().map(|(root, _)| root)));
        if let Some(link) = peer.link.replace(None) {
            for frame in link.out.kept() {
                if let Ok(Some((_, Body::Data { rows, .. }, _))) = decode(frame) {
                    note(rows);
                }
            }
        }
        self.tasks_of_worker(peer.worker).for_each(|(_, far)| note(far.forget().rows()));
        roots.retain(|root| root.incarnation() != self.incarnation);
        roots.into_iter().collect()
    }

    /// A worker died while a tuple of this root was executed there: the second time it is tried alone from then on, the
    /// third time it is given up, so that a tuple which kills its worker ends (semantics 9).
    #[cold]
    fn suspect(&self, py: Python<'_>, worker: u32, root: RootId) {
        let deaths = self.ledger.with(|ledger| {
            let pending = ledger.entry_mut(root)?;
            pending.suspicions = pending.suspicions.saturating_add(1);
            let becomes_solo = pending.suspicions >= ALONE_FROM && !pending.solo;
            pending.solo |= becomes_solo;
            Some((pending.suspicions, becomes_solo, pending.spout))
        });
        let Some((deaths, becomes_solo, spout)) = deaths else { return };
        if becomes_solo {
            self.solo.set(self.solo.get() + 1);
        }
        if deaths >= DEAD_FROM {
            let task = self.tasks_of_worker(worker).next().map_or(spout, |(task, _)| task.index);
            let error = fault::worker_killer(deaths).into_value(py).into_any();
            let verdict = retry::Failure { action: retry::Action::Dead, counts: true, after_ns: None };
            let (number, task) = (self.next_failure(), self.task(task));
            let failure = Failure { number, task, error, verdict, input: None, together: false };
            self.fail_root(py, root, &failure);
        }
    }

    fn link_event(&self, py: Python<'_>, links: &Links, event: LinkEvent) {
        match event {
            LinkEvent::Up { peer, token, session, stream } => {
                let Some(peer) = links.peers.iter().find(|known| known.worker == peer) else { return };
                let is_it = |link: &mut Option<Link>| {
                    let of = |link: &&mut Link| (link.peer.token, link.peer.session) == (token, session);
                    let Some(link) = link.as_mut().filter(of) else { return false };
                    let expected = link.taken.attach();
                    link.out.attach(expected);
                    link.is_up = true;
                    true
                };
                if !peer.link.with(is_it) {
                    return;
                }
                let socket = Socket::new(stream, MAX_FRAME_BYTES);
                if self.waiter.watch(socket.as_fd(), u64::from(peer.worker), false).is_ok() {
                    peer.socket.replace(Some(socket));
                }
                self.tasks_of_worker(peer.worker).for_each(|(_, far)| far.is_away.set(false));
                self.retry_stranded();
            }
            LinkEvent::GivenUp { peer, token, session } => {
                let told = self.hooks(py).call_method1("link_lost", (peer, token.incarnation.0, session));
                if let Err(fault) = told {
                    fault.write_unraisable(py, None);
                }
            }
            LinkEvent::Refused { peer, cause } => {
                let told = self.hooks(py).call_method1("link_refused", (peer, cause.to_string()));
                if let Err(fault) = told {
                    fault.write_unraisable(py, None);
                }
            }
        }
    }

    /// How many frames that may bring work went to and came from each life of other workers.
    pub fn frames_of_work(&self) -> (BTreeMap<u16, u64>, BTreeMap<u16, u64>) {
        let peers =
            || self.links().into_iter().flat_map(|links| &links.peers).filter(|peer| peer.incarnation.get() != 0);
        let by = |count: fn(&Peer) -> u64| peers().map(|peer| (peer.incarnation.get(), count(peer))).collect();
        (by(|peer| peer.sent.get()), by(|peer| peer.received.get()))
    }

    /// How the links stand, and how often something was refused on them, by cause.
    pub fn link_figures<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let Some(links) = self.links() else { return Ok(dict) };
        let peers = PyDict::new(py);
        for peer in &links.peers {
            let figures = PyDict::new(py);
            let (is_up, unreceipted, kept_bytes) = peer.link.with(|link| match link {
                Some(link) => (link.is_up, link.out.unreceipted(), link.out.kept_bytes()),
                None => (false, 0, 0),
            });
            let far = || self.tasks_of_worker(peer.worker).map(|(_, far)| far);
            figures.set_item("is_up", is_up)?;
            figures.set_item("unreceipted_frames", unreceipted)?;
            figures.set_item("unreceipted_bytes", kept_bytes)?;
            figures.set_item("frames_sent", peer.sent.get())?;
            figures.set_item("frames_received", peer.received.get())?;
            figures.set_item("waiting", far().map(|far| far.waiting()).sum::<usize>())?;
            figures.set_item("under_way", far().map(|far| far.under_way()).sum::<usize>())?;
            peers.set_item(peer.worker, figures)?;
        }
        dict.set_item("peers", peers)?;
        let violations = links.violations.with(|violations| violations.iter().collect::<Vec<_>>());
        let refusals = links.gate.refusals().iter().collect::<Vec<_>>();
        let counted: BTreeMap<&str, u64> = violations.into_iter().chain(refusals).filter(|(_, n)| *n > 0).collect();
        dict.set_item("refused", counted)?;
        Ok(dict)
    }

    /// Whether a task's inbox would be over its high-water mark without what other workers have sent: that is bounded by
    /// their credit, and fewer roots open here would not make it less.
    pub fn is_full_of_own(&self, task: &Rc<Task>) -> bool {
        let Some(links) = self.links() else { return true };
        let passed = task.inbox.passed();
        let of_peer = |peer: &Peer| {
            peer.inflows.with(|inflows| {
                let inflow = inflows.iter_mut().find(|(target, _)| Rc::ptr_eq(target, task));
                inflow.map_or(0, |(_, inflow)| inflow.waiting(passed))
            })
        };
        let of_others: u64 = links.peers.iter().map(of_peer).sum();
        task.bolt().is_over_high_water(task.inbox.len().saturating_sub(of_others as usize))
    }

    /// Whether acks wait to be sent.
    pub fn has_acks_to_send(&self) -> bool {
        let waits = |peer: &Peer| peer.acks.with(|acks| !acks.0.is_empty());
        self.links().is_some_and(|links| links.peers.iter().any(waits))
    }

    /// Begins to serve links.
    pub fn open_links(&self, number: u32, workers: u32, listener: OwnedFd, secret: &[u8; 32]) -> io::Result<()> {
        let token = Token { epoch: EPOCH, incarnation: self.incarnation };
        let identity = Identity { worker: number, token, secret: Secret::new(secret) };
        let gate = Gate::start(identity, Some(listener), GateOptions::default(), self.wake.clone())?;
        let peer = |worker| Peer {
            worker,
            incarnation: Cell::new(0),
            link: Local::new(None),
            socket: Local::new(None),
            acks: Local::default(),
            tasks: Fixed::default(),
            inflows: Local::default(),
            sent: Cell::new(0),
            received: Cell::new(0),
        };
        self.links.replace(Some(Box::new(Links {
            number,
            gate,
            peers: (1..=workers).filter(|worker| *worker != number).map(peer).collect(),
            last: Cell::new(0),
            violations: Local::default(),
            flushed_ns: Cell::new(0),
            scratch: Local::default(),
        })));
        Ok(())
    }

    fn take_frame(&self, py: Python<'_>, peer: &Peer, header: &Header, body: &Body<'_>) -> Result<(), Violation> {
        let came = peer.link.with(|link| match link {
            Some(link) => link.taken.take(header, body).map(Some),
            None => Ok(None),
        })?;
        match came {
            None | Some(Came::Again) => return Ok(()),
            Some(Came::Receipt(sequence)) => {
                return peer.link.with(|link| link.as_mut().map_or(Ok(()), |link| link.out.receipt(sequence)));
            }
            Some(Came::Next) => {}
        }
        if brings_work(body) {
            peer.received.set(peer.received.get() + 1);
        }
        match *body {
            Body::Data { target, rows } => self.take_rows(py, peer, target, rows)?,
            Body::Ack(acks) => acks.iter().for_each(|(root, xor)| {
                if root.incarnation() == self.incarnation {
                    self.ack_root(root, xor);
                }
            }),
            Body::Fail { failure, together, task, detail, roots } => {
                let roots: Vec<RootId> = roots.iter().filter(|root| root.incarnation() == self.incarnation).collect();
                self.take_failure(py, failure, together, task, detail, &roots);
            }
            Body::Credit(grants) => grants.iter().try_for_each(|grant| self.take_grant(peer, grant))?,
            // Barriers, watermarks and ends come with the features that need them; commands by the parent's session.
            _ => {}
        }
        Ok(())
    }

    fn take_grant(&self, peer: &Peer, grant: Grant) -> Result<(), Violation> {
        let task = self.task_with_id(grant.target);
        match task.and_then(|task| task.far()).filter(|far| far.worker == peer.worker) {
            Some(far) => far.credit.with(|credit| credit.grant(grant.total)).map(drop),
            None => Ok(()),
        }
    }

    fn take_rows(&self, py: Python<'_>, peer: &Peer, target: u32, rows: Rows<'_>) -> Result<(), Violation> {
        let Some(task) = self.task_with_id(target) else { return Ok(()) };
        if task.far().is_some() || task.is_spout() {
            return Ok(()); // a peer of another topology would have been refused at the door
        }
        let count = rows.len() as u32;
        peer.with_inflow(task, |inflow| inflow.receive(count))?;
        let mut from: Option<(RowPlace, &OutStream)> = None;
        rows.for_each(|row| {
            // Nearly all rows are of the same stream as the one before.
            let stream = match from {
                Some((place, stream)) if (place.source, place.stream) == (row.place.source, row.place.stream) => stream,
                _ => match self.stream_at(row.place) {
                    Some(stream) => {
                        from = Some((row.place, stream));
                        stream
                    }
                    None => return, // a peer of another topology would have been refused at the door
                },
            };
            self.take_row(py, task, stream, &row);
        });
        let pushed = task.inbox.pushed();
        peer.with_inflow(task, |inflow| {
            inflow.pushed(count, pushed);
            Ok(())
        })
    }

    fn stream_at(&self, place: RowPlace) -> Option<&OutStream> {
        self.task_with_id(place.source)?.streams.get(place.stream as usize)
    }

    #[inline(always)]
    fn take_row(&self, py: Python<'_>, task: &Rc<Task>, stream: &OutStream, row: &Row<'_>) {
        let (root, edge) = match row.trees.len() {
            0 => (RootId::NONE, 0),
            1 => row.trees.iter().next().expect("one"),
            _ => self.entry_of(&row.trees.iter().collect::<Vec<_>>()),
        };
        if row.flags.alone {
            let now_ns = self.now_ns.get();
            for (root, _) in row.trees.iter() {
                let more = self.alone.with(|alone| alone.note(root, now_ns));
                self.solo.set(self.solo.get().saturating_add_signed(more));
            }
        }
        match codec::decode_row(py, row.values, stream.fields.len(), self.settings.fallback, &self.texts) {
            Ok(values) => {
                let values = ManuallyDrop::new(values);
                // SAFETY: the row is taken by the call.
                unsafe { task.inbox.push_from(root, edge, stream.channel, &raw const *values) };
            }
            Err(trouble) => {
                let error = fault::undecodable(task, &stream.name, &stream.fields, *trouble);
                self.undecodable(py, task, root, edge, error);
            }
        }
    }

    /// A row that this worker cannot read fails like an input that its task could not take.
    #[cold]
    fn undecodable(&self, py: Python<'_>, task: &Rc<Task>, root: RootId, edge: u64, error: PyErr) {
        let pairs = self.pairs_of(root, edge);
        self.forget_bundle(root);
        let Some(verdict) = self.judge(py, task, &error, "decode", &pairs) else { return };
        if verdict.action == retry::Action::Drop {
            task.counts.dropped.set(task.counts.dropped.get() + 1);
            return pairs.iter().for_each(|(root, edge)| self.ack_root(*root, *edge));
        }
        task.counts.failed.set(task.counts.failed.get() + 1);
        let (number, error) = (self.next_failure(), error.into_value(py).into_any());
        let failure = Failure { number, task: task.clone(), error, verdict, input: None, together: false };
        self.fail_pairs(py, &pairs, &failure);
    }

    #[cold]
    fn take_failure(
        &self,
        py: Python<'_>,
        verdict: retry::Failure,
        together: bool,
        task: u32,
        detail: &[u8],
        roots: &[RootId],
    ) {
        let Some(task) = self.task_with_id(task).cloned() else { return };
        let told = self.hooks(py).call_method1("failure_heard", (PyBytes::new(py, detail),));
        let (error, input) = match told.and_then(|told| told.extract::<(Py<PyAny>, Option<Py<PyAny>>)>()) {
            Ok(told) => told,
            Err(fault) => (fault.into_value(py).into_any(), None),
        };
        let failure = Failure { number: self.next_failure(), task, error, verdict, input, together };
        for root in roots {
            self.fail_root(py, *root, &failure);
        }
    }

    /// Sends what waits for other workers. Whether anything went out.
    ///
    /// `dry`: the loop has nothing else to do, so nothing more comes to fill frames with.
    pub fn send_over_links(&self, dry: bool) {
        let Some(links) = self.links() else { return };
        let is_due = dry || self.now_ns.get() - links.flushed_ns.get() >= FLUSH_NS;
        if is_due {
            links.flushed_ns.set(self.now_ns.get());
        }
        for peer in &links.peers {
            self.send_rows(peer, is_due);
            if is_due || peer.acks.with(|acks| acks.0.len() >= FRAME_ACKS) {
                self.send_acks(links, peer);
            }
            if is_due {
                self.send_grants(links, peer);
                self.tell_received(peer);
            }
            links.write(&self.waiter, peer);
            if is_due && links.is_silent(peer, self.now_ns.get()) {
                drop(peer.socket.replace(None));
                links.mend(peer, &Broken::Closed);
            }
        }
    }

    fn tell_received(&self, peer: &Peer) {
        peer.link.with(|link| {
            if let Some(link) = link
                && let Some(expected) = link.taken.receipt_due()
            {
                link.out.tell_received(expected);
            }
        });
    }

    fn send_rows(&self, peer: &Peer, is_due: bool) {
        for task in peer.tasks.get() {
            let Some(far) = task.far() else { continue };
            while far.waiting() >= if is_due { 1 } else { FRAME_ROWS } {
                let room = far.credit.with(|credit| credit.room()) as usize;
                let is_full = peer.link.with(|link| link.as_ref().is_none_or(|link| link.out.is_full()));
                if room == 0 || is_full {
                    break;
                }
                far.rows.with(|rows| {
                    rows.take(room.min(FRAME_ROWS_MOST), FRAME_BYTES_MOST, |rows| {
                        far.credit.with(|credit| credit.spend(rows.len() as u64));
                        peer.push(&Body::Data { target: task.task_id as u32, rows });
                    });
                });
            }
        }
    }

    fn send_acks(&self, links: &Links, peer: &Peer) {
        let acks = peer.acks.with(|acks| std::mem::take(&mut acks.0));
        links.scratch.with(|scratch| peer.push_items(scratch, &acks, Body::Ack));
    }

    fn send_grants(&self, links: &Links, peer: &Peer) {
        let mut grants: Vec<Grant> = Vec::new();
        peer.inflows.with(|inflows| {
            for (task, inflow) in inflows {
                let is_from = |channel| self.channel(channel).0.far().is_some_and(|far| far.worker == peer.worker);
                let aside = task.inbox.aside(is_from) as u64;
                if let Some(total) = inflow.grant_due(task.inbox.passed(), aside, task.inbox.is_empty()) {
                    grants.push(Grant { target: task.task_id as u32, total });
                }
            }
        });
        if peer.incarnation.get() != 0 {
            links.scratch.with(|scratch| peer.push_items(scratch, &grants, Body::Credit));
        }
    }
}
