//! A gate with more callers than it can bear, and one without descriptors. In a process of its own, as descriptors,
//! memory and threads are the whole process's.

#[path = "links/ends.rs"]
#[allow(dead_code)]
mod ends;

use ends::{End, SECRET, identity, is_settled, pair, path, peer, run, until};
use squall_net::link::{Address, GateOptions, Refusal};
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Of the tests here: a limit is that of all.
static ALONE: Mutex<()> = Mutex::new(());

/// Sets how many descriptors this process may have (at most as many as it can). How many it might before.
fn limit_descriptors(to: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a local.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, to.min(limit.rlim_max));
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        before
    }
}

fn count(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn resident_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// What tells the CPU time of the gates' threads; opened before descriptors get scarce.
fn gate_clocks() -> Vec<fs::File> {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let of_gate = |thread: &std::path::PathBuf| fs::read_to_string(thread.join("comm")).unwrap() == "squall-gate\n";
    threads.filter(of_gate).map(|thread| fs::File::open(thread.join("schedstat")).unwrap()).collect()
}

/// CPU time that they have used.
fn cpu(clocks: &[fs::File]) -> Duration {
    let used = |clock: &fs::File| {
        let mut schedule = [0; 100];
        let length = clock.read_at(&mut schedule, 0).unwrap();
        let schedule = std::str::from_utf8(&schedule[..length]).unwrap();
        Duration::from_nanos(schedule.split(' ').next().unwrap().parse().unwrap())
    };
    clocks.iter().map(used).sum()
}

/// Connects, as soon as the listener's queue has a place.
fn stranger(at: &Path) -> UnixStream {
    UnixStream::connect(at).unwrap()
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_hold_up_nobody() {
    let _alone = ALONE.lock();
    let before = limit_descriptors(u64::MAX);
    let most = limit_descriptors(u64::MAX).min(10_300) as usize - 300;
    let (mut a, mut b, at) = pair();
    a.send(10);
    run(&mut a, &mut b, is_settled);
    let (memory, threads, descriptors) = (resident_bytes(), count("/proc/self/task"), count("/proc/self/fd"));
    let began = Instant::now();
    let idle: Vec<UnixStream> = (0..most).map(|_| stranger(&at)).collect();
    let connected = began.elapsed();
    until(|| b.gate.refusals().of(Refusal::Crowded) + b.gate.refusals().of(Refusal::Late) >= most as u64 - 64);
    let own = count("/proc/self/fd") - descriptors - idle.len();
    assert!(own <= 64, "{own} hand-shakes at once");
    assert!(resident_bytes() < memory + (8 << 20), "{} bytes", resident_bytes() - memory);
    assert_eq!(count("/proc/self/task"), threads);

    // One that was there goes on, and one that comes now gets through: within the deadline of `run`, where waiting for
    // each stranger's turn to end would take minutes.
    a.send(10);
    b.send(10);
    run(&mut a, &mut b, is_settled);
    assert_eq!((a.ups, b.ups), (1, 1));
    a.lose();
    b.lose();
    a.send(10);
    let began = Instant::now();
    run(&mut a, &mut b, |a, b| is_settled(a, b) && a.ups == 2);
    let again = began.elapsed();
    println!(
        "{most} connections in {connected:?}; gates used {:?} of CPU; a link was had again in {again:?}",
        cpu(&gate_clocks())
    );
    drop(idle);
    limit_descriptors(before);
}

#[test]
fn a_flood_that_goes_on_does_not_keep_a_worker_out() {
    let _alone = ALONE.lock();
    let (mut a, mut b, at) = pair();
    let (mut flood, mut rounds) = (Vec::new(), 0);
    run(&mut a, &mut b, |a, b| {
        flood.extend((0..20).map(|_| stranger(&at)));
        rounds += 1;
        if flood.len() > 500 {
            flood.drain(..400);
        }
        if b.ups > 0 && rounds % 50 == 0 {
            a.lose();
            a.send(10);
        }
        a.ups > 10 && is_settled(a, b)
    });
    assert!(b.gate.refusals().of(Refusal::Crowded) > 0);
}

#[test]
fn without_descriptors_callers_wait_quietly_and_get_through_when_there_are_some_again() {
    let _alone = ALONE.lock();
    let at = path();
    let options = GateOptions::default;
    let mut callee = End::new(identity(2, SECRET), Some(&at), peer(1, None), options());
    let mut caller = End::new(identity(1, SECRET), None, peer(2, None), options());
    caller.peer.address = Some(Address::Unix(at.clone()));
    let clocks = gate_clocks();
    let next = fs::File::open("/dev/null").unwrap().as_raw_fd() as u64; // free again at once: the stranger's
    let before = limit_descriptors(next + 1);
    let mut stranger = stranger(&at);
    until(|| callee.gate.refusals().of(Refusal::NoDescriptors) > 0); // to take it
    caller.gate.seek(caller.peer.clone(), None);
    until(|| caller.gate.refusals().of(Refusal::NoDescriptors) > 2); // to call
    let (used, began) = (cpu(&clocks), Instant::now());
    until(|| callee.gate.refusals().of(Refusal::NoDescriptors) > 3);
    let (used, passed) = (cpu(&clocks) - used, began.elapsed());
    assert!(used < passed / 5, "it tries without a pause: {used:?} in {passed:?}");
    limit_descriptors(before);
    caller.send(10);
    run(&mut caller, &mut callee, is_settled);
    stranger.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    match stranger.read(&mut [0]) {
        Ok(bytes) => assert_eq!(bytes, 0, "it was taken at last, and found silent"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}
