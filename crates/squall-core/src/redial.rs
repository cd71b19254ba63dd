//! When a source that lost its server, or did not reach it, tries again.

use crate::ids::EdgeIds;

/// The pauses between tries: the first, doubled each time up to the longest, each shortened by up to half at random, so
/// that many clients of one server do not come back at once.
///
/// They begin anew after a connection that lasted longer than the pause before it: a server that takes connections and
/// drops them at once is no better than none.
pub struct Redial {
    first_ns: u64,
    longest_ns: u64,
    next_ns: u64,
    random: EdgeIds,
}

impl Redial {
    /// Pauses from `first_ns` to `longest_ns`; `seed` differs between clients.
    pub fn new(first_ns: u64, longest_ns: u64, seed: u64) -> Redial {
        let longest_ns = longest_ns.max(first_ns);
        Redial { first_ns, longest_ns, next_ns: first_ns, random: EdgeIds::new(seed) }
    }

    /// The pause after a connection that lasted `lasted_ns`, or after none (0).
    pub fn pause_ns(&mut self, lasted_ns: u64) -> u64 {
        if lasted_ns > self.next_ns {
            self.next_ns = self.first_ns;
        }
        let whole_ns = self.next_ns;
        self.next_ns = whole_ns.saturating_mul(2).min(self.longest_ns);
        whole_ns - ((self.random.next_id() as u128 * (whole_ns / 2) as u128) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_shortened_by_half_at_most() {
        let mut redial = Redial::new(100 * MS, 10_000 * MS, 1);
        for whole_ms in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            let pause_ns = redial.pause_ns(0);
            assert!((whole_ms * MS / 2..=whole_ms * MS).contains(&pause_ns), "{pause_ns}");
        }
    }

    #[test]
    fn clients_come_back_at_different_times() {
        let pauses: Vec<u64> = (0..10).map(|seed| Redial::new(100 * MS, 100 * MS, seed).pause_ns(0)).collect();
        assert!(pauses.windows(2).all(|two| two[0] != two[1]), "{pauses:?}");
    }

    #[test]
    fn pauses_begin_anew_only_after_a_connection_that_lasted() {
        let mut redial = Redial::new(100 * MS, 10_000 * MS, 1);
        redial.pause_ns(0);
        assert!(redial.pause_ns(150 * MS) >= 100 * MS); // shorter than the pause that is due: doubled on
        assert!(redial.pause_ns(500 * MS) <= 100 * MS);
    }
}
