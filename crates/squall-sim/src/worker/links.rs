//! The worker's links: frames out and in, loss and return of peers.

use super::{BY_LOSS, BY_USER_CODE, Worker};
use crate::host::{Due, Host};
use crate::link::{Receiver, Sender};
use crate::mutant::Mutant;
use crate::plan::{Place, TaskId};
use crate::truth::TupleId;
use squall_core::ack::Acks;
use squall_core::frame::{self, Body, Items, Kind, RowBuffer, RowFlags, RowPlace, write_items};
use squall_core::ids::{Incarnation, RootId, Token};

const RESEND_AFTER_US: u64 = 150;
/// How many frames are sent again at once.
const RESEND_MOST: usize = 16;

/// A link to another worker: to one of its lives, or to none while the next one is not ready.
pub(super) struct Peer {
    life: Option<Incarnation>,
    sender: Sender,
    receiver: Receiver,
    resend_due: bool,
}

impl Peer {
    pub fn new(life: Option<Incarnation>) -> Self {
        Peer { life, sender: Sender::default(), receiver: Receiver::default(), resend_due: false }
    }

    pub fn life(&self) -> Option<Incarnation> {
        self.life
    }
}

/// What is to be told to a worker of tuples of its roots.
#[derive(Default)]
pub(super) struct Ends {
    pub acks: Acks,
    pub fails: Vec<RootId>,
}

fn encode(life: Incarnation, sequence: u64, body: &Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, Token { epoch: 1, incarnation: life }, sequence, body).expect("a short frame");
    bytes
}

impl Worker {
    /// Sends a tuple to a task, wherever it is.
    pub(super) fn send(&mut self, host: &mut Host, task: TaskId, pairs: &[(RootId, u64)], tuple: TupleId) {
        let place = host.plan.bolts[task].1;
        if place == self.place {
            return self.put(task, pairs, tuple);
        }
        let mut rows = RowBuffer::default();
        let place_of_row = RowPlace { source: 0, stream: 0, sequence: tuple };
        rows.push(place_of_row, RowFlags::default(), pairs, None, |out| {
            out.extend_from_slice(&tuple.to_le_bytes());
            Ok::<(), ()>(())
        })
        .expect("a short row");
        self.send_body(host, place, &Body::Data { target: task as u32, rows: rows.rows() });
    }

    /// Sends the acks and fails that have gathered.
    pub(super) fn send_ends(&mut self, host: &mut Host) {
        for place in 0..self.ends.len() {
            let Ends { acks: Acks(acks), fails } = std::mem::take(&mut self.ends[place]);
            let mut bytes = Vec::new();
            if !acks.is_empty() {
                write_items(&mut bytes, &acks);
                self.send_body(host, place, &Body::Ack(Items::new(&bytes).expect("whole pairs")));
            }
            if !fails.is_empty() {
                bytes.clear();
                write_items(&mut bytes, &fails);
                let roots = Items::new(&bytes).expect("whole roots");
                self.send_body(
                    host,
                    place,
                    &Body::Fail { failure: BY_USER_CODE, together: false, task: 0, detail: &[], roots },
                );
            }
        }
    }

    fn send_body(&mut self, host: &mut Host, place: Place, body: &Body<'_>) {
        let peer = &mut self.peers[place];
        let bytes = encode(self.life, peer.sender.next_sequence(), body);
        if let Some(life) = peer.life {
            host.transmit(self.place, place, life, &bytes);
        }
        peer.sender.keep(bytes);
        self.plan_resend(host, place);
    }

    fn plan_resend(&mut self, host: &mut Host, place: Place) {
        let peer = &mut self.peers[place];
        let idle = peer.life.is_none() || peer.sender.is_idle() || peer.resend_due;
        if !idle && !host.has(Mutant::NeverResent) {
            peer.resend_due = true;
            self.later(host, RESEND_AFTER_US, Due::Resend(place));
        }
    }

    pub(super) fn resend(&mut self, host: &mut Host, place: Place) {
        let peer = &mut self.peers[place];
        peer.resend_due = false;
        if let Some(life) = peer.life {
            peer.sender.unreceipted().take(RESEND_MOST).for_each(|bytes| host.transmit(self.place, place, life, bytes));
        }
        self.plan_resend(host, place);
    }

    /// A datagram came.
    pub fn receive(&mut self, host: &mut Host, from: Place, bytes: &[u8]) {
        // A corrupt frame is as good as a lost one.
        let Ok(Some((header, body, _))) = frame::decode(bytes) else { return };
        let peer = &mut self.peers[from];
        if peer.life != Some(header.token.incarnation) {
            return; // of a life that is over, or not known yet: then it will be sent again
        }
        if let Body::Receipt { sequence } = body {
            return peer.sender.receipt(sequence);
        }
        let frames = match host.mutant {
            Some(Mutant::RepeatsDelivered) => {
                peer.receiver.take(header.sequence, bytes);
                vec![bytes.to_vec()]
            }
            Some(Mutant::AcksRepeated | Mutant::EndWithoutInit) if header.kind == Kind::Ack => {
                let mut frames = peer.receiver.take(header.sequence, bytes);
                frames.push(bytes.to_vec());
                frames
            }
            Some(Mutant::GapsSkipped) => peer.receiver.take_and_skip(header.sequence, bytes),
            _ => peer.receiver.take(header.sequence, bytes),
        };
        let receipt = encode(self.life, 0, &Body::Receipt { sequence: peer.receiver.expected() });
        host.transmit(self.place, from, header.token.incarnation, &receipt);
        frames.iter().for_each(|bytes| self.take_in(host, bytes));
        if self.has_work(host) {
            self.wake(host);
        }
    }

    fn take_in(&mut self, host: &mut Host, bytes: &[u8]) {
        let (_, body, _) = frame::decode(bytes).expect("it was read before").expect("whole");
        match body {
            Body::Data { target, rows } => rows.iter().for_each(|row| {
                let tuple = TupleId::from_le_bytes(row.values.try_into().expect("8 bytes"));
                self.put(target as TaskId, &row.trees.iter().collect::<Vec<_>>(), tuple);
            }),
            Body::Ack(acks) => acks.iter().for_each(|(root, xor)| self.ack_here(host, root, xor)),
            Body::Fail { failure, roots, .. } => roots.iter().for_each(|root| self.fail_here(host, root, failure)),
            other => unreachable!("no worker here sends {other:?}"),
        }
    }

    /// Whether every task that a spout's tuples can reach may be sent to.
    pub(super) fn all_ready(&self, host: &Host) -> bool {
        let ready = |place: Place| place == self.place || self.peers[place].life.is_some();
        (0..self.peers.len()).all(|place| ready(place) || !host.plan.is_reachable(place))
    }

    // semantics 19
    pub(super) fn hear_of_loss(&mut self, host: &mut Host, place: Place, at_us: u64) {
        self.peers[place] = Peer::new(None);
        self.ends[place] = Ends::default();
        if !host.plan.is_reachable(place) || host.has(Mutant::LossIgnored) {
            return;
        }
        for (root, entry) in self.acker.open_trees() {
            if entry.opened_us <= at_us || !host.has(Mutant::OnlyOlderThanLossFailed) {
                self.fail_here(host, root, BY_LOSS);
            }
        }
    }

    pub(super) fn connect(&mut self, host: &mut Host, place: Place, life: Incarnation) {
        self.peers[place].life = Some(life);
        self.resend(host, place);
    }
}
