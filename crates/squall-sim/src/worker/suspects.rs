//! Roots on whose tuples workers have died (semantics 9).

use super::{Worker, ends};
use crate::host::Host;
use crate::mutant::Mutant;
use crate::plan::{ALONE_FROM, DEAD_FROM};
use crate::truth::{Because, Message};
use squall_core::ids::RootId;

impl Worker {
    /// A worker died while a tuple of this root was executed there: the second time it is tried alone from then on, the
    /// third time it is given up, so that a tuple which kills its worker ends.
    pub(super) fn suspect(&mut self, host: &mut Host, root: RootId) {
        let Some(entry) = self.acker.entry_mut(root) else { return };
        entry.retry.suspicions = entry.retry.suspicions.saturating_add(1);
        let (deaths, message) = (entry.retry.suspicions, entry.retry.message);
        let (place, life) = (self.place, self.life.0);
        host.trace.note(host.now_ns, || format!("worker {place}.{life} suspects {message:?}, {deaths} deaths"));
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

    /// On which messages of this worker's roots workers have died, as its next life is to know: of those that it was told of
    /// and of open ones, once more for those on which it died itself.
    pub fn deaths(&self, host: &Host, died_on: &[RootId]) -> Vec<(Message, u8)> {
        if host.has(Mutant::DeathsForgotten) {
            return Vec::new();
        }
        let known = self.acker.open_trees().into_iter().filter_map(|(root, entry)| {
            let deaths = entry.retry.suspicions.saturating_add(u8::from(died_on.contains(&root)));
            (deaths > 0).then_some((entry.retry.message, deaths))
        });
        let before = self.spouts.iter().flat_map(|spout| &spout.deaths).map(|(message, deaths)| (*message, *deaths));
        before.chain(known).collect()
    }
}
