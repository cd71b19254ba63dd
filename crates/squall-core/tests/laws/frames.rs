//! Frames: whatever is written is read again, and no bytes do harm.

use proptest::prelude::*;
use squall_core::frame::{
    Body, ChannelId, Fault, Grant, HEADER_BYTES, Header, Items, Kind, MAX_DETAIL_BYTES, MAX_FRAME_BYTES, Row, RowFlags,
    Rows, decode, encode, write_items, write_row,
};
use squall_core::ids::{Incarnation, RootId, Token};
use squall_core::retry::{Action, Failure};

/// A body as owned values, from which the borrowed one is made.
#[derive(Clone, Debug)]
enum Owned {
    Data(u32, Vec<OwnedRow>),
    Ack(Vec<(u64, u64)>),
    Fail(Failure, u32, Vec<u8>, Vec<u64>),
    Credit(Vec<(u32, u64)>),
    Barrier(ChannelId, u64),
    Watermark(ChannelId, i64),
    Idle(ChannelId),
    End(ChannelId),
    Command(Vec<u8>),
    Receipt(u64),
}

#[derive(Clone, Debug)]
struct OwnedRow {
    source: u32,
    stream: u16,
    flags: RowFlags,
    sequence: u64,
    trees: Vec<(u64, u64)>,
    extension: Option<Vec<u8>>,
    values: Vec<u8>,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..60)
}

fn pairs(most: usize) -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec(any::<(u64, u64)>(), 0..most)
}

fn row() -> impl Strategy<Value = OwnedRow> {
    let trees = prop_oneof![20 => pairs(4), 1 => pairs(600)];
    let flags = any::<(bool, bool, bool, bool)>();
    (any::<(u32, u16, u64)>(), flags, trees, proptest::option::of(bytes()), bytes()).prop_map(
        |((source, stream, sequence), (sampled, traced, replay, alone), trees, extension, values)| OwnedRow {
            source,
            stream,
            flags: RowFlags { sampled, traced, replay, alone },
            sequence,
            trees,
            extension,
            values,
        },
    )
}

fn channel() -> impl Strategy<Value = ChannelId> {
    any::<(u32, u16, u32)>().prop_map(|(source, stream, target)| ChannelId { source, stream, target })
}

fn failure() -> impl Strategy<Value = Failure> {
    let action = prop_oneof![Just(Action::Retry), Just(Action::Dead), Just(Action::Drop), Just(Action::Die)];
    (action, any::<bool>(), proptest::option::of(0_u64..u64::MAX)).prop_map(|(action, counts, after_ns)| Failure {
        action,
        counts,
        after_ns,
    })
}

fn body() -> impl Strategy<Value = Owned> {
    prop_oneof![
        (any::<u32>(), proptest::collection::vec(row(), 0..6)).prop_map(|(target, rows)| Owned::Data(target, rows)),
        pairs(20).prop_map(Owned::Ack),
        (failure(), any::<bool>(), any::<u32>(), bytes(), proptest::collection::vec(any::<u64>(), 0..9))
            .prop_map(|(failure, together, task, detail, roots)| Owned::Fail(failure, together, task, detail, roots)),
        proptest::collection::vec(any::<(u32, u64)>(), 0..20).prop_map(Owned::Credit),
        (channel(), any::<u64>()).prop_map(|(channel, epoch)| Owned::Barrier(channel, epoch)),
        (channel(), any::<i64>()).prop_map(|(channel, at)| Owned::Watermark(channel, at)),
        channel().prop_map(Owned::Idle),
        channel().prop_map(Owned::End),
        bytes().prop_map(Owned::Command),
        any::<u64>().prop_map(Owned::Receipt),
    ]
}

fn roots(pairs: &[(u64, u64)]) -> Vec<(RootId, u64)> {
    pairs.iter().map(|(root, xor)| (RootId(*root), *xor)).collect()
}

/// The borrowed body; `scratch` keeps its lists.
fn borrowed<'a>(owned: &'a Owned, scratch: &'a mut Vec<u8>) -> Body<'a> {
    match owned {
        Owned::Data(target, rows) => {
            for row in rows {
                let mut trees = Vec::new();
                write_items(&mut trees, &roots(&row.trees));
                let row = Row {
                    source: row.source,
                    stream: row.stream,
                    flags: row.flags,
                    sequence: row.sequence,
                    trees: Items::new(&trees).expect("whole pairs"),
                    extension: row.extension.as_deref(),
                    values: &row.values,
                };
                write_row(scratch, &row).expect("a short row");
            }
            Body::Data { target: *target, rows: Rows::new(scratch).expect("whole rows") }
        }
        Owned::Ack(acks) => {
            write_items(scratch, &roots(acks));
            Body::Ack(Items::new(scratch).expect("whole pairs"))
        }
        Owned::Fail(failure, together, task, detail, failed) => {
            write_items(scratch, &failed.iter().map(|root| RootId(*root)).collect::<Vec<_>>());
            let roots = Items::new(scratch).expect("whole roots");
            Body::Fail { failure: *failure, together: *together, task: *task, detail, roots }
        }
        Owned::Credit(grants) => {
            let grant = |(target, total): &(u32, u64)| Grant { target: *target, total: *total };
            write_items(scratch, &grants.iter().map(grant).collect::<Vec<_>>());
            Body::Credit(Items::new(scratch).expect("whole grants"))
        }
        Owned::Barrier(channel, epoch) => Body::Barrier { channel: *channel, epoch: *epoch },
        Owned::Watermark(channel, at_epoch_ms) => Body::Watermark { channel: *channel, at_epoch_ms: *at_epoch_ms },
        Owned::Idle(channel) => Body::Idle(*channel),
        Owned::End(channel) => Body::End(*channel),
        Owned::Command(order) => Body::Command(order),
        Owned::Receipt(sequence) => Body::Receipt { sequence: *sequence },
    }
}

const TOKEN: Token = Token { epoch: 7, incarnation: Incarnation(9) };

fn encoded(owned: &Owned, sequence: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, TOKEN, sequence, &borrowed(owned, &mut Vec::new())).expect("a short frame");
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    // semantics 24
    #[test]
    fn every_frame_is_read_as_it_was_written(first in body(), second in body(), sequence in any::<u64>()) {
        let mut wire = encoded(&first, sequence);
        let first_bytes = wire.len();
        wire.extend(encoded(&second, sequence ^ 1));
        let (header, body, used) = decode(&wire).expect("a good frame").expect("a whole frame");
        prop_assert_eq!((header.token, header.sequence, used), (TOKEN, sequence, first_bytes));
        prop_assert_eq!(header.kind, body.kind());
        let (mut scratch, mut more_scratch) = (Vec::new(), Vec::new());
        prop_assert_eq!(body, borrowed(&first, &mut scratch));
        let (_, body, used) = decode(&wire[used..]).expect("a good frame").expect("a whole frame");
        prop_assert_eq!((body, used), (borrowed(&second, &mut more_scratch), wire.len() - first_bytes));
    }

    // semantics 24
    #[test]
    fn rows_are_read_as_they_were_written(rows in proptest::collection::vec(row(), 0..8)) {
        let owned = Owned::Data(1, rows.clone());
        let mut scratch = Vec::new();
        let Body::Data { rows: read, .. } = borrowed(&owned, &mut scratch) else { unreachable!() };
        prop_assert_eq!(read.iter().count(), rows.len());
        for (read, row) in read.iter().zip(&rows) {
            prop_assert_eq!((read.source, read.stream, read.flags), (row.source, row.stream, row.flags));
            prop_assert_eq!((read.sequence, read.values), (row.sequence, &row.values[..]));
            prop_assert_eq!(read.trees.iter().collect::<Vec<_>>(), roots(&row.trees));
            prop_assert_eq!(read.extension, row.extension.as_deref());
        }
    }

    // semantics 24
    #[test]
    fn half_a_frame_waits_for_the_rest(owned in body(), cut in any::<prop::sample::Index>()) {
        let wire = encoded(&owned, 1);
        prop_assert_eq!(decode(&wire[..cut.index(wire.len())]), Ok(None));
    }

    // semantics 24
    #[test]
    fn a_flipped_bit_never_passes(owned in body(), bit in any::<prop::sample::Index>()) {
        let mut wire = encoded(&owned, 1);
        let bit = bit.index(wire.len() * 8);
        wire[bit / 8] ^= 1 << (bit % 8);
        // A flipped length may make the frame seem longer than what came; then it waits, and fails with what follows.
        let passed = decode(&wire).map(|frame| frame.is_some());
        prop_assert!(passed != Ok(true));
    }

    // semantics 24
    #[test]
    fn hostile_bodies_with_good_checksums_are_refused_or_read(kind in 1_u8..=10, junk in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut wire = encoded(&Owned::Command(junk), 1);
        wire[5] = kind;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&wire[..28]), &wire[HEADER_BYTES..]);
        wire[28..32].copy_from_slice(&crc.to_le_bytes());
        match decode(&wire) {
            Ok(Some((_, body, _))) => prop_assert_ne!(format!("{body:?}"), ""),
            Ok(None) => prop_assert!(false, "the frame was whole"),
            Err(fault) => prop_assert!(!fault.to_string().is_empty()),
        }
    }

    // semantics 24
    #[test]
    fn random_bytes_are_never_a_frame(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assume!(!bytes.starts_with(b"sqll"));
        prop_assert!(matches!(decode(&bytes), Ok(None) | Err(Fault::Magic)));
    }
}

// semantics 24
#[test]
fn a_length_over_the_limit_is_refused_from_the_header_alone() {
    let mut wire = encoded(&Owned::Receipt(1), 1);
    wire[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Header::read(&wire[..HEADER_BYTES]), Err(Fault::TooLong(HEADER_BYTES as u64 + u32::MAX as u64)));
}

// semantics 24
#[test]
fn the_longest_frame_passes_and_a_longer_one_leaves_no_trace() {
    let mut out = vec![1, 2, 3];
    let mut order = vec![0; MAX_FRAME_BYTES - HEADER_BYTES];
    encode(&mut out, TOKEN, 1, &Body::Command(&order)).expect("just short enough");
    assert!(decode(&out[3..]).expect("a good frame").is_some());
    out.truncate(3);
    order.push(0);
    assert_eq!(encode(&mut out, TOKEN, 1, &Body::Command(&order)), Err(Fault::TooLong(MAX_FRAME_BYTES as u64 + 1)));
    assert_eq!(out, [1, 2, 3]);
}

// semantics 11, semantics 24
#[test]
fn a_failure_s_text_is_limited() {
    let detail = vec![b'x'; MAX_DETAIL_BYTES + 1];
    let failure = Failure { action: Action::Retry, counts: true, after_ns: None };
    let roots = Items::new(&[]).expect("none");
    let fail = |detail| Body::Fail { failure, together: false, task: 1, detail, roots };
    assert!(encode(&mut Vec::new(), TOKEN, 1, &fail(&detail)).is_err());
    assert!(encode(&mut Vec::new(), TOKEN, 1, &fail(&detail[1..])).is_ok());
}

// semantics 24
#[test]
fn another_version_is_named() {
    let mut wire = encoded(&Owned::Receipt(1), 1);
    wire[4] = 2;
    assert_eq!(decode(&wire), Err(Fault::Version(2)));
    wire[4] = 1;
    wire[5] = 0;
    assert_eq!(decode(&wire), Err(Fault::Kind(0)));
    wire[5] = 11;
    assert_eq!(decode(&wire), Err(Fault::Kind(11)));
}

// The wire's bytes, once and for all: two workers of different releases must understand each other.
// semantics 24
#[test]
fn the_bytes_of_a_frame_are_fixed() {
    let wire = encoded(&Owned::Ack(vec![(0x0102, 0x0304)]), 5);
    let hexadecimal: String = wire.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hexadecimal,
        concat!(
            "73716c6c",
            "01",
            "02",
            "0900",
            "0700000000000000",
            "0500000000000000",
            "10000000",
            "741428ee",
            "0201000000000000",
            "0403000000000000"
        )
    );
}

// semantics 25
#[test]
fn only_data_waits_for_credit() {
    let waiting: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.waits_for_credit()).collect();
    assert_eq!(waiting, [Kind::Data]);
}
