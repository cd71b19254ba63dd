//! Where one record ends and the next begins in a stream of bytes.
//!
//! A [`Splitter`] looks at a buffer that the caller keeps contiguous and says where its records lie, so that no byte
//! is copied for being found. What it finds depends on the bytes alone, never on how they were cut on their way. A
//! record over the limit is skipped to its end without being kept, so a hostile sender costs `max_record` bytes.

use memchr::{memchr, memmem};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Positions in a buffer are 32-bit; half of that leaves room for what is read behind an unfinished record.
const LARGEST_MAX_RECORD: usize = i32::MAX as usize;
const LONGEST_DELIMITER: usize = 64 << 10;
/// Bytes of a record that is too long which its report shows.
const SHOWN: usize = 64;

/// How records are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Ended by a line feed, or by carriage return and line feed; an empty line is a record.
    Lines,
    /// Ended by these bytes.
    Delimiter(Vec<u8>),
    /// Of this many bytes each.
    Fixed(usize),
    /// Led by their length.
    LengthPrefix {
        /// How many bytes the length has: 1, 2, 4 or 8.
        bytes: u8,
        /// Whether the most significant byte comes first.
        big_endian: bool,
    },
}

/// Why no stream can be split in this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingDefect {
    /// The limit of a record's length is 0 or above 2 GiB.
    MaxRecord(usize),
    /// The delimiter is empty or above 64 KiB.
    Delimiter(usize),
    /// The fixed size is 0 or above the limit of a record's length.
    Size(usize),
    /// The length has other than 1, 2, 4 or 8 bytes.
    PrefixBytes(u8),
}

impl fmt::Display for FramingDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FramingDefect::MaxRecord(bytes) => write!(f, "max_record is {bytes}; it is from 1 to {LARGEST_MAX_RECORD}"),
            FramingDefect::Delimiter(bytes) => {
                write!(f, "the delimiter has {bytes} bytes; it has from 1 to {LONGEST_DELIMITER}")
            }
            FramingDefect::Size(bytes) => write!(f, "the fixed size is {bytes}; it is from 1 to max_record"),
            FramingDefect::PrefixBytes(bytes) => write!(f, "the length has {bytes} bytes; it has 1, 2, 4 or 8"),
        }
    }
}

impl std::error::Error for FramingDefect {}

/// What was wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// Longer than the limit; skipped. The first bytes of it.
    TooLong {
        /// The limit.
        max_record: usize,
        /// Up to 64 bytes.
        begins: Vec<u8>,
    },
    /// The stream ended inside a record of known length.
    Half {
        /// How many bytes of it came.
        bytes: usize,
    },
    /// Its connection was closed inside it: unfinished records of all connections were over their limit, it the most.
    Crowded {
        /// How many bytes of it came.
        bytes: usize,
        /// The limit, over all connections.
        rest_bytes: usize,
    },
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordFault::TooLong { max_record, begins } => {
                let begins = String::from_utf8_lossy(begins);
                write!(f, "a record was longer than {max_record} bytes and was skipped; it begins {begins:?}")
            }
            RecordFault::Half { bytes } => write!(f, "the connection ended {bytes} bytes into a record"),
            RecordFault::Crowded { bytes, rest_bytes } => write!(
                f,
                "the connection was closed {bytes} bytes into a record, the longest of the unfinished records of all \
                 connections, which held more than {rest_bytes} bytes"
            ),
        }
    }
}

/// How the end of a record is found.
#[derive(Clone)]
enum Ends {
    /// At a line feed.
    Line,
    /// At this byte.
    Byte(u8),
    /// At these bytes; shared, as each connection has a splitter.
    Bytes(Arc<memmem::Finder<'static>>),
    /// After this many bytes.
    After(usize),
    /// After the length that leads it.
    Prefix { bytes: usize, big_endian: bool },
}

/// What a splitter drops before it looks for a record again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    Nothing,
    Bytes(u64),
    ToDelimiter,
}

/// Finds the records of one connection; a clone of an unused one serves another.
#[derive(Clone)]
pub struct Splitter {
    ends: Ends,
    max_record: usize,
    /// Bytes of the unfinished record that were searched already.
    searched: usize,
    skip: Skip,
}

/// What [`Splitter::split`] found.
#[derive(Debug, Default)]
pub struct Found {
    /// Bytes at the front of the buffer that are dealt with; the rest must be given again, with more behind.
    pub consumed: usize,
    /// What was wrong.
    pub faults: Vec<RecordFault>,
    /// For each record that was too long, how many of `records` come before it.
    pub skipped: Vec<u32>,
}

impl Found {
    fn skip(&mut self, fault: RecordFault, before: &[Range<u32>]) {
        self.faults.push(fault);
        self.skipped.push(before.len() as u32);
    }
}

impl Splitter {
    /// A splitter for one connection, whose records have at most `max_record` bytes.
    pub fn new(framing: Framing, max_record: usize) -> Result<Self, FramingDefect> {
        if !(1..=LARGEST_MAX_RECORD).contains(&max_record) {
            return Err(FramingDefect::MaxRecord(max_record));
        }
        let ends = match framing {
            Framing::Lines => Ends::Line,
            Framing::Delimiter(delimiter) => match delimiter.len() {
                1 => Ends::Byte(delimiter[0]),
                2..=LONGEST_DELIMITER => Ends::Bytes(Arc::new(memmem::Finder::new(&delimiter).into_owned())),
                length => return Err(FramingDefect::Delimiter(length)),
            },
            Framing::Fixed(size) if (1..=max_record).contains(&size) => Ends::After(size),
            Framing::Fixed(size) => return Err(FramingDefect::Size(size)),
            Framing::LengthPrefix { bytes: bytes @ (1 | 2 | 4 | 8), big_endian } => {
                Ends::Prefix { bytes: bytes as usize, big_endian }
            }
            Framing::LengthPrefix { bytes, .. } => return Err(FramingDefect::PrefixBytes(bytes)),
        };
        Ok(Splitter { ends, max_record, searched: 0, skip: Skip::Nothing })
    }

    /// Finds the records in `buffer`, which begins where the last call's rest began.
    ///
    /// Bound: what is left is at most `max_record` bytes and a delimiter or length.
    pub fn split(&mut self, buffer: &[u8], records: &mut Vec<Range<u32>>) -> Found {
        let mut found = Found::default();
        while self.step(buffer, records, &mut found) {}
        found
    }

    /// The stream has ended: the rest of `buffer` is a record, half of one, or nothing.
    pub fn end(&mut self, buffer: &[u8], records: &mut Vec<Range<u32>>) -> Found {
        let mut found = self.split(buffer, records);
        let begin = found.consumed;
        found.consumed = buffer.len();
        let rest = &buffer[begin..];
        if self.skip != Skip::Nothing || rest.is_empty() {
            return found;
        }
        match self.ends {
            Ends::After(_) | Ends::Prefix { .. } => found.faults.push(RecordFault::Half { bytes: rest.len() }),
            _ if rest.len() > self.max_record => found.skip(self.too_long(rest), records),
            _ => records.push(begin as u32..buffer.len() as u32),
        }
        found
    }

    /// One record or one skip. Whether there may be more.
    fn step(&mut self, buffer: &[u8], records: &mut Vec<Range<u32>>, found: &mut Found) -> bool {
        if self.skip != Skip::Nothing {
            return self.skip(buffer, found);
        }
        let rest = &buffer[found.consumed..];
        match self.ends {
            Ends::Line | Ends::Byte(_) | Ends::Bytes(_) => self.step_delimited(rest, records, found),
            Ends::After(size) => self.step_sized(rest, 0, size as u64, records, found),
            Ends::Prefix { bytes, big_endian } => match length_of(rest, bytes, big_endian) {
                Some(length) => self.step_sized(rest, bytes, length, records, found),
                None => false,
            },
        }
    }

    fn step_delimited(&mut self, rest: &[u8], records: &mut Vec<Range<u32>>, found: &mut Found) -> bool {
        let begin = found.consumed;
        match self.find_end(rest) {
            Some((length, after)) => {
                if length <= self.max_record {
                    records.push(begin as u32..(begin + length) as u32);
                } else {
                    found.skip(self.too_long(rest), records);
                }
                found.consumed += after;
                self.searched = 0;
                true
            }
            None if rest.len() > self.max_record + self.begun_end() => {
                found.skip(self.too_long(rest), records);
                self.skip = Skip::ToDelimiter;
                true
            }
            None => {
                self.searched = rest.len();
                false
            }
        }
    }

    fn step_sized(
        &mut self,
        rest: &[u8],
        header: usize,
        length: u64,
        records: &mut Vec<Range<u32>>,
        found: &mut Found,
    ) -> bool {
        let begin = found.consumed + header;
        let content = &rest[header..];
        if length > self.max_record as u64 {
            if content.len() < SHOWN.min(self.max_record) {
                return false; // the report shows how it begins
            }
            found.skip(self.too_long(content), records);
            found.consumed = begin;
            self.skip = Skip::Bytes(length);
            return true;
        }
        if length > content.len() as u64 {
            return false;
        }
        let end = begin + length as usize;
        records.push(begin as u32..end as u32);
        found.consumed = end;
        true
    }

    fn skip(&mut self, buffer: &[u8], found: &mut Found) -> bool {
        let rest = &buffer[found.consumed..];
        match self.skip {
            Skip::Nothing => true,
            Skip::Bytes(left) => {
                let skipped = left.min(rest.len() as u64);
                found.consumed += skipped as usize;
                self.skip = if skipped == left { Skip::Nothing } else { Skip::Bytes(left - skipped) };
                skipped == left
            }
            Skip::ToDelimiter => {
                let end = self.find_end(rest);
                self.searched = 0;
                // Without an end, the bytes that may begin one stay.
                found.consumed +=
                    end.map_or_else(|| rest.len().saturating_sub(self.delimiter() - 1), |(_, after)| after);
                if end.is_some() {
                    self.skip = Skip::Nothing;
                }
                end.is_some()
            }
        }
    }

    /// (length of the record, bytes to consume) of the record at the front of `rest`, if its end is there.
    #[inline]
    fn find_end(&self, rest: &[u8]) -> Option<(usize, usize)> {
        let from = self.searched.saturating_sub(self.delimiter() - 1);
        let unseen = &rest[from..];
        match &self.ends {
            Ends::Line => {
                let at = from + memchr(b'\n', unseen)?;
                let length = if at > 0 && rest[at - 1] == b'\r' { at - 1 } else { at };
                Some((length, at + 1))
            }
            Ends::Byte(byte) => {
                let at = from + memchr(*byte, unseen)?;
                Some((at, at + 1))
            }
            Ends::Bytes(delimiter) => {
                let at = from + delimiter.find(unseen)?;
                Some((at, at + self.delimiter()))
            }
            Ends::After(_) | Ends::Prefix { .. } => None,
        }
    }

    /// Bytes of the delimiter.
    fn delimiter(&self) -> usize {
        match &self.ends {
            Ends::Bytes(delimiter) => delimiter.needle().len(),
            _ => 1,
        }
    }

    /// How many bytes at the end of an unfinished record may be those of its end, not of it.
    fn begun_end(&self) -> usize {
        match &self.ends {
            Ends::Line => 1, // the carriage return
            _ => self.delimiter() - 1,
        }
    }

    fn too_long(&self, rest: &[u8]) -> RecordFault {
        let shown = SHOWN.min(self.max_record);
        RecordFault::TooLong { max_record: self.max_record, begins: rest[..shown].to_vec() }
    }
}

fn length_of(rest: &[u8], bytes: usize, big_endian: bool) -> Option<u64> {
    let field = rest.get(..bytes)?;
    let fold = |length: u64, byte: &u8| length << 8 | *byte as u64;
    Some(if big_endian { field.iter().fold(0, fold) } else { field.iter().rev().fold(0, fold) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Outcome = (Vec<Vec<u8>>, Vec<RecordFault>);

    /// Feeds `stream` in pieces cut at `cuts`, as a connection would.
    fn outcome(framing: &Framing, max_record: usize, stream: &[u8], cuts: &[usize]) -> Outcome {
        let mut splitter = Splitter::new(framing.clone(), max_record).unwrap();
        let (mut buffer, mut records, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.push(stream.len());
        cuts.sort_unstable();
        let mut at = 0;
        let mut take = |buffer: &mut Vec<u8>, found: Found, ranges: Vec<Range<u32>>| {
            records.extend(ranges.iter().map(|r| buffer[r.start as usize..r.end as usize].to_vec()));
            faults.extend(found.faults);
            buffer.drain(..found.consumed);
        };
        for cut in cuts {
            buffer.extend_from_slice(&stream[at..cut]);
            at = cut;
            let mut ranges = Vec::new();
            let found = splitter.split(&buffer, &mut ranges);
            take(&mut buffer, found, ranges);
            assert!(buffer.len() <= max_record + 8, "{} bytes are kept", buffer.len());
        }
        let mut ranges = Vec::new();
        let found = splitter.end(&buffer, &mut ranges);
        take(&mut buffer, found, ranges);
        (records, faults)
    }

    fn whole(framing: Framing, stream: &[u8]) -> Outcome {
        outcome(&framing, 1 << 20, stream, &[])
    }

    fn too_long(max_record: usize, begins: &[u8]) -> RecordFault {
        RecordFault::TooLong { max_record, begins: begins.to_vec() }
    }

    #[test]
    fn lines_end_with_either_line_end_and_the_last_needs_none() {
        let (records, faults) = whole(Framing::Lines, b"a\r\n\nbc\nrest");
        assert_eq!(records, [b"a".to_vec(), b"".to_vec(), b"bc".to_vec(), b"rest".to_vec()]);
        assert_eq!(faults, []);
    }

    #[test]
    fn records_that_were_too_long_are_placed_among_the_others() {
        let mut splitter = Splitter::new(Framing::Lines, 3).unwrap();
        let mut records = Vec::new();
        assert_eq!(splitter.split(b"long1\na\nb\nlong2\nlong3\nc\nlong4", &mut records).skipped, [0, 2, 2, 3]);
    }

    #[test]
    fn half_a_record_of_known_length_is_a_fault() {
        let half = |bytes| vec![RecordFault::Half { bytes }];
        assert_eq!(whole(Framing::Fixed(3), b"abcde"), (vec![b"abc".to_vec()], half(2)));
        let prefix = Framing::LengthPrefix { bytes: 2, big_endian: true };
        assert_eq!(whole(prefix, b"\0\x01x\0\x02y"), (vec![b"x".to_vec()], half(3)));
    }

    #[test]
    fn an_endless_record_is_skipped_and_the_next_one_is_found() {
        let mut stream = vec![b'x'; 10_000];
        stream.extend_from_slice(b"\nnext\n");
        let cuts: Vec<usize> = (0..100).map(|i| i * 100).collect();
        let expected = (vec![b"next".to_vec()], vec![too_long(50, &[b'x'; 50])]);
        assert_eq!(outcome(&Framing::Lines, 50, &stream, &cuts), expected);
    }

    #[test]
    fn a_record_of_just_the_limit_is_kept_and_one_byte_more_is_not() {
        let stream = b"12345\r\n123456\n12345\n123456";
        let expected = (vec![b"12345".to_vec(), b"12345".to_vec()], vec![too_long(5, b"12345"); 2]);
        assert_eq!(outcome(&Framing::Lines, 5, stream, &[]), expected);
    }

    #[test]
    fn a_huge_length_is_skipped_without_being_kept() {
        let mut stream = 1000_u32.to_le_bytes().to_vec();
        stream.extend(vec![7; 1000]);
        stream.extend_from_slice(b"\x02\0\0\0ok");
        let prefix = Framing::LengthPrefix { bytes: 4, big_endian: false };
        let expected = (vec![b"ok".to_vec()], vec![too_long(50, &[7; 50])]);
        assert_eq!(outcome(&prefix, 50, &stream, &[7, 700]), expected);
    }

    #[test]
    fn the_longest_length_there_is_does_no_harm() {
        let prefix = Framing::LengthPrefix { bytes: 8, big_endian: true };
        let stream = [0xff; 300];
        assert_eq!(outcome(&prefix, 50, &stream, &[]), (vec![], vec![too_long(50, &[0xff; 50])]));
    }

    #[test]
    fn empty_records_of_a_length_prefix_are_records() {
        let prefix = Framing::LengthPrefix { bytes: 1, big_endian: true };
        assert_eq!(whole(prefix, b"\0\0\x01z"), (vec![vec![], vec![], b"z".to_vec()], vec![]));
    }

    #[test]
    fn what_could_never_split_is_refused() {
        let refused = |framing, max_record| Splitter::new(framing, max_record).err();
        assert_eq!(refused(Framing::Lines, 0), Some(FramingDefect::MaxRecord(0)));
        assert_eq!(refused(Framing::Lines, usize::MAX), Some(FramingDefect::MaxRecord(usize::MAX)));
        assert_eq!(refused(Framing::Delimiter(vec![]), 9), Some(FramingDefect::Delimiter(0)));
        assert_eq!(refused(Framing::Fixed(0), 9), Some(FramingDefect::Size(0)));
        assert_eq!(refused(Framing::Fixed(10), 9), Some(FramingDefect::Size(10)));
        let prefix = Framing::LengthPrefix { bytes: 3, big_endian: true };
        assert_eq!(refused(prefix, 9), Some(FramingDefect::PrefixBytes(3)));
    }

    fn framings() -> impl Strategy<Value = Framing> {
        prop_oneof![
            Just(Framing::Lines),
            Just(Framing::Delimiter(b"|".to_vec())),
            Just(Framing::Delimiter(b"aab".to_vec())),
            Just(Framing::Fixed(1)),
            Just(Framing::Fixed(7)),
            (prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)], any::<bool>())
                .prop_map(|(bytes, big_endian)| Framing::LengthPrefix { bytes, big_endian }),
        ]
    }

    /// Bytes among which ends of records, halves of ends and small lengths are frequent.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let bytes = [b'a', b'b', b'\n', b'\r', b'|', 0, 0, 0, 1, 3, 200];
        prop::collection::vec(prop_oneof![9 => prop::sample::select(bytes.to_vec()), 1 => any::<u8>()], 0..200)
    }

    /// The delimited records of `stream`, found one byte at a time.
    fn delimited(stream: &[u8], delimiter: &[u8]) -> Vec<Vec<u8>> {
        let (mut records, mut record) = (Vec::new(), Vec::new());
        for byte in stream {
            record.push(*byte);
            if record.ends_with(delimiter) {
                record.truncate(record.len() - delimiter.len());
                records.push(std::mem::take(&mut record));
            }
        }
        records.extend((!record.is_empty()).then_some(record));
        records
    }

    proptest! {
        #[test]
        fn the_same_bytes_give_the_same_records_and_faults_however_they_are_cut(
            framing in framings(),
            stream in streams(),
            cuts in prop::collection::vec(any::<usize>(), 0..20),
            max_record in 7_usize..40,
        ) {
            let once = outcome(&framing, max_record, &stream, &[]);
            prop_assert_eq!(once, outcome(&framing, max_record, &stream, &cuts));
        }

        #[test]
        fn delimited_records_are_those_of_a_search_byte_by_byte(
            stream in streams(),
            delimiter in prop_oneof![Just("|"), Just("aab"), Just("\r\n")],
            max_record in 1_usize..40,
        ) {
            let framing = Framing::Delimiter(delimiter.as_bytes().to_vec());
            let (kept, skipped): (Vec<_>, Vec<_>) =
                delimited(&stream, delimiter.as_bytes()).into_iter().partition(|record| record.len() <= max_record);
            let (records, faults) = outcome(&framing, max_record, &stream, &[]);
            prop_assert_eq!(records, kept);
            prop_assert_eq!(faults.len(), skipped.len());
        }
    }
}
