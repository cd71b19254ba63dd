//! What holds of any stream of bytes and of any way to tell records apart in it: found in parts, cut anywhere, they are those
//! that a search byte by byte finds in the whole.

use super::script::Script;
use squall_core::framing::{Framing, RecordFault, Splitter};

/// Bytes of a record that is too long which its report shows.
const SHOWN: usize = 64;

/// What comes of a stream, in order.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Record(Vec<u8>),
    Fault(RecordFault),
}

/// The bytes say how records are told apart, where the stream is cut, and what is in it.
pub fn check_framing(bytes: &[u8]) {
    let mut script = Script(bytes);
    let max_record = 1 + script.below(256);
    let framing = match script.below(4) {
        0 => Framing::Lines,
        1 => {
            let length = 1 + script.below(5);
            Framing::Delimiter(script.bytes(length).to_vec())
        }
        2 => Framing::Fixed(script.below(256)),
        _ => Framing::LengthPrefix { bytes: script.byte() % 10, big_endian: script.byte() & 1 == 1 },
    };
    let Ok(splitter) = Splitter::new(framing.clone(), max_record) else {
        assert!(is_senseless(&framing, max_record));
        return;
    };
    assert!(!is_senseless(&framing, max_record));
    let cuts: Vec<usize> = (0..script.below(16)).map(|_| script.below(256)).collect();
    let found = in_parts(splitter, script.0, &cuts, max_record);
    assert_eq!(
        found,
        in_the_whole(&framing, max_record, script.0),
        "{framing:?}, at most {max_record}, cut at {cuts:?}"
    );
}

fn is_senseless(framing: &Framing, max_record: usize) -> bool {
    match framing {
        Framing::Lines => false,
        Framing::Delimiter(delimiter) => delimiter.is_empty(),
        Framing::Fixed(size) => *size == 0 || *size > max_record,
        Framing::LengthPrefix { bytes, .. } => ![1, 2, 4, 8].contains(bytes),
    }
}

/// As a connection's reader does it; `cuts` are lengths of the parts, again and again.
fn in_parts(mut splitter: Splitter, stream: &[u8], cuts: &[usize], max_record: usize) -> Vec<Came> {
    let (mut came, mut buffer, mut at) = (Vec::new(), Vec::new(), 0);
    let mut cuts = cuts.iter().copied().cycle().take(stream.len());
    loop {
        let end = cuts.next().map_or(stream.len(), |length| stream.len().min(at + length));
        buffer.extend_from_slice(&stream[at..end]);
        at = end;
        let (mut records, is_over) = (Vec::new(), at == stream.len());
        let found = if is_over { splitter.end(&buffer, &mut records) } else { splitter.split(&buffer, &mut records) };
        let mut skipped = found.skipped.iter().peekable();
        let mut faults = found.faults.into_iter();
        for (number, record) in records.iter().enumerate() {
            while skipped.next_if(|before| **before as usize == number).is_some() {
                came.extend(faults.next().map(Came::Fault));
            }
            came.push(Came::Record(buffer[record.start as usize..record.end as usize].to_vec()));
        }
        assert!(skipped.all(|before| *before as usize == records.len()), "in their order");
        came.extend(faults.map(Came::Fault));
        buffer.drain(..found.consumed);
        assert!(buffer.len() <= max_record + 8, "{} bytes are kept", buffer.len());
        if is_over {
            assert!(buffer.is_empty());
            return came;
        }
    }
}

fn in_the_whole(framing: &Framing, max_record: usize, stream: &[u8]) -> Vec<Came> {
    match framing {
        Framing::Lines => delimited(stream, b"\n", max_record, true),
        Framing::Delimiter(delimiter) => delimited(stream, delimiter, max_record, false),
        Framing::Fixed(size) => {
            let chunks = stream.chunks(*size);
            let half = |chunk: &[u8]| Came::Fault(RecordFault::Half { bytes: chunk.len() });
            chunks.map(|chunk| if chunk.len() < *size { half(chunk) } else { Came::Record(chunk.to_vec()) }).collect()
        }
        Framing::LengthPrefix { bytes, big_endian } => prefixed(stream, usize::from(*bytes), *big_endian, max_record),
    }
}

fn judged(record: &[u8], max_record: usize) -> Came {
    match record.len() > max_record {
        true => too_long(record, max_record),
        false => Came::Record(record.to_vec()),
    }
}

fn too_long(record: &[u8], max_record: usize) -> Came {
    Came::Fault(RecordFault::TooLong { max_record, begins: record[..SHOWN.min(max_record)].to_vec() })
}

fn delimited(stream: &[u8], delimiter: &[u8], max_record: usize, is_line: bool) -> Vec<Came> {
    let (mut came, mut record) = (Vec::new(), Vec::new());
    for byte in stream {
        record.push(*byte);
        if let Some(whole) = record.strip_suffix(delimiter) {
            let whole = if is_line { whole.strip_suffix(b"\r").unwrap_or(whole) } else { whole };
            came.push(judged(whole, max_record));
            record.clear();
        }
    }
    came.extend((!record.is_empty()).then(|| judged(&record, max_record)));
    came
}

fn prefixed(mut stream: &[u8], bytes: usize, big_endian: bool, max_record: usize) -> Vec<Came> {
    let mut came = Vec::new();
    while !stream.is_empty() {
        let half = RecordFault::Half { bytes: stream.len() };
        let Some((field, content)) = stream.split_at_checked(bytes) else {
            came.push(Came::Fault(half));
            break;
        };
        let length = (0..bytes)
            .fold(0_u64, |length, i| length << 8 | u64::from(field[if big_endian { i } else { bytes - 1 - i }]));
        let is_long = length > max_record as u64;
        let needed = if is_long { SHOWN.min(max_record) as u64 } else { length };
        if needed > content.len() as u64 {
            came.push(Came::Fault(half));
            break;
        }
        let taken = length.min(content.len() as u64) as usize;
        came.push(match is_long {
            true => too_long(content, max_record),
            false => Came::Record(content[..taken].to_vec()),
        });
        stream = &content[taken..];
    }
    came
}
