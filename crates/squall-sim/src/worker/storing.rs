//! Between senders and a spout with a journal: commits in groups, receipts, and what has ended (`squall-net`'s
//! `tcp/storing.rs`, `squall-py`'s `order.rs`).

use super::Worker;
use super::journal::{Journal, Refused};
use super::spouts::Feed;
use crate::host::{Due, Event, Host};
use crate::law::Law;
use crate::mutant::Mutant;
use crate::plan::{MS, Place, Source};
use crate::sender::Chunk;
use crate::truth::Message;
use squall_core::ids::Incarnation;
use squall_core::tally::{Grown, Outputs, Tally};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const LOOK_EVERY_NS: u64 = 500 * MS;
const TRY_AGAIN_NS: u64 = 200 * MS;
/// Records that wait for the disk before the connections are not read.
const UNSTORED_MOST: usize = 16;
/// Connection of what the journal gives again.
const JOURNAL: u64 = 0;

/// A record for the loop.
struct Record {
    connection: u64,
    position: u64,
    is_junk: bool,
}

pub(super) struct Storing {
    journal: Journal,
    tally: Tally,
    /// By connection: how many of its records were stored or skipped.
    stored: BTreeMap<u64, u64>,
    unstored: VecDeque<Chunk>,
    /// What the disk is at: records, or a mark alone.
    in_commit: Option<Vec<Chunk>>,
    ready: VecDeque<Record>,
    look_due: bool,
    /// After a disk that took nothing.
    rests: bool,
}

impl Storing {
    /// Opens the journal again; what had not ended comes first.
    pub fn open(host: &mut Host, spout: usize, life: Incarnation) -> Storing {
        let outputs = if host.plan.spouts[spout].many_outputs { Outputs::Any } else { Outputs::One };
        let place = host.plan.spouts[spout].place;
        let journal = Journal::open(host, spout).unwrap_or_else(|broken| {
            host.truth.broken(Law::StoredIsThere, || format!("the journal of spout {spout} is {broken:?}"));
            host.disks[spout] = Default::default();
            Journal::open(host, spout).expect("an empty one")
        });
        host.truth.reopened(spout, journal.began, journal.next);
        let mut ready = VecDeque::new();
        let mut next = journal.began;
        for (number, record) in &journal.replay {
            let position = record.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
            if *number != next || position >= host.plan.messages || *record != bytes_of(position) {
                let what =
                    || format!("the journal of spout {spout} gives {record:?} as its record {number}, not {next}");
                host.truth.broken(Law::NothingIsInvented, what);
                continue;
            }
            next += 1;
            host.truth.logged(spout, *number, position);
            ready.push_back(Record { connection: JOURNAL, position, is_junk: false });
        }
        let positions: BTreeSet<u64> = ready.iter().map(|record| record.position).collect();
        let nature = host.nature.clone();
        host.truth.replayed(spout, &positions, |position| nature.messages_at(spout, position));
        host.senders.hang_up(spout);
        host.listens(spout);
        host.later(place, life, 0, Due::Store(spout));
        Storing {
            journal,
            tally: Tally::in_one_order(outputs),
            stored: BTreeMap::new(),
            unstored: VecDeque::new(),
            in_commit: None,
            ready,
            look_due: false,
            rests: false,
        }
    }

    pub fn has_records(&self) -> bool {
        !self.ready.is_empty()
    }

    fn trim(&mut self, host: &mut Host, spout: usize, place: Place) {
        let (ended, before) = (self.ended(), host.disks[spout].removed());
        self.journal.trim(&mut host.disks[spout], ended);
        // Also when the other faults are over, since most is trimmed then: there is an end to what can be.
        if host.disks[spout].removed() > before && host.chance.permille(host.plan.faults.die_after_trim) {
            host.after(0, Event::Crash(place));
        }
    }

    fn ended(&self) -> u64 {
        self.journal.began + self.tally.ended_prefix()
    }
}

fn bytes_of(position: u64) -> Vec<u8> {
    let mut bytes = position.to_le_bytes().to_vec();
    bytes.resize(8 + position as usize % 40, position as u8);
    bytes
}

impl Worker {
    fn storing(&mut self, spout: usize) -> Option<(usize, &mut Storing)> {
        let at = self.spouts.iter().position(|one| one.number == spout)?;
        match &mut self.spouts[at].feed {
            Feed::Journal(storing) => Some((at, storing)),
            Feed::Positions { .. } => None,
        }
    }

    /// Senders of a spout write. Whether their connections are read now.
    pub fn may_be_sent(&mut self, spout: usize) -> bool {
        let waiting = |storing: &Storing| storing.unstored.iter().map(|chunk| chunk.positions.len()).sum::<usize>();
        self.storing(spout).is_some_and(|(_, storing)| waiting(storing) < UNSTORED_MOST)
    }

    /// What senders of a spout have written has come.
    pub fn take_chunks(&mut self, host: &mut Host, spout: usize, chunks: Vec<Chunk>) {
        if let Some((_, storing)) = self.storing(spout) {
            storing.unstored.extend(chunks);
        }
        self.store(host, spout);
    }

    /// Stores what waits, in one commit, or marks what has ended.
    // semantics 33
    pub(super) fn store(&mut self, host: &mut Host, spout: usize) {
        let (place, life) = (self.place, self.life);
        let Some((_, storing)) = self.storing(spout) else { return };
        if storing.in_commit.is_some() || storing.rests {
            return;
        }
        storing.look_due = false;
        let ended = storing.ended();
        let chunks: Vec<Chunk> = storing.unstored.drain(..).collect();
        let positions = || chunks.iter().flat_map(|chunk| chunk.positions.iter().copied());
        let records: Vec<Vec<u8>> =
            positions().filter(|position| !host.nature.is_junk(spout, *position)).map(bytes_of).collect();
        let is_mark = records.is_empty();
        if is_mark && ended <= storing.journal.marked {
            return self.pass_on(host, spout, chunks, None);
        }
        let nature = host.nature.clone();
        host.truth.marked(spout, ended, |position| nature.messages_at(spout, position));
        match storing.journal.begin(host, records.iter().map(Vec::as_slice), ended, is_mark) {
            Ok(()) => {
                if host.has(Mutant::ReceiptBeforeSync) && host.plan.spouts[spout].source == Source::Stored {
                    for chunk in &chunks {
                        let before = storing.stored.get(&chunk.connection).copied().unwrap_or(0);
                        host.receipt(spout, chunk.connection, before + chunk.positions.len() as u64);
                    }
                }
                storing.in_commit = Some(chunks);
                let delay_ns = host.chance.between(MS / 2, 12 * MS);
                host.later(place, life, delay_ns, Due::Synced(spout));
            }
            Err(Refused) => self.store_again(host, spout, chunks),
        }
    }

    /// The rest after a disk that took nothing is over.
    pub(super) fn end_rest(&mut self, host: &mut Host, spout: usize) {
        if let Some((_, storing)) = self.storing(spout) {
            storing.rests = false;
        }
        self.store(host, spout);
    }

    fn store_again(&mut self, host: &mut Host, spout: usize, chunks: Vec<Chunk>) {
        let (place, life) = (self.place, self.life);
        let Some((_, storing)) = self.storing(spout) else { return };
        chunks.into_iter().rev().for_each(|chunk| storing.unstored.push_front(chunk));
        storing.trim(host, spout, place);
        storing.rests = true;
        host.later(place, life, TRY_AGAIN_NS, Due::StoreAgain(spout));
    }

    /// The disk has done what it was asked for, or not.
    pub(super) fn synced(&mut self, host: &mut Host, spout: usize) {
        let Some((_, storing)) = self.storing(spout) else { return };
        let Some(chunks) = storing.in_commit.take() else { return };
        match storing.journal.synced(host) {
            Ok((first, _)) => self.pass_on(host, spout, chunks, Some(first)),
            Err(Refused) => return self.store_again(host, spout, chunks),
        }
        self.store(host, spout);
    }

    /// Tells receipts of what is stored, and gives it to the loop.
    fn pass_on(&mut self, host: &mut Host, spout: usize, chunks: Vec<Chunk>, first: Option<u64>) {
        let (is_stored, place) = (host.plan.spouts[spout].source == Source::Stored, self.place);
        let mut number = first.unwrap_or(0);
        let Some((_, storing)) = self.storing(spout) else { return };
        for chunk in chunks {
            for position in &chunk.positions {
                let is_junk = host.nature.is_junk(spout, *position);
                if !is_junk {
                    host.truth.logged(spout, number, *position);
                    number += 1;
                }
                let connection = if is_stored { JOURNAL } else { chunk.connection };
                storing.ready.push_back(Record { connection, position: *position, is_junk });
            }
            let stored = storing.stored.entry(chunk.connection).or_default();
            *stored += chunk.positions.len() as u64;
            if is_stored {
                host.receipt(spout, chunk.connection, *stored);
            }
        }
        storing.trim(host, spout, place);
    }

    /// Begins the next record: its outputs are to be emitted.
    pub(super) fn take_record(&mut self, host: &mut Host, at: usize) {
        let spout = self.spouts[at].number;
        let Feed::Journal(storing) = &mut self.spouts[at].feed else { return };
        let Some(Record { connection, position, is_junk }) = storing.ready.pop_front() else { return };
        let slot = storing.tally.slot(connection);
        if is_junk {
            // What a receipt of stored records says of it was said before.
            let grown = if connection == JOURNAL { None } else { storing.tally.skip(slot) };
            return self.grown(host, at, grown);
        }
        storing.tally.begin_record(slot);
        let messages: Vec<Message> = host.nature.messages_at(spout, position).collect();
        let tickets: Vec<u32> = messages.iter().map(|_| storing.tally.begin()).collect();
        let grown = storing.tally.end_record();
        for (message, ticket) in messages.into_iter().zip(tickets) {
            let output = self.spouts[at].first(host, message, u64::from(ticket));
            self.spouts[at].fresh.push_back(output);
        }
        self.grown(host, at, grown);
    }

    /// An output of a record has ended for good.
    // semantics 32
    pub(super) fn end_record(&mut self, host: &mut Host, at: usize, ticket: u32) {
        let Feed::Journal(storing) = &mut self.spouts[at].feed else { return };
        let grown = storing.tally.end(ticket);
        self.grown(host, at, grown);
    }

    fn grown(&mut self, host: &mut Host, at: usize, grown: Option<Grown>) {
        let (place, life, spout) = (self.place, self.life, self.spouts[at].number);
        let Feed::Journal(storing) = &mut self.spouts[at].feed else { return };
        if let Some(Grown { connection, ended, .. }) = grown
            && host.plan.spouts[spout].source == Source::Processed
        {
            host.receipt(spout, connection, ended);
        }
        if storing.ended() > storing.journal.marked && !storing.look_due {
            storing.look_due = true;
            host.later(place, life, LOOK_EVERY_NS, Due::Store(spout));
        }
    }
}
