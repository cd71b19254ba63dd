//! What workers say to each other: frames, as bytes (semantics 24).
//!
//! A frame is a header of 32 bytes and a body; all numbers are little-endian.
//!
//! | bytes | header |
//! |---|---|
//! | 0..4 | magic `sqll` |
//! | 4 | version |
//! | 5 | kind |
//! | 6..8 | incarnation of the sender |
//! | 8..16 | epoch of the sender's assignment |
//! | 16..24 | sequence number on the link; of a receipt, the number of the link's session |
//! | 24..28 | length of the body |
//! | 28..32 | CRC32C of the 28 bytes before and the body |
//!
//! Every kind is there from the first version, so that no later one has to change the format. Decoding borrows: lists
//! are views of the received bytes, so a length or a count in a hostile frame can never make us allocate. It is total:
//! any bytes give a frame or a [`Fault`].

mod bytes;
mod row;

pub use bytes::{Item, Items, write_items};
pub use row::{MAX_ROW_BYTES, NotPushed, Row, RowBuffer, RowFlags, RowPlace, Rows, SUSPECT};

use crate::ids::{Incarnation, RootId, Token};
use crate::retry::{Action, Failure};
use bytes::{Cursor, put};

/// The first bytes of every frame.
pub const MAGIC: [u8; 4] = *b"sqll";
/// The version that this code writes, and the only one it reads.
pub const VERSION: u8 = 1;
/// How long a header is.
pub const HEADER_BYTES: usize = 32;
/// The longest frame, its header included.
pub const MAX_FRAME_BYTES: usize = 16 << 20;
/// The longest text that a failure carries.
pub const MAX_DETAIL_BYTES: usize = 64 << 10;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Tuples.
    Data = 1,
    /// XORs for the ledgers.
    Ack = 2,
    /// Roots that failed.
    Fail = 3,
    /// How much more may be sent.
    Credit = 4,
    /// A checkpoint's cut through one channel.
    Barrier = 5,
    /// How far event time has come in one channel.
    Watermark = 6,
    /// A channel has nothing to say for now, so nobody waits for its watermark.
    Idle = 7,
    /// A channel has ended.
    End = 8,
    /// An order to the worker.
    Command = 9,
    /// Frames that came.
    Receipt = 10,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 10] = [
        Kind::Data,
        Kind::Ack,
        Kind::Fail,
        Kind::Credit,
        Kind::Barrier,
        Kind::Watermark,
        Kind::Idle,
        Kind::End,
        Kind::Command,
        Kind::Receipt,
    ];

    fn of(byte: u8) -> Result<Kind, Fault> {
        Kind::ALL.get((byte as usize).wrapping_sub(1)).copied().ok_or(Fault::Kind(byte))
    }
}

/// Why bytes are no frame, or a frame cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin with [`MAGIC`].
    Magic,
    /// Of a version that this code does not read.
    Version(u8),
    /// Of no known kind.
    Kind(u8),
    /// Longer than [`MAX_FRAME_BYTES`].
    TooLong(u64),
    /// The checksum is another one.
    Checksum,
    /// The body ends before what it announces.
    Short,
    /// The body goes on after its end, or a field has a value that means nothing.
    Malformed,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Magic => write!(f, "the bytes are not a frame"),
            Fault::Version(version) => write!(f, "frame version {version}, but this worker speaks {VERSION}"),
            Fault::Kind(kind) => write!(f, "unknown frame kind {kind}"),
            Fault::TooLong(bytes) => write!(f, "a frame of {bytes} bytes, over the limit of {MAX_FRAME_BYTES}"),
            Fault::Checksum => write!(f, "the checksum of a frame does not match its bytes"),
            Fault::Short => write!(f, "a frame ends before what it announces"),
            Fault::Malformed => write!(f, "a frame's body has a field that means nothing"),
        }
    }
}

impl std::error::Error for Fault {}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// Which life of the sender it is of.
    pub token: Token,
    /// Its place on the link; frames repeated after a reconnect have the same. Of a receipt, which has none, the session.
    pub sequence: u64,
    /// How long the body is.
    pub body_bytes: u32,
    crc: u32,
}

impl Header {
    /// Reads the header at the beginning of `bytes`; `None` while it has not come whole.
    pub fn read(bytes: &[u8]) -> Result<Option<Header>, Fault> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(Fault::Magic);
        }
        let Some(bytes) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
        let mut cursor = Cursor(&bytes[MAGIC.len()..]);
        let version = cursor.u8()?;
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        let kind = Kind::of(cursor.u8()?)?;
        let incarnation = Incarnation(cursor.u16()?);
        let token = Token { epoch: cursor.u64()?, incarnation };
        let (sequence, body_bytes, crc) = (cursor.u64()?, cursor.u32()?, cursor.u32()?);
        let header = Header { kind, token, sequence, body_bytes, crc };
        if header.frame_bytes() > MAX_FRAME_BYTES {
            return Err(Fault::TooLong(header.frame_bytes() as u64));
        }
        Ok(Some(header))
    }

    /// How long the whole frame is.
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.body_bytes as usize
    }
}

/// Where tuples flow: one source task's stream into one target task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelId {
    /// The emitting task.
    pub source: u32,
    /// The stream's number in the topology.
    pub stream: u16,
    /// The receiving task.
    pub target: u32,
}

/// How many tuples, since the link began, a task has taken in from this sender and will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The receiving task.
    pub target: u32,
    /// The sender may have sent so many in all; a total, so that a repeated grant gives nothing.
    pub total: u64,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body<'a> {
    /// Tuples for one task.
    Data {
        /// The receiving task.
        target: u32,
        /// The tuples.
        rows: Rows<'a>,
    },
    /// XORs for ledgers of the receiver.
    Ack(Items<'a, (RootId, u64)>),
    /// Roots of the receiver that failed together, and are to be tried again or given up.
    Fail {
        /// How the failure was classified.
        failure: Failure,
        /// Several rows failed in one batch: each is tried alone before anything counts.
        together: bool,
        /// The task whose code failed.
        task: u32,
        /// Input values and traceback, for people and the dead letter; at most [`MAX_DETAIL_BYTES`].
        detail: &'a [u8],
        /// The roots.
        roots: Items<'a, RootId>,
    },
    /// How much more may be sent to tasks of the sender.
    Credit(Items<'a, Grant>),
    /// Everything before it in the channel belongs to the checkpoint.
    Barrier {
        /// The channel.
        channel: ChannelId,
        /// The checkpoint's number.
        epoch: u64,
    },
    /// No tuple before this time follows in the channel.
    Watermark {
        /// The channel.
        channel: ChannelId,
        /// Event time.
        at_epoch_ms: i64,
    },
    /// The channel has nothing to say for now.
    Idle(ChannelId),
    /// Nothing follows in the channel.
    End(ChannelId),
    /// An order to the worker, in the command session's format.
    Command(&'a [u8]),
    /// Every frame of the link below this sequence number came.
    Receipt {
        /// The next one expected.
        sequence: u64,
    },
}

impl<'a> Body<'a> {
    /// Which kind of frame carries it.
    pub fn kind(&self) -> Kind {
        match self {
            Body::Data { .. } => Kind::Data,
            Body::Ack(_) => Kind::Ack,
            Body::Fail { .. } => Kind::Fail,
            Body::Credit(_) => Kind::Credit,
            Body::Barrier { .. } => Kind::Barrier,
            Body::Watermark { .. } => Kind::Watermark,
            Body::Idle(_) => Kind::Idle,
            Body::End(_) => Kind::End,
            Body::Command(_) => Kind::Command,
            Body::Receipt { .. } => Kind::Receipt,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Body::Data { target, rows } => {
                put(out, &target.to_le_bytes());
                put(out, rows.as_bytes());
            }
            Body::Ack(acks) => put(out, acks.as_bytes()),
            Body::Fail { failure, together, task, detail, roots } => {
                put(out, &[failure.action as u8, failure.counts as u8 | (together as u8) << 1]);
                put(out, &failure.after_ns.unwrap_or(u64::MAX).to_le_bytes());
                put(out, &task.to_le_bytes());
                put(out, &(detail.len() as u32).to_le_bytes());
                put(out, detail);
                put(out, roots.as_bytes());
            }
            Body::Credit(grants) => put(out, grants.as_bytes()),
            Body::Barrier { channel, epoch } => {
                channel.write(out);
                put(out, &epoch.to_le_bytes());
            }
            Body::Watermark { channel, at_epoch_ms } => {
                channel.write(out);
                put(out, &at_epoch_ms.to_le_bytes());
            }
            Body::Idle(channel) | Body::End(channel) => channel.write(out),
            Body::Command(order) => put(out, order),
            Body::Receipt { sequence } => put(out, &sequence.to_le_bytes()),
        }
    }

    fn read(kind: Kind, bytes: &'a [u8]) -> Result<Body<'a>, Fault> {
        let mut cursor = Cursor(bytes);
        let body = match kind {
            Kind::Data => Body::Data { target: cursor.u32()?, rows: Rows::new(cursor.rest())? },
            Kind::Ack => Body::Ack(Items::new(cursor.rest())?),
            Kind::Fail => Body::read_fail(&mut cursor)?,
            Kind::Credit => Body::Credit(Items::new(cursor.rest())?),
            Kind::Barrier => Body::Barrier { channel: ChannelId::read(&mut cursor)?, epoch: cursor.u64()? },
            Kind::Watermark => {
                Body::Watermark { channel: ChannelId::read(&mut cursor)?, at_epoch_ms: cursor.u64()? as i64 }
            }
            Kind::Idle => Body::Idle(ChannelId::read(&mut cursor)?),
            Kind::End => Body::End(ChannelId::read(&mut cursor)?),
            Kind::Command => Body::Command(cursor.rest()),
            Kind::Receipt => Body::Receipt { sequence: cursor.u64()? },
        };
        if cursor.0.is_empty() { Ok(body) } else { Err(Fault::Malformed) }
    }

    fn read_fail(cursor: &mut Cursor<'a>) -> Result<Body<'a>, Fault> {
        let action = match cursor.u8()? {
            0 => Action::Retry,
            1 => Action::Dead,
            _ => return Err(Fault::Malformed), // the others are carried out where the failure was judged
        };
        let (counts, together) = match cursor.u8()? {
            flags @ 0..=3 => (flags & 1 != 0, flags & 2 != 0),
            _ => return Err(Fault::Malformed),
        };
        let after_ns = Some(cursor.u64()?).filter(|after_ns| *after_ns != u64::MAX);
        let (task, detail_bytes) = (cursor.u32()?, cursor.u32()? as usize);
        if detail_bytes > MAX_DETAIL_BYTES {
            return Err(Fault::Malformed);
        }
        let detail = cursor.take(detail_bytes)?;
        let failure = Failure { action, counts, after_ns };
        Ok(Body::Fail { failure, together, task, detail, roots: Items::new(cursor.rest())? })
    }
}

impl ChannelId {
    fn write(self, out: &mut Vec<u8>) {
        put(out, &self.source.to_le_bytes());
        put(out, &self.stream.to_le_bytes());
        put(out, &self.target.to_le_bytes());
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<ChannelId, Fault> {
        Ok(ChannelId { source: cursor.u32()?, stream: cursor.u16()?, target: cursor.u32()? })
    }
}

/// Appends the frame to `out`; on an error `out` is as it was.
pub fn encode(out: &mut Vec<u8>, token: Token, sequence: u64, body: &Body<'_>) -> Result<(), Fault> {
    let start = out.len();
    put(out, &MAGIC);
    put(out, &[VERSION, body.kind() as u8]);
    put(out, &token.incarnation.0.to_le_bytes());
    put(out, &token.epoch.to_le_bytes());
    put(out, &sequence.to_le_bytes());
    put(out, &[0; 8]);
    body.write(out);
    let frame_bytes = out.len() - start;
    let detail_fits = !matches!(body, Body::Fail { detail, .. } if detail.len() > MAX_DETAIL_BYTES);
    if frame_bytes > MAX_FRAME_BYTES || !detail_fits {
        out.truncate(start);
        return Err(Fault::TooLong(frame_bytes as u64));
    }
    let frame = &mut out[start..];
    frame[24..28].copy_from_slice(&((frame_bytes - HEADER_BYTES) as u32).to_le_bytes());
    let crc = checksum(frame);
    frame[28..32].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// The frame at the beginning of `bytes` and how many bytes it takes; `None` while it has not come whole.
///
/// Everything in it is checked before anything is given out.
pub fn decode(bytes: &[u8]) -> Result<Option<(Header, Body<'_>, usize)>, Fault> {
    let Some(header) = Header::read(bytes)? else { return Ok(None) };
    let Some(frame) = bytes.get(..header.frame_bytes()) else { return Ok(None) };
    if checksum(frame) != header.crc && !mutant!(ChecksumIgnored) {
        return Err(Fault::Checksum);
    }
    let body = Body::read(header.kind, &frame[HEADER_BYTES..])?;
    Ok(Some((header, body, frame.len())))
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..HEADER_BYTES - 4]), &frame[HEADER_BYTES..])
}
