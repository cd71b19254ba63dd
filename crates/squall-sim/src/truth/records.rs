//! What was stored and receipted of the records of senders.

use super::{Message, Truth};
use crate::law::Law;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Records {
    /// By spout and number in its journal: the record's position.
    logged: BTreeMap<(usize, u64), u64>,
    /// Up to which number the journal of a spout was said to have ended.
    marked: BTreeMap<usize, u64>,
    receipted: BTreeSet<(usize, u64)>,
}

impl Truth {
    /// A record is in a journal under this number.
    pub fn logged(&mut self, spout: usize, number: u64, position: u64) {
        self.records.logged.insert((spout, number), position);
    }

    /// A journal was opened again: its first `ended` records have ended, and the next one will have the number `next`.
    pub fn reopened(&mut self, spout: usize, ended: u64, next: u64) {
        self.records.marked.insert(spout, ended);
        self.records.logged.retain(|(of, number), _| *of != spout || *number < next);
    }

    /// A journal notes that all records below `ended` have ended. `messages_at` gives the messages of a position.
    // semantics 33
    pub fn marked<I: Iterator<Item = Message>>(&mut self, spout: usize, ended: u64, messages_at: impl Fn(u64) -> I) {
        let from = self.records.marked.get(&spout).copied().unwrap_or(0);
        for number in from..ended {
            let position = self.records.logged.get(&(spout, number)).copied();
            let unended = position.and_then(|position| messages_at(position).find(|one| !self.has_ended(*one)));
            if let Some(message) = unended {
                return self.broken(Law::NothingUnendedIsCommitted, || {
                    format!("the journal of spout {spout} has record {number} as ended, but {message:?} has not")
                });
            }
        }
        self.records.marked.insert(spout, from.max(ended));
    }

    /// A sender was told that a record is stored, and forgets it.
    pub fn receipted_as_stored(&mut self, spout: usize, position: u64) {
        self.records.receipted.insert((spout, position));
    }

    /// A sender was told that a record has ended.
    // semantics 32
    pub fn receipted_as_ended(&mut self, position: u64, mut messages: impl Iterator<Item = Message>) {
        if let Some(message) = messages.find(|one| !self.has_ended(*one)) {
            self.broken(Law::NothingUnendedIsCommitted, || {
                format!("record {position} was receipted as processed, but {message:?} has not ended")
            });
        }
    }

    /// The journal of a spout was opened again, and gives these positions.
    // semantics 33
    pub fn replayed<I: Iterator<Item = Message>>(
        &mut self,
        spout: usize,
        positions: &BTreeSet<u64>,
        messages_at: impl Fn(u64) -> I,
    ) {
        let receipted = self.records.receipted.range((spout, 0)..(spout + 1, 0)).map(|(_, position)| *position);
        let lost = receipted
            .filter(|position| !positions.contains(position))
            .find(|position| messages_at(*position).any(|one| !self.has_ended(one)));
        if let Some(position) = lost {
            self.broken(Law::StoredIsThere, || {
                format!("record {position} of spout {spout} was receipted as stored, and is not there any more")
            });
        }
    }
}
