//! Frames over a stream, without blocking.

use super::stream::Stream;
use squall_core::frame::{Body, Fault, HEADER_BYTES, Header, MAX_FRAME_BYTES, decode};
use squall_core::link::{LinkOut, Violation};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

/// The first size of the buffer, and the one it goes back to after a long frame.
const BUFFER_BYTES: usize = 64 << 10;
/// Read at once, so that a peer that always has something does not keep the loop from its tasks.
const READ_BYTES: usize = 1 << 20;
/// Pieces of one write.
const PIECES: usize = 16;

/// Why a stream is of no more use.
#[derive(Debug)]
pub enum Broken {
    /// The other end has closed it, or is gone.
    Closed,
    /// A system call failed.
    Io(io::Error),
    /// The peer has sent what it must not.
    Violation(Violation),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Closed => f.write_str("the other end has closed the connection"),
            Broken::Io(error) => error.fmt(f),
            Broken::Violation(violation) => violation.fmt(f),
        }
    }
}

impl std::error::Error for Broken {}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Io(error)
    }
}

impl From<Violation> for Broken {
    fn from(violation: Violation) -> Broken {
        Broken::Violation(violation)
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Broken {
        Broken::Violation(fault.into())
    }
}

/// A stream that carries frames.
///
/// Bound: one buffer, of 64 KiB or the longest frame that is on its way.
pub struct Socket {
    stream: Stream,
    max_frame_bytes: usize,
    /// What came and was not given out is `data[at..]`.
    data: Vec<u8>,
    at: usize,
    wants_write: bool,
}

impl Socket {
    /// Refuses frames of more than `max_frame_bytes`, their headers included.
    pub fn new(stream: Stream, max_frame_bytes: usize) -> Socket {
        let max_frame_bytes = max_frame_bytes.clamp(HEADER_BYTES, MAX_FRAME_BYTES);
        Socket { stream, max_frame_bytes, data: Vec::new(), at: 0, wants_write: false }
    }

    /// Gives each frame that came to `each`, whole and checked. Whether it stopped although there may be more: then it
    /// is to be called again, when the loop has done something else. After an error the stream is to be dropped.
    ///
    /// Cost: about 1 MiB, and what one frame needs beyond it.
    pub fn read(&mut self, mut each: impl FnMut(&Header, &Body<'_>) -> Result<(), Violation>) -> Result<bool, Broken> {
        let mut came = 0;
        while came < READ_BYTES {
            let room = self.make_room()?;
            match self.stream.receive(&mut self.data, room) {
                Ok(0) => return Err(Broken::Closed),
                Ok(bytes) => {
                    came += bytes;
                    self.give_out(&mut each)?;
                    if bytes < room && !self.stream.has_more() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Broken::Closed),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Moves what is left to the front, and sees that the frame on its way finds room. How much may be read.
    fn make_room(&mut self) -> Result<usize, Fault> {
        self.data.drain(..std::mem::take(&mut self.at));
        let wanted = Header::read(&self.data)?.map_or(0, |header| header.frame_bytes());
        if wanted > self.max_frame_bytes {
            return Err(Fault::TooLong(wanted as u64));
        }
        if self.data.is_empty() && self.data.capacity() > 2 * BUFFER_BYTES {
            self.data = Vec::new();
        }
        Ok(wanted.max(BUFFER_BYTES) - self.data.len())
    }

    fn give_out(&mut self, each: &mut impl FnMut(&Header, &Body<'_>) -> Result<(), Violation>) -> Result<(), Broken> {
        loop {
            let rest = &self.data[self.at..];
            if let Some(header) = Header::read(rest)?
                && header.frame_bytes() > self.max_frame_bytes
            {
                return Err(Fault::TooLong(header.frame_bytes() as u64).into());
            }
            let Some((header, body, bytes)) = decode(rest)? else { return Ok(()) };
            each(&header, &body)?;
            self.at += bytes;
        }
    }

    /// Writes what the link has for the peer, as far as the socket takes it. [`Socket::wants_write`] says whether that
    /// was all. After an error the stream is to be dropped.
    pub fn write(&mut self, link: &mut LinkOut) -> Result<(), Broken> {
        if !link.has_unsent() && !self.wants_write {
            return Ok(());
        }
        while link.has_unsent() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (place, piece) in pieces.iter_mut().zip(link.unsent()) {
                *place = IoSlice::new(piece);
                count += 1;
            }
            match self.stream.send(&pieces[..count]) {
                Ok(bytes) => link.sent(bytes),
                Err(error) => return self.wait_or_break(error),
            }
        }
        match self.stream.flush() {
            Ok(is_done) => self.wants_write = !is_done,
            Err(error) => return self.wait_or_break(error),
        }
        Ok(())
    }

    fn wait_or_break(&mut self, error: io::Error) -> Result<(), Broken> {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => {
                self.wants_write = true;
                Ok(())
            }
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Err(Broken::Closed),
            _ => Err(error.into()),
        }
    }

    /// Whether [`Socket::write`] is to be called when the socket can be written.
    pub fn wants_write(&self) -> bool {
        self.wants_write
    }
}

impl AsFd for Socket {
    /// To be waited for.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
