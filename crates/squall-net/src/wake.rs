//! Waking the run loop from other threads.
//!
//! An eventfd behind a flag: waking a loop that was woken already costs an atomic swap and no system call.

use crate::sys;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
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
            let one = 1_u64;
            // SAFETY: writes 8 bytes of a local. A full counter wakes as well.
            unsafe { libc::write(self.0.event.as_raw_fd(), (&raw const one).cast(), 8) };
        }
    }
}

/// The loop's end.
pub struct Waiter(Arc<Shared>);

impl Waiter {
    /// A loop that nobody woke yet.
    pub fn new() -> io::Result<Waiter> {
        Ok(Waiter(Arc::new(Shared { event: sys::eventfd()?, pending: AtomicBool::new(false) })))
    }

    /// What wakes this loop.
    pub fn waker(&self) -> Wake {
        Wake(self.0.clone())
    }

    /// Sleeps until woken, or until the time is up. Whether it was woken.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let readable = sys::wait_readable(self.0.event.as_fd(), timeout);
        if readable {
            let mut count = 0_u64;
            // SAFETY: reads 8 bytes into a local.
            unsafe { libc::read(self.0.event.as_raw_fd(), (&raw mut count).cast(), 8) };
            // After the read: a wake in between writes again, and the next wait comes back at once.
            self.0.pending.store(false, Ordering::Release);
        }
        readable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_wait_without_a_wake_ends_in_time() {
        let waiter = Waiter::new().unwrap();
        assert!(!waiter.wait(Some(Duration::from_micros(200))));
    }
}
