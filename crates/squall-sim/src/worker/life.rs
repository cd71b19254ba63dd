//! The lives of links: who is sought, what follows when a stream or a worker is lost.
//!
//! `squall_core::link::LinkEnd` decides about streams; this file carries it out as `squall-py`'s `links/life.rs` does,
//! and fails what is lost.

use super::links::EPOCH;
use super::socket::{Broken, Socket};
use super::{Worker, ends};
use crate::gate::News;
use crate::host::{Due, Host, Word};
use crate::law::Law;
use crate::mutant::Mutant;
use crate::plan::Place;
use squall_core::ack::Acks;
use squall_core::frame::{Body, Rows, decode};
use squall_core::ids::{Incarnation, RootId, Token};
use squall_core::link::{Action, Event, LinkEnd};
use std::collections::BTreeSet;

fn token(life: Incarnation) -> Token {
    Token { epoch: EPOCH, incarnation: life }
}

impl Worker {
    /// A life of another worker, or its end, in the order in which the parent has told of them.
    pub(super) fn hear(&mut self, host: &mut Host, order: Due) {
        match order {
            Due::Meet { place, life, session } => self.meet(host, place, life, session),
            Due::Part { place, life, at_ns, suspects } => {
                suspects.iter().for_each(|root| self.suspect(host, *root, life));
                self.lose(host, place, life, at_ns);
            }
            other => unreachable!("the parent does not say {other:?}"),
        }
    }

    /// The gate has found a peer, or not.
    pub(super) fn link_event(&mut self, host: &mut Host, news: News) {
        match news {
            News::Up { peer, life, session, stream, way } => {
                let found = Event::Found { token: token(life), session };
                match self.step(host, peer, found) {
                    Action::Use { is_first } => {
                        let is_defect = host.has(Mutant::StartBeforeKnown) || host.has(Mutant::OnlyOlderThanLossFailed);
                        if is_first && !is_defect {
                            self.fail_reaching(host, peer, u64::MAX);
                        }
                        self.use_stream(host, peer, Socket::new(stream, way));
                    }
                    _ => host.hang_up(stream, way),
                }
            }
            News::GivenUp { peer, life, session } => {
                self.step_link(host, peer, Event::NotFound { token: token(life), session });
            }
        }
    }

    fn use_stream(&mut self, host: &mut Host, peer: Place, socket: Socket) {
        self.drop_socket(host, peer);
        self.peers[peer].socket = Some(socket);
        let plan = &host.plan;
        let of_peer = self.fars.iter_mut().filter(|(task, _)| plan.bolts[**task].1 == peer);
        of_peer.for_each(|(_, far)| far.is_away = false);
    }

    fn drop_socket(&mut self, host: &mut Host, peer: Place) {
        if let Some(socket) = self.peers[peer].socket.take() {
            host.hang_up(socket.stream, socket.way);
        }
    }

    fn step(&mut self, host: &Host, peer: Place, event: Event) -> Action {
        self.peers[peer].link.as_mut().map_or(Action::Nothing, |link| link.step(event, host.now_ns))
    }

    /// The stream to a peer is of no more use, and was dropped.
    pub(super) fn broken(&mut self, host: &mut Host, peer: Place, broken: &Broken) {
        let (own, now_ns) = (self.place, host.now_ns);
        if let Some(violation) = &broken.0 {
            host.trace.note(now_ns, || format!("worker {own} refuses the stream of {peer}: {violation}"));
        }
        self.step_link(host, peer, Event::Broken(broken.0));
    }

    /// Something has happened to the link to a peer: does what follows.
    pub(super) fn step_link(&mut self, host: &mut Host, peer: Place, event: Event) {
        let (own, now_ns) = (self.place, host.now_ns);
        let action = self.step(host, peer, event);
        self.judge_link(host, peer, event, action);
        match action {
            Action::Nothing | Action::Use { .. } | Action::Miss { .. } => {}
            Action::Seek { within_ns } => {
                host.trace.note(now_ns, || format!("worker {own} seeks {peer} again"));
                self.drop_socket(host, peer);
                self.seek(host, peer, within_ns);
            }
            Action::LetIn => self.seek(host, peer, None),
            Action::GiveUp => {
                host.trace.note(now_ns, || format!("worker {own} gives the link to {peer} up: {event:?}"));
                self.drop_socket(host, peer);
                host.gates.forget(own, peer);
                if let (Some(life), Some(link)) = (self.peers[peer].life, &self.peers[peer].link) {
                    host.words.push(Word::LinkLost { by: own, life, session: link.session() });
                }
            }
        }
    }

    /// Whether there was a reason for what is done to the link between two that live.
    // semantics 20
    fn judge_link(&self, host: &mut Host, peer: Place, event: Event, action: Action) {
        let (own, now_ns) = (self.place, host.now_ns);
        if host.gates.lives(peer) != self.peers[peer].life {
            return;
        }
        let is_spoilt = self.peers[peer].socket.as_ref().is_some_and(|socket| host.network.is_spoilt(socket.stream));
        let has_reason = match (action, event) {
            (Action::Seek { .. }, Event::Look) => is_spoilt || host.hindrances.may_silence(own, peer, now_ns),
            // What was refused is judged where it was.
            (Action::GiveUp, Event::Broken(Some(_))) => true,
            (Action::GiveUp, _) => host.hindrances.may_part(own, peer, now_ns),
            _ => true,
        };
        if !has_reason {
            let what = || format!("worker {own} gave its link, or a stream, to {peer} up without a reason: {event:?}");
            host.truth.broken(Law::LinksResume, what);
        }
    }

    fn seek(&mut self, host: &mut Host, peer: Place, within_ns: Option<u64>) {
        if let (Some(life), Some(link)) = (self.peers[peer].life, &self.peers[peer].link) {
            host.seek(self.place, peer, life, link.session(), within_ns);
        }
    }

    fn meet(&mut self, host: &mut Host, place: Place, life: Incarnation, session: u64) {
        let peer = &mut self.peers[place];
        if peer.link.as_ref().is_some_and(|link| link.session() == session) {
            return;
        }
        peer.life = Some(life);
        peer.link = Some(LinkEnd::new(token(self.life), token(life), session, host.now_ns));
        peer.came.clear();
        peer.inflows.values_mut().for_each(squall_core::credit::Inflow::begin);
        self.seek(host, place, None);
    }

    /// What was on its way to or from a lost worker is gone with it: each root that it may have had a part of fails
    /// without counting.
    // semantics 19
    fn lose(&mut self, host: &mut Host, place: Place, life: Incarnation, at_ns: u64) {
        let dropped = if self.peers[place].life == Some(life) { self.let_go(host, place) } else { Vec::new() };
        if host.has(Mutant::LossIgnored) {
            return;
        }
        self.fail_reaching(host, place, if host.has(Mutant::OnlyOlderThanLossFailed) { at_ns } else { u64::MAX });
        if !host.has(Mutant::DroppedUntold) {
            dropped.into_iter().for_each(|root| self.fail(host, root, ends::BY_LOSS));
        }
    }

    /// Fails the roots, as old as that, that may come to a worker: it is lost, or has now come.
    fn fail_reaching(&mut self, host: &mut Host, place: Place, until_ns: u64) {
        if !host.plan.is_reachable(place) {
            return;
        }
        for (root, entry) in self.acker.open_trees() {
            if entry.opened_ns <= until_ns {
                self.fail_here(host, root, ends::BY_LOSS);
            }
        }
    }

    /// Drops the link to a life of another worker. The roots of third workers of whose tuples that takes some: such a
    /// worker may have emitted them when it had heard of the loss already, so it has to be told.
    fn let_go(&mut self, host: &mut Host, place: Place) -> Vec<RootId> {
        host.gates.forget(self.place, place);
        self.drop_socket(host, place);
        let mut roots = BTreeSet::new();
        let mut note =
            |rows: Rows<'_>| roots.extend(rows.iter().flat_map(|row| row.trees.iter().map(|(root, _)| root)));
        let peer = &mut self.peers[place];
        (peer.life, peer.acks) = (None, Acks::default());
        peer.fails.clear();
        if let Some(link) = peer.link.take() {
            for frame in link.out.kept() {
                if let Ok(Some((_, Body::Data { rows, .. }, _))) = decode(frame) {
                    note(rows);
                }
            }
        }
        let plan = &host.plan;
        let of_peer = self.fars.iter_mut().filter(|(task, _)| plan.bolts[**task].1 == place);
        of_peer.for_each(|(_, far)| note(far.forget().rows()));
        roots.retain(|root| root.incarnation() != self.life);
        roots.into_iter().collect()
    }

    /// The process is gone: its streams, its connections, and what it had written and not synced.
    pub fn die(self, host: &mut Host) {
        for news in host.gates.take(self.place) {
            if let News::Up { stream, way, .. } = news {
                host.hang_up(stream, way);
            }
        }
        host.gates.reset(self.place, None);
        for socket in self.peers.iter().filter_map(|peer| peer.socket.as_ref()) {
            host.hang_up(socket.stream, socket.way);
        }
        for spout in &self.spouts {
            if host.senders.has(spout.number) {
                host.senders.hang_up(spout.number);
                if host.chance.permille(host.plan.faults.power) {
                    host.disks[spout.number].lose_power(&host.chance);
                }
            }
        }
    }
}
