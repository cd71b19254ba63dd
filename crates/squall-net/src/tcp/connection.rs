//! One connection: its socket, the bytes of the record that is not finished, and the receipt that is to be sent.
//!
//! A short rest is copied to the front of the reader's buffer, so that a connection at full speed needs no memory of
//! its own. A long one stays where it is and grows by doubling: a sender of one byte at a time costs no copy of the
//! whole record for each byte.

use super::queue::Buffer;
use crate::sys::{self, Epoll, Interest};
use crate::tls::{Session, Step};
use squall_core::framing::{Found, Splitter};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longest rest that is copied at each read.
const SHORT_REST: usize = 16 << 10;
/// Least room behind a long rest for a read.
const LEAST_ROOM: usize = 4 << 10;

/// What a read brought, beside the records.
pub(super) struct Arrival {
    /// Bytes read; 0: the sender is done.
    pub bytes: usize,
    pub found: Found,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It must be encrypted before then.
    Handshake,
    /// Records come.
    Open,
    /// The sender is done; it is open until the receipt of its last record is sent.
    Receipting,
    /// The source ends: no more is read, and it is open until all that can end has.
    Stopped,
}

/// Receipts of one connection: only the newest number is kept.
#[derive(Default)]
struct Receipt {
    ended: u64,
    /// The number that was last put into `unsent`.
    told: u64,
    /// What the socket did not take yet of a receipt.
    unsent: Vec<u8>,
}

pub(super) struct Connection {
    socket: OwnedFd,
    session: Option<Box<Session>>,
    splitter: Splitter,
    rest: Vec<u8>,
    pub phase: Phase,
    /// Which server it is to, if we called.
    pub server: Option<usize>,
    /// Records that came, those that were skipped with them.
    pub records: u64,
    receipt: Receipt,
    /// What is waited for beside records.
    interest: Option<Interest>,
}

impl Connection {
    pub fn new(socket: OwnedFd, session: Option<Session>, splitter: Splitter) -> Connection {
        let session = session.map(Box::new);
        let phase = if session.is_some() { Phase::Handshake } else { Phase::Open };
        Connection {
            socket,
            session,
            splitter,
            rest: Vec::new(),
            phase,
            server: None,
            records: 0,
            receipt: Receipt::default(),
            interest: None,
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Waits for something beside records, or for nothing.
    pub fn wait_for(&mut self, interest: Option<Interest>, control: &Epoll, number: u64) -> io::Result<()> {
        if self.interest == interest {
            return Ok(());
        }
        self.interest = interest;
        match interest {
            Some(interest) => control.set(self.socket.as_fd(), number, interest),
            None => {
                control.remove(self.socket.as_fd());
                Ok(())
            }
        }
    }

    /// Bytes of the unfinished record.
    pub fn rest_bytes(&self) -> usize {
        self.rest.len()
    }

    /// Memory of the unfinished record.
    pub fn rest_memory_bytes(&self) -> usize {
        self.rest.capacity()
    }

    /// Whether a read would give something although the socket does not report it.
    pub fn has_more(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_more())
    }

    /// Goes on with the hand-shake.
    pub fn handshake(&mut self) -> io::Result<Step> {
        match &mut self.session {
            Some(session) => session.handshake(self.socket.as_fd()),
            None => Ok(Step::Done),
        }
    }

    /// Reads at most `at_most` bytes, and leaves the records that are finished now in `buffer`.
    pub fn read(&mut self, buffer: &mut Buffer, at_most: usize) -> io::Result<Arrival> {
        buffer.clear();
        let arrival = match self.rest.len() {
            0..=SHORT_REST => self.read_into(buffer, at_most),
            _ => self.read_behind_rest(buffer, at_most),
        }?;
        self.records += (buffer.records.len() + arrival.found.skipped.len()) as u64;
        Ok(arrival)
    }

    fn read_into(&mut self, buffer: &mut Buffer, at_most: usize) -> io::Result<Arrival> {
        buffer.data.reserve(SHORT_REST + at_most);
        buffer.data.extend_from_slice(&self.rest);
        let bytes = receive(&self.socket, &mut self.session, &mut buffer.data, at_most)?;
        let found = split(&mut self.splitter, &buffer.data, bytes == 0, &mut buffer.records);
        self.rest = buffer.data[found.consumed..].to_vec(); // of its own size: a connection that rests holds no more
        buffer.data.truncate(found.consumed);
        Ok(Arrival { bytes, found })
    }

    fn read_behind_rest(&mut self, buffer: &mut Buffer, at_most: usize) -> io::Result<Arrival> {
        if self.rest.capacity() - self.rest.len() < LEAST_ROOM {
            self.rest.reserve(LEAST_ROOM);
        }
        let bytes = receive(&self.socket, &mut self.session, &mut self.rest, at_most)?;
        let found = split(&mut self.splitter, &self.rest, bytes == 0, &mut buffer.records);
        if found.consumed > 0 {
            let unfinished = self.rest.split_off(found.consumed);
            buffer.data = std::mem::replace(&mut self.rest, unfinished);
        }
        Ok(Arrival { bytes, found })
    }

    /// So many records have ended: the number that the next [`Connection::flush`] sends.
    pub fn ended(&mut self, ended: u64) {
        self.receipt.ended = ended;
    }

    /// Whether every record that came has ended.
    pub fn all_ended(&self) -> bool {
        self.receipt.ended == self.records
    }

    /// Whether there is something to send.
    pub fn has_unsent(&self) -> bool {
        self.receipt.told < self.receipt.ended || !self.receipt.unsent.is_empty()
    }

    /// Sends the newest receipt, as far as the socket takes it. Whether that was all.
    ///
    /// Bound: one number is under way; those that it overtakes are never written.
    pub fn flush(&mut self) -> io::Result<bool> {
        loop {
            if !self.flush_unsent()? {
                return Ok(false);
            }
            if self.receipt.told == self.receipt.ended {
                return Ok(true);
            }
            self.receipt.told = self.receipt.ended;
            writeln!(self.receipt.unsent, "{}", self.receipt.ended)?;
        }
    }

    fn flush_unsent(&mut self) -> io::Result<bool> {
        let unsent = &mut self.receipt.unsent;
        if let Some(session) = &mut self.session {
            if !unsent.is_empty() {
                session.write(unsent)?;
                unsent.clear();
            }
            return session.flush(self.socket.as_fd());
        }
        while !unsent.is_empty() {
            match sys::send(self.socket.as_fd(), unsent) {
                Ok(bytes) => drop(unsent.drain(..bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Says that nothing more is sent.
    pub fn end_writing(&mut self) {
        if let Some(session) = &mut self.session {
            session.end_writing(self.socket.as_fd());
        }
        sys::end_writing(self.socket.as_fd());
    }

    /// Throws away some of what the socket holds. Whether the other side has closed.
    pub fn discard(&mut self) -> bool {
        let mut thrown_away = [0; 16 << 10];
        match sys::receive_into(self.socket.as_fd(), &mut thrown_away) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn receive(
    socket: &OwnedFd,
    session: &mut Option<Box<Session>>,
    data: &mut Vec<u8>,
    at_most: usize,
) -> io::Result<usize> {
    match session {
        None => sys::receive(socket.as_fd(), data, at_most),
        Some(session) => session.receive(socket.as_fd(), data, at_most),
    }
}

fn split(splitter: &mut Splitter, data: &[u8], ended: bool, records: &mut Vec<Range<u32>>) -> Found {
    if ended { splitter.end(data, records) } else { splitter.split(data, records) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_core::framing::Framing;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    // semantics 32
    #[test]
    fn a_peer_that_reads_no_receipts_costs_one_number_and_gets_the_newest_at_last() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut connection = Connection::new(ours.into(), None, Splitter::new(Framing::Lines, 9).unwrap());
        let mut ended = 0;
        while {
            ended += 1;
            connection.ended(ended);
            connection.flush().unwrap()
        } {}
        for _ in 0..10_000 {
            ended += 1;
            connection.ended(ended);
            assert!(!connection.flush().unwrap());
            assert!(connection.receipt.unsent.len() <= 20);
        }
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            theirs.read_to_string(&mut text).unwrap();
            text
        });
        while !connection.flush().unwrap() {
            std::thread::yield_now();
        }
        drop(connection);
        let told: Vec<u64> = reader.join().unwrap().lines().map(|line| line.parse().unwrap()).collect();
        assert!(told.is_sorted() && told.last() == Some(&ended));
        assert!((told.len() as u64) < ended - 9_000, "those that were overtaken are never sent");
    }
}
