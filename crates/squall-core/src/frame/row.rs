//! The tuples of a data frame.
//!
//! | bytes | row |
//! |---|---|
//! | 0..4 | source task |
//! | 4..6 | stream |
//! | 6 | flags |
//! | 7 | number of trees |
//! | 8..16 | sequence number in its channel |
//! | … | (root, edge), 16 bytes for each tree |
//! | 2 + … | the extension's length and bytes, if flagged |
//! | 4 + … | the values' length and bytes |
//!
//! A tuple in more than 255 trees (a large join) is rare; it carries the number in an extended form, 255 and then
//! 4 bytes.

use super::Fault;
use super::bytes::{Cursor, Items, put, write_items};
use crate::ids::RootId;
use std::fmt;

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

const SAMPLED: u8 = 1;
const TRACED: u8 = 2;
const REPLAY: u8 = 4;
const EXTENDED: u8 = 8;
const ALONE: u8 = 16;
const MANY_TREES: u8 = u8::MAX;

/// One tuple in a data frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    /// The emitting task.
    pub source: u32,
    /// The stream's number in the topology.
    pub stream: u16,
    /// What is special about it.
    pub flags: RowFlags,
    /// Its number in its channel, which survives reconnects (semantics 23).
    pub sequence: u64,
    /// The trees it belongs to, with its edge in each; none when it is not tracked.
    pub trees: Items<'a, (RootId, u64)>,
    /// What later versions add; at most 65,535 bytes, ignored where it is not known.
    pub extension: Option<&'a [u8]>,
    /// The values, by the codec.
    pub values: &'a [u8],
}

impl RowFlags {
    fn bits(self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        flag(self.sampled, SAMPLED) | flag(self.traced, TRACED) | flag(self.replay, REPLAY) | flag(self.alone, ALONE)
    }

    fn of(bits: u8) -> RowFlags {
        let has = |bit: u8| bits & bit != 0;
        RowFlags { sampled: has(SAMPLED), traced: has(TRACED), replay: has(REPLAY), alone: has(ALONE) }
    }
}

/// Appends the beginning of a row without an extension, whose values the caller appends next; what [`end_row`] wants.
pub fn begin_row(out: &mut Vec<u8>, source: u32, stream: u16, flags: RowFlags, trees: &[(RootId, u64)]) -> RowStart {
    let start = out.len();
    put(out, &source.to_le_bytes());
    put(out, &stream.to_le_bytes());
    put(out, &[flags.bits(), trees.len().min(MANY_TREES as usize) as u8]);
    put(out, &[0; 8]);
    if trees.len() >= MANY_TREES as usize {
        put(out, &(trees.len() as u32).to_le_bytes());
    }
    write_items(out, trees);
    put(out, &[0; 4]);
    RowStart { start, values: out.len() }
}

/// The values are appended: says how long they are, and the row's number in its channel.
pub fn end_row(out: &mut [u8], row: RowStart, sequence: u64) {
    let values_bytes = (out.len() - row.values) as u32;
    out[row.start + 8..row.start + 16].copy_from_slice(&sequence.to_le_bytes());
    out[row.values - 4..row.values].copy_from_slice(&values_bytes.to_le_bytes());
}

/// Where a row that is being written begins, and where its values do.
pub struct RowStart {
    start: usize,
    values: usize,
}

/// Appends a row; an extension of more than 65,535 bytes is refused, and `out` is as it was.
pub fn write_row(out: &mut Vec<u8>, row: &Row<'_>) -> Result<(), Fault> {
    if row.extension.is_some_and(|extension| extension.len() > u16::MAX as usize)
        || row.values.len() > u32::MAX as usize
    {
        return Err(Fault::TooLong(row.values.len() as u64));
    }
    let flags = row.flags.bits() | if row.extension.is_some() { EXTENDED } else { 0 };
    put(out, &row.source.to_le_bytes());
    put(out, &row.stream.to_le_bytes());
    let trees = row.trees.len();
    put(out, &[flags, trees.min(MANY_TREES as usize) as u8]);
    put(out, &row.sequence.to_le_bytes());
    if trees >= MANY_TREES as usize {
        put(out, &(trees as u32).to_le_bytes());
    }
    put(out, row.trees.as_bytes());
    if let Some(extension) = row.extension {
        put(out, &(extension.len() as u16).to_le_bytes());
        put(out, extension);
    }
    put(out, &(row.values.len() as u32).to_le_bytes());
    put(out, row.values);
    Ok(())
}

fn read_row<'a>(cursor: &mut Cursor<'a>) -> Result<Row<'a>, Fault> {
    let (source, stream) = (cursor.u32()?, cursor.u16()?);
    let (flags, trees, sequence) = (cursor.u8()?, cursor.u8()?, cursor.u64()?);
    if flags & !(SAMPLED | TRACED | REPLAY | EXTENDED | ALONE) != 0 {
        return Err(Fault::Malformed);
    }
    let trees = if trees == MANY_TREES { cursor.u32()? as usize } else { trees as usize };
    let trees = Items::new(cursor.take(trees.saturating_mul(16))?)?;
    let extension = match flags & EXTENDED {
        0 => None,
        _ => {
            let bytes = cursor.u16()? as usize;
            Some(cursor.take(bytes)?)
        }
    };
    let values_bytes = cursor.u32()? as usize;
    let values = cursor.take(values_bytes)?;
    let flags = RowFlags::of(flags);
    Ok(Row { source, stream, flags, sequence, trees, extension, values })
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
    /// They are walked once here, so that a bad row refuses the frame and never half of it is delivered.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor(bytes);
        let mut count = 0;
        while !cursor.0.is_empty() {
            read_row(&mut cursor)?;
            count += 1;
        }
        Ok(Rows { bytes, count })
    }

    /// A view of `count` rows that this worker has written itself.
    pub fn written(bytes: &'a [u8], count: usize) -> Self {
        Rows { bytes, count }
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
        let mut cursor = Cursor(self.bytes);
        // `new` has read each row once, so the end of the bytes is the only reason to stop.
        std::iter::from_fn(move || read_row(&mut cursor).ok())
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
