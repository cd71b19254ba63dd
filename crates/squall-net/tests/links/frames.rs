//! Frames of every kind over a pair of sockets.

use proptest::prelude::*;
use squall_core::frame::{
    Body, ChannelId, Fault, Grant, Items, Kind, MAX_FRAME_BYTES, RowBuffer, RowFlags, RowPlace, encode, write_items,
};
use squall_core::ids::RootId;
use squall_core::link::{Limits, LinkOut, Violation};
use squall_core::retry::{Action, Failure};
use squall_net::link::{Broken, Socket, Stream};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::ends::token;

/// Calls `each` with a body of each kind; `size` says how long lists and texts are.
fn each_body(size: usize, mut each: impl FnMut(&Body<'_>)) {
    let channel = ChannelId { source: 1, stream: 2, target: 3 };
    let (mut pairs, mut roots, mut grants, mut rows) = (Vec::new(), Vec::new(), Vec::new(), RowBuffer::default());
    write_items(&mut pairs, &vec![(RootId(5), 6); size]);
    write_items(&mut roots, &vec![RootId(7); size]);
    write_items(&mut grants, &vec![Grant { target: 8, total: 9 }; size]);
    let (text, flags) = (vec![b'x'; size], RowFlags { sampled: true, ..RowFlags::default() });
    let trees = vec![(RootId(5), 6); size];
    for sequence in 3..6 {
        let place = RowPlace { source: 1, stream: 2, sequence };
        let write = |out: &mut Vec<u8>| {
            out.extend(&text);
            Ok::<(), ()>(())
        };
        rows.push(place, flags, &trees, None, write).unwrap();
    }
    let failure = Failure { action: Action::Retry, counts: true, after_ns: Some(10) };
    rows.take(usize::MAX, usize::MAX, |rows| each(&Body::Data { target: 4, rows }));
    each(&Body::Ack(Items::new(&pairs).unwrap()));
    each(&Body::Fail { failure, together: true, task: 11, detail: &text, roots: Items::new(&roots).unwrap() });
    each(&Body::Credit(Items::new(&grants).unwrap()));
    each(&Body::Barrier { channel, epoch: 12 });
    each(&Body::Watermark { channel, at_epoch_ms: -13 });
    each(&Body::Idle(channel));
    each(&Body::End(channel));
    each(&Body::Command(&text));
}

fn end() -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Socket::new(Stream::plain(ours.into()).unwrap(), MAX_FRAME_BYTES), theirs)
}

fn encoded(size: usize) -> Vec<u8> {
    let (mut wire, mut sequence) = (Vec::new(), 0);
    let mut add = |body: &Body<'_>| {
        encode(&mut wire, token(1), sequence, body).unwrap();
        sequence += 1;
    };
    add(&Body::Receipt { sequence: 14 });
    each_body(size, add);
    wire
}

/// The expected bodies, as text.
fn expected(size: usize) -> Vec<String> {
    let mut all = vec![format!("{:?}", Body::Receipt { sequence: 14 })];
    each_body(size, |body| all.push(format!("{body:?}")));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    // semantics 24
    #[test]
    fn frames_of_every_kind_are_read_however_they_are_cut(
        size in prop_oneof![0_usize..50, 1_000_usize..4_000],
        cuts in proptest::collection::vec(1_usize..5_000, 1..50),
    ) {
        let (mut socket, mut theirs) = end();
        let (wire, mut came, mut at) = (encoded(size), Vec::new(), 0);
        for cut in cuts.into_iter().cycle() {
            let end = wire.len().min(at + cut);
            theirs.write_all(&wire[at..end]).unwrap();
            at = end;
            socket.read(|header, body| { came.push((header.kind, format!("{body:?}"))); Ok(()) }).unwrap();
            if at == wire.len() {
                break;
            }
        }
        let (kinds, bodies): (Vec<Kind>, Vec<String>) = came.into_iter().unzip();
        prop_assert_eq!(bodies, expected(size));
        prop_assert!(Kind::ALL.iter().all(|kind| kinds.contains(kind)));
    }

    // semantics 24
    #[test]
    fn frames_of_every_kind_are_written_however_little_the_socket_takes(
        size in prop_oneof![0_usize..50, 3_000_usize..5_000],
        reads in proptest::collection::vec(1_usize..200_000, 1..50),
    ) {
        let (mut socket, mut theirs) = end();
        let mut link = LinkOut::new(token(1), 0, Limits::default());
        link.attach(14);
        link.receipt(0).unwrap();
        (0..4).for_each(|_| each_body(size, |body| assert!(link.push(body).is_ok())));
        let (mut wire, mut buffer) = (Vec::new(), vec![0; 200_000]);
        for most in reads.into_iter().cycle() {
            socket.write(&mut link).unwrap();
            prop_assert_eq!(socket.wants_write(), link.has_unsent());
            let bytes = theirs.read(&mut buffer[..most]).unwrap();
            wire.extend(&buffer[..bytes]);
            if !link.has_unsent() {
                break;
            }
        }
        drop(socket);
        theirs.read_to_end(&mut wire).unwrap();
        let first = encoded(size);
        prop_assert_eq!(wire.len() - 40, (first.len() - 40) * 4);
        let body_bytes = u32::from_le_bytes(first[40 + 24..40 + 28].try_into().expect("four bytes")) as usize;
        let body = 40 + 32..40 + 32 + body_bytes;
        prop_assert_eq!(&wire[body.clone()], &first[body]);
        let (mut reader, mut theirs) = end();
        let (mut bodies, mut at) = (Vec::new(), 0);
        while at < wire.len() {
            let end = wire.len().min(at + 50_000);
            theirs.write_all(&wire[at..end]).unwrap();
            at = end;
            reader.read(|_, body| { bodies.push(format!("{body:?}")); Ok(()) }).unwrap();
        }
        let all = expected(size);
        prop_assert_eq!(&bodies[0], &all[0]);
        prop_assert!(bodies[1..].chunks(9).all(|bodies| bodies == &all[1..]));
    }

    // semantics 24
    #[test]
    fn random_bytes_give_a_violation_and_no_frame(bytes in proptest::collection::vec(any::<u8>(), 4..200)) {
        prop_assume!(!bytes.starts_with(b"sqll"));
        let (mut socket, mut theirs) = end();
        theirs.write_all(&bytes).unwrap();
        let result = socket.read(|_, _| panic!("there is no frame"));
        prop_assert!(matches!(result, Err(Broken::Violation(Violation::Frame(Fault::Magic)))));
    }
}

// semantics 24
#[test]
fn the_longest_frame_passes_and_one_over_the_socket_s_limit_is_refused_by_its_header() {
    let order = vec![1; MAX_FRAME_BYTES - 32];
    let mut wire = Vec::new();
    encode(&mut wire, token(1), 0, &Body::Command(&order)).unwrap();
    let (mut socket, mut theirs) = end();
    let sent = wire.clone();
    let writer = std::thread::spawn(move || theirs.write_all(&sent).map(|()| theirs));
    let mut came = 0;
    super::ends::until(|| {
        socket
            .read(|_, body| {
                assert_eq!(*body, Body::Command(&order));
                came += 1;
                Ok(())
            })
            .unwrap();
        came == 1
    });
    drop(writer.join().unwrap().unwrap());
    assert!(matches!(socket.read(|_, _| Ok(())), Err(Broken::Closed)));

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut socket = Socket::new(Stream::plain(ours.into()).unwrap(), 1_000);
    theirs.write_all(&wire[..32]).unwrap();
    let result = socket.read(|_, _| panic!("it is too long"));
    assert!(matches!(result, Err(Broken::Violation(Violation::Frame(Fault::TooLong(_))))), "{result:?}");
}

#[test]
fn a_peer_that_is_gone_is_told_as_such_to_readers_and_writers() {
    let (mut socket, theirs) = end();
    drop(theirs);
    let mut link = LinkOut::new(token(1), 0, Limits::default());
    link.attach(0);
    assert!(matches!(socket.write(&mut link), Err(Broken::Closed)));
    assert!(matches!(socket.read(|_, _| Ok(())), Err(Broken::Closed)));
}

#[test]
fn a_peer_that_always_has_something_does_not_keep_the_loop() {
    let (mut socket, mut theirs) = end();
    let mut wire = Vec::new();
    encode(&mut wire, token(1), 0, &Body::Command(&[0; 1000])).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let writer = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) && theirs.write_all(&wire).is_ok() {}
    });
    let mut returned_early = 0;
    super::ends::until(|| {
        let mut came = 0;
        let has_more = socket
            .read(|_, _| {
                came += 1;
                Ok(())
            })
            .unwrap();
        assert!(came < 3_000, "it gives the loop back after about a mebibyte");
        returned_early += u32::from(has_more);
        returned_early > 0 || came > 0
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    drop(socket);
    writer.join().unwrap();
}

// semantics 24
#[test]
fn a_frame_that_ends_too_early_is_never_given_out() {
    let mut wire = Vec::new();
    encode(&mut wire, token(1), 0, &Body::Command(b"order")).unwrap();
    for length in 0..wire.len() {
        let (mut socket, mut theirs) = end();
        theirs.write_all(&wire[..length]).unwrap();
        if length > 0 {
            assert!(!socket.read(|_, _| panic!("half a frame")).unwrap());
        }
        drop(theirs);
        assert!(matches!(socket.read(|_, _| panic!("half a frame")), Err(Broken::Closed)));
    }
}
