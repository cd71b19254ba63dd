//! A source of datagrams against real sockets.

use squall_core::framing::RecordFault;
use squall_net::tcp::{DatagramOptions, News, Source};
use squall_net::wake::Waiter;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

fn source(fd: impl Into<std::os::fd::OwnedFd>, queue_bytes: usize) -> (Source, Waiter) {
    let waiter = Waiter::new().unwrap();
    let options = DatagramOptions { max_record: 1000, queue_bytes };
    (Source::datagrams(fd.into(), options, waiter.waker()).unwrap(), waiter)
}

type Taken = (Vec<Vec<u8>>, Vec<RecordFault>, Vec<News>);

fn until((source, waiter): &(Source, Waiter), enough: impl Fn(&Taken) -> bool) -> Taken {
    let mut taken = Taken::default();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !enough(&taken) {
        assert!(Instant::now() < deadline, "{} records, {:?}", taken.0.len(), source.stats());
        match source.try_take() {
            Some(chunk) => {
                taken.0.extend(chunk.records().map(<[u8]>::to_vec));
                taken.1.extend_from_slice(chunk.faults());
                taken.2.extend(chunk.news().cloned());
            }
            None => drop(waiter.wait(Some(Duration::from_millis(20)))),
        }
    }
    taken
}

fn udp() -> (UdpSocket, UdpSocket) {
    let (socket, client) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    client.connect(socket.local_addr().unwrap()).unwrap();
    (socket, client)
}

#[test]
fn each_datagram_is_a_record_the_empty_one_too() {
    let (socket, client) = udp();
    let source = source(socket, 1 << 20);
    for datagram in [b"one\ntwo".as_slice(), b"", &[b'x'; 1000]] {
        client.send(datagram).unwrap();
    }
    let (records, faults, _) = until(&source, |taken| taken.0.len() == 3);
    assert_eq!(records, [b"one\ntwo".to_vec(), b"".to_vec(), vec![b'x'; 1000]]);
    assert_eq!(faults, []);
}

#[test]
fn a_datagram_that_is_too_long_is_reported() {
    let (socket, client) = udp();
    let source = source(socket, 1 << 20);
    client.send(&[b'x'; 1001]).unwrap();
    client.send(b"next").unwrap();
    let (records, faults, _) = until(&source, |taken| !taken.0.is_empty());
    assert_eq!(records, [b"next"]);
    assert_eq!(faults, [RecordFault::TooLong { max_record: 1000, begins: vec![b'x'; 64] }]);
    assert_eq!(source.0.stats().oversize, 1);
}

#[test]
fn what_the_kernel_drops_is_counted() {
    let (socket, client) = udp();
    let source = source(socket, 1); // room for one batch
    let sent = 100_000;
    for _ in 0..sent {
        let _ = client.send(&[b'x'; 500]);
    }
    let mut taken = 0;
    let deadline = Instant::now() + Duration::from_secs(10);
    while taken as u64 + source.0.stats().dropped < sent {
        assert!(Instant::now() < deadline, "{taken} taken, {:?}", source.0.stats());
        match source.0.try_take() {
            Some(chunk) => taken += chunk.len(),
            None => drop(client.send(b"the kernel tells what it has dropped with the next").map(|_| taken)),
        }
    }
    assert!(source.0.stats().dropped > 0);
}

#[test]
fn stopping_takes_what_the_socket_holds() {
    let (socket, client) = udp();
    let source = source(socket, 1 << 20);
    (0..100).for_each(|_| assert_eq!(client.send(b"x").unwrap(), 1));
    source.0.stop_accepting();
    assert_eq!(until(&source, |_| source.0.finished()).0.len(), 100);
}

#[test]
fn stopping_takes_what_waits_behind_an_empty_datagram() {
    // At any moment; from some on the reader waits for room.
    for moment in 0..20 {
        let (socket, client) = udp();
        let source = source(socket, 1);
        let send = |datagram: &[u8]| assert_eq!(client.send(datagram).unwrap(), datagram.len());
        send(b"first");
        while !source.0.has_chunks() {
            source.1.wait(Some(Duration::from_millis(20)));
        }
        (0..64).for_each(|_| send(b"batch")); // read as one, once there is room
        send(b"");
        send(b"last");
        (0..moment * moment).for_each(|_| std::thread::yield_now());
        source.0.stop_accepting();
        assert_eq!(until(&source, |_| source.0.finished()).0.len(), 67);
    }
}

#[test]
fn senders_of_unix_datagrams_wait_instead() {
    let (socket, client) = UnixDatagram::pair().unwrap();
    let source = source(socket, 1);
    let sender = std::thread::spawn(move || {
        (0..2000).for_each(|n| assert_eq!(client.send(&[b'x'; 500][..n % 500]).unwrap(), n % 500))
    });
    assert_eq!(until(&source, |taken| taken.0.len() == 2000).0.len(), 2000);
    sender.join().unwrap();
    assert_eq!(source.0.stats().dropped, 0);
}
