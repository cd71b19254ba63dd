//! What a seed draws before its history begins: the cluster, the topology, and which faults happen at all.
//!
//! Faults are drawn in swarms: each is off in about half of the seeds, since a fault that is always on hides what only
//! shows in its absence. Limits are drawn so small that they are reached.

use crate::chance::Chance;
use crate::faults::Faults;

/// How often a message is tried again after failures that count.
pub const RETRIES: u32 = 3;

/// A millisecond of virtual time.
pub const MS: u64 = 1_000_000;
/// A microsecond of virtual time.
pub const US: u64 = 1_000;

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
    /// Sends nothing, or a tuple round again: the edge that closes a loop.
    Count,
}

/// Where the records of a spout come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A store that is read again from the committed position.
    Positions,
    /// Senders who forget what was receipted; the journal keeps it until it has ended.
    Stored,
    /// Senders who keep records until they have ended; there is a journal, too.
    Processed,
}

/// A spout's task.
#[derive(Clone, Copy, Debug)]
pub struct SpoutPlan {
    /// Where it lives.
    pub place: Place,
    /// Where its records come from.
    pub source: Source,
    /// Whether a record of senders has any number of outputs, not one.
    pub many_outputs: bool,
}

/// The drawn history.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many places for workers there are.
    pub places: usize,
    /// The spouts.
    pub spouts: Vec<SpoutPlan>,
    /// How many messages each spout's source has.
    pub messages: u64,
    /// Bolts' tasks: what they do and where.
    pub bolts: Vec<(Component, Place)>,
    /// How many rows of a root a spout sends to splits at most.
    pub split_rows: u64,
    /// How many children a split sends to counts.
    pub fan_out: u64,
    /// How often a count sends a tuple round again, in a thousand, and how often at most.
    pub again: (u64, u8),
    /// How many inputs a join takes at most.
    pub join_of: usize,
    /// How long a join waits for more inputs at most.
    pub join_wait_ns: u64,
    /// How many inputs one call takes at most.
    pub batch: u64,
    /// The spouts' limit.
    pub max_pending: u32,
    /// How many tuples a worker may send to a task of another before that has taken any.
    pub window: u64,
    /// How many tuples wait for a task when it is over its high-water mark.
    pub high_water: usize,
    /// How many tuples may wait for a task from an edge that closes a loop.
    pub loop_max: usize,
    /// How long a row's values are at most.
    pub row_bytes: u64,
    /// How much a stream takes before its other end reads.
    pub buffer_bytes: usize,
    /// How much a journal has at most.
    pub journal_bytes: usize,
    /// Whether time passes between the rows of one emission, so that acks come before the init.
    pub slow_emission: bool,
    /// The faults.
    pub faults: Faults,
    /// When the faults end.
    pub calm_at_ns: u64,
}

impl Plan {
    /// What `chance` draws.
    pub fn draw(chance: &Chance) -> Plan {
        let places = chance.between(2, 4) as usize;
        let place = || chance.below(places as u64) as Place;
        let spout = |_| SpoutPlan {
            place: place(),
            source: [Source::Positions, Source::Positions, Source::Stored, Source::Processed][chance.below(4) as usize],
            many_outputs: chance.permille(500),
        };
        let spouts = (0..chance.between(1, 3)).map(spout).collect();
        let mut bolts = vec![(Component::Split, place()), (Component::Split, place())];
        bolts.extend((0..chance.between(1, 3)).map(|_| (Component::Count, place())));
        bolts.extend((0..chance.below(3)).map(|_| (Component::Join, place())));
        let longest_ns = [20 * MS, 1_000 * MS, 20_000 * MS][chance.below(3) as usize];
        let row_bytes = if chance.permille(300) { chance.between(2_000, 9_000) } else { chance.between(8, 60) };
        Plan {
            places,
            spouts,
            messages: chance.between(5, 25),
            bolts,
            split_rows: if chance.permille(300) { chance.between(2, 4) } else { 1 },
            fan_out: chance.between(0, 3),
            again: if chance.permille(500) { (chance.between(50, 400), chance.between(1, 4) as u8) } else { (0, 0) },
            join_of: chance.between(1, 4) as usize,
            join_wait_ns: chance.between(100 * US, 3 * MS),
            batch: if chance.permille(500) { chance.between(2, 6) } else { 1 },
            max_pending: chance.between(1, 12) as u32,
            window: if chance.permille(600) { chance.between(1, 6) } else { chance.between(8, 64) },
            high_water: chance.between(1, 12) as usize,
            loop_max: chance.between(4, 40) as usize,
            row_bytes,
            buffer_bytes: (chance.between(40, 3_000) + row_bytes / 4) as usize,
            journal_bytes: (if chance.permille(500) { chance.between(500, 1_200) } else { chance.between(800, 5_000) })
                as usize,
            slow_emission: chance.permille(500),
            faults: Faults::draw(chance),
            calm_at_ns: chance.between(MS, longest_ns),
        }
    }

    /// The tasks of a component.
    pub fn tasks(&self, component: Component) -> impl Iterator<Item = TaskId> + Clone {
        (0..self.bolts.len()).filter(move |task| self.bolts[*task].0 == component)
    }

    /// Whether there is a join.
    pub fn has_joins(&self) -> bool {
        self.tasks(Component::Join).next().is_some()
    }

    /// Whether a tuple of a spout can reach a task at `place`: every bolt can be reached from every spout.
    pub fn is_reachable(&self, place: Place) -> bool {
        self.bolts.iter().any(|(_, at)| *at == place)
    }

    /// The number of a spout among the sources of channels; bolts come first.
    pub fn source_of_spout(&self, spout: usize) -> u32 {
        (self.bolts.len() + spout) as u32
    }

    /// Where the task lives that sends in a channel.
    pub fn place_of_source(&self, source: u32) -> Place {
        let source = source as usize;
        self.bolts.get(source).map_or_else(|| self.spouts[source - self.bolts.len()].place, |(_, place)| *place)
    }
}
