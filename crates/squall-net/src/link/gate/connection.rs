//! A connection on its way through the gate.

use super::super::handshake::{Handshake, Hello, Step};
use super::super::refusal::Refusal;
use super::super::stream::Stream;
use crate::sys::{self, Interest};
use crate::tls;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsFd;
use std::time::Instant;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// We call, and it is not there yet.
    Calling,
    /// TLS.
    Securing,
    /// Our own hand-shake.
    Shaking,
}

/// What follows for a connection.
pub(super) enum Next {
    Wait(Interest),
    Judge(Hello),
    Welcome,
}

/// A connection on its way through the gate.
pub(super) struct Connection {
    pub stream: Stream,
    /// The worker that is called by it, if not we are.
    pub calls: Option<u32>,
    pub deadline: Instant,
    phase: Phase,
    handshake: Handshake,
    input: Vec<u8>,
}

impl Connection {
    pub fn new(stream: Stream, handshake: Handshake, calls: Option<u32>, deadline: Instant) -> Connection {
        let phase = if calls.is_some() { Phase::Calling } else { Phase::Securing };
        Connection { stream, calls, deadline, phase, handshake, input: Vec::new() }
    }

    /// Whether the other end has said nothing of account yet.
    pub fn is_silent(&self) -> bool {
        self.handshake.is_silent()
    }

    /// The socket is ready for something: goes on as far as it lets us.
    pub fn go_on(&mut self) -> Result<Next, Refusal> {
        if self.phase == Phase::Calling {
            sys::take_error(self.stream.as_fd()).map_err(|_| Refusal::Unreachable)?;
            self.phase = Phase::Securing;
        }
        if self.phase == Phase::Securing {
            match self.stream.secure().map_err(as_refusal)? {
                tls::Step::Done => self.phase = Phase::Shaking,
                tls::Step::WantsRead => return Ok(Next::Wait(Interest::Read)),
                tls::Step::WantsWrite => return Ok(Next::Wait(Interest::Write)),
            }
        }
        loop {
            if !self.flush()? {
                return Ok(Next::Wait(Interest::Write));
            }
            let wanted = self.handshake.wanted();
            if self.input.len() < wanted {
                let missing = wanted - self.input.len();
                match self.stream.receive(&mut self.input, missing) {
                    Ok(0) => return Err(Refusal::HungUp),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait(Interest::Read)),
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(as_refusal(error)),
                }
            }
            let came = wanted.min(self.input.len());
            let step = self.handshake.take(&self.input[..came])?;
            if came == wanted {
                self.input.drain(..wanted);
            }
            match step {
                Step::Wait => {}
                Step::Judge(hello) => return Ok(Next::Judge(hello)),
                Step::Refused(refusal) => return Err(refusal),
                Step::Welcome => {
                    self.stream.unread(&self.input);
                    return Ok(Next::Welcome);
                }
            }
        }
    }

    /// Tells the caller what became of it.
    pub fn judge(&mut self, verdict: Result<(), Refusal>) -> Result<(), Refusal> {
        self.handshake.judge(verdict);
        // So few bytes find room, as the other end has read all that was sent before.
        if self.flush()? { Ok(()) } else { Err(Refusal::HungUp) }
    }

    /// Sends what the hand-shake has to say. Whether that was all.
    fn flush(&mut self) -> Result<bool, Refusal> {
        while !self.handshake.output.is_empty() {
            match self.stream.send(&[IoSlice::new(&self.handshake.output)]) {
                Ok(bytes) => drop(self.handshake.output.drain(..bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(as_refusal(error)),
            }
        }
        self.stream.flush().map_err(as_refusal)
    }
}

/// What an error of a socket or of TLS means here.
fn as_refusal(error: io::Error) -> Refusal {
    if error.kind() == ErrorKind::InvalidData { Refusal::Garbage } else { Refusal::HungUp }
}
