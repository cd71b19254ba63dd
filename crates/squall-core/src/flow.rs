//! Flow control inside a worker: how many roots a spout may have open, and when a mailbox is full.

use crate::ids::MAX_SLOTS;

const FIRST_LIMIT: u32 = 4096;
const LEAST_LIMIT: u32 = 64;
/// Turns between two shrinkings, so that one long queue is answered once.
const SHRINK_EVERY: u32 = 16;

/// How many roots a spout's task may have pending (semantics 17).
///
/// A fixed limit is obeyed. Otherwise it adapts: down while mailboxes are over their high-water marks, doubled when
/// it has been reached and all mailboxes are empty; else a join or a count window could wait for ever for its next input.
/// Not only when both are true at once: a sink that confirms a batch as a whole empties its mailbox into its next call
/// just when what it confirmed is no longer pending, and would be fed ever smaller batches.
pub struct PendingLimit {
    limit: u32,
    fixed: bool,
    reached: bool,
    since_shrunk: u32,
}

impl PendingLimit {
    /// A fixed limit, or one that adapts.
    pub fn new(fixed: Option<u32>) -> Self {
        let limit = fixed.unwrap_or(FIRST_LIMIT).clamp(1, MAX_SLOTS / 2);
        PendingLimit { limit, fixed: fixed.is_some(), reached: false, since_shrunk: 0 }
    }

    /// How many more roots may be opened.
    #[inline(always)]
    pub fn room(&self, pending: u32) -> u32 {
        (self.limit + u32::from(mutant!(PendingOneMore))).saturating_sub(pending)
    }

    /// The limit now.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The limit, if it is fixed.
    pub fn fixed(&self) -> Option<u32> {
        self.fixed.then_some(self.limit)
    }

    /// Once a turn: what the worker looks like.
    #[inline(always)]
    pub fn observe(&mut self, pending: u32, over_high_water: bool, all_empty: bool) {
        if self.fixed {
            return;
        }
        self.since_shrunk = self.since_shrunk.saturating_add(1);
        self.reached |= pending >= self.limit;
        if over_high_water && self.since_shrunk > SHRINK_EVERY {
            self.limit = (self.limit / 4 * 3).max(LEAST_LIMIT);
            self.since_shrunk = 0;
            self.reached = false;
        } else if all_empty && self.reached {
            self.limit = (self.limit * 2).min(MAX_SLOTS / 2);
            self.reached = false;
        }
    }
}

/// How many roots of a spout may be pending for what they weigh (semantics 17).
///
/// Weighing every row would cost more than sending it, so some are weighed and the mean is taken for all.
pub struct PendingBytes {
    max_bytes: u64,
    mean_bytes: f64,
    said: bool,
}

impl PendingBytes {
    /// At most `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        PendingBytes { max_bytes, mean_bytes: 0.0, said: false }
    }

    /// Takes the weight of one row into the mean, which follows the last dozens.
    pub fn weigh(&mut self, bytes: u64) {
        let share = if self.mean_bytes == 0.0 { 1.0 } else { 1.0 / 32.0 };
        self.mean_bytes += (bytes as f64 - self.mean_bytes) * share;
    }

    /// How many more roots may be opened.
    #[inline(always)]
    pub fn room(&self, pending: u32) -> u32 {
        let most = (self.max_bytes as f64 / self.mean_bytes.max(1.0)) as u32; // saturates
        most.max(1).saturating_sub(pending)
    }

    /// What `pending` roots weigh.
    pub fn bytes(&self, pending: u32) -> u64 {
        (self.mean_bytes * pending as f64) as u64
    }

    /// Whether it is to be said now that there is no room: once, until half of it is free again.
    pub fn should_say(&mut self, pending: u32) -> bool {
        let full = self.room(pending) == 0;
        let again = self.bytes(pending) < self.max_bytes / 2;
        let now = full && !self.said;
        self.said = full || (self.said && !again);
        now
    }
}

/// Tells whether a queue is full, with hysteresis.
pub struct HighWater {
    high: usize,
    low: usize,
    full: bool,
}

impl HighWater {
    /// Full from `high`·`capacity` on, until it has sunk to `low`·`capacity`.
    pub fn new(capacity: usize, high: f64, low: f64) -> Self {
        let at = |ratio: f64| (capacity as f64 * ratio) as usize;
        HighWater { high: at(high).max(1), low: at(low), full: false }
    }

    /// Whether a queue so long would be full, if it was not before.
    pub fn is_over(&self, len: usize) -> bool {
        len >= self.high
    }

    /// How many more items a queue that is now `len` long may take; 0 when it is full.
    #[inline(always)]
    pub fn room(&mut self, len: usize) -> usize {
        self.full = len >= self.high || (self.full && len > self.low);
        if self.full { 0 } else { self.high - len }
    }
}

/// A token bucket: at most so many roots a second.
pub struct RateLimit {
    per_s: Option<f64>,
    burst: f64,
    tokens: f64,
    at_ns: u64,
}

impl RateLimit {
    /// No limit, or `per_s`, in bursts of at most a twentieth of a second's worth (and at least one).
    pub fn new(per_s: Option<f64>) -> Self {
        let burst = per_s.map_or(0.0, |rate| (rate / 20.0).max(1.0));
        RateLimit { per_s, burst, tokens: 1.0, at_ns: 0 }
    }

    /// Takes up to `wanted` tokens at `now_ns`.
    #[inline(always)]
    pub fn take(&mut self, now_ns: u64, wanted: u32) -> u32 {
        let Some(per_s) = self.per_s else { return wanted };
        let elapsed_s = now_ns.saturating_sub(self.at_ns) as f64 / 1e9;
        self.tokens = (self.tokens + elapsed_s * per_s).min(self.burst);
        self.at_ns = self.at_ns.max(now_ns);
        // A due time computed from the rate must find its token in spite of rounding.
        let taken = wanted.min((self.tokens + 1e-6) as u32);
        self.tokens -= taken as f64;
        taken
    }

    /// Gives back what was taken and not used, or charges what was used beyond it.
    #[inline(always)]
    pub fn settle(&mut self, taken: u32, used: u32) {
        if self.per_s.is_some() {
            self.tokens = (self.tokens + taken as f64 - used as f64).min(self.burst);
        }
    }

    /// When the next token is there, if none is now.
    pub fn next_at_ns(&self) -> u64 {
        match self.per_s {
            Some(per_s) if self.tokens < 1.0 => {
                self.at_ns.saturating_add(((1.0 - self.tokens) / per_s * 1e9).ceil() as u64)
            }
            _ => self.at_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // semantics 17
    #[test]
    fn pending_rows_stop_at_their_weight_and_it_is_said_once() {
        let mut bytes = PendingBytes::new(1000);
        assert!(bytes.room(1_000_000) == 0 || bytes.room(0) > 0);
        bytes.weigh(100);
        assert_eq!((bytes.room(0), bytes.room(9), bytes.room(10)), (10, 1, 0));
        assert!(bytes.should_say(10) && !bytes.should_say(10) && !bytes.should_say(6));
        assert!(!bytes.should_say(4) && bytes.should_say(10));
    }

    #[test]
    fn a_fixed_limit_is_obeyed() {
        let mut limit = PendingLimit::new(Some(10));
        (0..100).for_each(|_| limit.observe(10, false, true));
        assert_eq!((limit.room(7), limit.room(10), limit.room(11)), (3, 0, 0));
    }

    // semantics 17
    #[test]
    fn an_adaptive_limit_doubles_when_it_alone_holds_the_spout_up() {
        let mut limit = PendingLimit::new(None);
        let before = limit.limit();
        limit.observe(before, false, true);
        assert_eq!(limit.limit(), before * 2);
        (0..100).for_each(|_| limit.observe(u32::MAX, false, true));
        assert_eq!(limit.limit(), MAX_SLOTS / 2);
    }

    // semantics 17
    #[test]
    fn an_adaptive_limit_doubles_when_mailboxes_are_empty_only_after_what_filled_them_has_ended() {
        let mut limit = PendingLimit::new(None);
        let before = limit.limit();
        limit.observe(before, false, false); // one batch is written, another one waits
        assert_eq!(limit.limit(), before);
        limit.observe(before / 2, false, true); // the other one is written
        assert_eq!(limit.limit(), before * 2);
        limit.observe(before / 2, false, true);
        assert_eq!(limit.limit(), before * 2);
    }

    // semantics 17
    #[test]
    fn an_adaptive_limit_shrinks_over_high_water_but_not_below_a_batch() {
        let mut limit = PendingLimit::new(None);
        (0..10_000).for_each(|_| limit.observe(100, true, false));
        assert_eq!(limit.limit(), LEAST_LIMIT);
    }

    #[test]
    fn a_full_queue_stays_full_until_the_low_mark() {
        let mut mark = HighWater::new(100, 0.9, 0.4);
        let states: Vec<bool> = [89, 90, 60, 41, 40, 89].into_iter().map(|len| mark.room(len) == 0).collect();
        assert_eq!(states, [false, true, true, true, false, false]);
    }

    #[test]
    fn a_rate_is_kept_over_a_second() {
        let mut rate = RateLimit::new(Some(5.0));
        let mut taken = 0;
        let mut now_ns = 0;
        while now_ns <= 1_000_000_000 {
            taken += rate.take(now_ns, 64);
            now_ns = rate.next_at_ns().max(now_ns + 1);
        }
        assert!((5..=6).contains(&taken), "{taken}");
    }
}
