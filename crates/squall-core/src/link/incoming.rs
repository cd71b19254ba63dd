//! The receiving half of a link's end.

use super::violation::Violation;
use crate::frame::{Body, Header};
use crate::ids::Token;

/// What a frame is to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The next one: to be delivered.
    Next,
    /// One that was delivered before: to be ignored.
    Again,
    /// None of the sequence: the peer expects this frame of ours next.
    Receipt(u64),
}

/// Lets each frame of one life of a peer pass once and in order.
pub struct LinkIn {
    token: Token,
    session: u64,
    is_announced: bool,
    expected: u64,
    /// What the last receipt said.
    told: u64,
}

impl LinkIn {
    /// The link of the peer's life `token` in the session; nothing came yet.
    pub fn new(token: Token, session: u64) -> LinkIn {
        LinkIn { token, session, is_announced: false, expected: 0, told: 0 }
    }

    /// The number of the next frame.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// There is a new stream. What it is to say first: the frame expected next (see `LinkOut::attach`).
    pub fn attach(&mut self) -> u64 {
        self.is_announced = false;
        if mutant!(AnnouncesNothing) { 0 } else { self.tell() }
    }

    /// A frame came on the stream. On a violation it must not be delivered, and the stream is to be given up.
    pub fn take(&mut self, header: &Header, body: &Body<'_>) -> Result<Came, Violation> {
        if header.token < self.token && !mutant!(OldLifeTaken) {
            return Err(Violation::OlderToken(header.token));
        }
        if header.token > self.token {
            return Err(Violation::OtherToken(header.token));
        }
        if let Body::Receipt { sequence } = *body {
            let is_taken = mutant!(SessionUnchecked, OldLifeTaken);
            if header.sequence != self.session && !is_taken {
                return Err(Violation::OtherSession(header.sequence));
            }
            self.is_announced = true;
            return Ok(Came::Receipt(sequence));
        }
        if !self.is_announced {
            return Err(Violation::Unannounced);
        }
        if header.sequence > self.expected && !mutant!(GapTaken) {
            return Err(Violation::Gap { expected: self.expected, came: header.sequence });
        }
        if header.sequence < self.expected {
            return Ok(if mutant!(DuplicateTaken) { Came::Next } else { Came::Again });
        }
        self.expected = header.sequence + 1;
        Ok(Came::Next)
    }

    /// What a receipt should say now, if anything came since the last. It counts as said.
    pub fn receipt_due(&mut self) -> Option<u64> {
        (self.expected > self.told && !mutant!(ReceiptNeverTold)).then(|| self.tell())
    }

    fn tell(&mut self) -> u64 {
        self.told = self.expected;
        self.expected
    }
}
