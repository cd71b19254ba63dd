//! The watchdog: a native thread that notices a call of user code that does not return.

use crate::page::Page;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A call that has been running for longer than allowed.
#[derive(Clone, Copy, Debug)]
pub struct StuckCall {
    /// The component whose code runs (counted from 1).
    pub component: u32,
    /// How long it has been running.
    pub running: Duration,
}

/// What the watchdog looks for.
pub struct Limits {
    /// A call longer than this is reported, once.
    pub stuck_after: Duration,
    /// A call longer than this is marked overdue on the page, so that its tuple fails; zero: never.
    pub timeout: Duration,
}

/// Stops the watchdog when dropped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts looking at `page`; `report` is called from the watchdog's thread.
    pub fn start(page: Page, limits: Limits, report: impl Fn(StuckCall) + Send + 'static) -> std::io::Result<Watch> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("squall-watch".into())
            .spawn(move || watch(&page, &limits, &report, &stopped))?;
        Ok(Watch { stop, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn watch(page: &Page, limits: &Limits, report: &dyn Fn(StuckCall), stopped: &AtomicBool) {
    let (mut call, mut since, mut reported) = ((0, 0), Instant::now(), false);
    while !stopped.load(Ordering::Relaxed) {
        std::thread::park_timeout(LOOK_EVERY);
        let now = (page.component(), page.calls());
        if now != call || now.0 == 0 {
            (call, since, reported) = (now, Instant::now(), false);
            continue;
        }
        let running = since.elapsed();
        if running >= limits.stuck_after && !reported {
            reported = true;
            report(StuckCall { component: call.0, running });
        }
        if !limits.timeout.is_zero() && running >= limits.timeout {
            page.set_overdue(call.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_call_that_does_not_return_is_reported_once_and_marked() {
        let (page, _fd) = Page::create().unwrap();
        let (told, reports) = mpsc::channel();
        page.enter(2);
        page.call(9);
        let limits = Limits { stuck_after: Duration::from_millis(100), timeout: Duration::from_millis(150) };
        let watch = Watch::start(page.clone(), limits, move |stuck| told.send(stuck.component).unwrap()).unwrap();
        assert_eq!(reports.recv_timeout(Duration::from_secs(10)), Ok(2));
        let deadline = Instant::now() + Duration::from_secs(10);
        while page.overdue() != 9 {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        drop(watch);
        assert!(reports.try_recv().is_err());
    }
}
