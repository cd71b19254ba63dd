//! The watchdog: a native thread that notices a call of user code that does not return.
//!
//! It looks at the page from time to time: the run loop pays two stores a call, and reads no clock for it. A call is
//! timed from the first look that saw it, so it is noticed up to one look late.

use crate::page::Page;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(100);

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
    let mut seen = Seen::new(Instant::now());
    while !stopped.load(Ordering::Relaxed) {
        std::thread::park_timeout(LOOK_EVERY);
        let found = seen.look(limits, (page.component(), page.calls()), Instant::now());
        if let Some(call) = found.overdue {
            page.set_overdue(call);
        }
        if let Some(stuck) = found.stuck {
            report(stuck);
        }
    }
}

/// What one look found.
#[derive(Default)]
struct Look {
    /// To report.
    stuck: Option<StuckCall>,
    /// The number of the call to mark.
    overdue: Option<u64>,
}

/// The call that the last look saw.
struct Seen {
    /// (component, number); component 0: none.
    call: (u32, u64),
    since: Instant,
    reported: bool,
}

impl Seen {
    fn new(now: Instant) -> Seen {
        Seen { call: (0, 0), since: now, reported: false }
    }

    fn look(&mut self, limits: &Limits, call: (u32, u64), now: Instant) -> Look {
        if call != self.call || call.0 == 0 {
            *self = Seen { call, since: now, reported: false };
            return Look::default();
        }
        let running = now - self.since;
        let is_stuck = running >= limits.stuck_after && !self.reported;
        let is_overdue = running >= limits.timeout && !limits.timeout.is_zero();
        self.reported |= is_stuck;
        Look {
            stuck: is_stuck.then_some(StuckCall { component: call.0, running }),
            overdue: is_overdue.then_some(call.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LIMITS: Limits = Limits { stuck_after: Duration::from_secs(3), timeout: Duration::from_secs(5) };

    /// (component reported, call marked overdue) at each look; `calls` are (second, component, number).
    fn looks(limits: &Limits, calls: &[(u64, u32, u64)]) -> Vec<(Option<u32>, Option<u64>)> {
        let began = Instant::now();
        let mut seen = Seen::new(began);
        let look = |&(second, component, number): &(u64, u32, u64)| {
            let found = seen.look(limits, (component, number), began + Duration::from_secs(second));
            (found.stuck.map(|stuck| stuck.component), found.overdue)
        };
        calls.iter().map(look).collect()
    }

    // semantics 16
    #[test]
    fn a_call_is_reported_once_and_overdue_after_the_time_out() {
        let calls = [(0, 2, 9), (2, 2, 9), (3, 2, 9), (4, 2, 9), (5, 2, 9), (6, 2, 10)];
        let none = (None, None);
        assert_eq!(looks(&LIMITS, &calls), [none, none, (Some(2), None), none, (None, Some(9)), none]);
    }

    #[test]
    fn calls_that_return_and_a_loop_without_calls_are_never_stuck() {
        let none = (None, None);
        assert_eq!(looks(&LIMITS, &[(0, 2, 1), (4, 2, 2), (8, 2, 3)]), [none; 3]);
        assert_eq!(looks(&LIMITS, &[(0, 0, 1), (4, 0, 1), (8, 0, 1)]), [none; 3]);
    }

    #[test]
    fn without_a_time_out_no_call_is_overdue() {
        let limits = Limits { timeout: Duration::ZERO, ..LIMITS };
        assert_eq!(looks(&limits, &[(0, 2, 1), (100, 2, 1)]), [(None, None), (Some(2), None)]);
    }

    #[test]
    fn the_thread_reports_and_marks() {
        let (page, _fd) = Page::create().unwrap();
        let (told, reports) = mpsc::channel();
        page.enter(2);
        page.call(9);
        let limits = Limits { stuck_after: Duration::from_millis(1), timeout: Duration::from_millis(2) };
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
