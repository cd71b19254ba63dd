//! The lives of links: who is sought, what follows when a stream or a worker is lost.
//!
//! `squall_core::link::LinkEnd` decides about streams; this file carries it out, and fails what is lost.

use super::door::Door;
use super::{EPOCH, Link, Links, News, Peer, WINDOW};
use crate::core::Core;
use crate::failures::Failure;
use crate::far::FarState;
use crate::fault;
use crate::task::Task;
use pyo3::prelude::*;
use squall_core::ack::Acks;
use squall_core::credit::Inflow;
use squall_core::frame::{Body, MAX_FRAME_BYTES, Rows, decode};
use squall_core::ids::{Incarnation, RootId, Token};
use squall_core::link::{Action, Event, LinkEnd};
use squall_core::retry;
use squall_core::suspects::{ALONE_FROM, DEAD_FROM};
use squall_core::trace::Note;
use squall_net::link::{self as net, Address, Broken, LinkEvent, Socket, Stream};
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

impl Core {
    /// A life of another worker, or its end, in the order in which the parent has told of them.
    pub(super) fn hear(&self, py: Python<'_>, links: &Links, news: News) {
        match news {
            News::Peer { worker, incarnation, session, path } => self.seek(links, worker, incarnation, session, path),
            News::Lost { worker, incarnation, ran, suspects } => {
                self.note(|| Note::Lost { worker, incarnation });
                suspects.iter().for_each(|root| self.suspect(py, worker, ran.as_deref(), *root));
                self.lose(py, links, worker, incarnation);
            }
        }
    }

    /// A peer was found, or not.
    pub(super) fn link_event(&self, py: Python<'_>, links: &Links, event: LinkEvent) {
        match event {
            LinkEvent::Up { peer, token, session, stream } => {
                let Some(peer) = links.peer(peer) else { return };
                if let Action::Use { is_first } = peer.step(Event::Found { token, session }, self.now_ns.get()) {
                    if is_first {
                        self.fail_reaching(py, peer.worker);
                    }
                    self.use_stream(peer, stream);
                }
            }
            LinkEvent::GivenUp { peer, token, session } => {
                let Some(peer) = links.peer(peer) else { return };
                self.step_link(py, links, peer, Event::NotFound { token, session });
            }
            // A worker that was replaced would have to stop (semantics 21): in an embedded run it has, as the parent reaps
            // a life before it starts the next.
            LinkEvent::Refused { peer, cause } => {
                if let Some(peer) = peer.and_then(|worker| links.peer(worker)) {
                    peer.refusal.set(Some(cause));
                }
                let told = self.hooks(py).call_method1("link_refused", (peer, cause.to_string()));
                if let Err(fault) = told {
                    fault.write_unraisable(py, None);
                }
            }
        }
    }

    fn use_stream(&self, peer: &Peer, stream: Stream) {
        let socket = Socket::new(stream, MAX_FRAME_BYTES);
        if self.waiter.watch(socket.as_fd(), u64::from(peer.worker), false).is_ok() {
            peer.socket.replace(Some(socket));
        }
        self.tasks_of_worker(peer.worker).for_each(|(_, far)| far.is_away.set(false));
        self.retry_stranded();
    }

    /// The stream to a peer is of no more use, and was dropped.
    #[cold]
    pub(super) fn broken(&self, py: Python<'_>, links: &Links, peer: &Peer, broken: &Broken) {
        let violation = match broken {
            Broken::Violation(violation) => Some(*violation),
            Broken::Closed | Broken::Io(_) => None,
        };
        if let Some(violation) = &violation {
            links.violations.with(|violations| violations.count(violation));
        }
        self.step_link(py, links, peer, Event::Broken(violation));
    }

    /// Something has happened to the link to a peer: does what follows.
    #[inline]
    pub(super) fn step_link(&self, py: Python<'_>, links: &Links, peer: &Peer, event: Event) {
        match peer.step(event, self.now_ns.get()) {
            Action::Nothing | Action::Use { .. } => {}
            Action::Seek { within_ns } => {
                drop(peer.socket.replace(None));
                peer.seek(&links.door, within_ns.map(Duration::from_nanos));
            }
            Action::LetIn => peer.seek(&links.door, None),
            Action::Miss { for_ns } => {
                let because = peer.refusal.get().map(|cause| cause.to_string());
                let told = self.hooks(py).call_method1("link_missed", (peer.worker, for_ns as f64 / 1e9, because));
                if let Err(fault) = told {
                    fault.write_unraisable(py, None);
                }
            }
            Action::GiveUp => {
                drop(peer.socket.replace(None));
                links.door.forget(peer.worker);
                let session = peer.with_end(|end| end.session());
                let told = self.hooks(py).call_method1("link_lost", (peer.worker, peer.incarnation.get(), session));
                if let Err(fault) = told {
                    fault.write_unraisable(py, None);
                }
            }
        }
    }

    fn seek(&self, links: &Links, worker: u32, incarnation: u16, session: u64, path: PathBuf) {
        let Some(peer) = links.peer(worker) else { return };
        if peer.with_end(|end| end.session() == session).unwrap_or(false) {
            return;
        }
        self.note(|| Note::Met { worker, incarnation });
        let token = Token { epoch: EPOCH, incarnation: Incarnation(incarnation) };
        let address = (worker > links.number).then_some(Address::Unix(path));
        let sought = net::Peer { worker, token, session, address };
        links.door.seek(sought.clone(), None);
        let own = Token { epoch: EPOCH, incarnation: self.incarnation };
        peer.incarnation.set(incarnation);
        peer.refusal.set(None);
        peer.sent.set(0);
        peer.received.set(0);
        peer.link.replace(Some(Link { sought, end: LinkEnd::new(own, token, session, self.now_ns.get()) }));
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
    fn lose(&self, py: Python<'_>, links: &Links, worker: u32, incarnation: u16) {
        let Some(peer) = links.peer(worker) else { return };
        let dropped = match peer.incarnation.get() == incarnation {
            true => self.let_go(links, peer),
            false => Vec::new(),
        };
        let Some(failure) = self.fail_reaching(py, worker) else { return };
        if !dropped.is_empty() {
            self.fail_over(py, &dropped, &failure);
        }
    }

    /// Fails the roots that may come to a worker: it is lost, or has now come. Until then it has not known where acks of
    /// this worker's roots go, and some were opened meanwhile: by calls that had begun before, by a user's `fail`, timers,
    /// or in another worker that was in between. None, if it has no tasks.
    #[cold]
    fn fail_reaching(&self, py: Python<'_>, worker: u32) -> Option<Failure> {
        let reaches = |spout: u32| {
            let is_there = |task: &Rc<Task>| task.far().is_some_and(|far| far.worker == worker);
            self.task(spout).spout().workers.with(|workers| workers.iter().any(is_there))
        };
        let spouts: Vec<u32> = self.spouts.with(|spouts| spouts.iter().map(|spout| spout.index).collect());
        let reaching: Vec<u32> = spouts.into_iter().filter(|spout| reaches(*spout)).collect();
        let roots: Vec<RootId> = self.ledger.with(|ledger| {
            ledger.iter().filter(|(_, pending)| reaching.contains(&pending.spout)).map(|(root, _)| root).collect()
        });
        let (task, _) = self.tasks_of_worker(worker).next()?;
        let task = self.task(task.index);
        let error = fault::worker_lost(worker).into_value(py).into_any();
        let verdict = retry::Failure { action: retry::Action::Retry, counts: false, after_ns: None };
        let failure = Failure { number: self.next_failure(), task, error, verdict, input: None, together: false };
        roots.into_iter().for_each(|root| self.fail_root(py, root, &failure));
        Some(failure)
    }

    /// Drops the link to a life of another worker. The roots of third workers of whose tuples that takes some: such a
    /// worker may have emitted them when it had heard of the loss already, so it has to be told.
    #[cold]
    fn let_go(&self, links: &Links, peer: &Peer) -> Vec<RootId> {
        peer.incarnation.set(0);
        links.door.forget(peer.worker);
        drop((peer.socket.replace(None), peer.acks.replace(Acks::default())));
        let mut roots = BTreeSet::new();
        let mut note =
            |rows: Rows<'_>| roots.extend(rows.iter().flat_map(|row| row.trees.iter().map(|(root, _)| root)));
        if let Some(link) = peer.link.replace(None) {
            for frame in link.end.out.kept() {
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
    fn suspect(&self, py: Python<'_>, worker: u32, ran: Option<&str>, root: RootId) {
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
            let has_run = |(task, _): &(&Task, &FarState)| ran == Some(self.component_name(task.component));
            let task = self.tasks_of_worker(worker).find(has_run).map_or(spout, |(task, _)| task.index);
            let error = fault::worker_killer(deaths).into_value(py).into_any();
            let verdict = retry::Failure { action: retry::Action::Dead, counts: true, after_ns: None };
            let (number, task) = (self.next_failure(), self.task(task));
            let failure = Failure { number, task, error, verdict, input: None, together: false };
            self.fail_root(py, root, &failure);
        }
    }
}

impl Peer {
    fn step(&self, event: Event, now_ns: u64) -> Action {
        self.with_end(|end| end.step(event, now_ns)).unwrap_or(Action::Nothing)
    }

    /// Has the life sought that the link is to.
    fn seek(&self, door: &Door, within: Option<Duration>) {
        if let Some(sought) = self.link.with(|link| link.as_ref().map(|link| link.sought.clone())) {
            door.seek(sought, within);
        }
    }
}
