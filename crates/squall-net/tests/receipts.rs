//! Receipts (semantics 32) against real sockets: what is sent when, and when the connection closes.

use squall_core::framing::Framing;
use squall_core::tally::Outputs;
use squall_net::tcp::{Ends, HANDSHAKE, Origin, REST_BYTES, Receipts, Source, StreamOptions};
use squall_net::wake::Waiter;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A source, and a loop that keeps the tickets of what it took.
struct Loop {
    source: Source,
    receipts: Ends,
    waiter: Waiter,
    listener: std::net::SocketAddr,
    tickets: Vec<(String, u32)>,
}

fn serving(options: StreamOptions) -> Loop {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let waiter = Waiter::new().unwrap();
    let source = Source::start(Origin::Listen(listener.into()), options, None, waiter.waker()).unwrap();
    let receipts = source.ends(Outputs::One).unwrap();
    Loop { source, receipts, waiter, listener: at, tickets: Vec::new() }
}

fn options() -> StreamOptions {
    StreamOptions {
        framing: Framing::Lines,
        max_record: 100,
        max_connections: 100,
        client_buffer: 1 << 16,
        queue_bytes: 1 << 20,
        rest_bytes: REST_BYTES,
        tls: None,
        handshake: HANDSHAKE,
        receipts: Receipts::Processed,
    }
}

impl Loop {
    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.listener).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client
    }

    /// Takes chunks until `n` records are under way.
    fn take(&mut self, n: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.tickets.len() < n {
            assert!(Instant::now() < deadline, "{} of {n} records came", self.tickets.len());
            self.take_chunk();
        }
    }

    fn take_chunk(&mut self) {
        let Some(chunk) = self.source.try_take() else {
            self.waiter.wait(Some(Duration::from_millis(10)));
            return;
        };
        let slot = self.receipts.slot(chunk.connection);
        let mut skipped = chunk.skipped().iter().peekable();
        for i in 0..=chunk.len() {
            while skipped.next_if(|before| **before as usize <= i).is_some() {
                self.receipts.skip(slot);
            }
            if i < chunk.len() {
                self.receipts.begin_record(slot);
                let ticket = self.receipts.begin();
                self.receipts.end_record();
                self.tickets.push((String::from_utf8(chunk.record(i).to_vec()).unwrap(), ticket));
            }
        }
        if chunk.is_last() {
            self.receipts.close(chunk.connection);
        }
    }

    fn end(&mut self, record: &str) {
        let at = self.tickets.iter().position(|(one, _)| one == record).unwrap();
        let (_, ticket) = self.tickets.swap_remove(at);
        self.receipts.end(ticket);
    }
}

fn next(client: &TcpStream) -> String {
    let mut line = String::new();
    BufReader::with_capacity(1, client).read_line(&mut line).unwrap();
    line
}

fn rest(mut client: &TcpStream) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    rest
}

// semantics 32
#[test]
fn each_connection_is_told_its_own_contiguous_prefix() {
    let mut serving = serving(options());
    let (a, b) = (serving.connect(), serving.connect());
    (&a).write_all(b"a1\na2\na3\n").unwrap();
    serving.take(3);
    (&b).write_all(b"b1\nb2\n").unwrap();
    serving.take(5);
    ["a2", "b1", "a3"].iter().for_each(|record| serving.end(record));
    assert_eq!(next(&b), "1\n");
    serving.end("a1");
    assert_eq!(next(&a), "3\n");
    serving.end("b2");
    assert_eq!(next(&b), "2\n");
}

// semantics 32
#[test]
fn a_receipt_comes_within_100_ms_although_the_loop_takes_nothing() {
    let mut serving = serving(StreamOptions { queue_bytes: 1, ..options() });
    let client = serving.connect();
    (&client).write_all(b"first\n").unwrap();
    serving.take(1);
    (&client).write_all(&b"more\n".repeat(100_000)).unwrap();
    let late = serving.connect();
    serving.end("first");
    let began = Instant::now();
    assert_eq!(next(&client), "1\n");
    assert!(began.elapsed() < Duration::from_millis(1000), "a busy machine is given time: {:?}", began.elapsed());
    drop(late);
}

// semantics 32
#[test]
fn receipts_come_while_bytes_never_stop() {
    let mut serving = serving(options());
    let (client, stop) = (serving.connect(), Arc::new(AtomicBool::new(false)));
    let (mut sender, stopped) = (client.try_clone().unwrap(), stop.clone());
    let sending = std::thread::spawn(move || {
        while !stopped.load(Relaxed) {
            let _ = sender.write_all(&b"line\n".repeat(1000));
        }
    });
    client.set_nonblocking(true).unwrap();
    let (mut told, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(10));
    while told.iter().filter(|byte| **byte == b'\n').count() < 5 {
        assert!(Instant::now() < deadline, "{:?}", String::from_utf8(told));
        serving.take_chunk();
        for (_, ticket) in std::mem::take(&mut serving.tickets) {
            serving.receipts.end(ticket);
        }
        let _ = (&client).read_to_end(&mut told);
    }
    stop.store(true, Relaxed);
    drop(serving);
    drop(client);
    sending.join().unwrap();
}

// semantics 32
#[test]
fn a_half_closed_connection_is_closed_after_the_receipt_of_its_last_record() {
    let mut serving = serving(options());
    let client = serving.connect();
    (&client).write_all(b"one\ntwo\nlast").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    serving.take(3);
    ["last", "two", "one"].iter().for_each(|record| serving.end(record));
    assert_eq!(rest(&client), "3\n");
    assert_eq!(rest(&serving_nothing(&mut serving)), "");
}

fn serving_nothing(serving: &mut Loop) -> TcpStream {
    let client = serving.connect();
    client.shutdown(Shutdown::Write).unwrap();
    client
}

// semantics 32
#[test]
fn a_skipped_record_is_counted_in_its_place() {
    let mut serving = serving(options());
    let client = serving.connect();
    let too_long = [b'x'; 200];
    (&client).write_all(&[b"one\n".as_slice(), &too_long, b"\ntwo\n", &too_long, b"\n"].concat()).unwrap();
    serving.take(2);
    serving.end("two");
    serving.end("one");
    client.shutdown(Shutdown::Write).unwrap();
    assert!(rest(&client).ends_with("4\n"));
}

// semantics 32, 35
#[test]
fn in_a_drain_the_last_receipt_comes_before_the_close() {
    let mut serving = serving(options());
    let client = serving.connect();
    (&client).write_all(b"one\ntwo\nhal").unwrap();
    serving.take(2);
    serving.end("one");
    serving.source.stop_accepting();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !serving.source.finished() {
        assert!(Instant::now() < deadline);
        serving.take_chunk();
    }
    let _ = (&client).write_all(b"never read\n"); // must not turn the close into a reset that eats the receipt
    serving.end("two");
    let closing = std::thread::spawn(move || serving.source.close());
    assert!(rest(&client).ends_with("2\n"));
    drop(client);
    closing.join().unwrap();
}

#[test]
fn a_reset_connection_gives_its_count_back() {
    let mut serving = serving(options());
    for n in 0..50 {
        let client = serving.connect();
        writeln!(&client, "{n}").unwrap();
        serving.take(1);
        drop(client);
        serving.end(&n.to_string());
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while serving.source.stats().connections > 0 {
        assert!(Instant::now() < deadline, "{:?}", serving.source.stats());
        serving.take_chunk();
    }
}
