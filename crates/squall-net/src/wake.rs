//! What the run loop waits for: other threads that wake it, and sockets.
//!
//! An eventfd behind a flag: waking a loop that was woken already costs an atomic swap and no system call. It is waited
//! for in one set with the sockets, and told once for each time it was signalled, so that waking costs the loop no call
//! beside its wait.

use crate::sys::{self, Epoll, Interest};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use crate::sys::Ready;

struct Shared {
    event: OwnedFd,
    pending: AtomicBool,
}

/// Wakes one loop; cheap to clone.
#[derive(Clone)]
pub struct Wake(Arc<Shared>);

impl Wake {
    /// Makes the loop's next (or current) wait come back at once.
    #[inline]
    pub fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::AcqRel) {
            sys::signal(self.0.event.as_raw_fd());
        }
    }
}

/// The number of the loop's own event.
const WOKEN: u64 = u64::MAX;

/// The loop's end.
pub struct Waiter {
    shared: Arc<Shared>,
    set: Epoll,
}

impl Waiter {
    /// A loop that nobody woke yet. To be made by the thread that will wait: its timers become exact.
    pub fn new() -> io::Result<Waiter> {
        sys::make_timers_exact();
        let (event, set) = (sys::eventfd()?, Epoll::new()?);
        set.set(event.as_fd(), WOKEN, Interest::Signal)?;
        Ok(Waiter { shared: Arc::new(Shared { event, pending: AtomicBool::new(false) }), set })
    }

    /// What wakes this loop.
    pub fn waker(&self) -> Wake {
        Wake(self.shared.clone())
    }

    /// From now on [`Waiter::wait_any`] reports `number` (not the largest one) while the socket can be read, and, if
    /// `wants_write`, while it can be written. It may be called again for the same socket.
    pub fn watch(&self, socket: BorrowedFd<'_>, number: u64, wants_write: bool) -> io::Result<()> {
        debug_assert_ne!(number, WOKEN);
        self.set.set(socket, number, if wants_write { Interest::Both } else { Interest::Read })
    }

    /// Reports the socket no more. A socket that is closed need not be taken out.
    pub fn forget(&self, socket: BorrowedFd<'_>) {
        self.set.remove(socket);
    }

    /// As [`Waiter::wait_any`], of a loop that watches no sockets.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.wait_any(&mut Vec::new(), timeout)
    }

    /// Sleeps until woken, or a watched socket is ready, or the time is up (or a signal came). Whether it was woken;
    /// `ready` then holds the sockets.
    ///
    /// The caller then looks at everything that others may have woken it for.
    pub fn wait_any(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> bool {
        self.set.wait(ready, timeout);
        let Some(at) = ready.iter().position(|one| one.number == WOKEN) else { return false };
        ready.swap_remove(at);
        // After the event was told, or a wake in between would be cleared with its flag left set, and no later one would
        // write. A wake in between now writes nothing, but what it was for is seen: the swap reads its flag, so what was
        // written before it is visible to the caller. A plain store would not promise that.
        self.shared.pending.swap(false, Ordering::AcqRel);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::AtomicU64;
    use std::time::Instant;

    #[test]
    fn many_wakes_are_one() {
        let waiter = Waiter::new().unwrap();
        let wake = waiter.waker();
        (0..1000).for_each(|_| wake.wake());
        assert!(waiter.wait(None));
        assert!(!waiter.wait(Some(Duration::ZERO)));
    }

    #[test]
    fn a_wake_from_another_thread_ends_the_wait() {
        let waiter = Waiter::new().unwrap();
        let wake = waiter.waker();
        let thread = std::thread::spawn(move || wake.wake());
        let began = Instant::now();
        assert!(waiter.wait(Some(Duration::from_secs(10))));
        assert!(began.elapsed() < Duration::from_secs(5));
        thread.join().unwrap();
    }

    #[test]
    fn no_wake_is_ever_lost() {
        const ROUNDS: u64 = 50_000;
        let waiter = Waiter::new().unwrap();
        let (wake, count) = (waiter.waker(), Arc::new(AtomicU64::new(0)));
        let counted = count.clone();
        let thread = std::thread::spawn(move || {
            for round in 1..=ROUNDS {
                counted.store(round, Ordering::Relaxed);
                wake.wake();
            }
        });
        // The last wake, too, must end a wait that began before it.
        while count.load(Ordering::Relaxed) < ROUNDS {
            assert!(waiter.wait(Some(Duration::from_secs(10))));
        }
        thread.join().unwrap();
    }

    #[test]
    fn sockets_are_reported_beside_wakes_for_as_long_as_they_are_ready() {
        let waiter = Waiter::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut ready = Vec::new();
        waiter.watch(ours.as_fd(), 7, false).unwrap();
        assert!(!waiter.wait_any(&mut ready, Some(Duration::ZERO)) && ready.is_empty());
        theirs.write_all(b"x").unwrap();
        waiter.waker().wake();
        assert!(waiter.wait_any(&mut ready, None) && ready.len() == 1 && ready[0].number == 7);
        assert!(!waiter.wait_any(&mut ready, None) && ready.len() == 1, "the wake is told once, the socket again");
        (&ours).read_exact(&mut [0]).unwrap();
        assert!(!waiter.wait_any(&mut ready, Some(Duration::ZERO)) && ready.is_empty());
        waiter.watch(ours.as_fd(), 7, true).unwrap();
        assert!(!waiter.wait_any(&mut ready, None) && ready.len() == 1);
        waiter.forget(ours.as_fd());
        assert!(!waiter.wait_any(&mut ready, Some(Duration::ZERO)) && ready.is_empty());
        waiter.watch(ours.as_fd(), 7, false).unwrap();
        drop(theirs);
        assert!(!waiter.wait_any(&mut ready, None) && ready[0].is_over);
    }

    #[test]
    fn a_wait_without_a_wake_ends_in_time() {
        let waiter = Waiter::new().unwrap();
        assert!(!waiter.wait(Some(Duration::from_micros(200))));
    }
}
