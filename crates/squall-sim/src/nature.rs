//! What the records of a history are by nature: how many outputs they have, which of them fail, or kill.

use crate::plan::{Plan, Source};
use crate::truth::Message;
use squall_core::ids::mix;

/// How many records in a thousand are none.
const JUNK: u64 = 50;

/// Draws that stay the same however often they are asked for.
pub struct Nature {
    seed: u64,
    poison: u64,
    killer: u64,
    messages: u64,
    /// Of each spout: whether its records come from senders, and whether they have any number of outputs.
    spouts: Vec<(bool, bool)>,
}

impl Nature {
    /// As `seed` draws them for a plan.
    pub fn new(seed: u64, plan: &Plan) -> Nature {
        let spouts = plan.spouts.iter().map(|spout| (spout.source != Source::Positions, spout.many_outputs)).collect();
        let (poison, killer) = (plan.faults.poison, plan.faults.killer);
        Nature { seed, poison, killer, messages: plan.messages, spouts }
    }

    /// Whether user code fails on a message each time.
    pub fn is_poison(&self, message: Message) -> bool {
        self.drawn(message, 1) % 1000 < self.poison
    }

    /// Whether user code kills its worker on a message each time.
    pub fn is_killer(&self, message: Message) -> bool {
        self.drawn(message, 2) % 1000 < self.killer
    }

    /// Whether a message may be given up for deaths without one by chance: it kills, or is one of several outputs of
    /// a record, which are known as one over lives: each may have been called with killers before it ran alone.
    pub fn may_be_blamed(&self, message: Message) -> bool {
        self.is_killer(message) || self.messages_at(message.spout, message.position).count() > 1
    }

    /// Whether a record of senders is no record: it is skipped.
    pub fn is_junk(&self, spout: usize, position: u64) -> bool {
        self.drawn(Message { spout, position, nth: 0 }, 4) % 1000 < JUNK
    }

    /// The messages of one record.
    pub fn messages_at(&self, spout: usize, position: u64) -> impl Iterator<Item = Message> + use<> {
        let (is_sent, has_many) = self.spouts[spout];
        let outputs = match (is_sent, has_many) {
            (false, _) => 1,
            (true, _) if self.is_junk(spout, position) => 0,
            (true, false) => 1,
            (true, true) => (self.drawn(Message { spout, position, nth: 0 }, 3) % 4) as u8,
        };
        (0..outputs).map(move |nth| Message { spout, position, nth })
    }

    /// All messages that are to end.
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        let all = (0..self.spouts.len()).flat_map(|spout| (0..self.messages).map(move |position| (spout, position)));
        all.flat_map(|(spout, position)| self.messages_at(spout, position))
    }

    fn drawn(&self, message: Message, what: u64) -> u64 {
        let Message { spout, position, nth } = message;
        mix(self.seed ^ mix(position ^ (spout as u64) << 32 ^ u64::from(nth) << 48 ^ what << 56))
    }
}
