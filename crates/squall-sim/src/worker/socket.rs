//! Frames over a simulated stream, as the shipping socket reads and writes them.

use crate::host::Host;
use crate::network::{Closed, StreamId, Way};
use squall_core::frame::{Body, Header, decode};
use squall_core::ids::mix;
use squall_core::link::{LinkOut, Violation};

/// The stream is of no more use: closed, or the peer has sent what it must not.
pub(super) struct Broken(pub Option<Violation>);

impl From<Closed> for Broken {
    fn from(_: Closed) -> Broken {
        Broken(None)
    }
}

/// A stream that carries frames.
pub(super) struct Socket {
    pub stream: StreamId,
    pub way: Way,
    data: Vec<u8>,
}

/// A checksum of the simulation's own.
pub(super) fn sum(frame: &[u8]) -> u64 {
    frame.chunks(8).fold(frame.len() as u64, |sum, chunk| {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        mix(sum ^ u64::from_le_bytes(eight))
    })
}

impl Socket {
    pub fn new(stream: StreamId, way: Way) -> Socket {
        Socket { stream, way, data: Vec::new() }
    }

    /// Gives each frame that came to `each`, whole and checked, with its sum.
    pub fn read(
        &mut self,
        host: &mut Host,
        mut each: impl FnMut(&mut Host, &Header, &Body<'_>, u64) -> Result<(), Violation>,
    ) -> Result<(), Broken> {
        host.read(self.stream, self.way, &mut self.data)?;
        let mut at = 0;
        let read = loop {
            match decode(&self.data[at..]) {
                Ok(Some((header, body, bytes))) => {
                    let sum = sum(&self.data[at..at + bytes]);
                    if let Err(violation) = each(host, &header, &body, sum) {
                        break Err(Broken(Some(violation)));
                    }
                    at += bytes;
                }
                Ok(None) => break Ok(()),
                Err(fault) => break Err(Broken(Some(fault.into()))),
            }
        };
        self.data.drain(..at);
        read
    }

    /// Writes what the link has for the peer, as far as the stream takes it.
    pub fn write(&mut self, host: &mut Host, out: &mut LinkOut) -> Result<(), Broken> {
        loop {
            let Some(piece) = out.unsent().next() else { break };
            let taken = host.write(self.stream, self.way, piece)?;
            if taken == 0 {
                break;
            }
            out.sent(taken);
        }
        Ok(())
    }
}
