//! What follows a failed try: another one, a dead letter, or nothing (semantics 7, 8, 13).
//!
//! Only failures of user code count as attempts; losing a worker, a link or a batch's neighbour never does.

const FIRST_BACKOFF_NS: u64 = 100_000_000;
const LONGEST_BACKOFF_NS: u64 = 10_000_000_000;

/// The pause after the `failed`-th counted failure of a root: 0.1 s, doubled each time, at most 10 s.
pub fn backoff_ns(failed: u32) -> u64 {
    let doublings = failed.saturating_sub(1).min(16);
    (FIRST_BACKOFF_NS << doublings).min(LONGEST_BACKOFF_NS)
}

/// What the component says about a class of exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try the root again.
    Retry,
    /// Give it up at once.
    Dead,
    /// Ack it without output.
    Drop,
    /// End the worker.
    Die,
}

/// One failure, as user code's exception was classified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the component says about it.
    pub action: Action,
    /// Whether it counts as an attempt.
    pub counts: bool,
    /// A pause that user code asked for.
    pub after_ns: Option<u64>,
}

/// What is to be done with the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Emit it again as its `attempt`-th try.
    Again {
        /// The pause before.
        after_ns: u64,
        /// Which try that is.
        attempt: u32,
    },
    /// Write its dead letter.
    Dead,
    /// Nothing.
    Drop,
    /// End the worker.
    Die,
}

/// Decides over a root whose `attempt`-th try (from 1) failed in a component that allows `retries` more tries.
pub fn verdict(failure: Failure, attempt: u32, retries: u32) -> Verdict {
    match failure.action {
        Action::Dead => Verdict::Dead,
        Action::Drop => Verdict::Drop,
        Action::Die => Verdict::Die,
        Action::Retry if !failure.counts && !mutant!(LossCounted) => {
            Verdict::Again { after_ns: failure.after_ns.unwrap_or(0), attempt }
        }
        Action::Retry if attempt > retries || (mutant!(DeadTooEarly) && attempt == retries) => Verdict::Dead,
        Action::Retry => Verdict::Again {
            after_ns: failure.after_ns.unwrap_or(backoff_ns(attempt)),
            attempt: attempt + u32::from(!mutant!(AttemptUncounted)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTED: Failure = Failure { action: Action::Retry, counts: true, after_ns: None };

    // semantics 8
    #[test]
    fn three_retries_mean_four_tries_with_doubled_pauses() {
        let pauses: Vec<Verdict> = (1..=4).map(|attempt| verdict(COUNTED, attempt, 3)).collect();
        let again = |after_ms: u64, attempt| Verdict::Again { after_ns: after_ms * 1_000_000, attempt };
        assert_eq!(pauses, [again(100, 2), again(200, 3), again(400, 4), Verdict::Dead]);
    }

    // semantics 8
    #[test]
    fn the_back_off_stops_at_ten_seconds() {
        assert_eq!(backoff_ns(7), 6_400_000_000);
        assert!((8..200).all(|failed| backoff_ns(failed) == LONGEST_BACKOFF_NS));
    }

    // semantics 7
    #[test]
    fn an_uncounted_failure_is_tried_again_at_once_for_ever() {
        let uncounted = Failure { counts: false, ..COUNTED };
        assert_eq!(verdict(uncounted, 4, 3), Verdict::Again { after_ns: 0, attempt: 4 });
        let later = Failure { after_ns: Some(5), ..uncounted };
        assert_eq!(verdict(later, 4, 3), Verdict::Again { after_ns: 5, attempt: 4 });
    }
}
