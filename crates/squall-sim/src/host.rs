//! What a simulated worker has around it: time, chance, the network, the sources' stored positions.

use crate::chance::Chance;
use crate::mutant::Mutant;
use crate::plan::{Place, Plan, TaskId};
use crate::truth::{Message, Truth};
use squall_core::ids::{Incarnation, RootId, mix};
use squall_core::timers::Timers;

/// Something that happens at a time. Those for a worker name its life, and come to nothing when it is over.
#[derive(Debug)]
pub enum Event {
    /// A datagram arrives.
    Deliver {
        /// The sender's place.
        from: Place,
        /// The receiver's place.
        to: Place,
        /// The life that it was sent to.
        life: Incarnation,
        /// The datagram.
        bytes: Vec<u8>,
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
    /// A worker dies.
    Crash(Place),
    /// A new life begins.
    Boot(Place),
    /// The faults are over.
    Calm,
}

/// Something that comes due in a worker.
#[derive(Debug)]
pub enum Due {
    /// A turn of the run loop.
    Turn,
    /// What a peer did not receipt is to be sent again.
    Resend(Place),
    /// User code held an input for too long.
    HoldExpired(u64),
    /// A join sends what it has.
    Flush(TaskId),
    /// A back-off is over: this spout of the worker may try this position again.
    Backoff {
        /// The spout, by its number in the worker.
        spout: usize,
        /// What to emit.
        position: u64,
        /// Which try it will be.
        attempt: u32,
    },
    /// An init is said once more.
    InitAgain {
        /// Whose.
        root: RootId,
        /// What it said.
        xor: u64,
    },
    /// The parent says that a peer's life is over.
    Lost {
        /// Whose.
        place: Place,
        /// When it ended.
        at_us: u64,
    },
    /// The parent says that a peer's new life may be sent to.
    Ready {
        /// Whose.
        place: Place,
        /// The new life.
        life: Incarnation,
    },
    /// The parent says that every peer knows this life: its spouts may begin.
    Start,
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
    pub now_us: u64,
    /// Whether the faults are over.
    pub calm: bool,
    /// The stored position of each source.
    pub committed: Vec<u64>,
    /// The place of every life there ever was.
    pub places: Vec<(Incarnation, Place)>,
    seed: u64,
}

impl Host {
    /// The surroundings as `seed` draws them.
    pub fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let chance = Chance::new(seed);
        let plan = Plan::draw(&chance);
        // With few bits ids repeat at once; what that does to trees is to be seen.
        let check_edges = mutant != Some(Mutant::FourBitIds);
        let committed = vec![0; plan.spouts.len()];
        let (truth, timers, places) = (Truth::new(check_edges), Timers::new(), Vec::new());
        Host { plan, chance, truth, mutant, timers, now_us: 0, calm: false, committed, places, seed }
    }

    /// Whether the history has this defect.
    pub fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Has `event` happen after `delay_us`.
    pub fn after(&mut self, delay_us: u64, event: Event) {
        self.timers.at(self.now_us + delay_us, event);
    }

    /// Whether a fault strikes now.
    pub fn strikes(&self, permille: u64) -> bool {
        !self.calm && self.chance.permille(permille)
    }

    /// Whether user code fails on a message each time.
    pub fn is_poison(&self, message: Message) -> bool {
        let drawn = mix(self.seed ^ mix(message.position ^ (message.spout as u64) << 32));
        drawn % 1000 < self.plan.faults.poison
    }

    /// Sends a datagram, as well as the network does.
    pub fn transmit(&mut self, from: Place, to: Place, life: Incarnation, bytes: &[u8]) {
        if self.strikes(self.plan.faults.drop) {
            return;
        }
        let copies = 1 + self.strikes(self.plan.faults.repeat) as u32;
        for _ in 0..copies {
            let late_us = if self.strikes(self.plan.faults.late) { self.chance.below(2_000) } else { 0 };
            let mut bytes = bytes.to_vec();
            if self.strikes(self.plan.faults.corrupt) {
                let bit = self.chance.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            let delay_us = self.chance.between(1, 30) + late_us;
            self.after(delay_us, Event::Deliver { from, to, life, bytes });
        }
    }
}
