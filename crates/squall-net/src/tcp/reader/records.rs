//! Reading: from a socket with bytes to a chunk of records, and receipts the other way.

use super::super::Counts;
use super::super::connection::{Arrival, Phase};
use super::super::queue::Beside;
use super::Reader;
use crate::sys::Interest;
use squall_core::framing::RecordFault;
use std::io::ErrorKind;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// What became of a connection that was read.
pub(super) enum After {
    /// It is open; so many bytes came.
    Open(usize),
    Closed,
}

impl Reader {
    /// Reads a connection once, as soon as there is room for what comes.
    pub(super) fn read(&mut self, number: u64, at_most: usize) -> After {
        while !self.queue.has_room() {
            self.serve_control(self.next_due());
        }
        let Some(connection) = self.connections.get_mut(&number) else { return After::Closed };
        if connection.phase != Phase::Open {
            return After::Closed;
        }
        let before_bytes = connection.rest_memory_bytes();
        let arrival = connection.read(&mut self.scratch, at_most);
        self.rest_bytes = self.rest_bytes - before_bytes + connection.rest_memory_bytes();
        if connection.has_more() {
            self.buffered.push(number);
        }
        match arrival {
            Ok(Arrival { bytes, found }) => {
                self.status.counts.bytes.fetch_add(bytes as u64, Relaxed);
                let is_last = bytes == 0 && self.board.is_some();
                self.hand_over(number, Beside { faults: found.faults, skipped: found.skipped, news: None, is_last });
                self.make_room();
                if bytes > 0 {
                    return After::Open(bytes);
                }
                self.sender_is_done(number);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return After::Open(0);
            }
            Err(error) => {
                self.status.counts.resets.fetch_add(1, Relaxed);
                self.close(number, &error.to_string());
            }
        }
        After::Closed
    }

    /// Closes, once the receipt of the last record is sent.
    fn sender_is_done(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if self.board.is_none() || (connection.all_ended() && !connection.has_unsent()) {
            connection.phase = Phase::Receipting;
            connection.end_writing();
            return self.close(number, "it closed the connection");
        }
        connection.phase = Phase::Receipting;
        self.data.remove(connection.fd());
        self.flush(number);
    }

    /// Gives the records in the scratch buffer to the run loop, at once: while the loop keeps up, each read is a chunk.
    pub(super) fn hand_over(&mut self, number: u64, beside: Beside) {
        if self.scratch.records.is_empty() && beside.is_nothing() {
            return;
        }
        count(&self.status.counts, self.scratch.records.len(), &beside.faults);
        self.queue.push_from(number, &mut self.scratch, beside);
    }

    /// Closes connections until the unfinished records are within their limit, those with the longest first.
    fn make_room(&mut self) {
        while self.rest_bytes > self.max_rest_bytes {
            let longest = self.connections.iter().max_by_key(|(number, one)| (one.rest_memory_bytes(), **number));
            let Some((&number, connection)) = longest else { return };
            let fault = RecordFault::Crowded { bytes: connection.rest_bytes(), rest_bytes: self.max_rest_bytes };
            self.give_up(number, fault);
        }
    }

    /// Closes a connection inside a record.
    pub(super) fn give_up(&mut self, number: u64, fault: RecordFault) {
        let because = fault.to_string();
        self.scratch.clear();
        self.hand_over(number, Beside::fault(fault));
        self.close(number, &because);
    }

    pub(super) fn send_receipts(&mut self) {
        let Some(board) = &self.board else { return };
        (self.receipts_due, self.receipts_sent) = (None, Instant::now());
        for (number, ended) in board.take() {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.ended(ended);
                self.flush(number);
            }
        }
    }

    /// Sends what is to be sent, and closes if that was the last.
    pub(super) fn flush(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.flush() {
            Err(_) => {
                self.status.counts.resets.fetch_add(1, Relaxed);
                self.close(number, "the other side takes no receipts");
            }
            Ok(true) if connection.phase == Phase::Receipting && connection.all_ended() => {
                connection.end_writing();
                self.close(number, "it closed the connection");
            }
            Ok(false) => self.wait_for(number, Some(Interest::Write)),
            // That an open connection is over is seen when it is read.
            Ok(true) if connection.phase == Phase::Open => self.wait_for(number, None),
            Ok(true) => self.wait_for(number, Some(Interest::End)),
        }
    }
}

fn count(counts: &Counts, records: usize, faults: &[RecordFault]) {
    counts.records.fetch_add(records as u64, Relaxed);
    for fault in faults {
        let counter = match fault {
            RecordFault::TooLong { .. } => &counts.oversize,
            RecordFault::Half { .. } => &counts.half,
            RecordFault::Crowded { .. } => &counts.crowded,
        };
        counter.fetch_add(1, Relaxed);
    }
}
