//! What holds a task up, and for how long.
//!
//! Its loop says in each turn whether the task would go on but may not, and because of what; the time until the loop
//! looks again counts for that. To find out who it is may take a walk over the tasks, so while a task stays held up the
//! answer is kept for a while; the price is that a change of culprit is noticed up to [`ASK_EVERY_NS`] late.

/// How long an answer is good for.
const ASK_EVERY_NS: u64 = 1_000_000;

/// Who or what keeps a task from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// A component whose mailbox is over its high-water mark, or that has most of what is pending.
    Component(u32),
    /// The spout's own rate.
    Rate,
    /// A pause that the task asked for.
    Pause,
    /// Most of what is pending waits for its next try.
    Retries,
    /// Most of what is pending waits for the log of dead letters.
    DeadLetters,
}

/// For how long a task was held up, by culprit.
///
/// Bound: an entry for each culprit there ever was: at most the components and four more.
#[derive(Default)]
pub struct HeldUp {
    by: Option<Culprit>,
    since_ns: u64,
    asked_ns: u64,
    totals: Vec<(Culprit, u64)>,
}

impl HeldUp {
    /// The task is held up at `now_ns`; `who` is asked when nothing is known or what is known is too old.
    #[inline(always)]
    pub fn hold(&mut self, now_ns: u64, who: impl FnOnce() -> Culprit) {
        if self.by.is_none() || now_ns.saturating_sub(self.asked_ns) >= ASK_EVERY_NS {
            self.count(now_ns);
            (self.by, self.asked_ns) = (Some(who()), now_ns);
        }
    }

    /// Nothing will happen for a while from `now_ns` on: what is known is to be right, however new it is.
    ///
    /// What the task asked for itself does not change meanwhile.
    pub fn settle(&mut self, now_ns: u64, who: impl FnOnce() -> Culprit) {
        if !matches!(self.by, None | Some(Culprit::Rate | Culprit::Pause)) {
            self.count(now_ns);
            self.by = Some(who());
        }
    }

    /// The task may go on at `now_ns`.
    #[inline(always)]
    pub fn free(&mut self, now_ns: u64) {
        if self.by.is_some() {
            self.count(now_ns);
            self.by = None;
        }
    }

    /// Nanoseconds until `now_ns`, by culprit.
    pub fn totals(&mut self, now_ns: u64) -> Vec<(Culprit, u64)> {
        self.count(now_ns);
        self.totals.clone()
    }

    #[cold]
    fn count(&mut self, now_ns: u64) {
        let took_ns = now_ns.saturating_sub(self.since_ns);
        self.since_ns = now_ns.max(self.since_ns); // a turn's time lies behind what a snapshot in it has counted
        let Some(by) = self.by else { return };
        match self.totals.iter_mut().find(|(culprit, _)| *culprit == by) {
            Some((_, total_ns)) => *total_ns += took_ns,
            None => self.totals.push((by, took_ns)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SLOW: Culprit = Culprit::Component(3);

    #[test]
    fn time_between_two_looks_counts_for_who_held_it_up_at_the_first() {
        let mut held = HeldUp::default();
        held.hold(5 * MS, || SLOW);
        held.free(9 * MS);
        held.free(20 * MS);
        held.hold(30 * MS, || Culprit::Rate);
        held.hold(31 * MS, || SLOW);
        held.free(41 * MS);
        assert_eq!(held.totals(50 * MS), [(SLOW, 14 * MS), (Culprit::Rate, MS)]);
    }

    #[test]
    fn a_task_that_is_still_held_up_counts_until_now_and_nothing_twice() {
        let mut held = HeldUp::default();
        held.hold(0, || SLOW);
        assert_eq!(held.totals(7 * MS), [(SLOW, 7 * MS)]);
        assert_eq!(held.totals(7 * MS), [(SLOW, 7 * MS)]);
        held.free(8 * MS);
        assert_eq!(held.totals(9 * MS), [(SLOW, 8 * MS)]);
    }

    #[test]
    fn who_it_is_is_asked_again_only_after_a_while() {
        let (mut held, mut asked) = (HeldUp::default(), 0);
        for now_ns in (0..10 * MS).step_by(1000) {
            held.hold(now_ns, || {
                asked += 1;
                SLOW
            });
        }
        assert_eq!(asked, 10);
    }

    #[test]
    fn before_a_long_rest_it_is_asked_again_who_it_is() {
        let mut held = HeldUp::default();
        held.settle(0, || SLOW);
        held.hold(0, || SLOW);
        held.settle(10, || Culprit::Retries);
        held.hold(20, || SLOW);
        held.free(5 * MS);
        assert_eq!(held.totals(6 * MS), [(SLOW, 10), (Culprit::Retries, 5 * MS - 10)]);
        held.hold(10 * MS, || Culprit::Pause);
        held.settle(11 * MS, || unreachable!("it asked for that itself"));
    }

    #[test]
    fn a_task_that_was_never_held_up_has_nobody_to_blame() {
        let mut held = HeldUp::default();
        held.free(MS);
        assert_eq!(held.totals(5 * MS), []);
    }
}
