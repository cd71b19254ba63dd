//! One connection: its socket, and the bytes of the record that is not finished.
//!
//! A short rest is copied to the front of the reader's buffer, so that a connection at full speed needs no memory of
//! its own. A long one stays where it is and grows by doubling: a sender of one byte at a time costs no copy of the
//! whole record for each byte.

use super::queue::Buffer;
use crate::sys;
use squall_core::framing::{Found, RecordFault, Splitter};
use std::io;
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

/// Longest rest that is copied at each read.
const SHORT_REST: usize = 16 << 10;
/// Least room behind a long rest for a read.
const LEAST_ROOM: usize = 4 << 10;

/// What a read brought, beside the records.
pub(super) struct Arrival {
    /// Bytes read; 0: the sender is done.
    pub bytes: usize,
    pub faults: Vec<RecordFault>,
}

pub(super) struct Connection {
    socket: TcpStream,
    splitter: Splitter,
    rest: Vec<u8>,
}

impl Connection {
    pub fn new(socket: TcpStream, splitter: Splitter) -> Connection {
        Connection { socket, splitter, rest: Vec::new() }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Bytes of the unfinished record.
    pub fn rest_bytes(&self) -> usize {
        self.rest.len()
    }

    /// Memory of the unfinished record.
    pub fn rest_memory_bytes(&self) -> usize {
        self.rest.capacity()
    }

    /// Reads at most `at_most` bytes, and leaves the records that are finished now in `buffer`.
    pub fn read(&mut self, buffer: &mut Buffer, at_most: usize) -> io::Result<Arrival> {
        buffer.clear();
        match self.rest.len() {
            0..=SHORT_REST => self.read_into(buffer, at_most),
            _ => self.read_behind_rest(buffer, at_most),
        }
    }

    fn read_into(&mut self, buffer: &mut Buffer, at_most: usize) -> io::Result<Arrival> {
        buffer.data.reserve(SHORT_REST + at_most);
        buffer.data.extend_from_slice(&self.rest);
        let bytes = sys::receive(self.socket.as_fd(), &mut buffer.data, at_most)?;
        let found = split(&mut self.splitter, &buffer.data, bytes == 0, &mut buffer.records);
        self.rest = buffer.data[found.consumed..].to_vec(); // of its own size: a connection that rests holds no more
        buffer.data.truncate(found.consumed);
        Ok(Arrival { bytes, faults: found.faults })
    }

    fn read_behind_rest(&mut self, buffer: &mut Buffer, at_most: usize) -> io::Result<Arrival> {
        if self.rest.capacity() - self.rest.len() < LEAST_ROOM {
            self.rest.reserve(LEAST_ROOM);
        }
        let bytes = sys::receive(self.socket.as_fd(), &mut self.rest, at_most)?;
        let found = split(&mut self.splitter, &self.rest, bytes == 0, &mut buffer.records);
        if found.consumed > 0 {
            let unfinished = self.rest.split_off(found.consumed);
            buffer.data = std::mem::replace(&mut self.rest, unfinished);
        }
        Ok(Arrival { bytes, faults: found.faults })
    }
}

fn split(splitter: &mut Splitter, data: &[u8], ended: bool, records: &mut Vec<Range<u32>>) -> Found {
    if ended { splitter.end(data, records) } else { splitter.split(data, records) }
}
