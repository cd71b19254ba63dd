//! How trees end: acks and fails, and what follows.

use super::{Entry, Worker};
use crate::host::{Due, Host};
use crate::mutant::Mutant;
use crate::truth::Because;
use squall_core::ids::RootId;
use squall_core::retry::{Action, Failure, Verdict, verdict};

pub(super) const BY_USER_CODE: Failure = Failure { action: Action::Retry, counts: true, after_ns: None };
pub(super) const BY_LOSS: Failure = Failure { action: Action::Retry, counts: false, after_ns: None };
pub(super) const BY_DEATHS: Failure = Failure { action: Action::Dead, counts: false, after_ns: None };

impl Worker {
    pub(super) fn ack(&mut self, host: &mut Host, root: RootId, xor: u64) {
        match self.owner_of(host, root) {
            Some(place) if place == self.place => self.ack_here(host, root, xor),
            Some(place) => self.peers[place].acks.ack(root, xor),
            None => {} // the life that opened the tree is over, and the tree with it
        }
    }

    pub(super) fn fail(&mut self, host: &mut Host, root: RootId, failure: Failure) {
        match self.owner_of(host, root) {
            Some(place) if place == self.place => self.fail_here(host, root, failure),
            Some(place) => self.peers[place].fails.push((root, failure.counts)),
            None => {}
        }
    }

    pub(super) fn init(&mut self, host: &mut Host, root: RootId, xor: u64) {
        if let Some(entry) = self.acker.init(root, xor) {
            self.complete(host, entry);
        }
    }

    pub(super) fn ack_here(&mut self, host: &mut Host, root: RootId, xor: u64) {
        if let Some(entry) = self.acker.ack(root, xor) {
            self.complete(host, entry);
        }
    }

    fn complete(&mut self, host: &mut Host, entry: Entry) {
        host.truth.acked(entry.of);
        self.spouts[entry.spout].close_try();
        self.end(host, entry);
    }

    pub(super) fn fail_here(&mut self, host: &mut Host, root: RootId, failure: Failure) {
        self.give_up(host, root, Because::Failures, failure);
    }

    /// A tree fails: it is tried again, or given up because of what happened.
    pub(super) fn give_up(&mut self, host: &mut Host, root: RootId, because: Because, failure: Failure) {
        let Some(entry) = self.acker.fail(root) else { return };
        host.truth.failed(entry.of, failure.counts);
        self.spouts[entry.spout].close_try();
        let counts = failure.counts || host.has(Mutant::LossCounts);
        let retries = if host.has(Mutant::NeverDead) { u32::MAX } else { crate::plan::RETRIES };
        match verdict(Failure { counts, ..failure }, entry.retry.attempt, retries) {
            Verdict::Again { .. } if host.has(Mutant::RetryForgotten) => {}
            Verdict::Again { after_ns, attempt } => {
                let retry = super::Retry { attempt, ..entry.retry };
                host.later(self.place, self.life, after_ns, Due::Backoff { spout: entry.spout, retry });
            }
            Verdict::Dead => {
                let may_be_blamed = host.nature.may_be_blamed(entry.retry.message);
                host.truth.dead(entry.of, because, may_be_blamed);
                self.end(host, entry);
            }
            Verdict::Drop | Verdict::Die => unreachable!("no component here asks for it"),
        }
    }
}
