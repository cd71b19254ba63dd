//! What keeps two workers from reaching each other. Only then may a link between two that live be given up.

use crate::plan::{MS, Place};
use std::collections::BTreeMap;

/// How long two workers are given to find each other again when nothing is in their way any more: as long as they seek
/// each other, and as long for what they began meanwhile to end.
const RECOVERED_NS: u64 = 2_000 * MS;
/// A peer may be silent for so long before its stream is given up (`squall_core::link`), and as much for what is on its way.
const HEARD_NS: u64 = 6_000 * MS;

/// Until when something was in the way of each two workers.
#[derive(Default)]
pub struct Hindrances(BTreeMap<(Place, Place), u64>);

impl Hindrances {
    /// Something is in their way until then.
    pub fn note(&mut self, one: Place, other: Place, until_ns: u64) {
        let last_ns = self.0.entry((one.min(other), one.max(other))).or_default();
        *last_ns = until_ns.max(*last_ns);
    }

    /// Whether two workers may not have found each other at `now_ns`.
    pub fn may_part(&self, one: Place, other: Place, now_ns: u64) -> bool {
        self.until_ns(one, other).is_some_and(|until_ns| until_ns + RECOVERED_NS > now_ns)
    }

    /// Whether two workers may not have heard each other at `now_ns` on a stream that carries all.
    pub fn may_silence(&self, one: Place, other: Place, now_ns: u64) -> bool {
        self.until_ns(one, other).is_some_and(|until_ns| until_ns + HEARD_NS > now_ns)
    }

    fn until_ns(&self, one: Place, other: Place) -> Option<u64> {
        self.0.get(&(one.min(other), one.max(other))).copied()
    }
}
