//! Which faults a history has, and how often.

use crate::chance::Chance;

/// How often each fault happens: in a thousand, where it is not a number of times.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A write to a stream is the last: its ends break in the midst of a frame.
    pub cut: u64,
    /// From a write on a stream swallows what one end writes, or both.
    pub swallow: u64,
    /// A bit of a write is flipped.
    pub corrupt: u64,
    /// A write comes much later.
    pub late: u64,
    /// A write comes byte by byte.
    pub drip: u64,
    /// A new stream begins with bytes of an earlier one.
    pub stale: u64,
    /// A call comes to nothing.
    pub unreachable: u64,
    /// A bolt fails an input now and then.
    pub flaky: u64,
    /// User code forgets to ack an input.
    pub forgetful: u64,
    /// A message fails every time.
    pub poison: u64,
    /// A message kills its worker every time.
    pub killer: u64,
    /// An init is said again later.
    pub repeat_init: u64,
    /// A channel of a mailbox is held back for a while.
    pub hold_channel: u64,
    /// A worker takes its time in a turn.
    pub slow: u64,
    /// What the gate has found comes to the loop a turn later.
    pub late_news: u64,
    /// A commit to a disk fails.
    pub disk: u64,
    /// A death takes what was written and not synced.
    pub power: u64,
    /// Removing segments of a journal is the last thing that its worker does.
    pub die_after_trim: u64,
    /// How many workers crash.
    pub crashes: u64,
    /// A crash comes in the midst of a call.
    pub mid_call: u64,
    /// How many workers stand still for a while.
    pub pauses: u64,
    /// How many times all stand still, and their clocks jump.
    pub jumps: u64,
}

/// In how many histories of a thousand streams break and do nothing worse.
const ONLY_BREAKING: u64 = 150;

impl Faults {
    /// What `chance` draws.
    pub fn draw(chance: &Chance) -> Faults {
        let faults = Faults::swarm(chance);
        if chance.permille(ONLY_BREAKING) { faults.of_streams_that_only_break(chance) } else { faults }
    }

    /// Nothing keeps two workers apart but that they hear late of what has happened: so each link has to be resumed.
    fn of_streams_that_only_break(self, chance: &Chance) -> Faults {
        Faults {
            cut: chance.between(5, 60),
            slow: chance.between(50, 200),
            late_news: chance.between(400, 800),
            swallow: 0,
            corrupt: 0,
            stale: 0,
            unreachable: 0,
            pauses: 0,
            jumps: 0,
            ..self
        }
    }

    fn swarm(chance: &Chance) -> Faults {
        let sometimes = |low, high| if chance.permille(500) { chance.between(low, high) } else { 0 };
        Faults {
            cut: if chance.permille(300) { chance.between(1, 5) } else { sometimes(5, 100) },
            swallow: sometimes(2, 30),
            corrupt: sometimes(5, 50),
            late: sometimes(10, 200),
            drip: sometimes(5, 50),
            stale: sometimes(100, 800),
            unreachable: sometimes(50, 700),
            flaky: sometimes(10, 200),
            forgetful: sometimes(5, 50),
            poison: sometimes(20, 200),
            killer: if chance.permille(300) { chance.between(10, 100) } else { 0 },
            repeat_init: sometimes(100, 500),
            hold_channel: sometimes(5, 50),
            slow: sometimes(5, 200),
            late_news: sometimes(50, 700),
            disk: sometimes(20, 300),
            power: sometimes(700, 1_000),
            die_after_trim: sometimes(100, 700),
            crashes: sometimes(1, 5),
            mid_call: sometimes(300, 1_000),
            pauses: sometimes(1, 4),
            jumps: if chance.permille(200) { chance.between(1, 2) } else { 0 },
        }
    }
}
