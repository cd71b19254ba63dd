//! Who sends records to spouts, over connections; each keeps what was not receipted and sends it again.

use crate::host::{Due, Event, Host};
use crate::plan::{MS, Plan, Source, US};
use squall_core::ids::Incarnation;

/// How many senders a spout has; each has every so many-th record.
const LANES: u64 = 2;

/// What one write of a sender brings.
pub struct Chunk {
    /// The connection's number.
    pub connection: u64,
    /// The positions of the records.
    pub positions: Vec<u64>,
}

#[derive(Default)]
struct Lane {
    /// The connection, while there is one.
    connection: Option<u64>,
    /// How many of its records are receipted, over all connections.
    receipted: u64,
    /// How many were when the connection opened.
    before: u64,
    sent: u64,
}

/// All senders.
pub struct Senders {
    lanes: Vec<Vec<Lane>>,
    /// The next connection's number; 0 is the journal's.
    next: u64,
}

impl Senders {
    /// Nothing is sent yet.
    pub fn new(plan: &Plan) -> Senders {
        let lanes = plan.spouts.iter().map(|spout| match spout.source {
            Source::Positions => Vec::new(),
            _ => (0..LANES).map(|_| Lane::default()).collect(),
        });
        Senders { lanes: lanes.collect(), next: 1 }
    }

    /// The worker of a spout is gone, and the connections to it.
    pub fn hang_up(&mut self, spout: usize) {
        for lane in &mut self.lanes[spout] {
            lane.connection = None;
            lane.sent = lane.receipted;
        }
    }

    /// Whether a spout has senders.
    pub fn has(&self, spout: usize) -> bool {
        !self.lanes[spout].is_empty()
    }

    /// Whether a sender has something that was not receipted.
    pub fn is_done(&self, spout: usize, messages: u64) -> bool {
        self.lanes[spout].iter().zip(0..).all(|(lane, nth)| position(nth, lane.receipted) >= messages)
    }
}

fn position(lane: u64, nth: u64) -> u64 {
    nth * LANES + lane
}

impl Host {
    /// What the senders of a spout write now.
    pub fn sent_to(&mut self, spout: usize) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for nth in 0..self.senders.lanes[spout].len() {
            let most = self.chance.below(4);
            let lane = &mut self.senders.lanes[spout][nth];
            if lane.connection.is_none() {
                lane.connection = Some(self.senders.next);
                (lane.before, lane.sent) = (lane.receipted, lane.receipted);
                self.senders.next += 1;
            }
            let to_send = (lane.sent..lane.sent + most).map(|at| position(nth as u64, at));
            let positions: Vec<u64> = to_send.filter(|position| *position < self.plan.messages).collect();
            lane.sent += positions.len() as u64;
            if let (Some(connection), false) = (lane.connection, positions.is_empty()) {
                chunks.push(Chunk { connection, positions });
            }
        }
        let lanes = self.senders.lanes[spout].iter().zip(0..);
        if lanes.map(|(lane, nth)| position(nth, lane.sent)).any(|next| next < self.plan.messages) {
            let pause_ns = self.chance.between(20 * US, 2 * MS);
            self.after(pause_ns, Event::Send(spout));
        }
        chunks
    }

    /// A connection was told how many of its records are stored, or have ended.
    // semantics 32
    pub fn receipt(&mut self, spout: usize, connection: u64, count: u64) {
        let Some(nth) = self.senders.lanes[spout].iter().position(|lane| lane.connection == Some(connection)) else {
            return;
        };
        let lane = &mut self.senders.lanes[spout][nth];
        let (from, to) = (lane.receipted, lane.before + count);
        lane.receipted = lane.receipted.max(to);
        for at in from..to {
            let position = position(nth as u64, at);
            match self.plan.spouts[spout].source {
                Source::Stored => self.truth.receipted_as_stored(spout, position),
                _ => {
                    let messages = self.nature.messages_at(spout, position);
                    self.truth.receipted_as_ended(position, messages);
                }
            }
        }
    }

    /// A life has begun to listen for the senders of its spouts.
    pub fn listens(&mut self, spout: usize) {
        self.after(self.chance.between(10 * US, MS), Event::Send(spout));
    }

    /// Has a worker's life do something later.
    pub fn later(&mut self, at: usize, life: Incarnation, delay_ns: u64, what: Due) {
        self.after(delay_ns, Event::Worker { at, life, what });
    }
}
