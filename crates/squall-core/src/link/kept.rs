//! Frames that are kept until they are receipted: their bytes, end to end, in pieces.
//!
//! In pieces and not one for each frame, as most frames are short (acks, grants) and one write takes as many as it can;
//! not in one piece, as letting go of its beginning would move the rest.

use crate::frame::{Fault, HEADER_BYTES};
use std::collections::VecDeque;

/// A piece that is as long takes no further frame.
const PIECE_BYTES: usize = 64 << 10;

/// Where a frame begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// The frame's number.
    pub sequence: u64,
    piece: usize,
    at: usize,
}

/// The frames from the first that is not receipted to the last that was made.
#[derive(Default)]
pub(super) struct Kept {
    pieces: VecDeque<Vec<u8>>,
    /// A piece that was let go of, so that a link at rest allocates nothing.
    spare: Vec<u8>,
    bytes: usize,
    first: Place,
    next: u64,
}

impl Kept {
    /// Where the oldest frame begins.
    pub fn first(&self) -> Place {
        self.first
    }

    /// The number that the next frame will have.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How long the frames are together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the frame that `write` writes, if it does.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>, u64) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.pieces.back().is_none_or(|piece| piece.len() >= PIECE_BYTES) {
            self.pieces.push_back(std::mem::take(&mut self.spare));
        }
        let piece = self.pieces.back_mut().expect("there is one");
        let before = piece.len();
        write(piece, self.next)?;
        self.bytes += piece.len() - before;
        self.next += 1;
        Ok(())
    }

    /// Lets go of the frames below `sequence`, which must be kept or be the next one. `other`, which must not be before
    /// it, stays where it is.
    pub fn release(&mut self, sequence: u64, other: Place) -> Place {
        while self.first.sequence < sequence {
            self.bytes -= self.frame_at(self.first).len();
            self.first = self.after(self.first);
        }
        let (mut first, mut other) = (self.settled(self.first), self.settled(other));
        for _ in 0..std::mem::take(&mut first.piece) {
            self.drop_piece();
            other.piece -= 1;
        }
        if first.sequence == self.next {
            self.drop_piece();
            (first.at, other.at) = (0, 0);
        }
        self.first = first;
        other
    }

    fn drop_piece(&mut self) {
        if let Some(mut piece) = self.pieces.pop_front()
            && piece.capacity() <= 2 * PIECE_BYTES
        {
            piece.clear();
            self.spare = piece;
        }
    }

    /// The end of a piece is the beginning of the next one, if there is one.
    fn settled(&self, place: Place) -> Place {
        let is_end = self.pieces.get(place.piece).is_some_and(|piece| piece.len() == place.at);
        match is_end && place.piece + 1 < self.pieces.len() {
            true => Place { sequence: place.sequence, piece: place.piece + 1, at: 0 },
            false => place,
        }
    }

    /// The bytes of the frame that begins there.
    pub fn frame_at(&self, place: Place) -> &[u8] {
        let place = self.settled(place);
        let bytes = &self.pieces[place.piece][place.at..];
        let body_bytes = u32::from_le_bytes(std::array::from_fn(|i| bytes[24 + i]));
        &bytes[..HEADER_BYTES + body_bytes as usize]
    }

    /// Where the frame after it begins.
    pub fn after(&self, place: Place) -> Place {
        let (place, frame_bytes) = (self.settled(place), self.frame_at(place).len());
        Place { sequence: place.sequence + 1, piece: place.piece, at: place.at + frame_bytes }
    }

    /// Everything from there on, in pieces, none of them empty.
    pub fn from(&self, place: Place) -> impl Iterator<Item = &[u8]> {
        let place = self.settled(place);
        let here = self.pieces.get(place.piece).map(|piece| &piece[place.at..]);
        let behind = self.pieces.iter().skip(place.piece + 1).map(Vec::as_slice);
        here.into_iter().chain(behind).filter(|bytes| !bytes.is_empty())
    }
}
