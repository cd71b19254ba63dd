//! Roots of other workers that are to run alone in their batches (semantics 9, 10); known from their rows.
//!
//! Nobody says when such a tree has ended, so each is kept for a while after its last row: in two sets, of which the
//! older one goes when the younger is as old as that. So a row costs the same however many roots there are.

use crate::ids::RootId;
use std::collections::HashSet;

/// For how long at least a root is kept after its last row.
const KEPT_NS: u64 = 60_000_000_000;

/// The roots whose rows are marked so.
///
/// Bound: the roots of the rows of two minutes, while rows come.
#[derive(Default)]
pub struct Alone {
    young: HashSet<RootId>,
    old: HashSet<RootId>,
    since_ns: u64,
}

impl Alone {
    /// A row of the root came. How many roots more are kept than before.
    pub fn note(&mut self, root: RootId, now_ns: u64) -> i32 {
        let before = self.len();
        if now_ns >= self.since_ns + KEPT_NS {
            self.old = std::mem::take(&mut self.young);
            self.since_ns = now_ns;
        }
        self.old.remove(&root);
        self.young.insert(root);
        self.len() - before
    }

    /// Whether the root is to run alone.
    pub fn contains(&self, root: RootId) -> bool {
        (self.young.contains(&root) || self.old.contains(&root)) && !mutant!(AloneForgotten)
    }

    fn len(&self) -> i32 {
        (self.young.len() + self.old.len()) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const SECOND_NS: u64 = 1_000_000_000;

    // semantics 9, semantics 10
    #[test]
    fn a_root_is_kept_for_a_minute_after_its_last_row_and_not_for_ever() {
        let (mut alone, mut kept) = (Alone::default(), 0);
        for second in 0..200 {
            let root = if second < 90 { RootId(1) } else { RootId(2) };
            kept += alone.note(root, second * SECOND_NS);
            assert!(alone.contains(root));
            assert!(second > 90 + 59 || alone.contains(RootId(1)));
            assert_eq!(kept, i32::from(alone.contains(RootId(1))) + i32::from(alone.contains(RootId(2))));
        }
        assert_eq!((kept, alone.contains(RootId(1))), (1, false));
    }

    // A look at every root for each row would take minutes for these.
    // semantics 10
    #[test]
    fn a_row_costs_the_same_however_many_roots_are_kept() {
        let (mut alone, began) = (Alone::default(), Instant::now());
        let kept: i32 = (1..=500_000).map(|root| alone.note(RootId(root), root * 100_000)).sum();
        assert_eq!(kept, 500_000);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}
