//! Roots on whose tuples workers have died (semantics 9).

use super::{Input, Worker, ends};
use crate::host::{Host, Word};
use crate::truth::{Because, Message, TupleId};
use squall_core::ids::{Incarnation, RootId};
use squall_core::suspects::{ALONE_FROM, DEAD_FROM, each_once};

impl Worker {
    /// The next call of user code is the last.
    pub fn doom(&mut self) {
        self.is_doomed = true;
    }

    /// The process ends while a call works on these inputs.
    pub(super) fn die_on(&mut self, host: &mut Host, inputs: &[Input], by_chance: bool) {
        let suspects = each_once(inputs.iter().flat_map(|input| &input.pairs).map(|(root, _)| root.0));
        let suspects = suspects.into_iter().map(RootId).collect();
        let tuples: Vec<TupleId> = inputs.iter().map(|input| input.tuple).collect();
        let place = self.place;
        host.trace.note(host.now_ns, || format!("worker {place} is killed in a call on tuples {tuples:?}"));
        host.truth.died_on(self.life, &tuples, by_chance);
        host.words.push(Word::Died { place, suspects });
        self.is_dying = true;
    }

    /// The life `died` ended while a tuple of this root was executed there: from the second time it is tried alone, the
    /// third time it is given up, so that a tuple which kills its worker ends.
    pub(super) fn suspect(&mut self, host: &mut Host, root: RootId, died: Incarnation) {
        let Some(entry) = self.acker.entry_mut(root) else { return };
        entry.retry.suspicions = entry.retry.suspicions.saturating_add(1);
        let (deaths, message, of) = (entry.retry.suspicions, entry.retry.message, entry.of);
        let (place, life) = (self.place, self.life.0);
        host.trace.note(host.now_ns, || format!("worker {place}.{life} suspects {message:?}, {deaths} deaths"));
        host.truth.death_heard(of, died);
        if deaths >= DEAD_FROM {
            self.give_up(host, root, Because::Deaths, ends::BY_DEATHS);
        }
    }

    /// Whether a root is to run alone in its batches.
    pub(super) fn is_solo(&self, root: RootId) -> bool {
        let solo = |root: RootId| match root.incarnation() == self.life {
            true => self.acker.entry(root).is_some_and(|entry| entry.retry.suspicions >= ALONE_FROM),
            false => self.alone.contains(root),
        };
        if root.is_bundle() { self.bundles.get(root).iter().any(|(root, _)| solo(*root)) } else { solo(root) }
    }

    /// Whether workers have died on tuples of a root.
    pub(super) fn is_suspect(&self, root: RootId) -> bool {
        match root.incarnation() == self.life {
            true => self.acker.entry(root).is_some_and(|entry| entry.retry.suspicions > 0),
            false => self.suspects.contains(root),
        }
    }

    /// What a root of this life began with, whether it is still open or not, as the parent can read it.
    pub fn origin(&self, root: RootId) -> Option<Message> {
        self.began.get(&root).copied()
    }
}
