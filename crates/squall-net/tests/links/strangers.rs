//! Those who do not know the secret: refused, counted, and of no account to others.

use super::ends::{End, is_settled, pair, pair_over, path, run, until};
use proptest::prelude::*;
use squall_core::frame::{Body, encode};
use squall_net::link::{GateOptions, Refusal};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::ends::token;

/// A connection that a stranger has made to the callee's gate.
fn stranger(at: &Path) -> UnixStream {
    UnixStream::connect(at).unwrap()
}

/// Waits until the gate has hung up. What it said before.
fn hung_up(mut stranger: UnixStream) -> Vec<u8> {
    stranger.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut said = Vec::new();
    match stranger.read_to_end(&mut said) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => said,
    }
}

/// A link with frames on it, and that it is the same and goes on after `disturb`.
fn beside_a_link(disturb: impl FnOnce(&End, &Path)) {
    let (mut a, mut b, path) = pair();
    a.send(10);
    run(&mut a, &mut b, is_settled);
    disturb(&b, &path);
    a.send(10);
    b.send(10);
    run(&mut a, &mut b, is_settled);
    assert_eq!((a.ups, b.ups, a.violations.total(), b.violations.total()), (1, 1, 0, 0));
}

/// What a real caller says, recorded by who stands between.
fn recorded() -> (Vec<u8>, Vec<u8>) {
    let (at, way) = (path(), path());
    let between = UnixListener::bind(&way).unwrap();
    let (mut a, mut b) = pair_over(&at, &way, &GateOptions::default());
    let (mut caller, mut callee) = (between.accept().unwrap().0, stranger(&at));
    let (mut hello, mut challenge, mut proof, mut verdict) = ([0; 81], [0; 83], [0; 32], [0; 33]);
    caller.read_exact(&mut hello).unwrap();
    callee.write_all(&hello).unwrap();
    callee.read_exact(&mut challenge).unwrap();
    caller.write_all(&challenge).unwrap();
    caller.read_exact(&mut proof).unwrap();
    callee.write_all(&proof).unwrap();
    callee.read_exact(&mut verdict).unwrap();
    caller.write_all(&verdict).unwrap();
    run(&mut a, &mut b, |a, b| (a.ups, b.ups) == (1, 1));
    (hello.to_vec(), proof.to_vec())
}

#[test]
fn what_is_no_handshake_is_refused_at_once_counted_and_disturbs_no_link() {
    beside_a_link(|callee, at| {
        let mut frame = Vec::new();
        encode(&mut frame, token(11), 0, &Body::Receipt { sequence: 0 }).unwrap();
        let tls_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0; 506]].concat();
        let http = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
        let strange = [http, tls_hello, frame, vec![0; 4_096], b"\n".to_vec()];
        for (number, words) in strange.into_iter().enumerate() {
            let mut stranger = stranger(at);
            let _ = stranger.write_all(&words); // the gate may have hung up by then
            assert_eq!(hung_up(stranger), b"");
            until(|| callee.gate.refusals().of(Refusal::Garbage) == number as u64 + 1);
        }
        let mut stranger = stranger(at);
        stranger.write_all(b"sqlk\x09").unwrap();
        assert_eq!(hung_up(stranger), b"");
        until(|| callee.gate.refusals().of(Refusal::Version) == 1);
    });
}

#[test]
fn every_beginning_of_a_good_handshake_is_counted_when_it_ends_there() {
    let (hello, proof) = recorded();
    beside_a_link(|callee, at| {
        let refusals = callee.gate.refusals();
        for length in 0..hello.len() + proof.len() {
            let mut stranger = stranger(at);
            let words = [&hello[..], &proof].concat();
            stranger.write_all(&words[..length]).unwrap();
            drop(stranger);
            until(|| refusals.of(Refusal::HungUp) == length as u64 + 1);
        }
        assert_eq!(refusals.iter().map(|(_, count)| count).sum::<u64>(), (hello.len() + proof.len()) as u64);
    });
}

#[test]
fn a_handshake_that_is_said_again_is_refused() {
    let (hello, proof) = recorded();
    beside_a_link(|callee, at| {
        let mut stranger = stranger(at);
        stranger.write_all(&hello).unwrap();
        stranger.write_all(&proof).unwrap();
        assert_eq!(hung_up(stranger).len(), 83, "a challenge, and no verdict");
        until(|| callee.gate.refusals().of(Refusal::Secret) == 1);
    });
}

// The caller waits for a challenge that needs the secret, too.
#[test]
fn a_callee_that_does_not_know_the_secret_gets_no_frame() {
    let at = path();
    let impostor = UnixListener::bind(&at).unwrap();
    let identity = super::ends::identity(1, super::ends::SECRET);
    let address = Some(squall_net::link::Address::Unix(at));
    let mut caller = End::new(identity, None, super::ends::peer(2, address), GateOptions::default());
    caller.send(10);
    for words in [&[0; 83][..], b"sqlk\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let (mut called, _) = impostor.accept().unwrap();
        called.read_exact(&mut [0; 81]).unwrap();
        called.write_all(words).unwrap();
        called.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(hung_up(called), b"");
    }
    until(|| {
        caller.turn(Duration::from_millis(1));
        caller.gate.refusals().of(Refusal::Garbage) >= 2
    });
    assert_eq!(caller.ups, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn random_bytes_are_refused_and_disturb_no_link(words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2_000), 1..20)) {
        beside_a_link(|callee, at| {
            for words in &words {
                let mut stranger = stranger(at);
                let _ = stranger.write_all(words);
                let _ = stranger.shutdown(std::net::Shutdown::Write);
                assert_eq!(hung_up(stranger), b"");
            }
            until(|| callee.gate.refusals().iter().map(|(_, count)| count).sum::<u64>() == words.len() as u64);
        });
    }
}

#[test]
fn who_speaks_too_slowly_is_hung_up_on_and_others_get_through_meanwhile() {
    let at = path();
    let handshake = Duration::from_millis(300);
    let options = GateOptions { handshake, ..GateOptions::default() };
    let (hello, _) = recorded();
    let callee = super::ends::identity(2, super::ends::SECRET);
    let mut callee = End::new(callee, Some(&at), super::ends::peer(1, None), options.clone());
    let began = Instant::now();
    let mut slow: Vec<UnixStream> = (0..20).map(|_| stranger(&at)).collect();
    // Byte by byte, without an end.
    let mut said = 0;
    let address = Some(squall_net::link::Address::Unix(at.clone()));
    let mut caller =
        End::new(super::ends::identity(1, super::ends::SECRET), None, super::ends::peer(2, address), options);
    run(&mut caller, &mut callee, |caller, callee| {
        if said < 80 {
            slow.iter_mut().for_each(|slow| drop(slow.write_all(&hello[said..said + 1])));
            said += 1;
        }
        callee.gate.refusals().of(Refusal::Late) == 20 && (caller.ups, callee.ups) == (1, 1)
    });
    assert!(began.elapsed() >= handshake);
    slow.into_iter().for_each(|slow| assert_eq!(hung_up(slow), b""));
}
