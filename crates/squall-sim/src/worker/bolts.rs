//! Bolts: what they do with their inputs, and what user code does wrong in them.

use super::spouts::pick;
use super::{Input, Worker, ends};
use crate::host::{Due, Host};
use crate::mutant::Mutant;
use crate::plan::{Component, MS, TaskId, US};
use crate::truth::TupleId;
use squall_core::ids::RootId;

const HOLD_MAX_NS: u64 = 50 * MS;

impl Worker {
    /// Whether a task has something to do and may do it.
    pub(super) fn may_run(&mut self, host: &Host, task: TaskId) -> bool {
        self.bolts[&task].inbox.ready() > 0 && !self.is_held_up(host, task)
    }

    /// Whether a task that this one feeds is over its high-water mark; edges that close a loop are exempt.
    // semantics 26
    fn is_held_up(&mut self, host: &Host, task: TaskId) -> bool {
        let below = |of: Component| match host.plan.bolts[task].0 {
            Component::Split => of != Component::Split,
            Component::Join => of == Component::Count,
            Component::Count => false,
        };
        (0..host.plan.bolts.len()).any(|other| below(host.plan.bolts[other].0) && self.is_full(other))
    }

    /// Whether a task is over its high-water mark, or away.
    pub(super) fn is_full(&mut self, task: TaskId) -> bool {
        match self.fars.get_mut(&task) {
            Some(far) => far.is_full(),
            None => self.bolts.get_mut(&task).is_some_and(|bolt| bolt.high_water.room(bolt.inbox.len()) == 0),
        }
    }

    /// The next rows of one call; a root on which workers died comes alone.
    fn take_batch(&mut self, host: &mut Host, task: TaskId) -> Vec<(RootId, Input)> {
        let mut inputs: Vec<(RootId, Input)> = Vec::new();
        while (inputs.len() as u64) < host.plan.batch {
            let front = self.bolts[&task].inbox.front_root();
            if !inputs.is_empty() && front.is_some_and(|root| self.is_solo(root)) {
                break;
            }
            let Some(msg) = self.bolts[&task].inbox.pop() else { break };
            let from = host.plan.place_of_source(msg.channel);
            if from != self.place {
                let waiting = &mut self.bolts.get_mut(&task).expect("a task of this worker").waiting[from];
                *waiting = (waiting.0 - 1, waiting.1 - msg.row.bytes);
            }
            host.truth.taken(msg.row.tuple);
            let is_solo = self.is_solo(msg.root);
            let pairs = if msg.root.is_bundle() { self.bundles.take(msg.root) } else { [(msg.root, msg.edge)].into() };
            inputs.push((msg.root, Input { pairs, tuple: msg.row.tuple }));
            if is_solo {
                break;
            }
        }
        inputs
    }

    pub(super) fn run_bolt(&mut self, host: &mut Host, task: TaskId) {
        if host.strikes(host.plan.faults.hold_channel) {
            self.hold_channel(host, task);
        }
        let inputs: Vec<Input> = self.take_batch(host, task).into_iter().map(|(_, input)| input).collect();
        let tuples: Vec<TupleId> = inputs.iter().map(|input| input.tuple).collect();
        host.truth.called_together(&tuples);
        let is_killed = host.plan.bolts[task].0 == Component::Split && inputs.iter().any(|input| kills(host, input));
        let is_struck = self.is_doomed && !host.calm && !inputs.is_empty();
        if is_killed || is_struck {
            return self.die_on(host, &inputs, is_struck);
        }
        inputs.into_iter().for_each(|input| self.process(host, task, input));
    }

    /// Lets a channel wait for a while, as a barrier will.
    fn hold_channel(&mut self, host: &mut Host, task: TaskId) {
        let Some(channel) = self.bolts[&task].inbox.front_channel() else { return };
        self.bolts[&task].inbox.hold(channel);
        let delay_ns = host.chance.between(100 * US, 20 * MS);
        host.later(self.place, self.life, delay_ns, Due::Release { task, channel });
    }

    fn process(&mut self, host: &mut Host, task: TaskId, input: Input) {
        let component = host.plan.bolts[task].0;
        let poison = component == Component::Split
            && host.truth.messages_of(input.tuple).any(|message| host.nature.is_poison(message));
        if poison || host.strikes(host.plan.faults.flaky) {
            return self.fail_input(host, input);
        }
        if host.strikes(host.plan.faults.forgetful) {
            return self.hold(host, input);
        }
        match component {
            Component::Join => self.join(host, task, input),
            Component::Count => self.count(host, task, input),
            Component::Split => {
                let mut targets: Vec<TaskId> = (0..host.plan.fan_out).map(|_| pick(host, Component::Count)).collect();
                if host.plan.has_joins() && host.chance.permille(400) {
                    targets.push(pick(host, Component::Join));
                }
                self.finish(host, task, vec![input], &targets);
            }
        }
    }

    /// Ends the input, or sends it round again.
    // semantics 26
    fn count(&mut self, host: &mut Host, task: TaskId, input: Input) {
        let (often, most) = host.plan.again;
        if host.truth.hops(input.tuple) >= most || !host.chance.permille(often) {
            return self.finish(host, task, vec![input], &[]);
        }
        let target = pick(host, Component::Split);
        let queued = self.fars.get(&target).map_or_else(|| self.bolts[&target].inbox.len(), |far| far.rows.len());
        if queued >= host.plan.loop_max {
            return self.fail_input(host, input);
        }
        self.finish(host, task, vec![input], &[target]);
    }

    /// User code raised: every tree of the input fails.
    fn fail_input(&mut self, host: &mut Host, input: Input) {
        for (root, edge) in input.pairs {
            match host.has(Mutant::FailureAcked) {
                true => self.ack(host, root, edge),
                false => self.fail(host, root, ends::BY_USER_CODE),
            }
        }
    }

    /// User code took the input and never acks it.
    // semantics 16
    fn hold(&mut self, host: &mut Host, input: Input) {
        let hold = self.next_hold;
        self.next_hold += 1;
        self.holds.insert(hold, input);
        if !host.has(Mutant::HoldNeverTimesOut) {
            host.later(self.place, self.life, HOLD_MAX_NS, Due::HoldExpired(hold));
        }
    }

    pub(super) fn expire_hold(&mut self, host: &mut Host, hold: u64) {
        if let Some(input) = self.holds.remove(&hold) {
            self.fail_input(host, input);
        }
    }

    fn join(&mut self, host: &mut Host, task: TaskId, input: Input) {
        let waiting = &mut self.bolts.get_mut(&task).expect("a task of this worker").joined;
        waiting.push(input);
        let (first, enough) = (waiting.len() == 1, waiting.len() >= host.plan.join_of);
        if enough {
            self.flush_join(host, task);
        } else if first {
            let delay_ns = host.chance.between(50 * US, host.plan.join_wait_ns);
            host.later(self.place, self.life, delay_ns, Due::Flush(task));
        }
    }

    pub(super) fn flush_join(&mut self, host: &mut Host, task: TaskId) {
        let inputs = std::mem::take(&mut self.bolts.get_mut(&task).expect("a task of this worker").joined);
        if !inputs.is_empty() {
            let target = pick(host, Component::Count);
            self.finish(host, task, inputs, &[target]);
        }
    }
}

/// Whether user code kills its worker on an input.
fn kills(host: &Host, input: &Input) -> bool {
    let mut messages = host.truth.messages_of(input.tuple);
    messages.next().is_some_and(|message| host.nature.is_killer(message) && messages.all(|other| other == message))
}
