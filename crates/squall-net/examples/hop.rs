//! How long a frame takes from one loop to another: a short one goes to and fro between two threads over a pair of Unix
//! sockets, each with its waiter, link and socket as a worker's loop has them.
//!
//! `cargo run --release -p squall-net --example hop [ROUNDS] [PAUSE_US]`: half a round trip, in µs. With a pause both
//! loops have gone to sleep before each round.

use squall_core::frame::Body;
use squall_core::ids::{Incarnation, Token};
use squall_core::link::{Came, Limits, LinkIn, LinkOut};
use squall_net::link::{Socket, Stream};
use squall_net::wake::Waiter;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const ORDER: Body<'_> = Body::Command(b"x");

fn token(incarnation: u16) -> Token {
    Token { epoch: 1, incarnation: Incarnation(incarnation) }
}

struct End {
    waiter: Waiter,
    socket: Socket,
    outgoing: LinkOut,
    incoming: LinkIn,
}

impl End {
    fn new(socket: UnixStream, own: u16, peer: u16) -> End {
        let socket = Socket::new(Stream::plain(socket.into()).expect("an open socket"), 1 << 20);
        let mut end = End {
            waiter: Waiter::new().expect("descriptors"),
            socket,
            outgoing: LinkOut::new(token(own), 0, Limits::default()),
            incoming: LinkIn::new(token(peer), 0),
        };
        end.waiter.watch(end.socket.as_fd(), 1, false).expect("a socket to wait for");
        end.outgoing.attach(end.incoming.attach());
        end.socket.write(&mut end.outgoing).expect("room for a receipt");
        end
    }

    fn send(&mut self) {
        self.outgoing.push(&ORDER).expect("a short frame");
        self.socket.write(&mut self.outgoing).expect("an open socket");
    }

    /// Sleeps until a frame came. Whether the peer is still there.
    fn receive(&mut self) -> bool {
        let (mut came, mut ready) = (0, Vec::new());
        while came == 0 {
            self.waiter.wait_any(&mut ready, None);
            let (incoming, outgoing) = (&mut self.incoming, &mut self.outgoing);
            let result = self.socket.read(|header, body| {
                match incoming.take(header, body)? {
                    Came::Next => came += 1,
                    Came::Again => {}
                    Came::Receipt(expected) => outgoing.receipt(expected)?,
                }
                Ok(())
            });
            if result.is_err() {
                return false;
            }
            if let Some(received) = incoming.receipt_due() {
                outgoing.tell_received(received);
            }
            self.socket.write(&mut self.outgoing).expect("an open socket");
        }
        true
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<u64>().expect("a number"));
    let (rounds, pause_us) = (numbers.next().unwrap_or(20_000), numbers.next().unwrap_or(0));
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let echo = std::thread::spawn(move || {
        let mut end = End::new(theirs, 2, 1);
        while end.receive() {
            end.send();
        }
    });
    let mut end = End::new(ours, 1, 2);
    let mut hops_us: Vec<f64> = (0..rounds)
        .map(|_| {
            std::thread::sleep(Duration::from_micros(pause_us));
            let began = Instant::now();
            end.send();
            assert!(end.receive());
            began.elapsed().as_nanos() as f64 / 2_000.0
        })
        .collect();
    drop(end);
    echo.join().expect("the other end does not panic");
    hops_us.sort_by(f64::total_cmp);
    let at = |share: f64| hops_us[((hops_us.len() - 1) as f64 * share) as usize];
    println!("hop_p50_us={:.1} hop_p99_us={:.1} rounds={rounds} pause_us={pause_us}", at(0.5), at(0.99));
}
