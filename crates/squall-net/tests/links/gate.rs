//! Who is let in, and who not.

use super::ends::{End, SECRET, identity, is_settled, pair, pair_by_tcp, pair_over, path, peer, run, token, until};
use squall_core::ids::{Incarnation, Token};
use squall_net::link::{Address, GateOptions, Peer, Refusal};
use squall_net::tls::Tls;
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

fn at(path: &Path) -> Option<Address> {
    Some(Address::Unix(path.to_owned()))
}

/// A callee (worker 2) that seeks `sought`, and a caller (worker 1, of the secret) that seeks `seeks`; until the callee
/// has refused it.
fn refused(
    sought: Peer,
    secret: [u8; 32],
    seeks: impl Fn(Option<Address>) -> Peer,
) -> (End, End, (Option<u32>, Refusal)) {
    let path = path();
    let options = GateOptions::default();
    let mut callee = End::new(identity(2, SECRET), Some(&path), sought, options.clone());
    let mut caller = End::new(identity(1, secret), None, seeks(at(&path)), options);
    run(&mut caller, &mut callee, |caller, callee| !caller.refused.is_empty() && !callee.refused.is_empty());
    assert_eq!((caller.ups, callee.ups), (0, 0));
    let refusal = callee.refused[0];
    assert!(callee.gate.refusals().of(refusal.1) > 0);
    (caller, callee, refusal)
}

#[test]
fn two_workers_that_seek_each_other_have_a_link_that_carries_frames() {
    let (mut a, mut b, _) = pair();
    (0..1_000).for_each(|i| a.send(i));
    (0..500).for_each(|i| b.send(i));
    run(&mut a, &mut b, is_settled);
    assert_eq!((a.ups, b.ups, a.delivered, b.delivered), (1, 1, 500, 1_000));
    assert_eq!((a.violations.total(), b.violations.total()), (0, 0));
}

#[test]
fn a_link_by_tcp_is_had_as_well() {
    let (mut a, mut b) = pair_by_tcp(&GateOptions::default());
    (0..1_000).for_each(|i| a.send(i));
    (0..100).for_each(|_| b.send(10_000));
    run(&mut a, &mut b, is_settled);
}

#[test]
fn a_caller_with_another_secret_is_refused_and_finds_the_callee_an_impostor() {
    let (path, options) = (path(), GateOptions::default());
    let mut callee = End::new(identity(2, SECRET), Some(&path), peer(1, None), options.clone());
    let mut caller = End::new(identity(1, [8; 32]), None, peer(2, at(&path)), options);
    run(&mut caller, &mut callee, |caller, _| !caller.refused.is_empty());
    assert_eq!(caller.refused, [(Some(2), Refusal::Secret)]);
    // The caller does not go on, so the callee sees that it has hung up.
    run(&mut caller, &mut callee, |_, callee| callee.gate.refusals().of(Refusal::HungUp) > 0);
    assert_eq!((caller.ups, callee.ups), (0, 0));
}

// semantics 21
#[test]
fn an_older_life_is_refused_and_told_that_it_was_replaced() {
    let newer = Peer { token: token(30), ..peer(1, None) };
    let (caller, _, refusal) = refused(newer, SECRET, |address| peer(2, address));
    assert_eq!((refusal, caller.refused[0]), ((Some(1), Refusal::OlderToken), (Some(2), Refusal::Superseded)));
    let newer = Peer { token: Token { epoch: 2, incarnation: Incarnation(1) }, ..peer(1, None) };
    let (_, _, refusal) = refused(newer, SECRET, |address| peer(2, address));
    assert_eq!(refusal, (Some(1), Refusal::OlderToken));
}

// semantics 21
#[test]
fn a_worker_learns_from_a_caller_that_it_was_replaced() {
    let (caller, _, refusal) = refused(peer(1, None), SECRET, |address| Peer { token: token(30), ..peer(2, address) });
    assert_eq!((refusal, caller.refused[0]), ((Some(1), Refusal::Superseded), (Some(2), Refusal::OlderToken)));
}

// semantics 21
#[test]
fn a_life_that_the_loop_was_not_told_of_waits_until_it_was() {
    let older = Peer { token: token(5), ..peer(1, None) };
    let (mut caller, mut callee, refusal) = refused(older, SECRET, |address| peer(2, address));
    assert_eq!(refusal, (Some(1), Refusal::OtherToken));
    callee.seek(peer(1, None));
    run(&mut caller, &mut callee, |caller, callee| (caller.ups, callee.ups) == (1, 1));
}

// semantics 20
#[test]
fn another_session_is_refused() {
    let later = Peer { session: 1, ..peer(1, None) };
    let (_, _, refusal) = refused(later, SECRET, |address| peer(2, address));
    assert_eq!(refusal, (Some(1), Refusal::OtherSession));
}

#[test]
fn a_worker_that_nobody_seeks_or_that_means_another_is_refused() {
    let (_, _, refusal) = refused(peer(0, None), SECRET, |address| peer(2, address));
    assert_eq!(refusal, (Some(1), Refusal::NotSought));
    // It calls worker 3 where worker 2 listens: found out by the caller itself.
    let (path, options) = (path(), GateOptions::default());
    let mut callee = End::new(identity(2, SECRET), Some(&path), peer(1, None), options.clone());
    let mut caller = End::new(identity(1, SECRET), None, peer(3, at(&path)), options);
    run(&mut caller, &mut callee, |caller, _| !caller.refused.is_empty());
    assert_eq!((caller.refused[0], callee.ups), ((Some(3), Refusal::WrongWorker), 0));
}

#[test]
fn a_peer_that_does_not_listen_yet_is_called_until_it_does() {
    let path = path();
    let options = GateOptions::default();
    let mut caller = End::new(identity(1, SECRET), None, peer(2, at(&path)), options.clone());
    until(|| {
        caller.turn(Duration::from_millis(1));
        caller.gate.refusals().of(Refusal::Unreachable) >= 3
    });
    assert_eq!(caller.refused, [(Some(2), Refusal::Unreachable)], "the same cause is told once");
    let mut callee = End::new(identity(2, SECRET), Some(&path), peer(1, None), options);
    run(&mut caller, &mut callee, |caller, callee| (caller.ups, callee.ups) == (1, 1));
}

// semantics 20
#[test]
fn a_peer_that_cannot_be_had_in_time_is_given_up_at_both_ends_and_sought_no_more() {
    let path = path();
    let mut callee = End::new(identity(2, SECRET), Some(&path), peer(1, None), GateOptions::default());
    let mut caller = End::new(identity(1, SECRET), None, peer(2, at(&super::ends::path())), GateOptions::default());
    let within = Some(Duration::from_millis(20));
    caller.gate.seek(caller.peer.clone(), within);
    callee.gate.seek(callee.peer.clone(), within);
    run(&mut caller, &mut callee, |caller, callee| (caller.given_up, callee.given_up) == (1, 1));
    let calls = caller.gate.refusals().of(Refusal::Unreachable);
    let mut late = End::new(identity(1, SECRET), None, peer(2, at(&path)), GateOptions::default());
    run(&mut late, &mut callee, |late, _| !late.refused.is_empty());
    assert_eq!((late.refused[0], callee.ups), ((Some(2), Refusal::NotSought), 0));
    assert_eq!(caller.gate.refusals().of(Refusal::Unreachable), calls);
}

// The stream breaks while a turn of the callee takes long; the caller notices, and is let in again before it does.
// semantics 20
#[test]
fn a_callee_that_notices_late_keeps_the_stream_by_which_it_was_called_meanwhile() {
    let (mut a, mut b, _) = pair();
    b.within = Some(Duration::from_millis(20));
    a.send(1);
    run(&mut a, &mut b, is_settled);
    a.lose();
    until(|| {
        a.turn(Duration::ZERO);
        a.is_up()
    });
    b.lose();
    b.send(1);
    run(&mut a, &mut b, |a, b| is_settled(a, b) && b.is_up());
    let past = Instant::now() + Duration::from_millis(60);
    until(|| {
        b.turn(Duration::from_millis(1));
        Instant::now() > past
    });
    assert_eq!((b.given_up, b.is_up()), (0, true));
    a.lose(); // and it is let in once more
    a.send(1);
    run(&mut a, &mut b, is_settled);
}

// semantics 20
#[test]
fn a_new_session_begins_at_its_first_frame() {
    let (mut a, mut b, path) = pair();
    (0..10).for_each(|_| a.send(10));
    run(&mut a, &mut b, is_settled);
    drop((a, b));
    std::fs::remove_file(&path).unwrap();
    let session = |peer: Peer| Peer { session: 1, ..peer };
    let mut b = End::new(identity(2, SECRET), Some(&path), session(peer(1, None)), GateOptions::default());
    let mut a = End::new(identity(1, SECRET), None, session(peer(2, at(&path))), GateOptions::default());
    (0..10).for_each(|_| a.send(10));
    run(&mut a, &mut b, is_settled);
}

// Both ends lose the stream at once and seek each other; the caller even several times.
// semantics 20
#[test]
fn calls_at_once_end_in_one_link_that_both_ends_mean() {
    let (mut a, mut b, path) = pair();
    b.peer.address = at(&path); // it could call, but it is the one with the higher number
    for round in 0..30 {
        a.send(100);
        b.send(100);
        if round % 3 > 0 {
            a.lose();
            (0..round % 5).for_each(|_| a.gate.seek(a.peer.clone(), None));
        }
        if round % 2 > 0 {
            b.lose();
        }
        run(&mut a, &mut b, is_settled);
    }
    assert_eq!((a.violations.total(), b.violations.total()), (0, 0));
    assert_eq!(b.gate.refusals().of(Refusal::WrongWorker), 0);
}

#[test]
fn another_that_calls_with_an_older_call_of_the_same_life_is_refused() {
    let (mut a, mut b, path) = pair();
    for round in 1..5 {
        a.send(1);
        run(&mut a, &mut b, |a, b| is_settled(a, b) && b.ups == round);
        a.lose();
        b.lose();
    }
    a.send(1);
    run(&mut a, &mut b, |a, b| is_settled(a, b) && b.ups == 5);
    let mut double = End::new(identity(1, SECRET), None, peer(2, at(&path)), GateOptions::default());
    run(&mut double, &mut b, |double, _| !double.refused.is_empty());
    assert_eq!(double.refused[0], (Some(2), Refusal::Overtaken));
    a.send(1);
    run(&mut a, &mut b, is_settled);
    assert_eq!(a.ups, 5);
}

#[test]
fn a_gate_that_is_dropped_ends_its_thread_and_frees_its_socket() {
    let path = path();
    let (a, b) = pair_over(&path, &path, &GateOptions::default());
    drop((a, b));
    assert!(std::os::unix::net::UnixStream::connect(&path).is_err());
}

/// How to be called and how to call by TLS, with a certificate that is made for these tests alone.
fn by_tls() -> GateOptions {
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/links").join(name);
    let (certificate, key) = (file("worker.pem"), file("worker_key.pem"));
    let server = Tls::server(&certificate, &key, None).unwrap();
    let client = Tls::client(Some(&certificate), None, None).unwrap();
    GateOptions { tls: Some((server, client)), ..GateOptions::default() }
}

#[test]
fn a_link_by_tls_carries_frames_both_ways_and_is_resumed() {
    let (mut a, mut b) = pair_by_tcp(&by_tls());
    for round in 1..4 {
        (0..300).for_each(|i| a.send(i * 10));
        (0..10).for_each(|_| b.send(500_000));
        run(&mut a, &mut b, |a, b| is_settled(a, b) && a.ups >= round);
        a.send(10);
        a.lose();
    }
    run(&mut a, &mut b, is_settled);
    assert_eq!((a.violations.total(), b.violations.total()), (0, 0));
}

#[test]
fn by_tls_too_the_secret_decides_and_plain_callers_are_refused() {
    let (mut a, mut b) = pair_by_tcp(&by_tls());
    let Some(Address::Tcp(address)) = a.peer.address.clone() else { panic!("by TCP") };
    let mut other = End::new(identity(1, [8; 32]), None, peer(2, Some(Address::Tcp(address))), by_tls());
    run(&mut other, &mut b, |other, _| !other.refused.is_empty());
    assert_eq!(other.refused[0], (Some(2), Refusal::Secret));
    drop(other);
    let mut plain = std::net::TcpStream::connect(address).unwrap();
    plain.write_all(b"sqlk\x01 and something that is no record of TLS").unwrap();
    until(|| b.gate.refusals().of(Refusal::Garbage) == 1);
    a.send(1);
    run(&mut a, &mut b, is_settled);
}

// So that the rest of a record that was the last one to write is not forgotten.
#[test]
fn what_tls_has_taken_is_written_although_nothing_follows() {
    let (mut a, mut b) = pair_by_tcp(&by_tls());
    run(&mut a, &mut b, |a, b| a.is_up() && b.is_up());
    until(|| {
        a.send(10_000);
        a.turn(Duration::ZERO);
        a.wants_write
    });
    assert!(!a.end.out.has_unsent());
    run(&mut a, &mut b, is_settled);
    assert!(!a.wants_write);
}

// Frames have no signatures.
#[test]
fn without_tls_no_other_host_is_called_and_none_let_in() {
    let far = "192.0.2.1:9".parse().unwrap(); // never anybody's
    let options = GateOptions::default();
    let mut caller = End::new(identity(1, SECRET), None, peer(2, Some(Address::Tcp(far))), options.clone());
    until(|| {
        caller.turn(Duration::from_millis(1));
        !caller.refused.is_empty()
    });
    assert_eq!(caller.refused, [(Some(2), Refusal::Unsecured)]);
    drop(caller);
    let own = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect(far).and_then(|()| socket.local_addr()));
    let Ok(own) = own else { return }; // a host without a network
    let listener = TcpListener::bind((own.ip(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut callee = End::with(identity(2, SECRET), Some(listener.into()), peer(1, None), options);
    let _stranger = TcpStream::connect(address).unwrap();
    until(|| {
        callee.turn(Duration::from_millis(1));
        !callee.refused.is_empty()
    });
    assert_eq!(callee.refused, [(None, Refusal::Unsecured)]);
}

// A Unix socket stays on this host.
#[test]
fn tls_is_for_tcp_alone() {
    let at = path();
    let (mut a, mut b) = pair_over(&at, &at, &by_tls());
    a.send(1);
    run(&mut a, &mut b, is_settled);
}
