//! Timers in the order of their due times, first in first out among equals.
//!
//! A binary heap with cancellation by forgetting: a cancelled timer's item is given back at once, its place in the
//! heap when it surfaces or when most of the heap is such places. A hierarchical wheel would be cheaper for each timer
//! and coarser in time.

use crate::ids::mix;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// Names one timer; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(pub u64);

/// Items that are due at some time, in nanoseconds of the caller's clock.
pub struct Timers<T> {
    heap: BinaryHeap<Reverse<(u64, TimerId)>>,
    items: HashMap<TimerId, T, BuildHasherDefault<IdHasher>>,
    next: u64,
}

/// Ids are our own and in sequence, so nobody can choose them to collide: no keyed hash, no seed of the system's.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(*byte as u64));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = mix(self.0 ^ id);
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers { heap: BinaryHeap::new(), items: HashMap::default(), next: 1 }
    }
}

impl<T> Timers<T> {
    /// No timers.
    pub fn new() -> Self {
        Timers::default()
    }

    /// How many timers wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Has `item` come due at `due_ns`.
    pub fn at(&mut self, due_ns: u64, item: T) -> TimerId {
        let id = TimerId(self.next);
        self.next += 1;
        self.heap.push(Reverse((due_ns, id)));
        self.items.insert(id, item);
        id
    }

    /// Takes a timer out before it is due.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let item = self.items.remove(&id);
        self.skip_cancelled();
        if self.heap.len() > 64 && self.heap.len() > self.items.len() * 4 {
            self.heap.retain(|Reverse((_, id))| self.items.contains_key(id));
        }
        item
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((due_ns, _))| *due_ns)
    }

    /// The next timer that is due at `now_ns`.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<(TimerId, T)> {
        if self.next_due()? > now_ns {
            return None;
        }
        let Reverse((_, id)) = self.heap.pop()?;
        let item = self.items.remove(&id);
        self.skip_cancelled();
        item.map(|item| (id, item))
    }

    /// Makes every timer that `chosen` picks due at `now_ns`, if it would be later.
    pub fn pull_forward(&mut self, now_ns: u64, chosen: impl Fn(&T) -> bool) {
        let entries = std::mem::take(&mut self.heap).into_vec();
        let items = &self.items;
        self.heap = entries
            .into_iter()
            .map(|Reverse((due_ns, id))| {
                let pulled = items.get(&id).is_some_and(&chosen);
                Reverse((if pulled { due_ns.min(now_ns) } else { due_ns }, id))
            })
            .collect();
    }

    /// Keeps the invariant that the heap's top is a live timer.
    fn skip_cancelled(&mut self) {
        while let Some(Reverse((_, id))) = self.heap.peek() {
            if self.items.contains_key(id) {
                return;
            }
            self.heap.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_due_times_come_first_in_first_out() {
        let mut timers = Timers::new();
        for item in 0..5 {
            timers.at(7, item);
        }
        let order: Vec<i32> = std::iter::from_fn(|| timers.pop_due(7).map(|(_, item)| item)).collect();
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_cancelled_timer_is_never_the_next() {
        let mut timers = Timers::new();
        let early = timers.at(1, "early");
        timers.at(2, "late");
        assert_eq!(timers.cancel(early), Some("early"));
        assert_eq!(timers.cancel(early), None);
        assert_eq!(timers.next_due(), Some(2));
        assert_eq!(timers.pop_due(1), None);
        assert_eq!(timers.pop_due(2).map(|(_, item)| item), Some("late"));
    }

    #[test]
    fn only_the_chosen_are_pulled_forward() {
        let mut timers = Timers::new();
        timers.at(100, 'a');
        timers.at(50, 'b');
        timers.pull_forward(10, |item| *item == 'a');
        assert_eq!(timers.pop_due(10).map(|(_, item)| item), Some('a'));
        assert_eq!(timers.next_due(), Some(50));
    }
}
