//! How many records of each connection have ended with all before them: what receipts say (semantics 32).
//!
//! Records of many connections interleave in one spout's outputs, so each connection has a tracker of its own. An entry
//! of the ledger has room for 32 bits only: the number of a ticket, which names the connection and the record. Tickets
//! are used again, so their number is that of the outputs under way. A record with several outputs has ended when all
//! of them have.
//!
//! A journal wants to know besides how many have ended in the order in which they came, whoever sent them.

use crate::tracker::Tracker;
use std::collections::HashMap;

/// A ticket of an output that belongs to no record.
const NOBODYS: Record = Record { connection: u32::MAX, low: 0, whole: 0 };

/// A record: its connection's slot, the low halves of its positions there and among all records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Record {
    connection: u32,
    low: u32,
    whole: u32,
}

/// How many outputs each record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// One, or none.
    One,
    /// Any number: each record is counted up and down.
    Any,
}

#[derive(Default)]
struct Connection {
    records: Tracker,
    number: u64,
    closed: bool,
}

/// A connection whose prefix of ended records has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Its slot.
    pub slot: u32,
    /// Its number.
    pub connection: u64,
    /// How many records have ended with all before them.
    pub ended: u64,
}

/// The records of all connections of one source.
///
/// Bound: 12 bytes for each output under way at one time, a tracker for each connection that is open or has one.
pub struct Tally {
    outputs: Outputs,
    slots: HashMap<u64, u32>,
    connections: Vec<Connection>,
    free: Vec<u32>,
    tickets: Vec<Record>,
    free_tickets: Vec<u32>,
    /// The record whose outputs are being sent.
    current: Record,
    /// Outputs under way of each record, and one more while it is the current one. Of [`Outputs::Any`] only.
    under_way: HashMap<Record, u32>,
    /// All records in one order, those that were skipped left out, if someone wants to know.
    whole: Option<Tracker>,
}

impl Tally {
    /// No connection yet.
    pub fn new(outputs: Outputs) -> Tally {
        Tally::with(outputs, None)
    }

    /// No connection yet; the order of all records together is kept, too.
    pub fn in_one_order(outputs: Outputs) -> Tally {
        Tally::with(outputs, Some(Tracker::new()))
    }

    fn with(outputs: Outputs, whole: Option<Tracker>) -> Tally {
        Tally {
            whole,
            outputs,
            slots: HashMap::new(),
            connections: Vec::new(),
            free: Vec::new(),
            tickets: Vec::new(),
            free_tickets: Vec::new(),
            current: NOBODYS,
            under_way: HashMap::new(),
        }
    }

    /// The slot of a connection; it gets one when it is asked for first.
    pub fn slot(&mut self, connection: u64) -> u32 {
        if let Some(slot) = self.slots.get(&connection) {
            return *slot;
        }
        let fresh = Connection { number: connection, ..Connection::default() };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.connections[slot as usize] = fresh;
                slot
            }
            None => {
                self.connections.push(fresh);
                self.connections.len() as u32 - 1
            }
        };
        self.slots.insert(connection, slot);
        slot
    }

    /// Nothing more comes of a connection. Its slot is free when all of it has ended.
    pub fn close(&mut self, connection: u64) {
        if let Some(slot) = self.slots.remove(&connection) {
            self.connections[slot as usize].closed = true;
            self.free_if_done(slot);
        }
    }

    /// The next record of a connection begins: the outputs that follow are its.
    #[inline]
    pub fn begin_record(&mut self, slot: u32) {
        let low = self.connections[slot as usize].records.begin().0 as u32;
        let whole = self.whole.as_mut().map_or(0, |whole| whole.begin().0 as u32);
        self.current = Record { connection: slot, low, whole };
        if self.outputs == Outputs::Any {
            self.under_way.insert(self.current, 1);
        }
    }

    /// All outputs of the current record are sent; without any, it has ended.
    #[inline]
    pub fn end_record(&mut self) -> Option<Grown> {
        let record = std::mem::replace(&mut self.current, NOBODYS);
        match self.outputs {
            Outputs::One if record == NOBODYS => None, // its output has it now
            Outputs::One => self.end_of(record),
            Outputs::Any => self.one_less(record),
        }
    }

    /// A record ended without having been one, as it was skipped and reported.
    pub fn skip(&mut self, slot: u32) -> Option<Grown> {
        if mutant!(SkippedUncounted) {
            return None;
        }
        let low = self.connections[slot as usize].records.begin().0 as u32;
        self.end_in_connection(slot, low)
    }

    /// How many records, of those that were not skipped, have ended such that all that began before them have; 0 if
    /// their order is not kept.
    pub fn ended_prefix(&self) -> u64 {
        self.whole.as_ref().map_or(0, Tracker::ended_prefix)
    }

    /// An output of the current record begins; its ticket.
    #[inline]
    pub fn begin(&mut self) -> u32 {
        let record = self.current;
        match self.outputs {
            Outputs::One => self.current = NOBODYS,
            Outputs::Any => {
                if let Some(count) = self.under_way.get_mut(&record) {
                    *count += 1;
                }
            }
        }
        match self.free_tickets.pop() {
            Some(ticket) => {
                self.tickets[ticket as usize] = record;
                ticket
            }
            None => {
                self.tickets.push(record);
                self.tickets.len() as u32 - 1
            }
        }
    }

    /// The output of a ticket ended for good. The ticket is void.
    #[inline]
    pub fn end(&mut self, ticket: u32) -> Option<Grown> {
        let record = std::mem::replace(&mut self.tickets[ticket as usize], NOBODYS);
        self.free_tickets.push(ticket);
        match self.outputs {
            Outputs::One => self.end_of(record),
            Outputs::Any => self.one_less(record),
        }
    }

    /// Where the record of a ticket stands among all records (the low half), if that is kept.
    #[inline]
    pub fn place_of(&self, ticket: u32) -> Option<u32> {
        let record = self.tickets[ticket as usize];
        (self.whole.is_some() && record != NOBODYS).then_some(record.whole)
    }

    /// Where the record whose outputs are being sent stands among all records (the low half), if that is kept.
    pub fn current_place(&self) -> Option<u32> {
        (self.whole.is_some() && self.current != NOBODYS).then_some(self.current.whole)
    }

    fn one_less(&mut self, record: Record) -> Option<Grown> {
        let count = self.under_way.get_mut(&record)?;
        *count -= 1;
        if *count > 0 && !mutant!(FirstOutputEnds) {
            return None;
        }
        self.under_way.remove(&record);
        self.end_of(record)
    }

    fn end_of(&mut self, record: Record) -> Option<Grown> {
        if let Some(whole) = &mut self.whole
            && record != NOBODYS
            && !mutant!(WholeNotEnded)
        {
            whole.end_low(record.whole);
        }
        self.end_in_connection(record.connection, record.low)
    }

    fn end_in_connection(&mut self, slot: u32, low: u32) -> Option<Grown> {
        let connection = self.connections.get_mut(slot as usize)?;
        let before = connection.records.ended_prefix();
        connection.records.end_low(low);
        let (ended, number) = (connection.records.ended_prefix(), connection.number);
        self.free_if_done(slot);
        (ended > before).then_some(Grown { slot, connection: number, ended })
    }

    fn free_if_done(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if connection.closed && connection.records.outstanding() == 0 {
            *connection = Connection::default();
            self.free.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grown(slot: u32, connection: u64, ended: u64) -> Option<Grown> {
        Some(Grown { slot, connection, ended })
    }

    fn sent(tally: &mut Tally, slot: u32) -> u32 {
        tally.begin_record(slot);
        let ticket = tally.begin();
        assert_eq!(tally.end_record(), None);
        ticket
    }

    // semantics 32
    #[test]
    fn interleaved_connections_are_counted_apart_and_in_order() {
        let mut tally = Tally::new(Outputs::One);
        let (a, b) = (tally.slot(7), tally.slot(9));
        let tickets: Vec<u32> = [a, b, a, b, a].iter().map(|slot| sent(&mut tally, *slot)).collect();
        assert_eq!(tally.end(tickets[2]), None);
        assert_eq!(tally.end(tickets[1]), grown(b, 9, 1));
        assert_eq!(tally.end(tickets[0]), grown(a, 7, 2));
        assert_eq!(tally.end(tickets[4]), grown(a, 7, 3));
        assert_eq!(tally.end(tickets[3]), grown(b, 9, 2));
    }

    // semantics 32
    #[test]
    fn a_skipped_record_takes_its_place_in_the_order() {
        let mut tally = Tally::new(Outputs::One);
        let slot = tally.slot(1);
        let first = sent(&mut tally, slot);
        assert_eq!(tally.skip(slot), None);
        assert_eq!(tally.end(first), grown(slot, 1, 2));
        assert_eq!(tally.skip(slot), grown(slot, 1, 3));
    }

    // semantics 33
    #[test]
    fn the_order_of_all_records_is_kept_beside_that_of_each_connection() {
        let mut tally = Tally::in_one_order(Outputs::One);
        let (a, b) = (tally.slot(7), tally.slot(9));
        let tickets: Vec<u32> = [a, b, a].iter().map(|slot| sent(&mut tally, *slot)).collect();
        tally.skip(b); // not in the journal
        let mut prefix_after = |ticket: usize| {
            tally.end(tickets[ticket]);
            tally.ended_prefix()
        };
        assert_eq!([prefix_after(1), prefix_after(0), prefix_after(2)], [0, 2, 3]);
        assert_eq!([1, 0, 2].map(|ticket: usize| tally.place_of(tickets[ticket])), [None; 3], "void by now");
        let (stray, next) = (tally.begin(), sent(&mut tally, a));
        assert_eq!((tally.place_of(stray), tally.place_of(next)), (None, Some(3)));
        tally.end(stray);
        assert_eq!(tally.ended_prefix(), 3);
    }

    #[test]
    fn a_record_without_its_output_has_ended() {
        let mut tally = Tally::new(Outputs::One);
        let slot = tally.slot(1);
        tally.begin_record(slot);
        assert_eq!(tally.end_record(), grown(slot, 1, 1));
    }

    #[test]
    fn a_record_with_any_outputs_ends_when_all_of_them_have() {
        let mut tally = Tally::new(Outputs::Any);
        let slot = tally.slot(1);
        tally.begin_record(slot);
        assert_eq!(tally.end_record(), grown(slot, 1, 1)); // of none
        tally.begin_record(slot);
        let (first, second) = (tally.begin(), tally.begin());
        assert_eq!(tally.end(first), None); // while others may still follow
        assert_eq!(tally.end_record(), None);
        assert_eq!(tally.end(second), grown(slot, 1, 2));
        assert!(tally.under_way.is_empty());
    }

    #[test]
    fn an_output_of_no_record_counts_nowhere() {
        for outputs in [Outputs::One, Outputs::Any] {
            let mut tally = Tally::new(outputs);
            let slot = tally.slot(1);
            tally.begin_record(slot);
            let of_record = tally.begin();
            tally.end_record();
            let stray = tally.begin();
            assert_eq!(tally.end(stray), None);
            assert_eq!(tally.end(of_record), grown(slot, 1, 1));
        }
    }

    #[test]
    fn a_closed_connection_gives_its_slot_back_when_all_of_it_has_ended() {
        let mut tally = Tally::new(Outputs::One);
        let slot = tally.slot(1);
        let ticket = sent(&mut tally, slot);
        tally.close(1);
        assert_ne!(tally.slot(2), slot);
        assert_eq!(tally.end(ticket), grown(slot, 1, 1));
        assert_eq!(tally.slot(3), slot);
        let again = sent(&mut tally, slot);
        assert_eq!(tally.end(again), grown(slot, 3, 1));
        tally.close(3);
        tally.close(3);
        assert_eq!((tally.slot(4), tally.connections.len(), tally.tickets.len()), (slot, 2, 1));
    }

    proptest! {
        // semantics 32
        #[test]
        fn the_count_is_that_of_the_contiguous_prefix(
            records in prop::collection::vec((0_u64..4, 0_usize..4), 1..80),
            order in prop::collection::vec(any::<prop::sample::Index>(), 300),
        ) {
            let mut tally = Tally::new(Outputs::Any);
            let mut told = [0_u64; 4];
            let mut left: [Vec<usize>; 4] = Default::default(); // outputs of each record that have not ended
            let mut under_way = Vec::new();
            let hear = |grown: Option<Grown>, told: &mut [u64; 4]| {
                if let Some(grown) = grown {
                    assert!(grown.ended > told[grown.connection as usize]);
                    told[grown.connection as usize] = grown.ended;
                }
            };
            for (connection, outputs) in records {
                let slot = tally.slot(connection);
                let of = &mut left[connection as usize];
                tally.begin_record(slot);
                under_way.extend((0..outputs).map(|_| (tally.begin(), connection, of.len())));
                of.push(outputs);
                hear(tally.end_record(), &mut told);
            }
            for index in order {
                if under_way.is_empty() { break }
                let (ticket, connection, record) = under_way.swap_remove(index.index(under_way.len()));
                left[connection as usize][record] -= 1;
                hear(tally.end(ticket), &mut told);
                let prefix = left.clone().map(|of| of.iter().take_while(|outputs| **outputs == 0).count() as u64);
                prop_assert_eq!(told, prefix);
            }
        }
    }
}
