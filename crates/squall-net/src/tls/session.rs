//! A TLS session over a socket that does not block.

use crate::sys;
use rustls::Connection;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;

/// How far a hand-shake came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Done,
    WantsRead,
    WantsWrite,
}

/// A TLS session over a socket that does not block.
pub(crate) struct Session {
    connection: Connection,
    /// The session has something to tell, which the socket will not report.
    more: bool,
}

struct Socket<'a>(BorrowedFd<'a>);

impl Read for Socket<'_> {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        sys::receive_into(self.0, data)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        sys::send(self.0, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Session {
    pub fn new(connection: Connection) -> Session {
        Session { connection, more: false }
    }

    /// Goes on with the hand-shake as far as the socket lets it.
    pub fn handshake(&mut self, socket: BorrowedFd<'_>) -> io::Result<Step> {
        loop {
            if !self.flush(socket)? {
                return Ok(Step::WantsWrite);
            }
            if !self.connection.is_handshaking() {
                self.more = true; // what came with the last message of the other side
                return Ok(Step::Done);
            }
            match self.connection.read_tls(&mut Socket(socket)) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the other side hung up")),
                Ok(_) => self.process(socket)?,
                Err(error) if is_later(&error) => return Ok(Step::WantsRead),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a call of [`Session::receive`] would give something although nothing comes from the socket.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Reads behind what is in `data`, at least `at_most` if that is there. How many bytes; 0: the sender is done.
    ///
    /// Bound: `at_most` and what one read of the session brings (some records of 16 KiB).
    pub fn receive(&mut self, socket: BorrowedFd<'_>, data: &mut Vec<u8>, at_most: usize) -> io::Result<usize> {
        self.more = false;
        let before = data.len();
        let result = self.receive_all(socket, data, before + at_most);
        let bytes = data.len() - before;
        if bytes == 0 {
            return result.map(|()| 0);
        }
        // An end, or a fault, is told by the next call: what came before it is taken first.
        self.more = !matches!(&result, Err(error) if is_later(error));
        Ok(bytes)
    }

    /// Fills `data` until it is long enough, or the session ended, or there is an error: also that nothing is there.
    fn receive_all(&mut self, socket: BorrowedFd<'_>, data: &mut Vec<u8>, enough: usize) -> io::Result<()> {
        loop {
            let mut plain = self.connection.reader();
            match plain.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(bytes) => {
                    data.extend_from_slice(bytes);
                    let taken = bytes.len();
                    plain.consume(taken);
                    continue;
                }
                Err(error) if is_later(&error) => {}
                Err(error) => return Err(error),
            }
            if data.len() >= enough {
                return Err(ErrorKind::WouldBlock.into()); // the socket reports the rest
            }
            self.connection.read_tls(&mut Socket(socket))?;
            self.process(socket)?;
        }
    }

    fn process(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        if let Err(error) = self.connection.process_new_packets() {
            let _ = self.flush(socket); // tells the other side why
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        self.flush(socket).map(drop)
    }

    /// Takes bytes to be sent by [`Session::flush`].
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(data)
    }

    /// Says that nothing more is sent.
    pub fn end_writing(&mut self, socket: BorrowedFd<'_>) {
        self.connection.send_close_notify();
        let _ = self.flush(socket);
    }

    /// Sends what waits, as far as the socket takes it. Whether that was all.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Socket(socket)) {
                Ok(_) => {}
                Err(error) if is_later(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
