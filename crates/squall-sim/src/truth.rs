//! What really happened, kept apart from the protocol, and the laws that compare the two.
//!
//! The ledger knows a tree by one sum. The truth knows each tuple: which tries of which messages it descends from, in
//! which channel it went, and whether it was processed.

mod deaths;
mod records;
mod ways;

use crate::law::{Law, Violation};
use crate::plan::RETRIES;
use deaths::Deaths;
use records::Records;
use squall_core::ids::Incarnation;
use std::collections::{BTreeMap, HashMap, HashSet};
use ways::Ways;

/// One try of one message.
pub type Try = usize;
/// One tuple.
pub type TupleId = u64;

/// One output of one record of one spout's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    /// The spout.
    pub spout: usize,
    /// Its record's place in the source.
    pub position: u64,
    /// Which of the record's outputs.
    pub nth: u8,
}

impl Message {
    /// What it is known by over all lives of its spout's worker: all outputs of a record by the first one's name.
    pub fn origin(self) -> Message {
        Message { nth: 0, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    Ended,
    /// Its spout's worker died.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Acked,
    Dead,
}

/// Why a message is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// It failed as often as it may.
    Failures,
    /// Workers died on it.
    Deaths,
}

struct TryState {
    message: Message,
    chain: u64,
    life: Incarnation,
    unprocessed: u32,
    standing: Standing,
    /// Workers died on the message, so that it is to run alone.
    alone: bool,
}

struct TupleState {
    tries: Vec<Try>,
    hops: u8,
    processed: bool,
}

/// The observer of one history.
#[derive(Default)]
pub struct Truth {
    tries: Vec<TryState>,
    tuples: Vec<TupleState>,
    edges: HashSet<u64>,
    ended: HashMap<Message, End>,
    /// Counted failures of the tries that follow each other.
    failures: BTreeMap<u64, u32>,
    chains: u64,
    /// Of each spout of each life.
    open: BTreeMap<(Incarnation, usize), u32>,
    open_most: u32,
    violation: Option<Violation>,
    check_edges: bool,
    ways: Ways,
    records: Records,
    deaths: Deaths,
}

impl Truth {
    /// Nothing has happened. `open_most`: how many tries a spout may have open. `check_edges`: whether A6 is watched; a
    /// mutant of ids is to be caught by what it does.
    pub fn new(open_most: u32, check_edges: bool) -> Self {
        Truth { open_most, check_edges, ..Truth::default() }
    }

    /// The first law that was broken.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Notes that a law is broken; the first time counts.
    pub fn broken(&mut self, law: Law, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { law, what: what() });
        }
    }

    /// A spout begins a message; the number of the tries that follow each other.
    pub fn chain(&mut self) -> u64 {
        self.chains += 1;
        self.chains
    }

    /// A spout opened a tree for a try of `message`.
    pub fn opened(&mut self, message: Message, chain: u64, life: Incarnation) -> Try {
        let alone = self.deaths.call_for_alone(message, chain);
        self.tries.push(TryState { message, chain, life, unprocessed: 0, standing: Standing::Open, alone });
        let open = self.open.entry((life, message.spout)).or_default();
        *open += 1;
        let (open, most) = (*open, self.open_most);
        if open > most {
            self.broken(Law::LimitKept, || format!("spout {} has {open} trees open, {most} may be", message.spout));
        }
        self.tries.len() - 1
    }

    /// A tuple came to be under these tries; it has gone round so often.
    pub fn born(&mut self, tries: Vec<Try>, hops: u8) -> TupleId {
        tries.iter().for_each(|of| self.tries[*of].unprocessed += 1);
        self.tuples.push(TupleState { tries, hops, processed: false });
        self.tuples.len() as TupleId - 1
    }

    /// The tries that a tuple descends from.
    pub fn tries_of(&self, tuple: TupleId) -> &[Try] {
        &self.tuples[tuple as usize].tries
    }

    /// How often a tuple has gone round.
    pub fn hops(&self, tuple: TupleId) -> u8 {
        self.tuples[tuple as usize].hops
    }

    /// The messages that a tuple descends from.
    pub fn messages_of(&self, tuple: TupleId) -> impl Iterator<Item = Message> {
        self.tries_of(tuple).iter().map(|of| self.tries[*of].message)
    }

    /// A bolt finished a tuple well, its children born before.
    pub fn processed(&mut self, tuple: TupleId) {
        if std::mem::replace(&mut self.tuples[tuple as usize].processed, true) {
            return self.broken(Law::LinksDeliverOnce, || format!("tuple {tuple} was processed twice"));
        }
        for of in &self.tuples[tuple as usize].tries {
            self.tries[*of].unprocessed -= 1;
        }
    }

    /// A generator gave an edge id.
    pub fn edge(&mut self, id: u64) {
        if self.check_edges && !self.edges.insert(id) {
            self.broken(Law::EdgesAreUnique, || format!("edge id {id:#x} was given twice"));
        }
    }

    /// The protocol says that a try is fully processed.
    pub fn acked(&mut self, of: Try) {
        let (message, unprocessed) = (self.tries[of].message, self.tries[of].unprocessed);
        if unprocessed > 0 {
            self.broken(Law::NothingUnprocessedIsAcked, || {
                format!("{message:?} was acked with {unprocessed} tuples unprocessed")
            });
        }
        self.close(of);
        self.ended.insert(message, End::Acked);
    }

    /// The protocol says that a try failed. `counts`: by user code.
    pub fn failed(&mut self, of: Try, counts: bool) {
        let (message, chain) = (self.tries[of].message, self.tries[of].chain);
        let failures = self.failures.entry(chain).or_default();
        *failures += u32::from(counts);
        let failures = *failures;
        if failures > RETRIES + 1 {
            self.broken(Law::OnlyFailuresCount, || format!("{message:?} was tried on after {failures} failures"));
        }
        self.close(of);
    }

    /// The message of a failed try was given up. `may_be_blamed`: for deaths that chance had no part in.
    pub fn dead(&mut self, of: Try, because: Because, may_be_blamed: bool) {
        let (message, chain) = (self.tries[of].message, self.tries[of].chain);
        let failures = self.failures.get(&chain).copied().unwrap_or(0);
        match because {
            Because::Failures if failures != RETRIES + 1 => {
                self.broken(Law::OnlyFailuresCount, || format!("{message:?} was given up after {failures} failures"));
            }
            Because::Failures => {}
            Because::Deaths => self.given_up_for_deaths(message, may_be_blamed),
        }
        self.ended.insert(message, End::Dead);
    }

    /// The source forgets everything before `position`.
    pub fn committed(&mut self, spout: usize, position: u64) {
        let mut before = (0..position).map(|position| Message { spout, position, nth: 0 });
        if let Some(message) = before.find(|message| !self.ended.contains_key(message)) {
            self.broken(Law::NothingUnendedIsCommitted, || {
                format!("{position} was committed before {message:?} ended")
            });
        }
    }

    /// A worker died: its tries are nobody's any more.
    pub fn crashed(&mut self, life: Incarnation) {
        for state in self.tries.iter_mut().filter(|state| state.life == life && state.standing == Standing::Open) {
            state.standing = Standing::Lost;
        }
        self.open.retain(|(of, _), _| *of != life);
    }

    /// How many tries of a spout of a living worker are open.
    pub fn open_of(&self, life: Incarnation, spout: usize) -> u32 {
        self.open.get(&(life, spout)).copied().unwrap_or(0)
    }

    /// Whether a message was acked or given up.
    pub fn has_ended(&self, message: Message) -> bool {
        self.ended.contains_key(&message)
    }

    /// How many messages were acked and how many given up.
    pub fn ends(&self) -> (usize, usize) {
        let acked = self.ended.values().filter(|how| **how == End::Acked).count();
        (acked, self.ended.len() - acked)
    }

    /// How many tries there were.
    pub fn tries(&self) -> usize {
        self.tries.len()
    }

    fn close(&mut self, of: Try) {
        let state = &mut self.tries[of];
        let (message, standing, life) = (state.message, state.standing, state.life);
        state.standing = Standing::Ended;
        if standing == Standing::Open {
            *self.open.entry((life, message.spout)).or_default() -= 1;
        } else {
            self.broken(Law::TriesEndOnce, || format!("a try of {message:?} ended, which was {standing:?}"));
        }
    }
}
