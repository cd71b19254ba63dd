//! The sending half of a link's end.

use super::kept::{Kept, Place};
use super::violation::Violation;
use crate::frame::{Body, Fault, encode};
use crate::ids::Token;

/// How much a sender keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of frames that are not receipted.
    pub bytes: usize,
    /// The number of such frames.
    pub frames: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 32 << 20, frames: 1 << 16 }
    }
}

/// How far the stream that carries the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    /// There is none.
    None,
    /// The peer has not said yet what it expects.
    New,
    /// Frames flow.
    Open,
}

/// Gives frames their numbers, and keeps them until they are receipted.
///
/// Bound: [`LinkOut::is_full`] says when no frame that waits for credit should be added. The others are taken all the
/// same (semantics 25): there can be only as many as the peer's tuples and grants call for.
pub struct LinkOut {
    token: Token,
    session: u64,
    limits: Limits,
    kept: Kept,
    stream: Stream,
    /// The frame that is written next, and how much of it was.
    next: Place,
    written: usize,
    /// The frames below it were written, on this stream or an earlier one.
    reached: u64,
    /// The receipt that goes before that frame, and how much of it was written.
    receipt: Vec<u8>,
    receipt_written: usize,
    /// What the receipt after it will say.
    later: Option<u64>,
    streams: u64,
}

impl LinkOut {
    /// The link of this life `token` in the session; without a stream.
    pub fn new(token: Token, session: u64, limits: Limits) -> LinkOut {
        LinkOut {
            token,
            session,
            limits,
            kept: Kept::default(),
            stream: Stream::None,
            next: Place::default(),
            written: 0,
            reached: 0,
            receipt: Vec::new(),
            receipt_written: 0,
            later: None,
            streams: 0,
        }
    }

    /// Adds a frame, whether there is a stream or not. Its number; or that it is too long, and nothing has changed.
    ///
    /// Receipts are no frames of the sequence: see [`LinkOut::tell_received`].
    pub fn push(&mut self, body: &Body<'_>) -> Result<u64, Fault> {
        debug_assert!(!matches!(body, Body::Receipt { .. }), "a receipt has no number");
        let sequence = self.kept.next();
        self.kept.push(|out, sequence| encode(out, self.token, sequence, body))?;
        Ok(sequence)
    }

    /// Whether frames that wait for credit should wait for receipts now.
    pub fn is_full(&self) -> bool {
        self.kept.bytes() >= self.limits.bytes || self.unreceipted() >= self.limits.frames
    }

    /// How many frames are kept.
    pub fn unreceipted(&self) -> u64 {
        self.kept.next() - self.kept.first().sequence
    }

    /// Those frames, whole, the oldest first.
    pub fn kept(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.kept.first();
        let places = (0..self.unreceipted()).scan(first, |place, _| {
            let here = *place;
            *place = self.kept.after(here);
            Some(here)
        });
        places.map(|place| self.kept.frame_at(place))
    }

    /// How many bytes they have.
    pub fn kept_bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// How many frames were receipted since the session began.
    pub fn receipted(&self) -> u64 {
        self.kept.first().sequence
    }

    /// How many streams have carried it.
    pub fn streams(&self) -> u64 {
        self.streams
    }

    /// Whether there is a stream on which the peer has said what it expects.
    pub fn is_open(&self) -> bool {
        self.stream == Stream::Open
    }

    /// Whether there is a stream, and the peer owes a receipt on it.
    pub fn is_waiting(&self) -> bool {
        match self.stream {
            Stream::None => false,
            Stream::New => true,
            Stream::Open => self.unreceipted() > 0,
        }
    }

    /// How much of a frame the stream has taken while the rest waits.
    pub fn begun_bytes(&self) -> usize {
        self.written
    }

    /// There is a new stream; `received` is what our own receiving half expects next, and is said first. Nothing else
    /// is given out until the peer has said the same of its.
    pub fn attach(&mut self, received: u64) {
        self.detach();
        self.stream = Stream::New;
        self.streams += 1;
        self.tell_received(received);
    }

    /// The stream is gone. What was not receipted will be given out again.
    pub fn detach(&mut self) {
        self.stream = Stream::None;
        let written = if mutant!(PartialFrameKept) { self.written } else { 0 };
        (self.written, self.receipt_written, self.later) = (written, 0, None);
        self.receipt.clear();
    }

    /// Says that all frames below `received` came. One that was not written yet is overtaken, so a peer that does not
    /// read costs two receipts. Without a stream nothing is said: the next one begins with it.
    pub fn tell_received(&mut self, received: u64) {
        if self.stream == Stream::None {
            return;
        }
        if self.receipt_written > 0 {
            self.later = Some(received);
            return;
        }
        self.receipt.clear();
        let body = Body::Receipt { sequence: received };
        encode(&mut self.receipt, self.token, self.session, &body).expect("a receipt is short");
    }

    /// The peer expects the frame `expected` next; the first time on a stream, that is where we resume.
    pub fn receipt(&mut self, expected: u64) -> Result<(), Violation> {
        let kept = self.kept.first().sequence;
        let is_new = self.stream == Stream::New;
        let sent = if is_new { self.reached } else { self.next.sequence };
        if expected > sent {
            return Err(Violation::ReceiptAhead { expected, sent });
        }
        if is_new {
            if expected < kept {
                return Err(Violation::ReceiptBehind { expected, kept });
            }
            let mut next = self.kept.first();
            let from = match () {
                () if mutant!(ResumeSkips) => self.reached,
                () if mutant!(GapTaken) => (expected + 1).min(self.kept.next()),
                () => expected,
            };
            while next.sequence < from {
                next = self.kept.after(next);
            }
            (self.next, self.stream) = (next, Stream::Open);
            if mutant!(PartialFrameKept) {
                self.written = 0; // of another frame than this
            }
        }
        if expected > kept {
            let more = mutant!(ReceiptReleasesMore) && expected < self.next.sequence;
            self.next = self.kept.release(expected + u64::from(more), self.next);
        }
        Ok(())
    }

    /// Whether there is something to be written.
    pub fn has_unsent(&self) -> bool {
        !self.receipt.is_empty() || (self.stream == Stream::Open && self.next.sequence < self.kept.next())
    }

    /// What is to be written, in pieces, none of them empty; [`LinkOut::sent`] is then told how much was.
    pub fn unsent(&self) -> impl Iterator<Item = &[u8]> {
        let begun = (self.written > 0).then(|| &self.kept.frame_at(self.next)[self.written..]);
        let receipt = Some(&self.receipt[self.receipt_written..]).filter(|bytes| !bytes.is_empty());
        let rest = (self.stream == Stream::Open).then(|| {
            let from = if self.written > 0 { self.kept.after(self.next) } else { self.next };
            self.kept.from(from)
        });
        begun.into_iter().chain(receipt).chain(rest.into_iter().flatten())
    }

    /// So many bytes of [`LinkOut::unsent`] were written.
    pub fn sent(&mut self, mut bytes: usize) {
        if self.written > 0 {
            self.write_on(&mut bytes);
        }
        let receipt = bytes.min(self.receipt.len() - self.receipt_written);
        (self.receipt_written, bytes) = (self.receipt_written + receipt, bytes - receipt);
        if self.receipt_written == self.receipt.len() {
            self.receipt.clear();
            self.receipt_written = 0;
            if let Some(received) = self.later.take() {
                self.tell_received(received);
            }
        }
        while bytes > 0 {
            self.write_on(&mut bytes);
        }
    }

    /// Takes from `bytes` what belongs to the next frame.
    fn write_on(&mut self, bytes: &mut usize) {
        let rest = self.kept.frame_at(self.next).len() - self.written;
        if *bytes < rest {
            self.written += *bytes;
            *bytes = 0;
        } else {
            (*bytes, self.written) = (*bytes - rest, 0);
            self.next = self.kept.after(self.next);
            self.reached = if mutant!(ReachedForgotten) { 0 } else { self.reached }.max(self.next.sequence);
        }
    }
}
