//! What a simulated worker has around it: time, chance, the network, disks, the sources' stored positions.

use crate::chance::Chance;
use crate::disk::Disk;
use crate::gate::Gates;
use crate::hindrance::Hindrances;
use crate::mutant::Mutant;
use crate::nature::Nature;
use crate::network::{Network, StreamId, Way};
use crate::plan::{Place, Plan, TaskId};
use crate::sender::Senders;
use crate::trace::Trace;
use crate::truth::Truth;
use squall_core::ids::{Incarnation, RootId};
use squall_core::timers::Timers;
use std::rc::Rc;

/// Something that happens at a time. Those for a worker name its life, and come to nothing when it is over.
#[derive(Debug)]
pub enum Event {
    /// Bytes arrive at the end of a stream.
    Arrive {
        /// The stream.
        stream: StreamId,
        /// Which way they went.
        way: Way,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Nothing more arrives.
    Closed {
        /// The stream.
        stream: StreamId,
        /// Which way.
        way: Way,
    },
    /// A gate calls the peer that it seeks.
    Call {
        /// The caller.
        at: Place,
        /// The search.
        search: u64,
    },
    /// A gate has sought for long enough.
    GiveUp {
        /// The gate.
        at: Place,
        /// The search.
        search: u64,
    },
    /// Something for one worker.
    Worker {
        /// Its place.
        at: Place,
        /// Its life.
        life: Incarnation,
        /// What.
        what: Due,
    },
    /// The senders of a spout send.
    Send(usize),
    /// A worker dies.
    Crash(Place),
    /// The next call of user code there is the last of its worker.
    Doom(Place),
    /// A new life begins.
    Boot(Place),
    /// A worker stands still.
    Pause {
        /// Which.
        place: Place,
        /// For how long.
        for_ns: u64,
    },
    /// A worker goes on.
    Wake(Place),
    /// The faults are over.
    Calm,
}

/// Something that comes due in a worker.
#[derive(Clone, Debug)]
pub enum Due {
    /// A turn of the run loop.
    Turn,
    /// Something can be read, written or taken: the loop wakes.
    Stir,
    /// The links are looked at.
    Look,
    /// User code held an input for too long.
    HoldExpired(u64),
    /// A join sends what it has.
    Flush(TaskId),
    /// A channel of a mailbox flows again.
    Release {
        /// Whose mailbox.
        task: TaskId,
        /// Which channel.
        channel: u32,
    },
    /// A back-off is over: this spout of the worker may try again.
    Backoff {
        /// The spout, by its number in the worker.
        spout: usize,
        /// The number of what to emit, as the spout counts.
        retry: crate::worker::Retry,
    },
    /// An init is said once more.
    InitAgain {
        /// Whose.
        root: RootId,
        /// What it said.
        xor: u64,
    },
    /// The disk has done what the journal of this spout has asked for, or refused.
    Synced(usize),
    /// The journal of this spout looks at what has ended.
    Store(usize),
    /// The journal of this spout tries again after a rest.
    StoreAgain(usize),
    /// The parent says that the link to a peer's life is over, or the life.
    Part {
        /// Whose.
        place: Place,
        /// Which life.
        life: Incarnation,
        /// When that happened.
        at_ns: u64,
        /// The roots on whose tuples it died.
        suspects: Vec<RootId>,
    },
    /// The parent says that a life may be sent to.
    Meet {
        /// Whose.
        place: Place,
        /// Which life.
        life: Incarnation,
        /// In which session of the link.
        session: u64,
    },
}

/// What a worker has to say to its parent.
#[derive(Debug)]
pub enum Word {
    /// A session of the link to a life cannot go on.
    LinkLost {
        /// Who says it.
        by: Place,
        /// The peer's life.
        life: Incarnation,
        /// The session.
        session: u64,
    },
    /// A tuple of these roots has killed the worker.
    Died {
        /// Where.
        place: Place,
        /// On whose tuples.
        suspects: Vec<RootId>,
    },
}

/// The surroundings of all workers of a history.
pub struct Host {
    /// What was drawn.
    pub plan: Plan,
    /// All further draws.
    pub chance: Chance,
    /// The observer.
    pub truth: Truth,
    /// The defect, if there is one.
    pub mutant: Option<Mutant>,
    /// What is to come.
    pub timers: Timers<Event>,
    /// Virtual time.
    pub now_ns: u64,
    /// Whether the faults are over.
    pub calm: bool,
    /// The stored position of each source.
    pub committed: Vec<u64>,
    /// The place of every life there ever was.
    pub places: Vec<(Incarnation, Place)>,
    /// The streams.
    pub network: Network,
    /// What was in the way of whom.
    pub hindrances: Hindrances,
    /// Who seeks whom.
    pub gates: Gates,
    /// The disk of each spout's journal.
    pub disks: Vec<Disk>,
    /// Who sends to spouts.
    pub senders: Senders,
    /// What workers have said to the parent.
    pub words: Vec<Word>,
    /// What happened, for people.
    pub trace: Trace,
    /// What its records are.
    pub nature: Rc<Nature>,
}

impl Host {
    /// The surroundings as `seed` draws them.
    pub fn new(seed: u64, mutant: Option<Mutant>, trace: Trace) -> Self {
        let chance = Chance::new(seed);
        let plan = Plan::draw(&chance);
        let nature = Nature::new(seed, &plan);
        // With few bits ids repeat at once; what that does to trees is to be seen.
        let check_edges = mutant != Some(Mutant::FourBitIds);
        Host {
            committed: vec![0; plan.spouts.len()],
            truth: Truth::new(plan.max_pending, check_edges),
            timers: Timers::new(),
            places: Vec::new(),
            network: Network::default(),
            hindrances: Hindrances::default(),
            gates: Gates::new(plan.places),
            disks: plan.spouts.iter().map(|_| Disk::default()).collect(),
            senders: Senders::new(&plan),
            words: Vec::new(),
            now_ns: 0,
            calm: false,
            trace,
            plan,
            chance,
            mutant,
            nature: Rc::new(nature),
        }
    }

    /// Whether the history has this defect.
    pub fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Has `event` happen after `delay_ns`.
    pub fn after(&mut self, delay_ns: u64, event: Event) {
        self.timers.at(self.now_ns + delay_ns, event);
    }

    /// Has a worker's life look at what there is.
    pub fn stir(&mut self, at: Place, life: Incarnation) {
        self.after(0, Event::Worker { at, life, what: Due::Stir });
    }

    /// Whether a fault strikes now.
    pub fn strikes(&self, permille: u64) -> bool {
        permille > 0 && !self.calm && self.chance.permille(permille)
    }
}
