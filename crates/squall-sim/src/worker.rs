//! One life of a simulated worker: mailboxes, a ledger, links to the other workers, spouts, journals and bolts.
//!
//! The adapter around the core's decisions, as thin as the shipping one is, and in the same parts. It acts only when the
//! world hands it an event.

mod bolts;
mod emit;
mod ends;
mod far;
mod journal;
mod life;
mod links;
mod receiving;
mod sending;
mod socket;
mod spouts;
mod storing;
mod suspects;

use crate::acker::Acker;
use crate::host::{Due, Host};
use crate::mutant::Mutant;
use crate::plan::{MS, Place, TaskId, US};
use crate::truth::{Message, Try, TupleId};
use far::Far;
use links::Peer;
use spouts::Spout;
use squall_core::ack::Bundles;
use squall_core::alone::Alone;
use squall_core::flow::HighWater;
use squall_core::ids::{EdgeIds, Incarnation, RootId};
use squall_core::mailbox::Mailbox;
use squall_core::route::Payload;
use std::collections::BTreeMap;

/// The life that the first workers have; later ones count up.
pub const FIRST_LIFE: u16 = 1;

/// How often the links are looked at while something of one is awaited.
const LOOK_EVERY_NS: u64 = 500 * MS;

/// What is to be emitted, and how often it was.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    message: Message,
    /// Its output's place in the spout's order, or its record's ticket.
    place: u64,
    attempt: u32,
    /// The number of the tries that follow each other.
    chain: u64,
    /// On how many of its tuples workers died.
    suspicions: u8,
}

/// What the ledger keeps for a root.
#[derive(Clone, Copy)]
pub struct Entry {
    spout: usize,
    of: Try,
    opened_ns: u64,
    retry: Retry,
}

/// A row is only its number in the truth.
struct Row {
    tuple: TupleId,
    bytes: usize,
}

impl Payload for Row {
    type Err = ();

    fn dup(&self) -> Self {
        Row { tuple: self.tuple, bytes: self.bytes }
    }

    fn key(&self, _fields: &[u16]) -> Result<u64, ()> {
        Ok(self.tuple)
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

/// A bolt's task of this worker.
struct Bolt {
    inbox: Mailbox<Row>,
    high_water: HighWater,
    /// What a join keeps.
    joined: Vec<Input>,
    /// Rows and bytes of each other worker that wait in the mailbox.
    waiting: Vec<(u64, usize)>,
}

/// One life.
pub struct Worker {
    /// Its place in the cluster.
    pub place: Place,
    /// Which life it is.
    pub life: Incarnation,
    acker: Acker<Entry>,
    /// What each root began with: a call may take what is left of a try that has failed.
    began: BTreeMap<RootId, Message>,
    bundles: Bundles,
    ids: EdgeIds,
    peers: Vec<Peer>,
    spouts: Vec<Spout>,
    bolts: BTreeMap<TaskId, Bolt>,
    fars: BTreeMap<TaskId, Far>,
    alone: Alone,
    suspects: Alone,
    holds: BTreeMap<u64, Input>,
    next_hold: u64,
    turn_due: bool,
    look_due: bool,
    /// The parent's orders, for the loop's next turn.
    orders: Vec<Due>,
    /// The process ends in the next call of user code.
    is_doomed: bool,
    /// It has just ended in one.
    is_dying: bool,
}

impl Worker {
    /// A new life at `place`. It knows nobody until it is told. `deaths` are known of messages on which workers died.
    pub fn boot(host: &mut Host, place: Place, life: Incarnation, deaths: &BTreeMap<Message, u8>) -> Self {
        let seed = if host.has(Mutant::SameSeedEverywhere) { 7 } else { host.chance.bits() };
        let places = host.plan.places;
        let mut here: BTreeMap<TaskId, Bolt> = BTreeMap::new();
        let mut fars: BTreeMap<TaskId, Far> = BTreeMap::new();
        for task in 0..host.plan.bolts.len() {
            let high_water = HighWater::new(host.plan.high_water, 1.0, 0.5);
            if host.plan.bolts[task].1 == place {
                let waiting = vec![(0, 0); places];
                here.insert(task, Bolt { inbox: Mailbox::default(), high_water, joined: Vec::new(), waiting });
            } else {
                fars.insert(task, Far::new(host.plan.window, high_water));
            }
        }
        let tasks: Vec<TaskId> = here.keys().copied().collect();
        let mine = (0..host.plan.spouts.len()).filter(|spout| host.plan.spouts[*spout].place == place);
        let mine: Vec<usize> = mine.collect();
        host.gates.reset(place, Some(life));
        Worker {
            place,
            life,
            acker: Acker::new(life, host.mutant),
            began: BTreeMap::new(),
            bundles: Bundles::default(),
            ids: EdgeIds::new(seed),
            peers: (0..places).map(|_| Peer::new(&tasks, host.plan.window)).collect(),
            spouts: mine.into_iter().map(|spout| Spout::open(host, spout, life, deaths)).collect(),
            bolts: here,
            fars,
            alone: Alone::default(),
            suspects: Alone::default(),
            holds: BTreeMap::new(),
            next_hold: 0,
            turn_due: false,
            look_due: false,
            orders: Vec::new(),
            is_doomed: false,
            is_dying: false,
        }
    }

    /// Carries out what has come due.
    pub fn act(&mut self, host: &mut Host, due: Due) {
        let is_turn = matches!(due, Due::Turn);
        match due {
            Due::Turn => {
                self.turn_due = false;
                self.turn(host);
            }
            Due::Stir => {}
            Due::Look => self.look_due = false,
            Due::HoldExpired(hold) => self.expire_hold(host, hold),
            Due::Flush(task) => self.flush_join(host, task),
            Due::Release { task, channel } => self.bolts[&task].inbox.release(channel),
            Due::Backoff { spout, retry } => self.spouts[spout].retries.push_back(retry),
            Due::InitAgain { root, xor } => self.init(host, root, xor),
            Due::Synced(spout) => self.synced(host, spout),
            Due::Store(spout) => self.store(host, spout),
            Due::StoreAgain(spout) => self.end_rest(host, spout),
            order @ (Due::Part { .. } | Due::Meet { .. }) => self.orders.push(order),
        }
        // What came due outside of a turn may have left something to be sent.
        if !is_turn || self.has_work(host) {
            self.wake(host);
        }
    }

    /// How many trees are open.
    pub fn pending(&self) -> u32 {
        self.acker.pending()
    }

    /// The spouts that live here, and how many trees each has open.
    pub fn spouts(&self) -> impl Iterator<Item = (usize, u32)> {
        self.spouts.iter().map(|spout| (spout.number, spout.pending()))
    }

    /// Whether it does nothing until something happens to it.
    pub fn is_at_rest(&self) -> bool {
        !self.turn_due
    }

    /// Has the loop take a turn soon.
    pub fn wake(&mut self, host: &mut Host) {
        if !self.turn_due {
            self.turn_due = true;
            let slow_ns = if host.strikes(host.plan.faults.slow) { host.chance.between(MS, 100 * MS) } else { 0 };
            let delay_ns = host.chance.between(US, 20 * US) + slow_ns;
            host.later(self.place, self.life, delay_ns, Due::Turn);
        }
    }

    fn has_work(&mut self, host: &Host) -> bool {
        let acks = self.peers.iter().any(Peer::has_ends);
        let rows = (0..host.plan.bolts.len()).any(|task| self.bolts.contains_key(&task) && self.may_run(host, task));
        !self.is_dying && (acks || rows || (0..self.spouts.len()).any(|spout| self.may_emit(host, spout)))
    }

    fn turn(&mut self, host: &mut Host) {
        self.receive(host);
        (0..self.spouts.len()).for_each(|spout| self.run_spout(host, spout));
        let mut ready: Vec<TaskId> = self.bolts.keys().copied().collect();
        ready.retain(|task| self.may_run(host, *task));
        if !ready.is_empty() {
            let task = ready[host.chance.below(ready.len() as u64) as usize];
            self.run_bolt(host, task);
        }
        if self.is_dying {
            return;
        }
        let is_due = ready.is_empty() || host.chance.permille(300);
        self.send_over_links(host, is_due);
        if !is_due {
            self.wake(host);
        }
        if !self.look_due && self.peers.iter().any(Peer::is_awaited) {
            self.look_due = true;
            host.later(self.place, self.life, LOOK_EVERY_NS, Due::Look);
        }
    }

    fn edge(&mut self, host: &mut Host) -> u64 {
        let id = self.ids.next_id();
        let id = if host.has(Mutant::FourBitIds) { id & 15 } else { id };
        host.truth.edge(id);
        id
    }
}
