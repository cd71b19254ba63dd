//! What happened in a history, for people: the last events, or all of them.

use crate::plan::MS;
use std::collections::VecDeque;

/// How many events a violation shows.
const LAST: usize = 40;

/// Notes events, if anybody looks.
#[derive(Default)]
pub struct Trace {
    lines: VecDeque<String>,
    most: usize,
}

impl Trace {
    /// Notes nothing.
    pub fn off() -> Trace {
        Trace::default()
    }

    /// Keeps the last events.
    pub fn last() -> Trace {
        Trace { lines: VecDeque::new(), most: LAST }
    }

    /// Keeps all events.
    pub fn whole() -> Trace {
        Trace { lines: VecDeque::new(), most: usize::MAX }
    }

    /// Notes what happened at `now_ns`.
    pub fn note(&mut self, now_ns: u64, what: impl FnOnce() -> String) {
        if self.most == 0 {
            return;
        }
        if self.lines.len() == self.most {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>12.3} ms  {}", now_ns as f64 / MS as f64, what()));
    }

    /// What was noted.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
