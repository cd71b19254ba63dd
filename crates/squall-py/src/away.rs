//! What calls of async and blocking components work on, away from the loop (semantics 9).
//!
//! Several run at once, so when their worker dies nobody can say on which tuple: all are noted for the parent as suspects.
//! From its second death on a root's tuple runs while no other call does, so the third death is that of one root alone.
//! Others wait for it then, and it does not wait for ever for others to leave it the field.

use crate::core::Core;
use crate::task::Task;
use squall_core::cell::Local;
use squall_core::ids::RootId;
use squall_net::page::{AWAY, SUSPECTS};
use std::cell::Cell;

/// The calls of a worker that run away from its loop.
pub struct Away {
    /// Places on the page where no root is noted.
    free: Local<Vec<u16>>,
    /// Calls that take tuples.
    running: Cell<u32>,
    /// One of them is a suspect's, which runs alone.
    suspect_runs: Cell<bool>,
    /// A suspect waits for those that run, as was seen in this turn of the loop and in the last one.
    suspect_waits: Cell<bool>,
    suspect_waited: Cell<bool>,
}

impl Default for Away {
    fn default() -> Away {
        Away {
            free: Local::new((0..AWAY as u16).collect()),
            running: Cell::new(0),
            suspect_runs: Cell::new(false),
            suspect_waits: Cell::new(false),
            suspect_waited: Cell::new(false),
        }
    }
}

impl Core {
    /// Another turn of the loop begins.
    pub fn turn_away(&self) {
        self.away.suspect_waited.set(self.away.suspect_waits.replace(false));
    }

    /// Whether the next input of an async or blocking task waits: as a suspect for calls that run, or for a suspect.
    pub fn waits_for_suspect(&self, task: &Task) -> bool {
        if self.solo.get() == 0 {
            return false;
        }
        let (away, are_others) = (&self.away, self.away.running.get() > 0);
        if task.inbox.front_root().is_some_and(|root| self.is_suspect(root)) {
            away.suspect_waits.set(away.suspect_waits.get() | are_others);
            return are_others;
        }
        let waits = away.suspect_runs.get() || away.suspect_waits.get() || away.suspect_waited.get();
        if waits && !are_others {
            self.wants_turn.set(true); // no call's end brings it
        }
        waits
    }

    /// A call begins that takes tuples of these roots.
    pub fn call_begins(&self, roots: &[RootId]) {
        self.away.running.set(self.away.running.get() + 1);
        if self.solo.get() > 0 && roots.iter().any(|root| self.is_suspect(*root)) {
            self.away.suspect_runs.set(true);
        }
    }

    /// A call that takes tuples has come to its end, in the loop's eyes too.
    pub fn call_ends(&self) {
        self.away.running.set(self.away.running.get() - 1);
        if self.away.running.get() == 0 {
            self.away.suspect_runs.set(false);
        }
    }

    /// Notes the roots that a call works on from now on, as far as there is room: where that is.
    pub fn note_away(&self, roots: &[RootId]) -> Vec<u16> {
        let Some(page) = &self.page else { return Vec::new() };
        let mut places = Vec::new();
        for (root, _) in roots.iter().take(SUSPECTS).flat_map(|root| self.pairs_of(*root, 0)) {
            let Some(place) = self.away.free.with(Vec::pop) else { break };
            page.work_away(place.into(), root.0);
            places.push(place);
        }
        places
    }

    /// What is noted at these places is worked on no more.
    pub fn forget_away(&self, places: Vec<u16>) {
        if let Some(page) = &self.page {
            places.iter().for_each(|place| page.work_away((*place).into(), 0));
            self.away.free.with(|free| free.extend(places));
        }
    }
}
