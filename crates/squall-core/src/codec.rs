//! Values on the wire: what a tuple's values become between two workers.
//!
//! The values of a row follow each other without a count; the stream says how many there are. A value is a tag of one
//! byte and what the tag announces:
//!
//! | tag | value |
//! |---|---|
//! | `00..=3f` | the integers 0 to 63 |
//! | `40..=7f` | ASCII text of 0 to 63 bytes, which follow |
//! | `80..=82` | none, false, true |
//! | `83..=86` | an integer in 1, 2, 4, 8 bytes, two's complement |
//! | `87` | a larger integer: length, two's complement |
//! | `88`, `89` | a float, a complex number: the bits of its doubles |
//! | `8a`, `8b`, `8c` | longer ASCII text, UTF-8, text with lone surrogates: length, bytes |
//! | `8d`, `8e` | bytes, a bytearray: length, bytes |
//! | `90..=94` | list, tuple, dict, set, frozenset: number of items (pairs, of a dict), items |
//! | `98..=9b` | date, time of day, date and time, duration: see [`Date`], [`Time`], [`Duration`] |
//! | `9c..=9f` | time zone: UTC, an offset, an offset with a name, a zone of the tz database |
//! | `a0`, `a1` | a decimal number (its text), a UUID (16 bytes) |
//! | `a2` | a numpy scalar: name of the dtype, bytes |
//! | `a8` | a registered type: its name, then the value that stands for the instance |
//! | `a9` | a pickle: length, bytes |
//!
//! Numbers are little-endian, lengths and counts LEB128. A tag keeps the exact type, so that true is not 1 and a list no
//! tuple when they arrive. Small integers and short ASCII text come first because nearly all fields are such; the price
//! is that half of the tags are taken.
//!
//! Reading is total: any bytes give tokens or a [`Fault`], and borrows: a count is believed only as far as the bytes
//! behind it could hold so many items, so hostile bytes allocate nothing that honest ones of their size would not.

mod reader;
mod token;
mod writer;

pub use reader::{Fault, Reader, check};
pub use token::{Date, Duration, Time, Token};
pub use writer::Writer;

/// Most bytes that the values of one tuple take.
pub const MAX_BYTES: usize = 15 << 20;
/// Most values inside of others that one tuple has; a list of so many small ones takes some 64 MiB when it is made.
pub const MAX_ITEMS: usize = 1 << 20;
/// Most levels of values inside of values.
pub const MAX_DEPTH: usize = 256;
/// The longest text that has its length in its tag.
pub const MAX_SHORT: usize = 63;

mod tag {
    pub const SHORT_ASCII: u8 = 0x40;
    pub const OTHERS: u8 = 0x80;
    pub const NONE: u8 = 0x80;
    pub const FALSE: u8 = 0x81;
    pub const TRUE: u8 = 0x82;
    pub const INT8: u8 = 0x83;
    pub const INT16: u8 = 0x84;
    pub const INT32: u8 = 0x85;
    pub const INT64: u8 = 0x86;
    pub const BIG_INT: u8 = 0x87;
    pub const FLOAT: u8 = 0x88;
    pub const COMPLEX: u8 = 0x89;
    pub const ASCII: u8 = 0x8a;
    pub const UTF8: u8 = 0x8b;
    pub const SURROGATES: u8 = 0x8c;
    pub const BYTES: u8 = 0x8d;
    pub const BYTE_ARRAY: u8 = 0x8e;
    pub const LIST: u8 = 0x90;
    pub const TUPLE: u8 = 0x91;
    pub const DICT: u8 = 0x92;
    pub const SET: u8 = 0x93;
    pub const FROZEN_SET: u8 = 0x94;
    pub const DATE: u8 = 0x98;
    pub const TIME: u8 = 0x99;
    pub const DATE_TIME: u8 = 0x9a;
    pub const DURATION: u8 = 0x9b;
    pub const UTC: u8 = 0x9c;
    pub const OFFSET: u8 = 0x9d;
    pub const NAMED_OFFSET: u8 = 0x9e;
    pub const ZONE: u8 = 0x9f;
    pub const DECIMAL: u8 = 0xa0;
    pub const UUID: u8 = 0xa1;
    pub const NUMPY: u8 = 0xa2;
    pub const REGISTERED: u8 = 0xa8;
    pub const PICKLE: u8 = 0xa9;
}
