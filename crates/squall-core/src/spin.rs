//! How long a loop polls before it sleeps.
//!
//! Polling for less than a thread's wake-up takes is worth it where something comes that soon, and only there: for who
//! waits longer, it is lost, and where processors are few it takes them from whom it waits for.

/// Shorter than a thread's wake-up.
const LONGEST_NS: u64 = 20_000;
/// A sleep up to this long, its wake-up included, could have been spared.
const SHORT_SLEEP_NS: u64 = 5 * LONGEST_NS;

/// Follows how long the last waits were.
pub struct Spin {
    for_ns: u64,
}

impl Default for Spin {
    fn default() -> Self {
        Spin { for_ns: LONGEST_NS }
    }
}

impl Spin {
    /// How long to poll before the next sleep.
    #[inline(always)]
    pub fn for_ns(&self) -> u64 {
        self.for_ns
    }

    /// It was polled for so long in vain, and then slept for `slept_ns`.
    pub fn slept(&mut self, slept_ns: u64) {
        self.for_ns = if slept_ns <= SHORT_SLEEP_NS { LONGEST_NS } else { self.for_ns / 2 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_polls_where_waits_are_short_and_no_more_where_they_are_long() {
        let mut spin = Spin::default();
        assert_eq!(spin.for_ns(), LONGEST_NS);
        spin.slept(SHORT_SLEEP_NS + 1);
        assert_eq!(spin.for_ns(), LONGEST_NS / 2, "one long wait may be an exception");
        (0..20).for_each(|_| spin.slept(1_000_000));
        assert_eq!(spin.for_ns(), 0);
        spin.slept(SHORT_SLEEP_NS);
        assert_eq!(spin.for_ns(), LONGEST_NS);
    }
}
