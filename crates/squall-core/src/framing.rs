//! Where one record ends and the next begins in a stream of bytes.
//!
//! A [`Splitter`] looks at a buffer that the caller keeps contiguous and says where its records lie, so that no byte
//! is copied for being found. A record over the limit is skipped to its end without being kept.

use std::ops::Range;

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
}

impl std::fmt::Display for RecordFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecordFault::TooLong { max_record, begins } => {
                let begins = String::from_utf8_lossy(begins);
                write!(f, "a record was longer than {max_record} bytes and was skipped; it begins {begins:?}")
            }
            RecordFault::Half { bytes } => write!(f, "the connection ended {bytes} bytes into a record"),
        }
    }
}

const SHOWN: usize = 64;

/// Finds the records of one connection.
pub struct Splitter {
    framing: Framing,
    max_record: usize,
    /// Bytes of the unfinished record that were searched already.
    searched: usize,
    /// Inside a record that is being skipped: bytes still to skip, or None up to its delimiter.
    skipping: Option<Option<u64>>,
}

/// What [`Splitter::split`] found.
#[derive(Debug, Default)]
pub struct Found {
    /// Bytes at the front of the buffer that are dealt with; the rest must be given again, with more behind.
    pub consumed: usize,
    /// What was wrong.
    pub faults: Vec<RecordFault>,
}

impl Splitter {
    /// A splitter for one connection.
    pub fn new(framing: Framing, max_record: usize) -> Self {
        Splitter { framing, max_record, searched: 0, skipping: None }
    }

    /// Finds the records in `buffer`, which begins where the last call's rest began.
    pub fn split(&mut self, buffer: &[u8], records: &mut Vec<Range<u32>>) -> Found {
        let mut found = Found::default();
        while self.step(buffer, records, &mut found) {}
        found
    }

    /// The stream has ended: the rest of `buffer` is a record, half of one, or nothing.
    pub fn end(&mut self, buffer: &[u8], records: &mut Vec<Range<u32>>) -> Found {
        let mut found = self.split(buffer, records);
        let rest = &buffer[found.consumed..];
        if self.skipping.take().is_some() || rest.is_empty() {
            found.consumed = buffer.len();
            return found;
        }
        match self.framing {
            Framing::Lines | Framing::Delimiter(_) => {
                records.push(found.consumed as u32..buffer.len() as u32);
            }
            Framing::Fixed(_) | Framing::LengthPrefix { .. } => {
                found.faults.push(RecordFault::Half { bytes: rest.len() });
            }
        }
        found.consumed = buffer.len();
        found
    }

    /// One record or one skip. Whether there may be more.
    fn step(&mut self, buffer: &[u8], records: &mut Vec<Range<u32>>, found: &mut Found) -> bool {
        if self.skipping.is_some() {
            return self.skip(buffer, found);
        }
        match self.framing {
            Framing::Lines | Framing::Delimiter(_) => self.step_delimited(buffer, records, found),
            Framing::Fixed(size) => self.step_sized(buffer, 0, size as u64, records, found),
            Framing::LengthPrefix { bytes, big_endian } => {
                let rest = &buffer[found.consumed..];
                let Some(length) = length_of(rest, bytes as usize, big_endian) else { return false };
                self.step_sized(buffer, bytes as usize, length, records, found)
            }
        }
    }

    fn step_delimited(&mut self, buffer: &[u8], records: &mut Vec<Range<u32>>, found: &mut Found) -> bool {
        let begin = found.consumed;
        let rest = &buffer[begin..];
        match self.find_end(rest) {
            Some((length, after)) if length <= self.max_record => {
                records.push(begin as u32..(begin + length) as u32);
                found.consumed = begin + after;
            }
            Some((_, after)) => {
                found.faults.push(self.too_long(rest));
                found.consumed = begin + after;
            }
            None if rest.len() > self.max_record + self.delimiter_length() => {
                found.faults.push(self.too_long(rest));
                // A delimiter may have begun in the last bytes.
                found.consumed = buffer.len() - (self.delimiter_length() - 1);
                self.skipping = Some(None);
                self.searched = 0;
                return false;
            }
            None => {
                self.searched = rest.len();
                return false;
            }
        }
        self.searched = 0;
        true
    }

    /// (length of the record, bytes to consume) of the record at the front of `rest`, if its end is there.
    fn find_end(&self, rest: &[u8]) -> Option<(usize, usize)> {
        let from = self.searched.saturating_sub(self.delimiter_length() - 1);
        match &self.framing {
            Framing::Delimiter(delimiter) if delimiter.len() > 1 => {
                let at = from + memchr::memmem::find(&rest[from..], delimiter)?;
                Some((at, at + delimiter.len()))
            }
            Framing::Delimiter(delimiter) => {
                let at = from + memchr::memchr(delimiter[0], &rest[from..])?;
                Some((at, at + 1))
            }
            _ => {
                let at = from + memchr::memchr(b'\n', &rest[from..])?;
                let length = if at > 0 && rest[at - 1] == b'\r' { at - 1 } else { at };
                Some((length, at + 1))
            }
        }
    }

    fn delimiter_length(&self) -> usize {
        match &self.framing {
            Framing::Delimiter(delimiter) => delimiter.len().max(1),
            _ => 1,
        }
    }

    fn step_sized(
        &mut self,
        buffer: &[u8],
        header: usize,
        length: u64,
        records: &mut Vec<Range<u32>>,
        found: &mut Found,
    ) -> bool {
        let begin = found.consumed + header;
        if length > self.max_record as u64 {
            found.faults.push(self.too_long(&buffer[begin..]));
            found.consumed = begin;
            self.skipping = Some(Some(length));
            return true;
        }
        let end = begin + length as usize;
        if end > buffer.len() || end == found.consumed {
            return false;
        }
        records.push(begin as u32..end as u32);
        found.consumed = end;
        true
    }

    fn skip(&mut self, buffer: &[u8], found: &mut Found) -> bool {
        let rest = &buffer[found.consumed..];
        match self.skipping {
            Some(Some(left)) => {
                let skipped = left.min(rest.len() as u64);
                found.consumed += skipped as usize;
                self.skipping = if skipped == left { None } else { Some(Some(left - skipped)) };
                self.skipping.is_none()
            }
            _ => match self.find_end(rest) {
                Some((_, after)) => {
                    found.consumed += after;
                    self.skipping = None;
                    true
                }
                None => {
                    let keep = (self.delimiter_length() - 1).min(rest.len());
                    found.consumed = buffer.len() - keep;
                    false
                }
            },
        }
    }

    fn too_long(&self, rest: &[u8]) -> RecordFault {
        RecordFault::TooLong { max_record: self.max_record, begins: rest[..rest.len().min(SHOWN)].to_vec() }
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

    /// Feeds `stream` in pieces cut at `cuts`, as a connection would.
    fn records_of(framing: &Framing, max_record: usize, stream: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, usize) {
        let mut splitter = Splitter::new(framing.clone(), max_record);
        let (mut buffer, mut out, mut faults) = (Vec::new(), Vec::new(), 0);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.push(stream.len());
        cuts.sort_unstable();
        let mut at = 0;
        for cut in cuts {
            buffer.extend_from_slice(&stream[at..cut]);
            at = cut;
            let mut ranges = Vec::new();
            let found = splitter.split(&buffer, &mut ranges);
            out.extend(ranges.iter().map(|r| buffer[r.start as usize..r.end as usize].to_vec()));
            faults += found.faults.len();
            buffer.drain(..found.consumed);
        }
        let mut ranges = Vec::new();
        faults += splitter.end(&buffer, &mut ranges).faults.len();
        out.extend(ranges.iter().map(|r| buffer[r.start as usize..r.end as usize].to_vec()));
        (out, faults)
    }

    fn whole(framing: Framing, stream: &[u8]) -> (Vec<Vec<u8>>, usize) {
        records_of(&framing, 1 << 20, stream, &[])
    }

    #[test]
    fn lines_end_with_either_line_end_and_the_last_needs_none() {
        let (records, faults) = whole(Framing::Lines, b"a\r\n\nbc\nrest");
        assert_eq!(records, [b"a".to_vec(), b"".to_vec(), b"bc".to_vec(), b"rest".to_vec()]);
        assert_eq!(faults, 0);
    }

    #[test]
    fn half_a_record_of_known_length_is_a_fault() {
        assert_eq!(whole(Framing::Fixed(3), b"abcde"), (vec![b"abc".to_vec()], 1));
        let prefix = Framing::LengthPrefix { bytes: 2, big_endian: true };
        assert_eq!(whole(prefix, b"\0\x01x\0\x02y"), (vec![b"x".to_vec()], 1));
    }

    #[test]
    fn an_endless_record_is_skipped_and_the_next_one_is_found() {
        let mut stream = vec![b'x'; 10_000];
        stream.extend_from_slice(b"\nnext\n");
        let cuts: Vec<usize> = (0..100).map(|i| i * 100).collect();
        assert_eq!(records_of(&Framing::Lines, 50, &stream, &cuts), (vec![b"next".to_vec()], 1));
    }

    #[test]
    fn a_huge_length_is_skipped_without_being_kept() {
        let mut stream = 1000_u32.to_le_bytes().to_vec();
        stream.extend(vec![0; 1000]);
        stream.extend_from_slice(b"\x02\0\0\0ok");
        let prefix = Framing::LengthPrefix { bytes: 4, big_endian: false };
        assert_eq!(records_of(&prefix, 50, &stream, &[7, 700]), (vec![b"ok".to_vec()], 1));
    }

    #[test]
    fn empty_records_of_a_length_prefix_are_records() {
        let prefix = Framing::LengthPrefix { bytes: 1, big_endian: true };
        assert_eq!(whole(prefix, b"\0\0\x01z"), (vec![vec![], vec![], b"z".to_vec()], 0));
    }

    fn framings() -> impl Strategy<Value = Framing> {
        prop_oneof![
            Just(Framing::Lines),
            Just(Framing::Delimiter(b"|".to_vec())),
            Just(Framing::Delimiter(b"aab".to_vec())),
            (1_usize..9).prop_map(Framing::Fixed),
            (prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)], any::<bool>())
                .prop_map(|(bytes, big_endian)| Framing::LengthPrefix { bytes, big_endian }),
        ]
    }

    proptest! {
        #[test]
        fn the_same_bytes_give_the_same_records_however_they_are_cut(
            framing in framings(),
            stream in prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'\n'), Just(b'\r'), Just(b'|'), Just(0), any::<u8>()], 0..200),
            cuts in prop::collection::vec(any::<usize>(), 0..20),
            max_record in 1_usize..40,
        ) {
            let once = records_of(&framing, max_record, &stream, &[]).0;
            let cut = records_of(&framing, max_record, &stream, &cuts).0;
            prop_assert_eq!(once, cut);
        }
    }
}
