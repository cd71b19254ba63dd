//! The TCP source against real sockets on loopback.

use squall_core::framing::{Framing, RecordFault};
use squall_net::tcp::{HANDSHAKE, Origin, REST_BYTES, Receipts, Source as Reading, StreamOptions};
use squall_net::wake::{Waiter, Wake};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

struct Source {
    listen: Reading,
    waiter: Waiter,
    at: SocketAddr,
}

fn options() -> StreamOptions {
    StreamOptions {
        framing: Framing::Lines,
        max_record: 1 << 20,
        max_connections: 2000,
        client_buffer: 1 << 16,
        queue_bytes: 8 << 20,
        rest_bytes: REST_BYTES,
        tls: None,
        handshake: HANDSHAKE,
        receipts: Receipts::None,
    }
}

fn source(options: StreamOptions) -> Source {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: no pointers. The standard library lets 128 wait, and a refused client tries again after a second.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 4096) }, 0);
    let at = listener.local_addr().unwrap();
    let waiter = Waiter::new().unwrap();
    let wake: Wake = waiter.waker();
    Source { listen: Reading::start(Origin::Listen(listener.into()), options, None, wake).unwrap(), waiter, at }
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

impl Source {
    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).unwrap()
    }

    /// Takes records until `enough`, for at most ten seconds.
    fn take_until(&self, enough: impl Fn(&[Vec<u8>], &[RecordFault]) -> bool) -> (Vec<Vec<u8>>, Vec<RecordFault>) {
        let (mut records, mut faults) = (Vec::new(), Vec::new());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !enough(&records, &faults) {
            assert!(Instant::now() < deadline, "got {} records and {faults:?}", records.len());
            match self.listen.try_take() {
                Some(chunk) => {
                    assert_eq!(chunk.records().len(), chunk.len());
                    records.extend(chunk.records().map(<[u8]>::to_vec));
                    faults.extend_from_slice(chunk.faults());
                }
                None => {
                    self.waiter.wait(Some(Duration::from_millis(50)));
                }
            }
        }
        (records, faults)
    }

    /// Takes `n` records.
    fn take(&self, n: usize) -> Vec<Vec<u8>> {
        self.take_until(|records, _| records.len() >= n).0
    }

    /// Everything that comes up to the end.
    fn take_rest(&self) -> (Vec<Vec<u8>>, Vec<RecordFault>) {
        self.take_until(|_, _| self.listen.finished())
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
    let records = source.take(3);
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
    let records = source.take(50_001);
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
    let records = source.take(1000);
    let mut numbers: Vec<usize> = records.iter().map(|r| String::from_utf8_lossy(r).parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..1000));
    assert_eq!(source.listen.stats().connections, 1000);
}

#[test]
fn a_loop_that_does_not_take_stops_the_sender() {
    let source = source(StreamOptions { queue_bytes: 1 << 20, ..options() });
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
    let records = source.take(whole_lines);
    assert_eq!(records.len(), whole_lines);
}

#[test]
fn a_reset_in_mid_record_is_counted_and_harms_nobody() {
    let source = source(options());
    let other = source.connect();
    let client = source.connect();
    (&client).write_all(b"whole\nhalf").unwrap();
    source.take(1);
    reset(client);
    (&other).write_all(b"alive\n").unwrap();
    let records = source.take(1);
    assert_eq!(records, [b"alive".to_vec()]);
    wait_until(|| source.listen.stats().resets == 1);
}

fn reset(client: TcpStream) {
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
    let source = source(StreamOptions { max_record: 1000, ..options() });
    let client = source.connect();
    let writer = std::thread::spawn(move || {
        for _ in 0..1000 {
            (&client).write_all(&[b'x'; 10_000]).unwrap();
        }
        (&client).write_all(b"\nnext\n").unwrap();
        client
    });
    let (records, faults) = source.take_until(|records, _| !records.is_empty());
    let fault = RecordFault::TooLong { max_record: 1000, begins: vec![b'x'; 64] };
    assert_eq!((records, faults), (vec![b"next".to_vec()], vec![fault]));
    assert_eq!(source.listen.stats().oversize, 1);
    writer.join().unwrap();
}

/// Unfinished records of just this length are kept without a byte more of memory.
const SHORT: usize = 16_000;

#[test]
fn the_longest_unfinished_record_is_given_up_when_all_together_are_too_much() {
    let source = source(StreamOptions { max_record: 200_000, rest_bytes: 100 * SHORT + 100_000, ..options() });
    let clients: Vec<TcpStream> = (0..100).map(|_| source.connect()).collect();
    clients.iter().for_each(|mut client| client.write_all(&[b'x'; SHORT]).unwrap());
    let mut greedy = source.connect();
    let _ = greedy.write_all(&[b'y'; 150_000]); // it may be closed before it has said all
    let (_, faults) = source.take_until(|_, faults| !faults.is_empty());
    let [RecordFault::Crowded { bytes, rest_bytes: 1_700_000 }] = faults[..] else { panic!("{faults:?}") };
    assert!((SHORT..=150_000).contains(&bytes), "{bytes}");
    assert_eq!(greedy.read(&mut [0]).unwrap_or(0), 0);
    clients.iter().for_each(|mut client| client.write_all(b"\n").unwrap());
    assert_eq!(source.take(100), vec![vec![b'x'; SHORT]; 100]);
    assert_eq!((source.listen.stats().crowded, source.listen.stats().connections), (1, 100));
}

#[test]
fn any_number_of_unfinished_records_stays_within_the_limit() {
    let source = source(StreamOptions { max_record: SHORT, rest_bytes: 50 * SHORT, ..options() });
    let clients: Vec<TcpStream> = (0..200).map(|_| source.connect()).collect();
    clients.iter().for_each(|mut client| client.write_all(&[b'x'; SHORT]).unwrap());
    wait_until(|| source.listen.stats().bytes == 200 * SHORT as u64);
    let (_, faults) = source.take_until(|_, faults| faults.len() == 150);
    assert_eq!(faults, vec![RecordFault::Crowded { bytes: SHORT, rest_bytes: 50 * SHORT }; 150]);
    assert_eq!(source.listen.stats().connections, 50);
}

#[test]
fn a_record_of_the_longest_length_has_room_whatever_the_limit_and_gives_it_back() {
    let source = source(StreamOptions { max_record: 1_000_000, rest_bytes: 1, ..options() });
    for _ in 0..10 {
        let mut client = source.connect();
        let writer = std::thread::spawn(move || {
            client.write_all(&[[b'x'; 1_000_000].as_slice(), b"\n", &[b'y'; 1_000_000]].concat()).unwrap();
        });
        let (records, faults) = source.take_until(|records, _| records.len() == 2);
        assert_eq!((records, faults), (vec![vec![b'x'; 1_000_000], vec![b'y'; 1_000_000]], vec![]));
        writer.join().unwrap();
    }
}

#[test]
fn connections_over_the_limit_are_closed() {
    let source = source(StreamOptions { max_connections: 2, ..options() });
    let kept: Vec<TcpStream> = (0..2).map(|_| source.connect()).collect();
    kept.iter().for_each(|mut client| client.write_all(b"here\n").unwrap());
    source.take(2);
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
    source.take(1);
    client.write_all(b"second\nthird\nha").unwrap();
    source.listen.stop_accepting();
    let (records, faults) = source.take_rest();
    assert_eq!(records, [b"second".to_vec(), b"third".to_vec()]);
    assert_eq!(faults, [RecordFault::Half { bytes: 2 }]);
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(source.listen.stats().connections, 0);
}

// semantics 35
#[test]
fn stopping_takes_the_unended_last_line_of_a_sender_that_was_done() {
    let source = source(StreamOptions { queue_bytes: 1, ..options() });
    let mut client = source.connect();
    client.write_all(b"first\n").unwrap();
    wait_until(|| source.listen.has_chunks());
    client.write_all(b"second\nlast").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    source.listen.stop_accepting();
    let (records, faults) = source.take_rest();
    assert_eq!(records, [b"first".to_vec(), b"second".to_vec(), b"last".to_vec()]);
    assert_eq!(faults, []);
}

// semantics 35
#[test]
fn stopping_takes_connections_that_were_not_accepted_yet() {
    let source = source(StreamOptions { queue_bytes: 1, client_buffer: 100, ..options() });
    let busy = source.connect();
    (&busy).write_all(&b"busy\n".repeat(1000)).unwrap();
    wait_until(|| source.listen.has_chunks()); // so the reader waits for room and does not accept
    let mut late = source.connect();
    late.write_all(b"late\n").unwrap();
    source.listen.stop_accepting();
    let (records, _) = source.take_rest();
    assert_eq!((records.len(), records.last()), (1001, Some(&b"late".to_vec())));
}

#[test]
fn half_a_record_of_known_length_at_a_close_is_reported() {
    let framing = Framing::LengthPrefix { bytes: 4, big_endian: true };
    let source = source(StreamOptions { framing, ..options() });
    let client = source.connect();
    (&client).write_all(b"\0\0\0\x02ok\0\0\0\x09half").unwrap();
    drop(client);
    let (records, faults) = source.take_until(|_, faults| !faults.is_empty());
    assert_eq!((records, faults), (vec![b"ok".to_vec()], vec![RecordFault::Half { bytes: 8 }]));
    wait_until(|| source.listen.stats().connections == 0);
    assert_eq!(source.listen.stats().half, 1);
}

#[test]
fn records_longer_than_many_reads_come_whole() {
    let source = source(StreamOptions { client_buffer: 1000, ..options() });
    let client = source.connect();
    let sizes = [100_000, 3, 20_000, 0, 17_000, 500_000, 1];
    let lines = sizes.map(|size| (0..size).map(|i| b'a' + (i % 26) as u8).collect::<Vec<u8>>());
    let stream = lines.join(&b'\n');
    let writer = std::thread::spawn(move || {
        stream.chunks(777).for_each(|piece| (&client).write_all(piece).unwrap());
    });
    assert_eq!(source.take(lines.len()), lines);
    writer.join().unwrap();
}

#[test]
fn memory_is_bounded_by_what_is_allocated_also_for_small_chunks() {
    let source = source(StreamOptions { queue_bytes: 100_000, ..options() });
    let clients: Vec<TcpStream> = (0..500).map(|_| source.connect()).collect();
    let kept: Vec<_> = (0..4)
        .map(|_| {
            clients.iter().for_each(|mut client| client.write_all(b"x\n").unwrap());
            wait_until(|| source.listen.has_chunks());
            source.listen.try_take()
        })
        .collect();
    // As many as there are, or as many as there is room for: a chunk that was taken counts until it is dropped.
    wait_until(|| source.listen.stats().records == 2000 || source.listen.held_bytes() >= 100_000);
    assert!(source.listen.held_bytes() < 200_000, "{}", source.listen.held_bytes());
    drop(kept);
    wait_until(|| {
        while source.listen.try_take().is_some() {}
        source.listen.stats().records == 2000 && source.listen.held_bytes() == 0
    });
}

#[test]
fn dropping_the_source_ends_its_connections_also_while_it_waits_for_room() {
    let source = source(StreamOptions { queue_bytes: 1, ..options() });
    let mut client = source.connect();
    client.write_all(b"first\n").unwrap();
    wait_until(|| source.listen.has_chunks());
    client.write_all(b"second\n").unwrap();
    drop(source);
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn framings_that_could_never_split_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = StreamOptions { framing: Framing::Delimiter(Vec::new()), ..options() };
    let error =
        Reading::start(Origin::Listen(listener.into()), options, None, Waiter::new().unwrap().waker()).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "the delimiter has 0 bytes; it has from 1 to 65536");
}
