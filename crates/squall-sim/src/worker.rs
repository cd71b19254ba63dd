//! One life of a simulated worker: mailboxes, a ledger, links to the other workers, spouts and bolts.
//!
//! The adapter around the core's decisions, as thin as the shipping one is meant to be. It acts only when the world
//! hands it an event.

mod bolts;
mod links;
mod spouts;

use crate::acker::Acker;
use crate::host::{Due, Event, Host};
use crate::mutant::Mutant;
use crate::plan::{Place, TaskId};
use crate::truth::{Try, TupleId};
use links::{Ends, Peer};
use spouts::Spout;
use squall_core::ack::Bundles;
use squall_core::ids::{EdgeIds, Incarnation, RootId};
use squall_core::mailbox::{Mailbox, Msg};
use squall_core::retry::{Action, Failure, Verdict, verdict};
use squall_core::route::Payload;
use std::collections::BTreeMap;

/// The life that the first workers have; later ones count up.
pub const FIRST_LIFE: u16 = 1;

const BY_USER_CODE: Failure = Failure { action: Action::Retry, counts: true, after_ns: None };
const BY_LOSS: Failure = Failure { action: Action::Retry, counts: false, after_ns: None };

/// Back-offs are this much shorter here, so that a history has room for several.
const BACKOFF_SCALE: u64 = 100;

/// What the ledger keeps for a root.
#[derive(Clone, Copy)]
pub struct Entry {
    spout: usize,
    position: u64,
    attempt: u32,
    of: Try,
    opened_us: u64,
}

/// A row is only its number in the truth.
struct Row(TupleId);

impl Payload for Row {
    type Err = ();

    fn dup(&self) -> Self {
        Row(self.0)
    }

    fn key(&self, _fields: &[u16]) -> Result<u64, ()> {
        Ok(self.0)
    }

    fn custom(&self, _which: u32) -> Result<Vec<u32>, ()> {
        Err(())
    }
}

/// A tuple in a bolt's hands.
struct Input {
    pairs: Box<[(RootId, u64)]>,
    tuple: TupleId,
}

/// One life.
pub struct Worker {
    /// Its place in the cluster.
    pub place: Place,
    /// Which life it is.
    pub life: Incarnation,
    acker: Acker<Entry>,
    bundles: Bundles,
    ids: EdgeIds,
    peers: Vec<Peer>,
    ends: Vec<Ends>,
    spouts: Vec<Spout>,
    inboxes: BTreeMap<TaskId, Mailbox<Row>>,
    joins: BTreeMap<TaskId, Vec<Input>>,
    holds: BTreeMap<u64, Input>,
    next_hold: u64,
    turn_due: bool,
    /// Whether every peer knows this life, and so where to send its acks.
    started: bool,
}

impl Worker {
    /// A new life at `place`, which may send to the lives in `peers`. Its spouts begin at [`Due::Start`].
    pub fn boot(host: &mut Host, place: Place, life: Incarnation, peers: &[Option<Incarnation>]) -> Self {
        let seed = if host.has(Mutant::SameSeedEverywhere) { 7 } else { host.chance.bits() };
        let here = |task: &TaskId| host.plan.bolts[*task].1 == place;
        let tasks: Vec<TaskId> = (0..host.plan.bolts.len()).filter(here).collect();
        let spouts = (0..host.plan.spouts.len()).filter(|spout| host.plan.spouts[*spout] == place);
        Worker {
            place,
            life,
            acker: Acker::new(life, host.mutant),
            bundles: Bundles::default(),
            ids: EdgeIds::new(seed),
            peers: peers.iter().map(|life| Peer::new(*life)).collect(),
            ends: peers.iter().map(|_| Ends::default()).collect(),
            spouts: spouts.map(|spout| Spout::new(spout, host.committed[spout], host.plan.max_pending)).collect(),
            inboxes: tasks.iter().map(|task| (*task, Mailbox::default())).collect(),
            joins: tasks.iter().map(|task| (*task, Vec::new())).collect(),
            holds: BTreeMap::new(),
            next_hold: 0,
            turn_due: false,
            started: host.has(Mutant::StartBeforeKnown),
        }
    }

    /// Carries out what has come due.
    pub fn act(&mut self, host: &mut Host, due: Due) {
        match due {
            Due::Turn => {
                self.turn_due = false;
                self.turn(host);
            }
            Due::Resend(peer) => self.resend(host, peer),
            Due::HoldExpired(hold) => self.expire_hold(host, hold),
            Due::Flush(task) => self.flush_join(host, task),
            Due::Backoff { spout, position, attempt } => self.spouts[spout].retries.push_back((position, attempt)),
            Due::InitAgain { root, xor } => self.init(host, root, xor),
            Due::Lost { place, at_us } => self.hear_of_loss(host, place, at_us),
            Due::Ready { place, life } => self.connect(host, place, life),
            Due::Start => self.started = true,
        }
        if self.has_work(host) {
            self.wake(host);
        }
    }

    /// How many trees are open.
    pub fn pending(&self) -> u32 {
        self.acker.pending()
    }

    /// How many spouts live here.
    pub fn spouts(&self) -> u32 {
        self.spouts.len() as u32
    }

    /// What is left over, in words, when nothing should be.
    pub fn leftovers(&self) -> Option<String> {
        let inboxes: usize = self.inboxes.values().map(Mailbox::len).sum();
        let joins: usize = self.joins.values().map(Vec::len).sum();
        let counts = [self.pending() as usize, self.bundles.len(), inboxes, joins, self.holds.len()];
        let names = ["trees", "bundles", "waiting tuples", "tuples in joins", "held tuples"];
        let left: Vec<String> = names
            .iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        (!left.is_empty()).then(|| format!("worker {} has {} left", self.place, left.join(", ")))
    }

    fn wake(&mut self, host: &mut Host) {
        if !self.turn_due {
            self.turn_due = true;
            let delay_us = host.chance.between(1, 20);
            self.later(host, delay_us, Due::Turn);
        }
    }

    fn later(&self, host: &mut Host, delay_us: u64, what: Due) {
        host.after(delay_us, Event::Worker { at: self.place, life: self.life, what });
    }

    fn has_work(&self, host: &Host) -> bool {
        let ends = self.ends.iter().any(|ends| !ends.acks.0.is_empty() || !ends.fails.is_empty());
        let rows = self.inboxes.values().any(|inbox| !inbox.is_empty());
        ends || rows || (0..self.spouts.len()).any(|spout| self.may_emit(host, spout))
    }

    fn turn(&mut self, host: &mut Host) {
        (0..self.spouts.len()).for_each(|spout| self.run_spout(host, spout));
        let waiting: Vec<TaskId> =
            self.inboxes.iter().filter(|(_, inbox)| !inbox.is_empty()).map(|(task, _)| *task).collect();
        if !waiting.is_empty() {
            let task = waiting[host.chance.below(waiting.len() as u64) as usize];
            self.run_bolt(host, task);
        }
        if waiting.is_empty() || host.chance.permille(300) {
            self.send_ends(host);
        }
    }

    fn edge(&mut self, host: &mut Host) -> u64 {
        let id = self.ids.next_id();
        let id = if host.has(Mutant::FourBitIds) { id & 15 } else { id };
        host.truth.edge(id);
        id
    }

    /// Where the ledger of a root is, if that life still is.
    fn owner_of(&self, host: &Host, root: RootId) -> Option<Place> {
        let life = root.incarnation();
        if life == self.life {
            return Some(self.place);
        }
        if host.has(Mutant::IncarnationIgnored) {
            return host.places.iter().find(|(known, _)| *known == life).map(|(_, place)| *place);
        }
        self.peers.iter().position(|peer| peer.life() == Some(life))
    }

    fn ack(&mut self, host: &mut Host, root: RootId, xor: u64) {
        match self.owner_of(host, root) {
            Some(place) if place == self.place => self.ack_here(host, root, xor),
            Some(place) => self.ends[place].acks.ack(root, xor),
            None => {} // the life that opened the tree is over, and the tree with it
        }
    }

    fn fail(&mut self, host: &mut Host, root: RootId) {
        match self.owner_of(host, root) {
            Some(place) if place == self.place => self.fail_here(host, root, BY_USER_CODE),
            Some(place) => self.ends[place].fails.push(root),
            None => {}
        }
    }

    fn init(&mut self, host: &mut Host, root: RootId, xor: u64) {
        if let Some(entry) = self.acker.init(root, xor) {
            self.complete(host, entry);
        }
    }

    fn ack_here(&mut self, host: &mut Host, root: RootId, xor: u64) {
        if let Some(entry) = self.acker.ack(root, xor) {
            self.complete(host, entry);
        }
    }

    fn complete(&mut self, host: &mut Host, entry: Entry) {
        host.truth.acked(entry.of);
        self.spouts[entry.spout].close_try();
        self.spouts[entry.spout].end(host, entry.position);
    }

    fn fail_here(&mut self, host: &mut Host, root: RootId, failure: Failure) {
        let Some(entry) = self.acker.fail(root) else { return };
        host.truth.failed(entry.of, failure.counts);
        self.spouts[entry.spout].close_try();
        let counts = failure.counts || host.has(Mutant::LossCounts);
        let retries = if host.has(Mutant::NeverDead) { u32::MAX } else { crate::plan::RETRIES };
        match verdict(Failure { counts, ..failure }, entry.attempt, retries) {
            Verdict::Again { .. } if host.has(Mutant::RetryForgotten) => {}
            Verdict::Again { after_ns, attempt } => {
                let delay_us = after_ns / 1_000 / BACKOFF_SCALE;
                let retry = Due::Backoff { spout: entry.spout, position: entry.position, attempt };
                self.later(host, delay_us, retry);
            }
            Verdict::Dead => {
                host.truth.dead(entry.of);
                self.spouts[entry.spout].end(host, entry.position);
            }
            Verdict::Drop | Verdict::Die => unreachable!("no component here asks for it"),
        }
    }

    /// Puts a tuple into a mailbox of this worker.
    fn put(&mut self, task: TaskId, pairs: &[(RootId, u64)], tuple: TupleId) {
        let (root, edge) = match *pairs {
            [only] => only,
            _ => (self.bundles.put(pairs.into()), 0),
        };
        let inbox = self.inboxes.get_mut(&task).expect("the plan placed the task here");
        inbox.push(Msg { root, edge, channel: 0, row: Row(tuple) });
    }
}
