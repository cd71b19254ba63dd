//! The TCP source against real sockets on loopback.

use squall_core::framing::Framing;
use squall_net::tcp::{ListenOptions, TcpListen};
use squall_net::wake::{Waiter, Wake};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

struct Source {
    listen: TcpListen,
    waiter: Waiter,
    at: SocketAddr,
}

fn options() -> ListenOptions {
    ListenOptions {
        framing: Framing::Lines,
        max_record: 1 << 20,
        max_connections: 2000,
        client_buffer: 1 << 16,
        queue_bytes: 8 << 20,
    }
}

fn source(options: ListenOptions) -> Source {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let waiter = Waiter::new().unwrap();
    let wake: Wake = waiter.waker();
    Source { listen: TcpListen::start(listener.into(), options, wake).unwrap(), waiter, at }
}

impl Source {
    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).unwrap()
    }

    /// Takes records until `enough`, for at most ten seconds.
    fn take_until(&self, enough: impl Fn(&[Vec<u8>], usize) -> bool) -> (Vec<Vec<u8>>, usize) {
        let (mut records, mut faults) = (Vec::new(), 0);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !enough(&records, faults) {
            assert!(Instant::now() < deadline, "got {} records and {faults} faults", records.len());
            match self.listen.try_take() {
                Some(chunk) => {
                    records.extend((0..chunk.len()).map(|i| chunk.record(i).to_vec()));
                    faults += chunk.faults().len();
                }
                None => {
                    self.waiter.wait(Some(Duration::from_millis(50)));
                }
            }
        }
        (records, faults)
    }
}

#[test]
fn a_byte_at_a_time_makes_the_same_records() {
    let source = source(options());
    let mut client = source.connect();
    client.set_nodelay(true).unwrap();
    for byte in b"one\ntwo\r\nthree\n" {
        client.write_all(&[*byte]).unwrap();
    }
    let (records, _) = source.take_until(|records, _| records.len() == 3);
    assert_eq!(records, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
}

// semantics 32: the half that concerns the kernel, all records are taken and then the connection is closed
#[test]
fn a_half_close_delivers_every_record_and_then_closes() {
    let source = source(options());
    let mut client = source.connect();
    let lines: Vec<u8> = (0..50_000).flat_map(|i| format!("line {i}\n").into_bytes()).chain(*b"rest").collect();
    let writer = {
        let mut client = client.try_clone().unwrap();
        std::thread::spawn(move || {
            client.write_all(&lines).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        })
    };
    let (records, _) = source.take_until(|records, _| records.len() == 50_001);
    assert_eq!(records[50_000], b"rest");
    writer.join().unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_thousand_connections_are_served() {
    let source = source(options());
    let mut clients: Vec<TcpStream> = (0..1000).map(|_| source.connect()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        writeln!(client, "{i}").unwrap();
    }
    let (records, _) = source.take_until(|records, _| records.len() == 1000);
    let mut numbers: Vec<usize> = records.iter().map(|r| String::from_utf8_lossy(r).parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..1000));
    assert_eq!(source.listen.stats().connections, 1000);
}

#[test]
fn a_loop_that_does_not_take_stops_the_sender() {
    let source = source(ListenOptions { queue_bytes: 1 << 20, ..options() });
    let client = source.connect();
    client.set_nonblocking(true).unwrap();
    let line = [b"x".repeat(999), b"\n".to_vec()].concat();
    let (mut sent, mut since) = (0_usize, Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        match (&client).write(&line[sent % 1000..]) {
            Ok(n) => (sent, since) = (sent + n, Instant::now()),
            Err(_) => std::thread::yield_now(),
        }
        assert!(sent < 1 << 28, "the sender was never stopped");
    }
    assert!(source.listen.held_bytes() < 2 << 20, "{}", source.listen.held_bytes());
    let whole_lines = sent / 1000;
    let (records, _) = source.take_until(|records, _| records.len() >= whole_lines);
    assert_eq!(records.len(), whole_lines);
}

#[test]
fn a_reset_in_mid_record_is_counted_and_harms_nobody() {
    let source = source(options());
    let other = source.connect();
    let client = source.connect();
    (&client).write_all(b"whole\nhalf").unwrap();
    source.take_until(|records, _| records.len() == 1);
    reset(client);
    (&other).write_all(b"alive\n").unwrap();
    let (records, _) = source.take_until(|records, _| records.len() == 1);
    assert_eq!(records, [b"alive".to_vec()]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while source.listen.stats().resets != 1 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

fn reset(client: TcpStream) {
    use std::os::fd::AsRawFd;
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = std::mem::size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the option is a local of the size given.
    unsafe {
        libc::setsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size);
    }
    drop(client);
}

#[test]
fn a_line_over_the_limit_is_skipped_in_flat_memory() {
    let source = source(ListenOptions { max_record: 1000, ..options() });
    let client = source.connect();
    let writer = std::thread::spawn(move || {
        for _ in 0..1000 {
            (&client).write_all(&[b'x'; 10_000]).unwrap();
        }
        (&client).write_all(b"\nnext\n").unwrap();
        client
    });
    let (records, faults) = source.take_until(|records, _| !records.is_empty());
    assert_eq!((records, faults), (vec![b"next".to_vec()], 1));
    writer.join().unwrap();
}

#[test]
fn connections_over_the_limit_are_closed() {
    let source = source(ListenOptions { max_connections: 2, ..options() });
    let kept: Vec<TcpStream> = (0..2).map(|_| source.connect()).collect();
    kept.iter().for_each(|mut client| client.write_all(b"here\n").unwrap());
    source.take_until(|records, _| records.len() == 2);
    let mut refused = source.connect();
    assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(source.listen.stats().refused, 1);
}

// semantics 35
#[test]
fn stopping_takes_what_the_sockets_hold_and_then_closes_them() {
    let source = source(options());
    let mut client = source.connect();
    client.write_all(b"first\n").unwrap();
    source.take_until(|records, _| records.len() == 1);
    client.write_all(b"second\nthird\n").unwrap();
    source.listen.stop_accepting();
    let (records, _) = source.take_until(|records, _| records.len() == 2);
    assert_eq!(records, [b"second".to_vec(), b"third".to_vec()]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !source.listen.finished() {
        assert!(Instant::now() < deadline);
        source.waiter.wait(Some(Duration::from_millis(10)));
    }
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
}
