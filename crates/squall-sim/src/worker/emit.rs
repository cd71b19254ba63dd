//! From an output to mailboxes and far tasks: children, their edges, and the acks of their inputs.

use super::{Input, Row, Worker};
use crate::host::Host;
use crate::mutant::Mutant;
use crate::plan::{Component, TaskId};
use crate::truth::{Try, TupleId};
use squall_core::frame::{RowFlags, RowPlace, SUSPECT};
use squall_core::ids::RootId;

/// A tuple to be sent.
struct Child {
    target: TaskId,
    pairs: Vec<(RootId, u64)>,
    tuple: TupleId,
}

impl Worker {
    /// Sends a tuple to a task, wherever it is.
    pub(super) fn send(
        &mut self,
        host: &mut Host,
        source: u32,
        target: TaskId,
        pairs: &[(RootId, u64)],
        tuple: TupleId,
    ) {
        host.truth.sent(tuple, self.life, source, target);
        let bytes = host.chance.between(8, host.plan.row_bytes) as usize;
        let is_solo = pairs.iter().any(|(root, _)| self.is_solo(*root));
        let is_suspect = is_solo && pairs.iter().any(|(root, _)| self.is_suspect(*root));
        let Some(far) = self.fars.get_mut(&target) else {
            return self.put(target, source, pairs, Row { tuple, bytes });
        };
        let place = RowPlace { source, stream: 0, sequence: far.next_sequence(source) };
        let flags = RowFlags { alone: is_solo, ..RowFlags::default() };
        let pushed = far.rows.push(place, flags, pairs, is_suspect.then_some(SUSPECT), |out| {
            out.extend_from_slice(&tuple.to_le_bytes());
            out.resize(out.len() + bytes - 8, tuple as u8);
            Ok::<(), ()>(())
        });
        pushed.expect("a short row");
    }

    /// Sends a child to each target, anchored to all inputs, and acks the inputs.
    pub(super) fn finish(&mut self, host: &mut Host, task: TaskId, inputs: Vec<Input>, targets: &[TaskId]) {
        let mut xors = vec![0; inputs.len()];
        let goes_round = host.plan.bolts[task].0 == Component::Count;
        let children: Vec<Child> =
            targets.iter().map(|target| self.anchor(host, &inputs, *target, goes_round, &mut xors)).collect();
        inputs.iter().for_each(|input| host.truth.processed(input.tuple));
        if host.has(Mutant::AckBeforeEmit) {
            self.ack_inputs(host, &inputs, |edge, _| edge, &xors);
            self.send_all(host, task, children);
            return self.ack_inputs(host, &inputs, |_, xor| xor, &xors);
        }
        self.send_all(host, task, children);
        self.ack_inputs(host, &inputs, |edge, xor| edge ^ xor, &xors);
    }

    /// A child of all inputs: a new edge from each, and for each root the XOR of the edges from its tuples.
    fn anchor(
        &mut self,
        host: &mut Host,
        inputs: &[Input],
        target: TaskId,
        goes_round: bool,
        xors: &mut [u64],
    ) -> Child {
        let mut tries: Vec<Try> = inputs.iter().flat_map(|input| host.truth.tries_of(input.tuple)).copied().collect();
        tries.sort_unstable();
        tries.dedup();
        let hops = inputs.iter().map(|input| host.truth.hops(input.tuple)).max().unwrap_or(0) + u8::from(goes_round);
        let tuple = host.truth.born(tries, hops);
        let left_out = host.has(Mutant::ChildLeftOut) && host.chance.permille(100);
        let mut pairs: Vec<(RootId, u64)> = Vec::new();
        for (input, xor) in inputs.iter().zip(xors) {
            let edge = self.edge(host);
            *xor ^= if left_out { 0 } else { edge };
            for (root, _) in &input.pairs {
                match pairs.iter_mut().find(|pair| pair.0 == *root) {
                    Some(pair) if host.has(Mutant::SharedRootOverwritten) => pair.1 = edge,
                    Some(pair) => pair.1 ^= edge,
                    None => pairs.push((*root, edge)),
                }
            }
        }
        Child { target, pairs, tuple }
    }

    fn send_all(&mut self, host: &mut Host, task: TaskId, children: Vec<Child>) {
        for child in children {
            self.send(host, task as u32, child.target, &child.pairs, child.tuple);
        }
    }

    fn ack_inputs(&mut self, host: &mut Host, inputs: &[Input], sum: impl Fn(u64, u64) -> u64, xors: &[u64]) {
        for (input, xor) in inputs.iter().zip(xors) {
            let acked = if host.has(Mutant::BundleAcksFirstRootOnly) { 1 } else { input.pairs.len() };
            for (root, edge) in input.pairs.iter().take(acked) {
                self.ack(host, *root, sum(*edge, *xor));
            }
        }
    }
}
