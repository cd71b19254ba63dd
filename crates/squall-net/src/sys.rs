//! System calls that the standard library does not offer, as `io::Result`s.

mod address;

pub use address::SockAddr;

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
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
    let time = timeout.map(timespec);
    let time = time.as_ref().map_or(std::ptr::null(), |time| time as *const _);
    // SAFETY: both pointers are to locals.
    unsafe { libc::ppoll(&mut polled, 1, time, std::ptr::null()) > 0 }
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos() as libc::c_long }
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

/// Writes as much as the socket takes now.
pub fn send(socket: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    // SAFETY: reads the slice.
    let bytes = unsafe { libc::send(socket.as_raw_fd(), data.as_ptr().cast(), data.len(), libc::MSG_NOSIGNAL) };
    usize::try_from(bytes).map_err(|_| io::Error::last_os_error())
}

/// Writes as much of the pieces, one after the other, as the socket takes now.
pub fn send_pieces(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: a header of zeros is one without address, pieces and control data.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    // `IoSlice` is promised to be laid out as the system's `iovec`.
    header.msg_iov = pieces.as_ptr().cast_mut().cast();
    header.msg_iovlen = pieces.len() as _;
    // SAFETY: reads the pieces, as many as there are.
    let bytes = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_NOSIGNAL) };
    usize::try_from(bytes).map_err(|_| io::Error::last_os_error())
}

/// Begins to connect a socket that does not block. The connection is there, or has failed, when it can be written.
pub fn connect(to: &SockAddr) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers.
    let socket = own(unsafe { libc::socket(to.family(), flags, 0) })?;
    let (address, length) = to.as_raw();
    // SAFETY: the address has the length given.
    match check(unsafe { libc::connect(socket.as_raw_fd(), address, length) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Why the connection could not be made, if it could not.
pub fn take_error(socket: BorrowedFd<'_>) -> io::Result<()> {
    let (mut error, mut size) = (0, std::mem::size_of::<libc::c_int>() as libc::socklen_t);
    let value = (&raw mut error).cast();
    // SAFETY: the value is a local of the size given.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, value, &mut size) })?;
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Reads into bytes that were written before. How many; 0: the sender is done.
pub fn receive_into(socket: BorrowedFd<'_>, data: &mut [u8]) -> io::Result<usize> {
    // SAFETY: writes into the slice.
    let bytes = unsafe { libc::recv(socket.as_raw_fd(), data.as_mut_ptr().cast(), data.len(), 0) };
    usize::try_from(bytes).map_err(|_| io::Error::last_os_error())
}

/// The next connection of a listening socket; reads and writes of it do not block.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the address is not asked for.
    own(unsafe { libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) })
}

/// The address at the other end, if it has one.
pub fn peer(socket: BorrowedFd<'_>) -> Option<String> {
    let socket = TcpStream::from(socket.try_clone_to_owned().ok()?);
    socket.peer_addr().ok().map(|address| address.to_string())
}

/// Whether the other end is on another host, or may be.
pub fn is_of_other_host(socket: BorrowedFd<'_>) -> bool {
    let address = socket.try_clone_to_owned().and_then(|socket| TcpStream::from(socket).peer_addr());
    address.is_ok_and(|address| !address.ip().to_canonical().is_loopback())
}

/// Whether it is a socket of this host alone.
pub fn is_unix(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let (mut domain, mut size) = (0, std::mem::size_of::<libc::c_int>() as libc::socklen_t);
    let value = (&raw mut domain).cast();
    // SAFETY: the value is a local of the size given.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_DOMAIN, value, &mut size) })?;
    Ok(domain == libc::AF_UNIX)
}

/// Tells the other side that nothing more comes.
pub fn end_writing(socket: BorrowedFd<'_>) {
    // SAFETY: no pointers. A socket whose other side is gone needs to be told nothing.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) };
}

/// Sets an option that is an int.
pub fn set_option(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = std::mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is a local of the size given.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) })?;
    Ok(())
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the sender's end.
    Read,
    /// Room to write.
    Write,
    /// One of both.
    Both,
    /// That an [`eventfd`] was signalled since it was reported last: it is told once, and need not be cleared.
    Signal,
    /// That the connection breaks or is over in both directions.
    End,
}

/// What was waited for is there.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The number that the descriptor was added with.
    pub number: u64,
    /// The connection broke, or is over in both directions.
    pub is_over: bool,
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
        self.control(libc::EPOLL_CTL_ADD, fd, number, Interest::Read)
    }

    /// Reports `number` when what is waited for now is there, whether the descriptor was in the set or not.
    pub fn set(&self, fd: BorrowedFd<'_>, number: u64, interest: Interest) -> io::Result<()> {
        match self.control(libc::EPOLL_CTL_MOD, fd, number, interest) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.control(libc::EPOLL_CTL_ADD, fd, number, interest)
            }
            result => result,
        }
    }

    fn control(&self, what: libc::c_int, fd: BorrowedFd<'_>, number: u64, interest: Interest) -> io::Result<()> {
        let events = match interest {
            Interest::Read => libc::EPOLLIN | libc::EPOLLRDHUP,
            Interest::Write => libc::EPOLLOUT,
            Interest::Both => libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLOUT,
            Interest::Signal => libc::EPOLLIN | libc::EPOLLET,
            Interest::End => 0, // reported always
        };
        let mut event = libc::epoll_event { events: events as u32, u64: number };
        // SAFETY: the event is a local.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd.as_raw_fd(), &mut event) })?;
        Ok(())
    }

    /// Takes a descriptor out.
    pub fn remove(&self, fd: BorrowedFd<'_>) {
        // SAFETY: no event is read for a removal.
        unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut()) };
    }

    /// Waits, and leaves what is ready in `ready`. A wait is never shorter than the time, but by a signal.
    pub fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let n = self.wait_for(&mut events, timeout);
        const OVER: u32 = (libc::EPOLLHUP | libc::EPOLLERR) as u32;
        ready.clear();
        ready.extend(events.iter().take(n).map(|event| {
            let (number, events) = (event.u64, event.events);
            Ready { number, is_over: events & OVER != 0 }
        }));
    }

    /// To the nanosecond. Systems before Linux 5.11, and sandboxes that do not know the call, need two calls for that.
    fn wait_for(&self, events: &mut [libc::epoll_event], timeout: Option<Duration>) -> usize {
        let time = timeout.map(timespec);
        let time = time.as_ref().map_or(std::ptr::null(), |time| time as *const libc::timespec);
        let (set, most) = (self.0.as_raw_fd(), events.len() as libc::c_int);
        let no_mask = std::ptr::null::<libc::sigset_t>();
        // SAFETY: the buffer is of the length given, the time a local, and no mask is set.
        let n =
            unsafe { libc::syscall(libc::SYS_epoll_pwait2, set, events.as_mut_ptr(), most, time, no_mask, 8_usize) };
        if n >= 0 {
            return n as usize;
        }
        if !matches!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) {
            return 0;
        }
        wait_readable(self.0.as_fd(), timeout);
        // SAFETY: the buffer is of the length given.
        unsafe { libc::epoll_wait(set, events.as_mut_ptr(), most, 0) }.max(0) as usize
    }
}

impl AsFd for Epoll {
    /// Readable when something in the set is ready.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
