//! What holds of any bytes as frames and as rows; the fuzzer's target and the replay of its corpus share it.

use squall_core::codec::check;
use squall_core::frame::{Body, HEADER_BYTES, RowBuffer, Rows, decode, encode};
use squall_core::ids::{Incarnation, Token};

/// Any bytes are a frame or a fault. The first byte is also taken as a kind and the rest as a frame's body: a checksum is
/// more than a fuzzer guesses.
pub fn check_frame(bytes: &[u8]) {
    let _ = decode(bytes);
    let Some((kind, body)) = bytes.split_first() else { return };
    let wire = sealed(*kind % 12, body);
    let Ok(Some((header, body, taken))) = decode(&wire) else { return };
    assert_eq!(taken, wire.len());
    let mut again = Vec::new();
    encode(&mut again, header.token, header.sequence, &body).expect("it has just fitted");
    assert_eq!(again, wire, "what was read is written as it came");
    assert!(!format!("{body:?}").is_empty());
    if let Body::Data { rows, .. } = body {
        check_rows(rows);
    }
}

/// The rows are as many as they say, their values are values or a fault, and they leave a buffer as they came into it.
fn check_rows(rows: Rows<'_>) {
    let all: Vec<_> = rows.iter().collect();
    assert_eq!(all.len(), rows.len());
    let mut buffer = RowBuffer::default();
    for row in &all {
        let _ = check(row.values);
        let trees: Vec<_> = row.trees.iter().collect();
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(row.values);
            Ok::<(), ()>(())
        };
        buffer.push(row.place, row.flags, &trees, row.extension, write).expect("it came in a frame");
    }
    let mut left = &all[..];
    while !buffer.is_empty() {
        let part = 1 + left.len() / 2;
        left = buffer.take(part, 1000, |taken| {
            let again = Rows::new(taken.as_bytes()).expect("whole rows");
            assert!((1..=part).contains(&again.len()));
            assert!(again.iter().eq(left[..again.len()].iter().copied()));
            &left[again.len()..]
        });
    }
    assert!(left.is_empty());
}

fn sealed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let token = Token { epoch: 1, incarnation: Incarnation(1) };
    encode(&mut wire, token, 1, &Body::Command(body)).expect("a short frame");
    wire[5] = kind;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&wire[..HEADER_BYTES - 4]), &wire[HEADER_BYTES..]);
    wire[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    wire
}
