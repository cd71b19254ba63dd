//! The end of a source: what the sockets hold is taken, the last receipts are sent, the connections are closed.

use super::super::connection::{Connection, Phase};
use super::super::queue::{Beside, Buffer};
use super::super::receipts;
use super::Reader;
use super::records::After;
use crate::sys;
use squall_core::framing::RecordFault;
use std::time::{Duration, Instant};

/// Most connections that can wait in the kernel to be accepted (`net.core.somaxconn` by default).
const BACKLOG: usize = 4096;
/// How long the last receipts may take to be sent when the source closes.
const LAST_RECEIPTS: Duration = Duration::from_secs(1);
/// How long a sender that goes on is listened to after its last receipt: a close in mid-sentence would be a reset, which
/// can overtake the receipt.
const LINGER: Duration = Duration::from_millis(250);

impl Reader {
    /// Takes the connections that wait and what the sockets hold.
    pub(super) fn finish(&mut self) {
        self.is_finishing = true;
        self.accept(BACKLOG);
        (self.listener, self.accept_again) = (None, None); // there is nothing to try again
        if let Some(dialer) = &self.dialer {
            dialer.stop();
        }
        self.obey();
        let mut numbers: Vec<u64> = self.connections.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            self.drain(number);
        }
        self.queue.end();
    }

    /// Takes what a socket holds by now, and not what a fast sender adds meanwhile.
    fn drain(&mut self, number: u64) {
        let Some(connection) = self.connections.get(&number) else { return };
        match connection.phase {
            Phase::Receipting | Phase::Stopped => return,
            Phase::Handshake => return self.close(number, "the source ends"),
            Phase::Open => {}
        }
        let mut held = sys::readable_bytes(connection.fd());
        while (held > 0 || self.has_more(number)) && !self.queue.is_abandoned() {
            match self.read(number, held.clamp(1, self.read_bytes)) {
                After::Open(0) => break,
                After::Open(bytes) => held = held.saturating_sub(bytes),
                After::Closed => return,
            }
        }
        self.part_from(number);
    }

    fn has_more(&self, number: u64) -> bool {
        self.connections.get(&number).is_some_and(Connection::has_more)
    }

    /// Closes a connection. If its sender was done its rest may be a record, else it is half of one.
    fn part_from(&mut self, number: u64) {
        let Some(connection) = self.connections.get(&number) else { return };
        let bytes = connection.rest_bytes();
        if sys::has_ended(connection.fd()) {
            self.read(number, 1);
            if self.board.is_none() {
                self.close(number, "the source ends");
            }
            return;
        }
        if bytes > 0 {
            self.scratch.clear();
            self.hand_over(number, Beside::fault(RecordFault::Half { bytes }));
        }
        match self.board {
            None => self.close(number, "the source ends"),
            Some(_) => self.stop_reading(number),
        }
    }

    /// Reads no more of a sender that may go on, until its receipts are sent.
    fn stop_reading(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.phase = Phase::Stopped;
        self.data.remove(connection.fd());
        self.queue.push(number, Buffer::default(), Beside { is_last: true, ..Beside::default() });
        self.flush(number);
    }

    /// Sends receipts until the run loop is done, and then the last.
    pub(super) fn part(&mut self) {
        self.queue.end();
        self.is_finishing = true;
        while !self.queue.is_abandoned() && !self.connections.is_empty() {
            self.serve_control(self.next_due());
        }
        let until = Instant::now() + LAST_RECEIPTS;
        self.send_receipts();
        while self.connections.values().any(Connection::has_unsent) && Instant::now() < until {
            self.serve_control(Some(receipts::EVERY));
        }
        self.linger();
    }

    /// Says that nothing more is sent, and throws away what is still being sent to us.
    fn linger(&mut self) {
        if self.board.is_none() {
            return;
        }
        self.connections.values_mut().for_each(Connection::end_writing);
        let until = Instant::now() + LINGER;
        while !self.connections.is_empty() && Instant::now() < until {
            self.connections.retain(|_, connection| !connection.discard());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
