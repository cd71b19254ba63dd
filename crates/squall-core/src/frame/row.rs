//! The tuples of a data frame.
//!
//! | row | |
//! |---|---|
//! | 1 byte | bits 0–3: sampled, traced, replay, alone; 4: has an extension; 5: follows; 6–7: number of trees, or 3 |
//! | unless it follows | source task, stream, sequence number in its channel |
//! | if so many | number of trees |
//! | 16 bytes a tree | root, edge |
//! | if flagged | length of the extension, extension |
//! | | length of the values, values |
//!
//! Numbers but root and edge are LEB128. A row *follows* if it is the next of the channel that the row before it in the
//! frame belongs to: most are, and then their place costs nothing. Values are written in place, so their length is not
//! known before; it gets one byte, and longer ones move by what more they need.

use super::bytes::{Cursor, Items, put};
use super::{Fault, HEADER_BYTES, MAX_FRAME_BYTES};
use crate::ids::RootId;
use std::fmt;

/// The longest row: it fits into a frame that says for which task it is, also when it has to say its place itself
/// because the row that it follows has left before it.
pub const MAX_ROW_BYTES: usize = MAX_FRAME_BYTES - HEADER_BYTES - 4 - MOST_PLACE_BYTES;
/// The longest place: of 32, 16 and 64 bits.
const MOST_PLACE_BYTES: usize = 5 + 3 + 10;
/// A buffer that was emptied keeps room for so much: one large tuple should not cost memory for ever.
const KEPT_BYTES: usize = 256 << 10;

/// What is special about a tuple.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowFlags {
    /// Its latencies are measured.
    pub sampled: bool,
    /// Its way is recorded.
    pub traced: bool,
    /// Its root was tried before.
    pub replay: bool,
    /// It is to run alone in its batches.
    pub alone: bool,
}

/// The extension of a row on whose root workers have died: nothing else is to run beside its call.
pub const SUSPECT: &[u8] = &[1];

const SAMPLED: u8 = 1;
const TRACED: u8 = 2;
const REPLAY: u8 = 4;
const ALONE: u8 = 8;
const ANY_FLAGS: u8 = SAMPLED | TRACED | REPLAY | ALONE;
const EXTENDED: u8 = 16;
const FOLLOWS: u8 = 32;
const TREES_SHIFT: u32 = 6;
const MANY_TREES: usize = 3;

/// Where a tuple stands: in which channel to the frame's target, and as which one there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowPlace {
    /// The emitting task.
    pub source: u32,
    /// The stream's number in the topology.
    pub stream: u16,
    /// Its number in its channel, which survives reconnects (semantics 23).
    pub sequence: u64,
}

impl RowPlace {
    fn next(self) -> RowPlace {
        RowPlace { sequence: self.sequence.wrapping_add(1), ..self }
    }
}

/// One tuple in a data frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    /// Where it stands.
    pub place: RowPlace,
    /// What is special about it.
    pub flags: RowFlags,
    /// The trees it belongs to, with its edge in each; none when it is not tracked.
    pub trees: Items<'a, (RootId, u64)>,
    /// What later versions add; ignored where it is not known.
    pub extension: Option<&'a [u8]>,
    /// The values, by the codec.
    pub values: &'a [u8],
}

/// Why a row is not in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum NotPushed<E> {
    /// Its values could not be written.
    Values(E),
    /// It would be so long, over [`MAX_ROW_BYTES`].
    TooLong(usize),
}

/// Rows for one task that wait to be sent.
#[derive(Debug, Default)]
pub struct RowBuffer {
    /// The rows are `bytes[start..]`; those before were taken.
    bytes: Vec<u8>,
    start: usize,
    rows: usize,
    last: Option<RowPlace>,
}

impl RowBuffer {
    /// Appends a row whose values `write` appends to the bytes; how long it is. On an error the buffer is as it was.
    #[inline(always)]
    pub fn push<E>(
        &mut self,
        place: RowPlace,
        flags: RowFlags,
        trees: &[(RootId, u64)],
        extension: Option<&[u8]>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<usize, NotPushed<E>> {
        let start = self.bytes.len();
        self.head(place, flags, trees, extension);
        let at = self.bytes.len();
        self.bytes.push(0);
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(NotPushed::Values(error));
        }
        let values_bytes = self.bytes.len() - at - 1;
        match u8::try_from(values_bytes) {
            Ok(byte) if byte < 0x80 => self.bytes[at] = byte,
            _ => self.make_room(at, values_bytes),
        }
        let row_bytes = self.bytes.len() - start;
        if row_bytes > MAX_ROW_BYTES {
            self.bytes.truncate(start);
            return Err(NotPushed::TooLong(row_bytes));
        }
        self.rows += 1;
        self.last = Some(place);
        Ok(row_bytes)
    }

    #[inline(always)]
    fn head(&mut self, place: RowPlace, flags: RowFlags, trees: &[(RootId, u64)], extension: Option<&[u8]>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let follows = self.last.is_some_and(|last| last.next() == place);
        let head = flag(flags.sampled, SAMPLED)
            | flag(flags.traced, TRACED)
            | flag(flags.replay, REPLAY)
            | flag(flags.alone, ALONE)
            | flag(extension.is_some(), EXTENDED)
            | flag(follows, FOLLOWS)
            | (trees.len().min(MANY_TREES) as u8) << TREES_SHIFT;
        if let ([(root, edge)], true, None) = (trees, follows, extension) {
            // What nearly all rows begin with: with one look at the room, and room for short values.
            self.bytes.reserve(64);
            let length = self.bytes.len();
            // SAFETY: there is room for 17 bytes, which are written before the length says so.
            unsafe {
                let place = self.bytes.as_mut_ptr().add(length);
                place.write(head);
                place.add(1).cast::<[u8; 8]>().write(root.0.to_le_bytes());
                place.add(9).cast::<[u8; 8]>().write(edge.to_le_bytes());
                self.bytes.set_len(length + 17);
            }
            return;
        }
        self.bytes.push(head);
        if !follows {
            put_place(&mut self.bytes, place);
        }
        if trees.len() >= MANY_TREES {
            put_number(&mut self.bytes, trees.len() as u64);
        }
        for (root, edge) in trees {
            let pair = u128::from(root.0) | u128::from(*edge) << 64;
            put(&mut self.bytes, &pair.to_le_bytes());
        }
        if let Some(extension) = extension {
            put_number(&mut self.bytes, extension.len() as u64);
            put(&mut self.bytes, extension);
        }
    }

    /// Puts the length of the values in front of them where it needs more than the one byte at `at`.
    #[cold]
    fn make_room(&mut self, at: usize, values_bytes: usize) {
        let mut length = Vec::new();
        put_number(&mut length, values_bytes as u64);
        self.bytes.splice(at..at + 1, length);
    }

    /// How many rows wait.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Takes the first rows out, at most `most_rows` of at most `most_bytes` together but one if there is any, and gives
    /// them to `send`.
    pub fn take<R>(&mut self, most_rows: usize, most_bytes: usize, send: impl FnOnce(Rows<'_>) -> R) -> R {
        if self.rows <= most_rows && self.bytes() <= most_bytes {
            let sent = send(self.rows());
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
            (self.start, self.rows, self.last) = (0, 0, None);
            return sent;
        }
        let (mut walk, mut rows, mut cut, mut place) = (Walk::new(&self.bytes[self.start..]), 0, self.start, None);
        while rows < most_rows.min(self.rows)
            && let Ok(row) = walk.row()
        {
            let end = self.bytes.len() - walk.cursor.0.len();
            if rows > 0 && end - self.start > most_bytes {
                break;
            }
            (rows, cut, place) = (rows + 1, end, Some(row.place));
        }
        let sent = send(Rows { bytes: &self.bytes[self.start..cut], count: rows });
        self.drop_front(rows, cut, place);
        sent
    }

    /// Cuts the first rows off, the last of them at `place`. The next one says its place itself, since there is no row
    /// before it any more; what that needs is written over the end of what was cut off. The bytes are moved only when most
    /// of them are gone, so that a long queue does not move with each frame.
    fn drop_front(&mut self, rows: usize, cut: usize, place: Option<RowPlace>) {
        self.start = cut;
        self.rows -= rows;
        if self.rows == 0 {
            self.last = None;
        }
        if let (Some(place), Some(head)) = (place, self.bytes.get(cut).copied())
            && head & FOLLOWS != 0
        {
            let mut said = vec![head & !FOLLOWS];
            put_place(&mut said, if mutant!(RowPlaceRepeated) { place } else { place.next() });
            match (cut + 1).checked_sub(said.len()) {
                Some(start) => {
                    self.bytes[start..=cut].copy_from_slice(&said);
                    self.start = start;
                }
                None => {
                    self.bytes.splice(..=cut, said);
                    self.start = 0;
                }
            }
        }
        if self.start > self.bytes() {
            self.bytes.drain(..std::mem::take(&mut self.start));
            self.bytes.shrink_to(KEPT_BYTES.max(2 * self.bytes.len()));
        }
    }

    /// The waiting rows.
    pub fn rows(&self) -> Rows<'_> {
        Rows { bytes: &self.bytes[self.start..], count: self.rows }
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_place(out: &mut Vec<u8>, place: RowPlace) {
    put_number(out, place.source.into());
    put_number(out, place.stream.into());
    put_number(out, place.sequence);
}

/// Reads row after row.
struct Walk<'a> {
    cursor: Cursor<'a>,
    last: Option<RowPlace>,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Walk { cursor: Cursor(bytes), last: None }
    }

    #[inline(always)]
    fn row(&mut self) -> Result<Row<'a>, Fault> {
        self.next_row::<false>()
    }

    /// `IS_FIRST`: nobody has looked yet whether the roots may come from elsewhere.
    #[inline(always)]
    fn next_row<const IS_FIRST: bool>(&mut self) -> Result<Row<'a>, Fault> {
        // What nearly all rows are: the next of its channel, of one tree, with short values. Three looks at the length.
        if let (Some(last), Some((begin, rest))) = (self.last, self.cursor.0.split_first_chunk::<18>())
            && begin[0] & !ANY_FLAGS == FOLLOWS | 1 << TREES_SHIFT
            && begin[17] < 0x80
            && !(IS_FIRST && RootId(u64::from_le_bytes(std::array::from_fn(|i| begin[1 + i]))).is_bundle())
            && let Some((values, rest)) = rest.split_at_checked(begin[17].into())
        {
            self.cursor.0 = rest;
            let place = last.next();
            self.last = Some(place);
            let trees = Items::new(&begin[1..17])?;
            return Ok(Row { place, flags: flags(begin[0]), trees, extension: None, values });
        }
        self.other_row()
    }

    fn other_row(&mut self) -> Result<Row<'a>, Fault> {
        let cursor = &mut self.cursor;
        let head = cursor.u8()?;
        let place = match self.last {
            Some(last) if head & FOLLOWS != 0 => last.next(),
            None if head & FOLLOWS != 0 => return Err(Fault::Malformed),
            _ => read_place(cursor)?,
        };
        let trees = match usize::from(head >> TREES_SHIFT) {
            MANY_TREES => usize::try_from(cursor.number()?).map_err(|_| Fault::Short)?,
            few => few,
        };
        let trees: Items<'_, (RootId, u64)> = Items::new(cursor.take(trees.saturating_mul(16))?)?;
        if trees.iter().any(|(root, _)| root.is_bundle()) {
            return Err(Fault::Malformed);
        }
        let extension = match head & EXTENDED {
            0 => None,
            _ => Some(cursor.sized()?),
        };
        let values = cursor.sized()?;
        self.last = Some(place);
        Ok(Row { place, flags: flags(head), trees, extension, values })
    }
}

#[inline(always)]
fn flags(head: u8) -> RowFlags {
    let has = |bit: u8| head & bit != 0;
    RowFlags {
        sampled: has(SAMPLED),
        traced: has(TRACED),
        replay: has(REPLAY),
        alone: has(ALONE) && !mutant!(AloneNotCarried),
    }
}

fn read_place(cursor: &mut Cursor<'_>) -> Result<RowPlace, Fault> {
    let source = u32::try_from(cursor.number()?).map_err(|_| Fault::Malformed)?;
    let stream = u16::try_from(cursor.number()?).map_err(|_| Fault::Malformed)?;
    Ok(RowPlace { source, stream, sequence: cursor.number()? })
}

/// The rows of a data frame, as a view of its bytes, known to be well formed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Rows<'a> {
    /// A view of `bytes`, which must be whole rows.
    ///
    /// They are walked once here, so that a bad row refuses the frame and never half of it is delivered. No row is of a
    /// tree whose id stands for several: such an id means something in its own worker only.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (mut walk, mut count) = (Walk::new(bytes), 0);
        while !walk.cursor.0.is_empty() {
            walk.next_row::<true>()?;
            count += 1;
        }
        Ok(Rows { bytes, count })
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.count == 0
    }

    /// The rows in their order.
    pub fn iter(self) -> impl Iterator<Item = Row<'a>> {
        let mut walk = Walk::new(self.bytes);
        // They were read once before, so the end of the bytes is the only reason to stop.
        std::iter::from_fn(move || walk.row().ok())
    }

    /// Gives the rows to `f` in their order.
    ///
    /// As a loop over [`Rows::iter`], but no row is put together in memory on its way to `f`.
    #[inline(always)]
    pub fn for_each(self, mut f: impl FnMut(Row<'a>)) {
        let mut walk = Walk::new(self.bytes);
        while let Ok(row) = walk.row() {
            f(row);
        }
    }

    /// The bytes as they are in the frame.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
