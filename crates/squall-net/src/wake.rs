//! Waking the run loop from other threads.
//!
//! An eventfd behind a flag: waking a loop that was woken already costs an atomic swap and no system call.

use crate::sys;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// The loop's end.
pub struct Waiter(Arc<Shared>);

impl Waiter {
    /// A loop that nobody woke yet. To be made by the thread that will wait: its timers become exact.
    pub fn new() -> io::Result<Waiter> {
        sys::make_timers_exact();
        Ok(Waiter(Arc::new(Shared { event: sys::eventfd()?, pending: AtomicBool::new(false) })))
    }

    /// What wakes this loop.
    pub fn waker(&self) -> Wake {
        Wake(self.0.clone())
    }

    /// Sleeps until woken, or until the time is up (or a signal came). Whether it was woken.
    ///
    /// The caller then looks at everything that others may have woken it for.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let woken = sys::wait_readable(self.as_fd(), timeout);
        if woken {
            sys::clear(self.as_fd());
            // After the counter, or a wake in between would be cleared with its flag left set, and no later one would
            // write. A wake in between now writes nothing, but what it was for is seen: the swap reads its flag, so
            // what was written before it is visible to the caller. A plain store would not promise that.
            self.0.pending.swap(false, Ordering::AcqRel);
        }
        woken
    }
}

impl AsFd for Waiter {
    /// For waiting for other descriptors as well; readable when woken, until the next `wait`.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn another_poller_sees_the_wake() {
        let waiter = Waiter::new().unwrap();
        waiter.waker().wake();
        assert!(sys::wait_readable(waiter.as_fd(), Some(Duration::ZERO)));
        assert!(waiter.wait(Some(Duration::ZERO)));
        assert!(!sys::wait_readable(waiter.as_fd(), Some(Duration::ZERO)));
    }

    #[test]
    fn a_wait_without_a_wake_ends_in_time() {
        let waiter = Waiter::new().unwrap();
        assert!(!waiter.wait(Some(Duration::from_micros(200))));
    }
}
