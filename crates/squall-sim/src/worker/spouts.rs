//! Spouts: what they emit, try again, and commit.

use super::storing::Storing;
use super::{Entry, Retry, Worker, ends};
use crate::host::{Due, Host};
use crate::mutant::Mutant;
use crate::plan::{Component, Source, TaskId, US};
use crate::truth::{Because, Message, TupleId};
use squall_core::flow::PendingLimit;
use squall_core::ids::{Incarnation, RootId};
use squall_core::suspects::DEAD_FROM;
use squall_core::tracker::{Position, Tracker};
use std::collections::{BTreeMap, VecDeque};

/// Where the records of a spout come from.
pub(super) enum Feed {
    /// From a store, in order.
    Positions {
        /// Where the source began in this life.
        base: u64,
        next: u64,
        tracker: Tracker,
    },
    /// From senders, by way of a journal.
    Journal(Box<Storing>),
}

/// One spout's task.
pub(super) struct Spout {
    /// Its number in the plan.
    pub number: usize,
    pub feed: Feed,
    limit: PendingLimit,
    pending: u32,
    /// What is to be emitted again.
    pub retries: VecDeque<Retry>,
    /// What is to be emitted for the first time.
    pub fresh: VecDeque<Retry>,
    sending: Option<Sending>,
    /// On which of its messages workers had died when this life began.
    pub deaths: BTreeMap<Message, u8>,
}

/// An emission that is under way.
struct Sending {
    root: RootId,
    rows: Vec<(TaskId, TupleId)>,
    xor: u64,
}

impl Spout {
    pub fn open(host: &mut Host, number: usize, life: Incarnation, deaths: &BTreeMap<Message, u8>) -> Spout {
        let base = host.committed[number];
        host.truth.spout_begins(number);
        let feed = match host.plan.spouts[number].source {
            Source::Positions => Feed::Positions { base, next: base, tracker: Tracker::new() },
            _ => Feed::Journal(Box::new(Storing::open(host, number, life))),
        };
        Spout {
            number,
            feed,
            limit: PendingLimit::new(Some(host.plan.max_pending)),
            pending: 0,
            retries: VecDeque::new(),
            fresh: VecDeque::new(),
            sending: None,
            deaths: deaths.clone(),
        }
    }

    /// How many trees it has open.
    pub fn pending(&self) -> u32 {
        self.pending
    }

    /// A try ended. A defect may end one twice: the truth says so, not an overflow here.
    pub fn close_try(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// A message that is emitted for the first time in this life.
    pub fn first(&self, host: &mut Host, message: Message, place: u64) -> Retry {
        let suspicions = self.deaths.get(&message.origin()).copied().unwrap_or(0);
        Retry { message, place, attempt: 1, chain: host.truth.chain(), suspicions }
    }

    fn has_more(&self, host: &Host) -> bool {
        let is_queued = !self.retries.is_empty() || !self.fresh.is_empty();
        is_queued
            || match &self.feed {
                Feed::Positions { next, .. } => *next < host.plan.messages,
                Feed::Journal(storing) => storing.has_records(),
            }
    }
}

impl Worker {
    pub(super) fn may_emit(&mut self, host: &Host, at: usize) -> bool {
        let spout = &self.spouts[at];
        if spout.sending.is_some() {
            return true;
        }
        let room = match host.mutant {
            Some(Mutant::LimitIgnored) => true,
            Some(Mutant::LimitShared) => self.pending() < self.spouts.len() as u32 * host.plan.max_pending,
            _ => spout.limit.room(spout.pending) > 0,
        };
        let may = spout.has_more(host) && room;
        may && !(0..host.plan.bolts.len()).any(|task| match host.has(Mutant::StartBeforeKnown) {
            true => self.bolts.contains_key(&task) && self.is_full(task),
            false => self.is_full(task),
        })
    }

    pub(super) fn run_spout(&mut self, host: &mut Host, at: usize) {
        if !self.may_emit(host, at) {
            return;
        }
        if self.spouts[at].sending.is_none() {
            self.begin_emission(host, at);
        }
        while let Some(sending) = self.spouts[at].sending.take() {
            self.spouts[at].sending = self.go_on(host, at, sending);
            if host.plan.slow_emission {
                break;
            }
        }
    }

    /// What is to be emitted next, if it is something.
    fn next_output(&mut self, host: &mut Host, at: usize) -> Option<Retry> {
        let spout = &mut self.spouts[at];
        if let Some(retry) = spout.retries.pop_front().or_else(|| spout.fresh.pop_front()) {
            return Some(retry);
        }
        if let Feed::Positions { next, tracker, .. } = &mut spout.feed {
            let message = Message { spout: spout.number, position: *next, nth: 0 };
            *next += 1;
            let place = tracker.begin().0;
            return Some(spout.first(host, message, place));
        }
        self.take_record(host, at);
        self.spouts[at].fresh.pop_front()
    }

    fn begin_emission(&mut self, host: &mut Host, at: usize) {
        let Some(retry) = self.next_output(host, at) else { return };
        self.spouts[at].pending += 1;
        let of = host.truth.opened(retry.message, retry.chain, self.life);
        let entry = Entry { spout: at, of, opened_ns: host.now_ns, retry };
        let root = self.acker.open(entry).expect("far fewer trees than slots");
        self.began.insert(root, retry.message.origin());
        if retry.suspicions >= DEAD_FROM {
            return self.give_up(host, root, Because::Deaths, ends::BY_DEATHS);
        }
        host.truth.tried(of);
        let rows = host.chance.between(1, host.plan.split_rows);
        let mut targets: Vec<TaskId> = (0..rows).map(|_| pick(host, Component::Split)).collect();
        if host.plan.has_joins() && host.chance.permille(500) {
            targets.push(pick(host, Component::Join));
        }
        let rows = targets.into_iter().map(|task| (task, host.truth.born(vec![of], 0))).collect();
        self.spouts[at].sending = Some(Sending { root, rows, xor: 0 });
    }

    /// Sends one more row, or says what was sent. What is left to do.
    fn go_on(&mut self, host: &mut Host, at: usize, mut sending: Sending) -> Option<Sending> {
        if !self.acker.is_open(sending.root) {
            return None; // it failed meanwhile and is emitted anew
        }
        let Some((task, tuple)) = sending.rows.pop() else {
            self.init(host, sending.root, sending.xor);
            if host.strikes(host.plan.faults.repeat_init) {
                let delay_ns = host.chance.between(US, 300 * US);
                let again = Due::InitAgain { root: sending.root, xor: sending.xor };
                host.later(self.place, self.life, delay_ns, again);
            }
            return None;
        };
        let edge = self.edge(host);
        sending.xor ^= edge;
        let source = host.plan.source_of_spout(self.spouts[at].number);
        self.send(host, source, task, &[(sending.root, edge)], tuple);
        Some(sending)
    }

    /// A message was acked or given up: what has ended without a gap is committed.
    // semantics 31
    pub(super) fn end(&mut self, host: &mut Host, entry: Entry) {
        let spout = &mut self.spouts[entry.spout];
        let Feed::Positions { base, tracker, .. } = &mut spout.feed else {
            return self.end_record(host, entry.spout, entry.retry.place as u32);
        };
        tracker.end(Position(entry.retry.place));
        let prefix = *base + tracker.ended_prefix();
        let newest = entry.retry.message.position + 1;
        let commit = if host.has(Mutant::CommitNewest) { prefix.max(newest) } else { prefix };
        host.truth.committed(spout.number, commit);
        host.committed[spout.number] = commit;
    }
}

/// A task of a component, at random.
pub(super) fn pick(host: &Host, component: Component) -> TaskId {
    let mut tasks = host.plan.tasks(component);
    let count = tasks.clone().count() as u64;
    tasks.nth(host.chance.below(count) as usize).expect("one of them")
}
