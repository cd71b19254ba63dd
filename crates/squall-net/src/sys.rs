//! System calls that the standard library does not offer, as `io::Result`s.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Turns -1 into the error that the system left.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes over a descriptor that a system call has just made.
pub fn own(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the call succeeded, so the descriptor is open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A counter that can be waited for.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Adds one to an [`eventfd`]. A full counter can be read as well, so nothing is lost when this fails.
pub fn signal(event: RawFd) {
    let one = 1_u64;
    // SAFETY: reads the 8 bytes of a local.
    unsafe { libc::write(event, (&raw const one).cast(), 8) };
}

/// Takes what was added to an [`eventfd`].
pub fn clear(event: BorrowedFd<'_>) {
    let mut count = 0_u64;
    // SAFETY: writes the 8 bytes of a local.
    unsafe { libc::read(event.as_raw_fd(), (&raw mut count).cast(), 8) };
}

/// Waits until the descriptor can be read. Whether it can.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
    let mut polled = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as libc::c_long,
    });
    let time = time.as_ref().map_or(std::ptr::null(), |time| time as *const _);
    // SAFETY: both pointers are to locals.
    unsafe { libc::ppoll(&mut polled, 1, time, std::ptr::null()) > 0 }
}

/// Lets the timed waits of this thread end on time. By default the kernel adds up to 50 µs, to save wake-ups; the median
/// of its lateness went from 73 to 24 µs.
pub fn make_timers_exact() {
    // SAFETY: no pointers. If it fails the waits are only less exact.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// Sets `O_NONBLOCK`.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    Ok(())
}

/// Reads at most `at_most` bytes behind those in `data`, as far as its capacity goes. How many; 0: the sender is done.
///
/// The standard library reads into bytes that were written before: a buffer of 256 KiB would be zeroed for each line.
pub fn receive(socket: BorrowedFd<'_>, data: &mut Vec<u8>, at_most: usize) -> io::Result<usize> {
    let room = data.spare_capacity_mut();
    let length = room.len().min(at_most);
    debug_assert!(length > 0, "nothing read would look like the end");
    // SAFETY: `room` has at least `length` bytes.
    let bytes = unsafe { libc::recv(socket.as_raw_fd(), room.as_mut_ptr().cast(), length, 0) };
    let bytes = usize::try_from(bytes).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the call has written so many bytes behind the old length.
    unsafe { data.set_len(data.len() + bytes) };
    Ok(bytes)
}

/// How many bytes the socket holds for us.
pub fn readable_bytes(socket: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &mut bytes) };
    bytes.max(0) as usize
}

/// Whether the sender is done (or gone) and everything of it was read.
pub fn has_ended(socket: BorrowedFd<'_>) -> bool {
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: writes one byte of a local.
    match unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, flags) } {
        0 => true,
        -1 => io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock,
        _ => false,
    }
}

/// A set of descriptors to wait for, each with a number.
pub struct Epoll(OwnedFd);

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers.
        Ok(Epoll(own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?))
    }

    /// Reports `number` when the descriptor can be read.
    pub fn add(&self, fd: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLRDHUP) as u32, u64: number };
        // SAFETY: the event is a local.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event) })?;
        Ok(())
    }

    /// Takes a descriptor out.
    pub fn remove(&self, fd: BorrowedFd<'_>) {
        // SAFETY: no event is read for a removal.
        unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut()) };
    }

    /// Waits, and leaves the numbers of those that can be read, or that ended, in `numbers`.
    pub fn wait(&self, numbers: &mut Vec<u64>, timeout: Option<Duration>) {
        let timeout_ms = timeout.map_or(-1, |timeout| timeout.as_millis() as libc::c_int);
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        // SAFETY: the buffer is a local of the length given.
        let n = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, timeout_ms) };
        numbers.clear();
        numbers.extend(events.iter().take(n.max(0) as usize).map(|event| event.u64));
    }
}
