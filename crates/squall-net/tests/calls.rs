//! A source that calls servers.

use squall_core::framing::Framing;
use squall_net::tcp::{CallOptions, HANDSHAKE, News, Origin, REST_BYTES, Receipts, Server, Source, StreamOptions};
use squall_net::tls::Tls;
use squall_net::wake::Waiter;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

struct Calling {
    source: Source,
    waiter: Waiter,
}

fn calling(servers: &[(&str, u16)], reconnect: bool) -> Calling {
    calling_by(servers, reconnect, None)
}

fn calling_by(servers: &[(&str, u16)], reconnect: bool, tls: Option<Tls>) -> Calling {
    let handshake = if tls.is_some() { Duration::from_millis(50) } else { HANDSHAKE };
    let servers = servers.iter().map(|(host, port)| Server { host: host.to_string(), port: *port }).collect();
    let (first_pause_ns, longest_pause_ns, timeout) = (1_000_000, 20_000_000, Duration::from_secs(5));
    let calls = CallOptions { servers, reconnect, first_pause_ns, longest_pause_ns, timeout };
    let options = StreamOptions {
        framing: Framing::Lines,
        max_record: 100,
        max_connections: 100,
        client_buffer: 1 << 16,
        queue_bytes: 1 << 20,
        rest_bytes: REST_BYTES,
        tls,
        handshake,
        receipts: Receipts::None,
    };
    let waiter = Waiter::new().unwrap();
    let source = Source::start(Origin::Call(calls), options, None, waiter.waker()).unwrap();
    Calling { source, waiter }
}

impl Calling {
    /// Records and news until `enough`.
    fn until(&self, enough: impl Fn(&[Vec<u8>], &[News]) -> bool) -> (Vec<Vec<u8>>, Vec<News>) {
        let (mut records, mut news) = (Vec::new(), Vec::new());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !enough(&records, &news) {
            assert!(Instant::now() < deadline, "got {records:?} and {news:?}");
            match self.source.try_take() {
                Some(chunk) => {
                    records.extend(chunk.records().map(<[u8]>::to_vec));
                    news.extend(chunk.news().cloned());
                }
                None => drop(self.waiter.wait(Some(Duration::from_millis(20)))),
            }
        }
        (records, news)
    }
}

fn server() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn several_servers_are_read_at_once() {
    let (a, b) = (server(), server());
    let calling = calling(&[("127.0.0.1", a.1), ("localhost", b.1)], true);
    for (listener, line) in [(&a.0, b"from a\n"), (&b.0, b"from b\n")] {
        listener.accept().unwrap().0.write_all(line).unwrap();
    }
    let (mut records, _) = calling.until(|records, _| records.len() == 2);
    records.sort();
    assert_eq!(records, [b"from a".to_vec(), b"from b".to_vec()]);
}

#[test]
fn a_lost_server_is_called_again_and_each_change_is_said_once() {
    let (listener, port) = server();
    let calling = calling(&[("127.0.0.1", port)], true);
    drop(listener.accept().unwrap());
    drop(listener);
    calling.until(|_, news| matches!(news.last(), Some(News::Unreachable { .. })));
    let before = calling.source.stats().unreachable;
    let deadline = Instant::now() + Duration::from_secs(10);
    while calling.source.stats().unreachable < before + 3 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut socket = listener.accept().unwrap().0;
    socket.write_all(b"again\n").unwrap();
    let (records, news) = calling.until(|records, _| !records.is_empty());
    assert_eq!(records, [b"again"]);
    assert_eq!(news, [News::Connected { server: format!("127.0.0.1:{port}") }]);
}

#[test]
fn a_name_that_cannot_be_resolved_is_tried_again() {
    let calling = calling(&[("no-such-host.invalid", 9)], true);
    let (_, news) = calling.until(|_, news| !news.is_empty());
    assert!(matches!(&news[0], News::Unreachable { server, .. } if server == "no-such-host.invalid:9"), "{news:?}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while calling.source.stats().unreachable < 2 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert!(!calling.source.finished());
}

#[test]
fn without_reconnecting_the_source_ends_when_its_servers_have_closed() {
    let (a, b) = (server(), server());
    let calling = calling(&[("127.0.0.1", a.1), ("127.0.0.1", b.1)], false);
    for listener in [&a.0, &b.0] {
        listener.accept().unwrap().0.write_all(b"whole\nlast").unwrap();
    }
    let (records, _) = calling.until(|_, _| calling.source.finished());
    assert_eq!(records.len(), 4);
}

#[test]
fn a_server_that_does_not_end_its_hand_shake_is_given_up_and_called_again() {
    let ca = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/authority.pem");
    let (listener, port) = server();
    let calling = calling_by(&[("127.0.0.1", port)], true, Some(Tls::client(Some(&ca), None, None).unwrap()));
    let silent = listener.accept().unwrap();
    let (_, news) = calling.until(|_, news| !news.is_empty());
    let late = |because: &str| because.contains("hand-shake failed: it took more than 50ms");
    assert!(matches!(&news[0], News::Unreachable { because, .. } if late(because)), "{news:?}");
    assert_eq!((calling.source.stats().handshakes, calling.source.stats().records), (1, 0));
    drop((listener.accept().unwrap(), silent));
}

#[test]
fn a_source_without_servers_that_calls_nobody_twice_has_ended() {
    let calling = calling(&[], false);
    calling.until(|_, _| calling.source.finished());
}

#[test]
fn a_source_that_is_dropped_calls_nobody_any_more() {
    let (listener, port) = server();
    let calling = calling(&[("127.0.0.1", port)], true);
    let socket = listener.accept().unwrap().0;
    drop(calling);
    drop(socket);
    listener.set_nonblocking(true).unwrap();
    std::thread::sleep(Duration::from_millis(100)); // longer than several pauses
    assert!(listener.accept().is_err());
}
