//! Frames: whatever is written is read again, and no bytes do harm.

use proptest::prelude::*;
use squall_core::frame::{
    Body, ChannelId, Fault, Grant, HEADER_BYTES, Header, Items, MAX_DETAIL_BYTES, MAX_FRAME_BYTES, MAX_ROW_BYTES,
    NotPushed, RowBuffer, RowFlags, RowPlace, Rows, decode, encode, write_items,
};
use squall_core::ids::{Incarnation, RootId, Token};
use squall_core::retry::{Action, Failure};

/// The first root id that stands for several roots.
const BUNDLE: u64 = (Incarnation::BUNDLE.0 as u64) << 48;

/// A body as owned values, from which the borrowed one is made.
#[derive(Clone, Debug)]
enum Owned {
    Data(u32, Vec<OwnedRow>),
    Ack(Vec<(u64, u64)>),
    Fail(Failure, bool, u32, Vec<u8>, Vec<u64>),
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
    place: RowPlace,
    flags: RowFlags,
    trees: Vec<(u64, u64)>,
    extension: Option<Vec<u8>>,
    values: Vec<u8>,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..60)
}

fn pairs(most: usize) -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((0..BUNDLE, any::<u64>()), 0..most)
}

fn row() -> impl Strategy<Value = OwnedRow> {
    let trees = prop_oneof![20 => pairs(4), 1 => pairs(600)];
    let flags = any::<(bool, bool, bool, bool)>();
    // Few places, so that rows follow each other, and all kinds of places.
    let place = prop_oneof![(0..2_u32, 0..2_u16, 0..4_u64), any::<(u32, u16, u64)>()];
    let values = prop_oneof![bytes(), proptest::collection::vec(any::<u8>(), 100..400)];
    (place, flags, trees, proptest::option::of(bytes()), values).prop_map(
        |((source, stream, sequence), (sampled, traced, replay, alone), trees, extension, values)| OwnedRow {
            place: RowPlace { source, stream, sequence },
            flags: RowFlags { sampled, traced, replay, alone },
            trees,
            extension,
            values,
        },
    )
}

/// Each but those that are to be replayed is the next of its channel, of one tree, as nearly all rows are.
fn mostly_plain(mut rows: Vec<OwnedRow>) -> Vec<OwnedRow> {
    for i in 1..rows.len() {
        if !rows[i].flags.replay {
            let last = rows[i - 1].place;
            rows[i].place = RowPlace { sequence: last.sequence.wrapping_add(1), ..last };
            rows[i].extension = None;
            rows[i].trees.resize(1, (7, 8));
        }
    }
    rows
}

fn channel() -> impl Strategy<Value = ChannelId> {
    any::<(u32, u16, u32)>().prop_map(|(source, stream, target)| ChannelId { source, stream, target })
}

fn failure() -> impl Strategy<Value = Failure> {
    let action = prop_oneof![Just(Action::Retry), Just(Action::Dead)];
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

fn push(buffer: &mut RowBuffer, row: &OwnedRow) {
    let write = |out: &mut Vec<u8>| {
        out.extend_from_slice(&row.values);
        Ok::<(), ()>(())
    };
    buffer.push(row.place, row.flags, &roots(&row.trees), row.extension.as_deref(), write).expect("a short row");
}

fn buffered(rows: &[OwnedRow]) -> RowBuffer {
    let mut buffer = RowBuffer::default();
    rows.iter().for_each(|row| push(&mut buffer, row));
    buffer
}

/// Whether the rows are read as they were written.
fn same(read: Rows<'_>, rows: &[OwnedRow]) -> bool {
    let is_same = |(read, row): (squall_core::frame::Row<'_>, &OwnedRow)| {
        (read.place, read.flags, read.values) == (row.place, row.flags, &row.values[..])
            && read.trees.iter().collect::<Vec<_>>() == roots(&row.trees)
            && read.extension == row.extension.as_deref()
    };
    read.iter().count() == rows.len() && read.iter().zip(rows).all(is_same)
}

/// The borrowed body; `scratch` keeps its lists.
fn borrowed<'a>(owned: &'a Owned, scratch: &'a mut Vec<u8>) -> Body<'a> {
    match owned {
        Owned::Data(target, rows) => {
            let buffer = buffered(rows);
            scratch.extend_from_slice(buffer.rows().as_bytes());
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
        let buffer = buffered(&rows);
        prop_assert_eq!((buffer.len(), buffer.is_empty()), (rows.len(), rows.is_empty()));
        prop_assert!(same(Rows::new(buffer.rows().as_bytes()).expect("whole rows"), &rows));
    }

    // semantics 24, semantics 25
    #[test]
    fn rows_leave_in_parts_of_any_size(rows in proptest::collection::vec(row(), 1..20), most_rows in 1_usize..6, most_bytes in 1_usize..2_000) {
        let mut buffer = buffered(&rows);
        let mut left = &rows[..];
        while !buffer.is_empty() {
            let taken = buffer.take(most_rows, most_bytes, |part| {
                let count = part.len();
                let is_whole = Rows::new(part.as_bytes()).is_ok();
                (count, is_whole && same(part, &left[..count]), part.as_bytes().len())
            });
            let (count, is_same, bytes) = taken;
            prop_assert!(is_same && (1..=most_rows).contains(&count) && (bytes <= most_bytes || count == 1));
            left = &left[count..];
            prop_assert_eq!(buffer.len(), left.len());
            prop_assert!(same(buffer.rows(), left));
        }
        push(&mut buffer, &rows[0]);
        prop_assert!(same(buffer.rows(), &rows[..1]), "the first row after all have left says its place");
    }

    // semantics 24, semantics 25
    #[test]
    fn rows_come_while_others_leave(rows in proptest::collection::vec(row(), 1..40), steps in proptest::collection::vec((0_usize..4, 1_usize..4), 1..40)) {
        let rows = mostly_plain(rows);
        let (mut buffer, mut pushed, mut taken) = (RowBuffer::default(), 0, 0);
        for (pushes, most_rows) in steps {
            for row in rows[pushed..].iter().take(pushes) {
                push(&mut buffer, row);
                pushed += 1;
            }
            let waiting = &rows[taken..pushed];
            prop_assert!(same(Rows::new(buffer.rows().as_bytes()).expect("whole rows"), waiting));
            prop_assert_eq!((buffer.len(), buffer.bytes()), (waiting.len(), buffer.rows().as_bytes().len()));
            if !buffer.is_empty() {
                let (count, is_same) = buffer.take(most_rows, usize::MAX, |part| (part.len(), same(part, &waiting[..part.len()])));
                prop_assert!(is_same && count == most_rows.min(waiting.len()));
                taken += count;
            }
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

// What is dropped or ends its worker is carried out where it failed: nobody tells another worker of it.
// semantics 11, semantics 24
#[test]
fn only_failures_that_the_owner_decides_over_pass() {
    let mut roots = Vec::new();
    write_items(&mut roots, &[RootId(1)]);
    let came = |action| {
        let failure = Failure { action, counts: true, after_ns: None };
        let roots = Items::new(&roots).expect("whole roots");
        let mut wire = Vec::new();
        encode(&mut wire, TOKEN, 1, &Body::Fail { failure, together: false, task: 1, detail: &[], roots }).unwrap();
        decode(&wire).map(|frame| frame.is_some())
    };
    let verdicts = [Action::Retry, Action::Dead, Action::Drop, Action::Die].map(came);
    assert_eq!(verdicts, [Ok(true), Ok(true), Err(Fault::Malformed), Err(Fault::Malformed)]);
}

// semantics 14, semantics 24
#[test]
fn a_row_of_an_id_that_stands_for_several_roots_is_refused() {
    let row = |roots: &[u64]| {
        let mut buffer = RowBuffer::default();
        let (place, flags) = (RowPlace { source: 1, stream: 0, sequence: 1 }, RowFlags::default());
        let trees: Vec<_> = roots.iter().map(|root| (RootId(*root), 5)).collect();
        buffer.push(place, flags, &trees, None, |_| Ok::<(), ()>(())).expect("a short row");
        buffer.push(RowPlace { sequence: 2, ..place }, flags, &trees, None, |_| Ok::<(), ()>(())).expect("a short row");
        Rows::new(buffer.rows().as_bytes()).map(Rows::len)
    };
    assert_eq!(row(&[BUNDLE - 1]), Ok(2));
    assert_eq!(row(&[BUNDLE]), Err(Fault::Malformed));
    assert_eq!(row(&[1, 2, 3, u64::MAX]), Err(Fault::Malformed));
}

// semantics 24, semantics 25
#[test]
fn the_longest_row_passes_also_when_the_one_that_it_follows_has_left() {
    let mut buffer = RowBuffer::default();
    let mut push = |sequence, values_bytes| {
        let place = RowPlace { source: u32::MAX, stream: u16::MAX, sequence };
        buffer.push(place, RowFlags::default(), &[], None, |out| {
            out.resize(out.len() + values_bytes, 0);
            Ok::<(), ()>(())
        })
    };
    push(u64::MAX - 2, 1).expect("a short row");
    push(u64::MAX - 1, MAX_ROW_BYTES - 5).expect("as long as one may be: a head, and a length of 4 bytes");
    for _ in 0..2 {
        buffer.take(1, usize::MAX, |rows| {
            encode(&mut Vec::new(), TOKEN, 1, &Body::Data { target: 1, rows }).expect("it fits into a frame");
        });
    }
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

// semantics 7
#[test]
fn a_row_that_cannot_be_written_leaves_no_trace() {
    let place = RowPlace { source: 1, stream: 2, sequence: 3 };
    let next = RowPlace { sequence: 4, ..place };
    let mut buffer = RowBuffer::default();
    let mut write = |place, bytes: usize, result: Result<(), &'static str>| {
        let pushed = buffer.push(place, RowFlags::default(), &[], None, |out| {
            out.resize(out.len() + bytes, 7);
            result
        });
        (pushed.map(drop), buffer.len(), buffer.bytes())
    };
    assert_eq!(write(place, 1, Ok(())), (Ok(()), 1, 6));
    assert_eq!(write(next, 9, Err("no form")), (Err(NotPushed::Values("no form")), 1, 6));
    assert_eq!(write(next, MAX_ROW_BYTES, Ok(())), (Err(NotPushed::TooLong(MAX_ROW_BYTES + 5)), 1, 6));
    assert_eq!(write(next, 1, Ok(())), (Ok(()), 2, 9));
}

// semantics 23
#[test]
fn a_frame_whose_first_row_follows_is_refused() {
    assert_eq!(Rows::new(&[0x20, 0]), Err(Fault::Malformed));
}

// semantics 24
#[test]
fn the_bytes_of_a_row_are_fixed() {
    let mut buffer = RowBuffer::default();
    for sequence in [300, 301, 303] {
        let place = RowPlace { source: 5, stream: 1, sequence };
        let flags = RowFlags { replay: sequence == 301, ..RowFlags::default() };
        let write = |out: &mut Vec<u8>| {
            out.push(9);
            Ok::<(), ()>(())
        };
        buffer.push(place, flags, &[(RootId(1), 2)], None, write).expect("a short row");
    }
    let ids = [[1, 0, 0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0]].concat();
    let rows = [
        [&[0x40, 5, 1, 0xac, 2][..], &ids, &[1, 9]].concat(),
        [&[0x64][..], &ids, &[1, 9]].concat(),
        [&[0x40, 5, 1, 0xaf, 2][..], &ids, &[1, 9]].concat(),
    ];
    assert_eq!(buffer.rows().as_bytes(), rows.concat());
}
