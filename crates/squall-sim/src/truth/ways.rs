//! What went on links and in channels.

use super::{Truth, TupleId};
use crate::law::Law;
use squall_core::ids::Incarnation;
use std::collections::HashMap;

/// Which frames one end of a link has sent in a session, and how many of them have come.
#[derive(Default)]
struct Frames {
    sent: Vec<u64>,
    came: usize,
}

/// One task's tuples for another, of one life of the sender.
type Channel = (Incarnation, u32, usize);

#[derive(Default)]
pub(super) struct Ways {
    frames: HashMap<(u64, Incarnation), Frames>,
    sent: HashMap<Channel, u64>,
    taken: HashMap<Channel, u64>,
    of_tuple: HashMap<TupleId, (Channel, u64)>,
}

impl Truth {
    /// One end of a link has sent a frame, with this checksum of the simulation's own.
    pub fn frame_sent(&mut self, session: u64, from: Incarnation, sum: u64) {
        self.ways.frames.entry((session, from)).or_default().sent.push(sum);
    }

    /// A frame was let pass.
    pub fn frame_came(&mut self, session: u64, from: Incarnation, sum: u64) {
        let frames = self.ways.frames.entry((session, from)).or_default();
        let number = frames.came;
        frames.came += 1;
        if frames.sent.get(number) != Some(&sum) {
            let was_sent = frames.sent.iter().position(|sent| *sent == sum);
            self.broken(Law::LinksDeliverOnce, || {
                format!("frame {number} of life {} in session {session} is not what was sent ({was_sent:?})", from.0)
            });
        }
    }

    /// A tuple goes from a task to another.
    pub fn sent(&mut self, tuple: TupleId, life: Incarnation, source: u32, target: usize) {
        let channel = (life, source, target);
        let next = self.ways.sent.entry(channel).or_default();
        *next += 1;
        self.ways.of_tuple.insert(tuple, (channel, *next));
    }

    /// A task takes a tuple out of its mailbox.
    // semantics 23
    pub fn taken(&mut self, tuple: TupleId) {
        let Some((channel, number)) = self.ways.of_tuple.get(&tuple).copied() else { return };
        let last = self.ways.taken.insert(channel, number).unwrap_or(0);
        if number <= last {
            let (_, source, target) = channel;
            let law = if number == last { Law::LinksDeliverOnce } else { Law::ChannelsKeepOrder };
            self.broken(law, || format!("task {target} took tuple {number} of task {source} after its tuple {last}"));
        }
    }
}
