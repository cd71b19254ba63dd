//! Bolts: what they do with their inputs, and what user code does wrong in them.

use super::spouts::pick;
use super::{Input, Worker};
use crate::host::{Due, Host};
use crate::mutant::Mutant;
use crate::plan::{Component, TaskId};
use crate::truth::{Try, TupleId};
use squall_core::ids::RootId;

const HOLD_MAX_US: u64 = 2_000;

/// A tuple to be sent.
struct Child {
    task: TaskId,
    pairs: Vec<(RootId, u64)>,
    tuple: TupleId,
}

impl Worker {
    pub(super) fn run_bolt(&mut self, host: &mut Host, task: TaskId) {
        let Some(msg) = self.inboxes[&task].pop() else { return };
        let pairs = if msg.root.is_bundle() { self.bundles.take(msg.root) } else { [(msg.root, msg.edge)].into() };
        let input = Input { pairs, tuple: msg.row.0 };
        let component = host.plan.bolts[task].0;
        let poison =
            component == Component::Split && host.truth.messages_of(input.tuple).any(|message| host.is_poison(message));
        if poison || host.strikes(host.plan.faults.flaky) {
            return self.fail_input(host, input);
        }
        if host.strikes(host.plan.faults.forgetful) {
            return self.hold(host, input);
        }
        match component {
            Component::Join => self.join(host, task, input),
            Component::Count => self.finish(host, vec![input], &[]),
            Component::Split => {
                let mut targets: Vec<TaskId> = (0..host.plan.fan_out).map(|_| pick(host, Component::Count)).collect();
                if !host.plan.tasks(Component::Join).is_empty() && host.chance.permille(400) {
                    targets.push(pick(host, Component::Join));
                }
                self.finish(host, vec![input], &targets);
            }
        }
    }

    /// User code raised: every tree of the input fails.
    fn fail_input(&mut self, host: &mut Host, input: Input) {
        for (root, edge) in input.pairs {
            if host.has(Mutant::FailureAcked) { self.ack(host, root, edge) } else { self.fail(host, root) }
        }
    }

    /// User code took the input and never acks it.
    // semantics 16
    fn hold(&mut self, host: &mut Host, input: Input) {
        let hold = self.next_hold;
        self.next_hold += 1;
        self.holds.insert(hold, input);
        if !host.has(Mutant::HoldNeverTimesOut) {
            self.later(host, HOLD_MAX_US, Due::HoldExpired(hold));
        }
    }

    pub(super) fn expire_hold(&mut self, host: &mut Host, hold: u64) {
        if let Some(input) = self.holds.remove(&hold) {
            self.fail_input(host, input);
        }
    }

    fn join(&mut self, host: &mut Host, task: TaskId, input: Input) {
        let waiting = self.joins.get_mut(&task).expect("a task of this worker");
        waiting.push(input);
        let (first, enough) = (waiting.len() == 1, waiting.len() >= host.plan.join_of);
        if enough {
            self.flush_join(host, task);
        } else if first {
            let delay_us = host.chance.between(50, host.plan.join_wait_us);
            self.later(host, delay_us, Due::Flush(task));
        }
    }

    pub(super) fn flush_join(&mut self, host: &mut Host, task: TaskId) {
        let inputs = std::mem::take(self.joins.get_mut(&task).expect("a task of this worker"));
        if !inputs.is_empty() {
            let target = pick(host, Component::Count);
            self.finish(host, inputs, &[target]);
        }
    }

    /// Sends a child to each target, anchored to all inputs, and acks the inputs.
    fn finish(&mut self, host: &mut Host, inputs: Vec<Input>, targets: &[TaskId]) {
        let mut xors = vec![0; inputs.len()];
        let children: Vec<Child> = targets.iter().map(|task| self.anchor(host, &inputs, *task, &mut xors)).collect();
        inputs.iter().for_each(|input| host.truth.processed(input.tuple));
        if host.has(Mutant::AckBeforeEmit) {
            self.ack_inputs(host, &inputs, |edge, _| edge, &xors);
            self.send_all(host, children);
            return self.ack_inputs(host, &inputs, |_, xor| xor, &xors);
        }
        self.send_all(host, children);
        self.ack_inputs(host, &inputs, |edge, xor| edge ^ xor, &xors);
    }

    /// A child of all inputs: a new edge from each, and for each root the XOR of the edges from its tuples.
    fn anchor(&mut self, host: &mut Host, inputs: &[Input], task: TaskId, xors: &mut [u64]) -> Child {
        let mut tries: Vec<Try> = inputs.iter().flat_map(|input| host.truth.tries_of(input.tuple)).copied().collect();
        tries.sort_unstable();
        tries.dedup();
        let tuple = host.truth.born(tries);
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
        Child { task, pairs, tuple }
    }

    fn send_all(&mut self, host: &mut Host, children: Vec<Child>) {
        children.into_iter().for_each(|child| self.send(host, child.task, &child.pairs, child.tuple));
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
