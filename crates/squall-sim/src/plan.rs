//! What a seed draws before its history begins: the cluster, the topology, and which faults happen at all.
//!
//! Faults are drawn in swarms: each is off in about half of the seeds, since a fault that is always on hides what only
//! shows in its absence.

use crate::chance::Chance;

/// How often a message is tried again after failures that count.
pub const RETRIES: u32 = 3;

/// Number of a worker's place in the cluster; its lives follow each other there.
pub type Place = usize;
/// Number of a bolt's task.
pub type TaskId = usize;

/// What a bolt's task does with its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// Sends several children anchored to its one input.
    Split,
    /// Keeps inputs and sends one child anchored to several.
    Join,
    /// Sends nothing.
    Count,
}

/// How often each fault happens, in a thousand.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A datagram is lost.
    pub drop: u64,
    /// A datagram comes twice.
    pub repeat: u64,
    /// A datagram comes much later.
    pub late: u64,
    /// A bit of a datagram is flipped.
    pub corrupt: u64,
    /// A bolt fails an input now and then.
    pub flaky: u64,
    /// User code forgets to ack an input.
    pub forgetful: u64,
    /// A message fails every time.
    pub poison: u64,
    /// An init is said again later.
    pub repeat_init: u64,
    /// How many workers crash.
    pub crashes: u64,
}

/// The drawn history.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many places for workers there are.
    pub places: usize,
    /// Where each spout lives.
    pub spouts: Vec<Place>,
    /// How many messages each spout's source has.
    pub messages: u64,
    /// Bolts' tasks: what they do and where.
    pub bolts: Vec<(Component, Place)>,
    /// How many children a split sends to counts.
    pub fan_out: u64,
    /// How many inputs a join takes at most.
    pub join_of: usize,
    /// How long a join waits for more inputs at most.
    pub join_wait_us: u64,
    /// The spouts' limit.
    pub max_pending: u32,
    /// Whether time passes between the rows of one emission, so that acks come before the init.
    pub slow_emission: bool,
    /// The faults.
    pub faults: Faults,
    /// When the faults end.
    pub calm_at_us: u64,
}

impl Plan {
    /// What `chance` draws.
    pub fn draw(chance: &Chance) -> Plan {
        let places = chance.between(2, 4) as usize;
        let place = || chance.below(places as u64) as Place;
        let spouts = (0..chance.between(1, 3)).map(|_| place()).collect();
        let mut bolts = vec![(Component::Split, place()), (Component::Split, place())];
        bolts.extend((0..chance.between(1, 3)).map(|_| (Component::Count, place())));
        bolts.extend((0..chance.below(3)).map(|_| (Component::Join, place())));
        Plan {
            places,
            spouts,
            messages: chance.between(5, 25),
            bolts,
            fan_out: chance.between(0, 3),
            join_of: chance.between(1, 4) as usize,
            join_wait_us: chance.between(100, 3_000),
            max_pending: chance.between(1, 12) as u32,
            slow_emission: chance.permille(500),
            faults: Faults::draw(chance),
            calm_at_us: chance.between(1_000, 6_000),
        }
    }

    /// The tasks of a component.
    pub fn tasks(&self, component: Component) -> Vec<TaskId> {
        (0..self.bolts.len()).filter(|task| self.bolts[*task].0 == component).collect()
    }

    /// Whether a tuple of a spout can reach a task at `place`: every bolt can be reached from every spout.
    pub fn is_reachable(&self, place: Place) -> bool {
        self.bolts.iter().any(|(_, at)| *at == place)
    }
}

impl Faults {
    fn draw(chance: &Chance) -> Faults {
        let sometimes = |low, high| if chance.permille(500) { chance.between(low, high) } else { 0 };
        Faults {
            drop: sometimes(10, 300),
            repeat: sometimes(10, 300),
            late: sometimes(10, 200),
            corrupt: sometimes(10, 100),
            flaky: sometimes(10, 200),
            forgetful: sometimes(5, 50),
            poison: sometimes(20, 200),
            repeat_init: sometimes(100, 500),
            crashes: sometimes(1, 5),
        }
    }
}
