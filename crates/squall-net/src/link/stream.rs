//! A connection to another worker, plain or by TLS; reads and writes do not block.

use crate::sys;
use crate::tls::{Session, Step};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A connection whose other end is known, once the gate gives it out.
pub struct Stream {
    socket: OwnedFd,
    tls: Option<Box<Session>>,
    /// What came behind the hand-shake and was read with it; by TLS only, which gives whole records.
    early: Vec<u8>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("socket", &self.socket).field("tls", &self.tls.is_some()).finish()
    }
}

impl Stream {
    pub(crate) fn new(socket: OwnedFd, tls: Option<Session>) -> Stream {
        Stream { socket, tls: tls.map(Box::new), early: Vec::new() }
    }

    /// Over a socket whose other end is trusted, such as one of a pair.
    pub fn plain(socket: OwnedFd) -> io::Result<Stream> {
        sys::set_nonblocking(socket.as_fd())?;
        Ok(Stream::new(socket, None))
    }

    /// The hand-shake of TLS, if any, goes on.
    pub(super) fn secure(&mut self) -> io::Result<Step> {
        self.tls.as_mut().map_or(Ok(Step::Done), |tls| tls.handshake(self.socket.as_fd()))
    }

    /// Gives back what was read too much.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.early.extend_from_slice(bytes);
    }

    /// Whether a read would give something although the socket does not say so.
    pub(super) fn has_more(&self) -> bool {
        !self.early.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_more())
    }

    /// Reads behind what is in `data`, at most (by TLS: about) so much; 0: the other end is done.
    pub(super) fn receive(&mut self, data: &mut Vec<u8>, at_most: usize) -> io::Result<usize> {
        if !self.early.is_empty() {
            data.append(&mut self.early);
            return Ok(data.len());
        }
        match &mut self.tls {
            Some(tls) => tls.receive(self.socket.as_fd(), data, at_most),
            None => {
                data.reserve_exact(at_most);
                sys::receive(self.socket.as_fd(), data, at_most)
            }
        }
    }

    /// Writes as much of the pieces as the socket takes. How much; of what TLS has taken, the rest is written by
    /// [`Stream::flush`].
    pub(super) fn send(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return sys::send_pieces(self.socket.as_fd(), pieces) };
        if !tls.flush(self.socket.as_fd())? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let piece = pieces.first().map_or(&[][..], |piece| &piece[..piece.len().min(RECORD_BYTES)]);
        tls.write(piece)?;
        tls.flush(self.socket.as_fd())?;
        Ok(piece.len())
    }

    /// Whether nothing that was taken waits to be written.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        self.tls.as_mut().map_or(Ok(true), |tls| tls.flush(self.socket.as_fd()))
    }
}

/// What TLS is given at once: a record, so what waits in it stays short.
const RECORD_BYTES: usize = 16 << 10;

impl AsFd for Stream {
    /// To be waited for.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
