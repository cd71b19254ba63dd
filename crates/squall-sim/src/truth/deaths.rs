//! On whose tuples workers died, and what is known of it where these are emitted.

use super::{Standing, Truth, Try, TryState, TupleId};
use crate::law::Law;
use crate::truth::Message;
use squall_core::ids::Incarnation;
use squall_core::suspects::{ALONE_FROM, DEAD_FROM};
use std::collections::{BTreeMap, BTreeSet};

/// Of each record the lives that died on its tuples. A life dies once, so nothing is counted twice here.
type Lives = BTreeMap<Message, BTreeSet<Incarnation>>;

#[derive(Default)]
pub(super) struct Deaths {
    real: Lives,
    /// Those that chance was to blame for, not a tuple.
    by_chance: BTreeSet<Incarnation>,
    /// Of each record those that died on what was left of a try of it that had failed. Nobody knows any more that such a
    /// tuple was to run alone, so what shared its call may be to blame.
    left_over: Lives,
    /// Those that the parent will tell the next life of the spout's worker of.
    noted: Lives,
    /// Those that the life which emits the message was told of when it began.
    told: Lives,
    /// Those that it has heard of since, of each of the tries that follow each other: a record that a sender has sent
    /// again is another one.
    heard: BTreeMap<u64, BTreeSet<Incarnation>>,
}

impl Deaths {
    /// How many are known where a message is emitted.
    fn known(&self, message: Message, chain: u64) -> usize {
        let (told, heard) = (self.told.get(&message.origin()), self.heard.get(&chain));
        told.into_iter().chain(heard).flatten().collect::<BTreeSet<_>>().len()
    }

    /// Whether a try that is opened now is to run alone.
    pub fn call_for_alone(&self, message: Message, chain: u64) -> bool {
        self.known(message, chain) >= usize::from(ALONE_FROM)
    }
}

impl Truth {
    /// A life ended while a call worked on these tuples.
    pub fn died_on(&mut self, life: Incarnation, tuples: &[TupleId], by_chance: bool) {
        for of in tuples.iter().flat_map(|tuple| &self.tuples[*tuple as usize].tries) {
            let TryState { message, standing, .. } = &self.tries[*of];
            self.deaths.real.entry(message.origin()).or_default().insert(life);
            if *standing != Standing::Open {
                self.deaths.left_over.entry(message.origin()).or_default().insert(life);
            }
        }
        if by_chance {
            self.deaths.by_chance.insert(life);
        }
    }

    /// The parent knows that a life died on a tuple of what began so.
    pub fn death_noted(&mut self, origin: Message, life: Incarnation) {
        self.deaths.noted.entry(origin).or_default().insert(life);
    }

    /// Where a try is open it was heard that a life died on it.
    pub fn death_heard(&mut self, of: Try, life: Incarnation) {
        self.deaths.heard.entry(self.tries[of].chain).or_default().insert(life);
    }

    /// A spout begins in a new life; it is told what the parent knows.
    pub fn spout_begins(&mut self, spout: usize) {
        let Deaths { noted, told, .. } = &mut self.deaths;
        told.retain(|message, _| message.spout != spout);
        let of_spout = noted.iter().filter(|(message, _)| message.spout == spout);
        told.extend(of_spout.map(|(message, lives)| (*message, lives.clone())));
    }

    /// The tuples of a try are sent.
    // semantics 9
    pub fn tried(&mut self, of: Try) {
        let message = self.tries[of].message;
        let deaths = self.deaths.known(message, self.tries[of].chain);
        if deaths >= usize::from(DEAD_FROM) {
            self.broken(Law::KillersAreGivenUp, || format!("{message:?} is tried again after {deaths} deaths"));
        }
    }

    /// A call takes these tuples together. Of a tree that has failed nobody knows any more that it was to run alone.
    // semantics 9
    pub fn called_together(&mut self, tuples: &[TupleId]) {
        if tuples.len() < 2 {
            return;
        }
        let tries = tuples.iter().flat_map(|tuple| self.tries_of(*tuple));
        let alone = |of: &&Try| self.tries[**of].alone && self.tries[**of].standing == Standing::Open;
        if let Some(message) = tries.copied().find(|of| alone(&of)).map(|of| self.tries[of].message) {
            self.broken(Law::KillersAreGivenUp, || format!("{message:?} is to run alone, but was called with others"));
        }
    }

    /// A message was given up because of deaths. `may_be_blamed`: for those that neither chance nor what was left of other
    /// tries had a part in.
    pub(super) fn given_up_for_deaths(&mut self, message: Message, may_be_blamed: bool) {
        let lives = self.deaths.real.get(&message.origin()).cloned().unwrap_or_default();
        if lives.len() < usize::from(DEAD_FROM) {
            self.broken(Law::KillersAreGivenUp, || format!("{message:?} was given up after {} deaths", lives.len()));
        }
        let left_over = self.deaths.left_over.get(&message.origin()).cloned().unwrap_or_default();
        if !may_be_blamed && lives.is_disjoint(&self.deaths.by_chance) && lives.is_disjoint(&left_over) {
            self.broken(Law::KillersAreGivenUp, || format!("{message:?} was given up and kills nobody"));
        }
    }
}
