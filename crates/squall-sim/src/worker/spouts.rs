//! Spouts: what they emit, try again, and commit.

use super::{Entry, Worker};
use crate::host::{Due, Host};
use crate::mutant::Mutant;
use crate::plan::{Component, TaskId};
use crate::truth::{Message, TupleId};
use squall_core::flow::PendingLimit;
use squall_core::ids::RootId;
use squall_core::tracker::{Position, Tracker};
use std::collections::VecDeque;

/// One spout's task.
pub(super) struct Spout {
    /// Its number in the plan.
    number: usize,
    /// Where the source began in this life.
    base: u64,
    next: u64,
    tracker: Tracker,
    limit: PendingLimit,
    pending: u32,
    /// What is to be emitted again: positions, and which tries they will be.
    pub retries: VecDeque<(u64, u32)>,
    sending: Option<Sending>,
}

/// An emission that is under way.
struct Sending {
    root: RootId,
    rows: Vec<(TaskId, TupleId)>,
    xor: u64,
}

impl Spout {
    pub fn new(number: usize, committed: u64, max_pending: u32) -> Self {
        Spout {
            number,
            base: committed,
            next: committed,
            tracker: Tracker::new(),
            limit: PendingLimit::new(Some(max_pending)),
            pending: 0,
            retries: VecDeque::new(),
            sending: None,
        }
    }

    /// A try ended. A defect may end one twice: the truth says so, not an overflow here.
    pub fn close_try(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// A position was acked or given up: what has ended without a gap is committed.
    // semantics 31
    pub fn end(&mut self, host: &mut Host, position: u64) {
        self.tracker.end(Position(position - self.base));
        let prefix = self.base + self.tracker.ended_prefix();
        let commit = if host.has(Mutant::CommitNewest) { prefix.max(position + 1) } else { prefix };
        host.truth.committed(self.number, commit);
        host.committed[self.number] = commit;
    }
}

impl Worker {
    pub(super) fn may_emit(&self, host: &Host, at: usize) -> bool {
        let spout = &self.spouts[at];
        let more = !spout.retries.is_empty() || spout.next < host.plan.messages;
        let room = spout.limit.room(spout.pending) > 0 || host.has(Mutant::LimitIgnored);
        spout.sending.is_some() || (more && room && self.started && self.all_ready(host))
    }

    pub(super) fn run_spout(&mut self, host: &mut Host, at: usize) {
        if !self.may_emit(host, at) {
            return;
        }
        if self.spouts[at].sending.is_none() {
            self.begin_emission(host, at);
        }
        while let Some(sending) = self.spouts[at].sending.take() {
            self.spouts[at].sending = self.go_on(host, sending);
            if host.plan.slow_emission {
                break;
            }
        }
    }

    fn begin_emission(&mut self, host: &mut Host, at: usize) {
        let spout = &mut self.spouts[at];
        let (position, attempt) = spout.retries.pop_front().unwrap_or_else(|| {
            spout.tracker.begin();
            spout.next += 1;
            (spout.next - 1, 1)
        });
        spout.pending += 1;
        let of = host.truth.opened(Message { spout: spout.number, position }, self.life);
        let opened_us = host.now_us;
        let entry = Entry { spout: at, position, attempt, of, opened_us };
        let root = self.acker.open(entry).expect("far fewer trees than slots");
        let mut targets = vec![pick(host, Component::Split)];
        if !host.plan.tasks(Component::Join).is_empty() && host.chance.permille(500) {
            targets.push(pick(host, Component::Join));
        }
        let rows = targets.into_iter().map(|task| (task, host.truth.born(vec![of]))).collect();
        self.spouts[at].sending = Some(Sending { root, rows, xor: 0 });
    }

    /// Sends one more row, or says what was sent. What is left to do.
    fn go_on(&mut self, host: &mut Host, mut sending: Sending) -> Option<Sending> {
        if !self.acker.is_open(sending.root) {
            return None; // it failed meanwhile and is emitted anew
        }
        let Some((task, tuple)) = sending.rows.pop() else {
            self.init(host, sending.root, sending.xor);
            if host.strikes(host.plan.faults.repeat_init) {
                let delay_us = host.chance.between(1, 300);
                self.later(host, delay_us, Due::InitAgain { root: sending.root, xor: sending.xor });
            }
            return None;
        };
        let edge = self.edge(host);
        sending.xor ^= edge;
        self.send(host, task, &[(sending.root, edge)], tuple);
        Some(sending)
    }
}

/// A task of a component, at random.
pub(super) fn pick(host: &Host, component: Component) -> TaskId {
    let tasks = host.plan.tasks(component);
    tasks[host.chance.below(tasks.len() as u64) as usize]
}
