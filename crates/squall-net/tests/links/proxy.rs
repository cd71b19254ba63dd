//! Links over connections that do what they like.

use super::ends::{End, is_settled, pair_over, path, run, until};
use proptest::prelude::*;
use squall_net::link::GateOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a connection does to what goes through it, in each direction.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nothing.
    None,
    /// What comes goes on some turns later.
    Delays(u32),
    /// It breaks after so many bytes.
    Cuts(usize),
    /// It gives on one byte a turn, up to so many.
    Trickles(usize),
    /// It changes this byte.
    Corrupts(usize),
    /// After so many bytes nothing goes through any more, and it does not end.
    HalfOpens(usize),
}

struct Way {
    from: UnixStream,
    to: UnixStream,
    waiting: Vec<u8>,
    passed: usize,
    turns: u32,
}

impl Way {
    /// Moves what can be moved. Whether the connection goes on.
    fn turn(&mut self, fault: Fault) -> bool {
        let mut buffer = [0; 16 << 10];
        match self.from.read(&mut buffer) {
            Ok(0) => return false,
            Ok(bytes) => {
                let came = self.passed + self.waiting.len();
                if let Fault::Corrupts(at) = fault
                    && (came..came + bytes).contains(&at)
                {
                    buffer[at - came] ^= 0x10;
                }
                self.waiting.extend(&buffer[..bytes]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        self.turns += u32::from(!self.waiting.is_empty());
        let most = match fault {
            Fault::None | Fault::Corrupts(_) => usize::MAX,
            Fault::Delays(turns) => {
                if self.turns > turns {
                    usize::MAX
                } else {
                    0
                }
            }
            Fault::Cuts(at) | Fault::HalfOpens(at) => at - self.passed,
            Fault::Trickles(most) => {
                if self.passed < most {
                    1
                } else {
                    usize::MAX
                }
            }
        };
        let most = most.min(self.waiting.len());
        match self.to.write(&self.waiting[..most]) {
            Ok(bytes) => {
                self.waiting.drain(..bytes);
                self.passed += bytes;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        if self.waiting.is_empty() {
            self.turns = 0;
        }
        !matches!(fault, Fault::Cuts(at) if self.passed == at)
    }
}

/// Takes connections at one path and leads them to another; the first ones have the faults.
struct Proxy {
    listener: UnixListener,
    to: PathBuf,
    faults: Vec<Fault>,
    connections: Vec<(Fault, [Way; 2])>,
}

impl Proxy {
    fn new(at: &Path, to: &Path, mut faults: Vec<Fault>) -> Proxy {
        let listener = UnixListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        faults.reverse();
        Proxy { listener, to: to.to_owned(), faults, connections: Vec::new() }
    }

    fn turn(&mut self) {
        while let Ok((caller, _)) = self.listener.accept() {
            let callee = UnixStream::connect(&self.to).unwrap();
            caller.set_nonblocking(true).unwrap();
            callee.set_nonblocking(true).unwrap();
            let way = |from: &UnixStream, to: &UnixStream| Way {
                from: from.try_clone().unwrap(),
                to: to.try_clone().unwrap(),
                waiting: Vec::new(),
                passed: 0,
                turns: 0,
            };
            let ways = [way(&caller, &callee), way(&callee, &caller)];
            self.connections.push((self.faults.pop().unwrap_or(Fault::None), ways));
        }
        self.connections.retain_mut(|(fault, ways)| {
            let goes_on = [ways[0].turn(*fault), ways[1].turn(*fault)];
            goes_on == [true, true]
        });
    }
}

/// A peer may be silent for 1,000 turns at first: more than anything is delayed for.
const TURN_NS: u64 = 5_000_000;

fn options() -> GateOptions {
    GateOptions {
        handshake: Duration::from_millis(100),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
        ..GateOptions::default()
    }
}

fn through(faults: Vec<Fault>, sizes: &[usize]) -> (End, End, Proxy) {
    let (at, way) = (path(), path());
    let mut proxy = Proxy::new(&way, &at, faults);
    let (mut a, mut b) = pair_over(&at, &way, &options());
    (a.turn_ns, b.turn_ns) = (TURN_NS, TURN_NS);
    let mut sizes = sizes.iter();
    run(&mut a, &mut b, |a, b| {
        proxy.turn();
        if let Some(bytes) = sizes.next() {
            a.send(*bytes);
            b.send(bytes / 2);
        }
        sizes.len() == 0 && is_settled(a, b)
    });
    let _ = (std::fs::remove_file(at), std::fs::remove_file(way));
    (a, b, proxy)
}

fn fault() -> impl Strategy<Value = Fault> {
    // Within the hand-shake (113 bytes of the caller, 116 of the callee), in the receipt behind it, in frames.
    let at = || prop_oneof![1 => 1_usize..200, 3 => 113_usize..3_000, 1 => 3_000_usize..60_000];
    prop_oneof![
        1 => (1_u32..20).prop_map(Fault::Delays),
        4 => at().prop_map(Fault::Cuts),
        1 => (1_usize..600).prop_map(Fault::Trickles),
        3 => at().prop_map(Fault::Corrupts),
        1 => at().prop_map(Fault::HalfOpens),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, max_shrink_iters: 50, ..ProptestConfig::default() })]

    // semantics 20, semantics 23
    #[test]
    fn whatever_the_way_does_each_frame_comes_once_and_in_order(
        faults in proptest::collection::vec(fault(), 0..6),
        sizes in proptest::collection::vec(prop_oneof![9 => 0_usize..300, 1 => 0_usize..30_000], 1..200),
    ) {
        through(faults, &sizes);
    }

    // semantics 20
    #[test]
    fn a_slow_way_breaks_nothing(turns in 1_u32..30, trickle in 1_usize..2_000, is_delay in any::<bool>()) {
        let fault = if is_delay { Fault::Delays(turns) } else { Fault::Trickles(trickle) };
        let (at, way) = (path(), path());
        let mut proxy = Proxy::new(&way, &at, vec![fault]);
        let (mut a, mut b) = pair_over(&at, &way, &GateOptions::default());
        (0..50).for_each(|i| { a.send(i); b.send(i); });
        run(&mut a, &mut b, |a, b| { proxy.turn(); is_settled(a, b) });
        prop_assert_eq!((a.ups, b.ups), (1, 1));
    }
}

// semantics 20
#[test]
fn a_corrupt_byte_ends_the_stream_is_counted_and_nothing_of_it_is_delivered() {
    let (a, b, _) = through(vec![Fault::Corrupts(113 + 40 + 50)], &[500; 20]);
    let counted: Vec<_> = b.violations.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!((counted, a.ups, b.ups), (vec![("frame_checksum", 1)], 2, 2));
}

// semantics 20
#[test]
fn a_connection_that_is_open_at_one_end_only_is_noticed() {
    let (a, b, proxy) = through(vec![Fault::HalfOpens(1_000)], &[500; 20]);
    assert_eq!((a.ups, b.ups, proxy.connections.len()), (2, 2, 1));
}

// semantics 20
#[test]
fn a_link_that_breaks_between_living_ends_is_had_again_within_a_second() {
    let (at, way) = (path(), path());
    let mut proxy = Proxy::new(&way, &at, Vec::new());
    let (mut a, mut b) = pair_over(&at, &way, &GateOptions::default());
    (a.within, b.within) = (Some(Duration::from_secs(1)), Some(Duration::from_secs(1)));
    for round in 1..=20 {
        a.send(100);
        b.send(100);
        run(&mut a, &mut b, |a, b| {
            proxy.turn();
            is_settled(a, b)
        });
        assert_eq!((a.ups, b.ups, a.given_up, b.given_up), (round, round, 0, 0));
        proxy.connections.clear();
        until(|| {
            a.turn(Duration::ZERO);
            b.turn(Duration::ZERO);
            !a.is_up() && !b.is_up() || a.ups > round
        });
    }
}
