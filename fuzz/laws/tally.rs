//! What holds of the records of many connections, with any outputs: what the tally tells is what a list of them says.

use super::script::Script;
use squall_core::tally::{Grown, Outputs, Tally};

/// A connection as it is counted naively: outputs under way of each record, and one more while it is sent.
struct Connection {
    number: u64,
    slot: u32,
    is_open: bool,
    left: Vec<usize>,
    told: u64,
}

impl Connection {
    fn is_done(&self) -> bool {
        !self.is_open && self.left.iter().all(|left| *left == 0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Record {
    connection: usize,
    number: usize,
    whole: usize,
}

struct Model {
    outputs: Outputs,
    is_whole_kept: bool,
    tally: Tally,
    connections: Vec<Connection>,
    /// Whether each record has ended, in the order of all.
    whole: Vec<bool>,
    current: Option<Record>,
    has_output: bool,
    tickets: Vec<(u32, Option<Record>)>,
    most_slots: usize,
    most_tickets: usize,
}

/// The bytes say which connections come and go, what they send, and in which order it ends.
pub fn check_tally(bytes: &[u8]) {
    let mut script = Script(bytes);
    let kind = script.byte();
    let outputs = if kind & 1 == 0 { Outputs::One } else { Outputs::Any };
    let is_whole_kept = kind & 2 != 0;
    let tally = if is_whole_kept { Tally::in_one_order(outputs) } else { Tally::new(outputs) };
    let mut model = Model {
        outputs,
        is_whole_kept,
        tally,
        connections: Vec::new(),
        whole: Vec::new(),
        current: None,
        has_output: false,
        tickets: Vec::new(),
        most_slots: 0,
        most_tickets: 0,
    };
    while script.goes_on() {
        model.step(&mut script);
    }
    model.end_all();
}

impl Model {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(7) {
            0 | 1 if self.current.is_none() => self.begin_record(script.below(5) as u64),
            2 => self.close(script.below(5) as u64),
            3 if self.current.is_none() => self.skip(script.below(5) as u64),
            4 => self.end_record(),
            5 if self.tickets.len() < 200 => self.begin_output(),
            6 if !self.tickets.is_empty() => {
                let at = script.below(self.tickets.len());
                self.end_output(at);
            }
            _ => {}
        }
        if self.is_whole_kept {
            let prefix = self.whole.iter().take_while(|has_ended| **has_ended).count();
            assert_eq!(self.tally.ended_prefix(), prefix as u64);
        } else {
            assert_eq!(self.tally.ended_prefix(), 0);
        }
        let place = |record: Option<Record>| record.filter(|_| self.is_whole_kept).map(|record| record.whole as u32);
        let is_taken = self.outputs == Outputs::One && self.has_output;
        assert_eq!(self.tally.current_place(), place(self.current.filter(|_| !is_taken)));
        if let Some((ticket, record)) = self.tickets.last() {
            assert_eq!(self.tally.place_of(*ticket), place(*record));
        }
    }

    /// The connection of a number; as the tally gives it a slot when it is asked for first.
    fn connection(&mut self, number: u64) -> usize {
        let slot = self.tally.slot(number);
        if let Some(at) = self.connections.iter().position(|one| one.is_open && one.number == number) {
            assert_eq!(self.connections[at].slot, slot);
            return at;
        }
        let mut live = self.connections.iter().filter(|one| !one.is_done());
        assert!(live.all(|one| one.slot != slot), "a slot is one connection's");
        self.connections.push(Connection { number, slot, is_open: true, left: Vec::new(), told: 0 });
        let live = self.connections.iter().filter(|one| !one.is_done()).count();
        self.most_slots = self.most_slots.max(live);
        assert!((slot as usize) < self.most_slots, "slots are used again");
        self.connections.len() - 1
    }

    fn begin_record(&mut self, number: u64) {
        let connection = self.connection(number);
        self.tally.begin_record(self.connections[connection].slot);
        let left = &mut self.connections[connection].left;
        left.push(1);
        self.current = Some(Record { connection, number: left.len() - 1, whole: self.whole.len() });
        self.whole.push(false);
        self.has_output = false;
    }

    fn skip(&mut self, number: u64) {
        let connection = self.connection(number);
        self.connections[connection].left.push(0);
        let grown = self.tally.skip(self.connections[connection].slot);
        self.hear(Some(connection), grown);
    }

    fn close(&mut self, number: u64) {
        self.tally.close(number);
        if let Some(one) = self.connections.iter_mut().find(|one| one.is_open && one.number == number) {
            one.is_open = false;
        }
    }

    fn begin_output(&mut self) {
        let ticket = self.tally.begin();
        assert!(self.tickets.iter().all(|(other, _)| *other != ticket), "a ticket is one output's");
        let record = self.current.filter(|_| self.outputs == Outputs::Any || !self.has_output);
        if let Some(record) = record {
            self.has_output = true;
            if self.outputs == Outputs::Any {
                self.connections[record.connection].left[record.number] += 1;
            }
        }
        self.tickets.push((ticket, record));
        self.most_tickets = self.most_tickets.max(self.tickets.len());
        assert!((ticket as usize) < self.most_tickets, "tickets are used again");
    }

    fn end_record(&mut self) {
        let is_taken = self.outputs == Outputs::One && self.has_output; // the one output has it now
        let record = self.current.take().filter(|_| !is_taken);
        let grown = self.tally.end_record();
        self.one_less(record, grown);
    }

    fn end_output(&mut self, at: usize) {
        let (ticket, record) = self.tickets.swap_remove(at);
        let grown = self.tally.end(ticket);
        self.one_less(record, grown);
    }

    fn one_less(&mut self, record: Option<Record>, grown: Option<Grown>) {
        if let Some(record) = record {
            let left = &mut self.connections[record.connection].left[record.number];
            *left -= 1;
            self.whole[record.whole] = *left == 0;
        }
        self.hear(record.map(|record| record.connection), grown);
    }

    /// The tally tells that a prefix has grown exactly when it has.
    fn hear(&mut self, connection: Option<usize>, grown: Option<Grown>) {
        let expected = connection.and_then(|at| {
            let one = &mut self.connections[at];
            let ended = one.left.iter().take_while(|left| **left == 0).count() as u64;
            let is_news = ended > one.told;
            one.told = ended;
            is_news.then_some(Grown { slot: one.slot, connection: one.number, ended })
        });
        assert_eq!(grown, expected);
    }

    /// When everything has ended, every record of every connection was told.
    fn end_all(&mut self) {
        self.end_record();
        while !self.tickets.is_empty() {
            self.end_output(0);
        }
        assert!(self.connections.iter().all(|one| one.told == one.left.len() as u64));
        assert!(!self.is_whole_kept || self.tally.ended_prefix() == self.whole.len() as u64);
    }
}
