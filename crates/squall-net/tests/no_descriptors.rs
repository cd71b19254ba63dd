//! A process that has no descriptors left. In a process of its own, as the limit is the whole process's.

use squall_core::framing::Framing;
use squall_net::tcp::{Chunk, HANDSHAKE, Origin, REST_BYTES, Receipts, Source, StreamOptions};
use squall_net::wake::Waiter;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Of the tests here: a limit is that of all.
static ALONE: Mutex<()> = Mutex::new(());

/// Sets how many descriptors this process may have. How many it might before.
fn limit_descriptors(to: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a local.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, to);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        before
    }
}

/// CPU time that the reader's thread has used.
fn reader_cpu() -> Duration {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let of_reader = |thread: &std::path::PathBuf| fs::read_to_string(thread.join("comm")).unwrap() == "squall-source\n";
    let schedule = fs::read_to_string(threads.into_iter().find(of_reader).unwrap().join("schedstat")).unwrap();
    Duration::from_nanos(schedule.split(' ').next().unwrap().parse().unwrap())
}

fn options(receipts: Receipts) -> StreamOptions {
    StreamOptions {
        framing: Framing::Lines,
        max_record: 1000,
        max_connections: 10,
        client_buffer: 1000,
        queue_bytes: 1000,
        rest_bytes: REST_BYTES,
        tls: None,
        handshake: HANDSHAKE,
        receipts,
    }
}

fn take(listen: &Source, waiter: &Waiter) -> Chunk {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        assert!(Instant::now() < deadline);
        match listen.try_take() {
            Some(chunk) => break chunk,
            None => waiter.wait(Some(Duration::from_millis(50))),
        };
    }
}

#[test]
fn a_connection_waits_quietly_until_there_are_descriptors_again() {
    let _alone = ALONE.lock();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let waiter = Waiter::new().unwrap();
    let listen = Source::start(Origin::Listen(listener.into()), options(Receipts::None), None, waiter.waker()).unwrap();
    let next = fs::File::open("/dev/null").unwrap().as_raw_fd() as u64; // free again at once: the client's
    let before = limit_descriptors(next + 1);
    let mut client = TcpStream::connect(at).unwrap();
    client.write_all(b"line\n").unwrap();
    assert!(!waiter.wait(Some(Duration::from_millis(500))), "nothing can come yet");
    limit_descriptors(before);
    let used = reader_cpu();
    assert!(used < Duration::from_millis(100), "it has tried without a pause: {used:?}");
    assert_eq!(take(&listen, &waiter).record(0), b"line");
    listen.close();
}

#[test]
fn a_source_that_ends_without_descriptors_waits_quietly_for_the_last_receipts() {
    let _alone = ALONE.lock();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let waiter = Waiter::new().unwrap();
    let listen =
        Source::start(Origin::Listen(listener.into()), options(Receipts::Processed), None, waiter.waker()).unwrap();
    let mut client = TcpStream::connect(at).unwrap();
    client.write_all(b"line\n").unwrap();
    assert_eq!(take(&listen, &waiter).record(0), b"line");
    let next = fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let before = limit_descriptors(next + 1);
    let _late = TcpStream::connect(at).unwrap();
    waiter.wait(Some(Duration::from_millis(50)));
    listen.stop_accepting();
    while waiter.wait(Some(Duration::from_millis(500))) {} // until nothing has come for so long
    limit_descriptors(before);
    let used = reader_cpu();
    assert!(used < Duration::from_millis(100), "it has tried what cannot be done: {used:?}");
    listen.close();
}
