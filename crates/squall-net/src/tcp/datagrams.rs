//! The thread that reads datagrams: each is a record.
//!
//! Up to [`BATCH`] come with one system call. Nobody can make a sender of datagrams wait: while the run loop has too
//! much to take the kernel's buffer fills, and what does not fit there is gone. The kernel counts that, and says so.

use super::queue::{Beside, Buffer, Queue};
use super::{News, Source, Status};
use crate::sys::{self, Epoll, Ready};
use squall_core::framing::RecordFault;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const COMMAND: u64 = 0;
const SOCKET: u64 = 1;
/// Most datagrams of one system call.
const BATCH: usize = 64;
/// Bytes of a datagram that was too long which its report shows.
const SHOWN: usize = 64;
/// Least time between two reports of dropped datagrams.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Room for the kernel's count of dropped datagrams.
const CONTROL_BYTES: usize = 64;

/// How records come from datagrams.
#[derive(Clone, Debug)]
pub struct DatagramOptions {
    /// Longest record in bytes; longer ones are skipped and reported.
    pub max_record: usize,
    /// As for connections.
    pub queue_bytes: usize,
}

pub(super) struct Reader {
    socket: OwnedFd,
    epoll: Epoll,
    max_record: usize,
    /// `BATCH` places of `max_record` bytes and one, so that one that is too long shows.
    places: Vec<u8>,
    /// What they are gathered in.
    scratch: Buffer,
    /// The kernel's count, which wraps, and what was reported of it.
    dropped: u32,
    reported: u32,
    report_at: Instant,
    queue: Arc<Queue>,
    status: Arc<Status>,
    command: Arc<OwnedFd>,
}

impl Reader {
    pub fn new(socket: OwnedFd, options: DatagramOptions, source: &Source) -> io::Result<Reader> {
        sys::set_nonblocking(socket.as_fd())?;
        // Unix sockets do not know it, and need not: their senders wait.
        let _ = sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
        let epoll = Epoll::new()?;
        epoll.add(source.command.as_fd(), COMMAND)?;
        epoll.add(socket.as_fd(), SOCKET)?;
        Ok(Reader {
            socket,
            epoll,
            max_record: options.max_record,
            places: vec![0; BATCH * (options.max_record + 1)],
            scratch: Buffer::default(),
            dropped: 0,
            reported: 0,
            report_at: Instant::now(),
            queue: source.queue.clone(),
            status: source.status.clone(),
            command: source.command.clone(),
        })
    }

    /// Reads until it is told to stop, then takes what is there, and ends.
    pub fn run(mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        while !self.queue.is_abandoned() && !self.status.stopping.load(Relaxed) {
            let due = self.report_at.saturating_duration_since(Instant::now());
            self.epoll.wait(&mut ready, (self.dropped != self.reported).then_some(due));
            if ready.iter().any(|one| one.number == COMMAND) {
                sys::clear(self.command.as_fd());
            }
            if ready.iter().any(|one| one.number == SOCKET) {
                self.read();
            }
            self.report_dropped(false);
        }
        let until = Instant::now() + REPORT_EVERY; // a sender may go on for ever
        // The kernel is not asked how much there is: it says 0 where an empty datagram is the next.
        while !self.queue.is_abandoned() && Instant::now() < until && self.read() > 0 {}
        self.report_dropped(true);
    }

    fn wait_for_room(&self) {
        while !self.queue.has_room() {
            sys::wait_readable(self.command.as_fd(), None);
            sys::clear(self.command.as_fd());
        }
    }

    /// Reads a batch, as soon as there is room for it. How many datagrams came.
    fn read(&mut self) -> usize {
        self.wait_for_room();
        let size = self.max_record + 1;
        let mut vectors: Vec<libc::iovec> = (self.places.chunks_exact_mut(size))
            .map(|place| libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: size })
            .collect();
        let mut controls = [[0_u64; CONTROL_BYTES / 8]; BATCH];
        // SAFETY: zeroes are a message header without anything.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for ((message, vector), control) in messages.iter_mut().zip(&mut vectors).zip(&mut controls) {
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = CONTROL_BYTES;
        }
        let (fd, flags) = (self.socket.as_raw_fd(), libc::MSG_DONTWAIT);
        // SAFETY: each header points to a place and a control buffer of its own, which live longer than the call.
        let n = unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), BATCH as u32, flags, std::ptr::null_mut()) };
        let n = n.max(0) as usize;
        self.hand_over(&messages[..n]);
        n
    }

    fn hand_over(&mut self, messages: &[libc::mmsghdr]) {
        let (buffer, mut beside) = (&mut self.scratch, Beside::default());
        let mut bytes = 0;
        for (message, place) in messages.iter().zip(self.places.chunks_exact(self.max_record + 1)) {
            let length = message.msg_len as usize;
            bytes += length;
            // SAFETY: the kernel has filled the header in.
            if let Some(dropped) = unsafe { dropped_of(&message.msg_hdr) } {
                self.dropped = dropped;
            }
            if length > self.max_record {
                let begins = place[..SHOWN.min(self.max_record)].to_vec();
                beside.faults.push(RecordFault::TooLong { max_record: self.max_record, begins });
                beside.skipped.push(buffer.records.len() as u32);
                continue;
            }
            let begin = buffer.data.len() as u32;
            buffer.data.extend_from_slice(&place[..length]);
            buffer.records.push(begin..begin + length as u32);
        }
        let counts = &self.status.counts;
        counts.bytes.fetch_add(bytes as u64, Relaxed);
        counts.records.fetch_add(buffer.records.len() as u64, Relaxed);
        counts.oversize.fetch_add(beside.faults.len() as u64, Relaxed);
        if !buffer.records.is_empty() || !beside.is_nothing() {
            self.queue.push_from(SOCKET, buffer, beside);
        }
    }

    /// Says how many datagrams were lost, once a second at most.
    fn report_dropped(&mut self, is_last: bool) {
        let new = self.dropped.wrapping_sub(self.reported);
        let now = Instant::now();
        if new == 0 || (now < self.report_at && !is_last) {
            return;
        }
        (self.reported, self.report_at) = (self.dropped, now + REPORT_EVERY);
        self.status.counts.dropped.fetch_add(new as u64, Relaxed);
        self.queue.push_news(SOCKET, News::Dropped { datagrams: new as u64 });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// The kernel's count of the datagrams that it dropped before this one.
///
/// # Safety
/// The header was filled in by the kernel.
unsafe fn dropped_of(header: &libc::msghdr) -> Option<u32> {
    // SAFETY: the macros walk the control buffer, whose length the header says.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_SOCKET && (*control).cmsg_type == libc::SO_RXQ_OVFL {
                return Some(libc::CMSG_DATA(control).cast::<u32>().read_unaligned());
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}
