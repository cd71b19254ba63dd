//! What calls of async and blocking components work on, away from the loop (semantics 9).
//!
//! Several run at once, so when their worker dies nobody can say on which tuple: all are noted for the parent as suspects.
//! From its second death on a root's tuple runs while no other call does, so the third death is that of one root alone.
//! Others wait for it then, and it does not wait for ever for others to leave it the field.

use crate::bolt::Input;
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

    /// A call begins that takes these tuples. Where their roots are noted on the page, as far as there is room.
    pub fn call_begins(&self, inputs: &[Input]) -> Vec<u16> {
        self.away.running.set(self.away.running.get() + 1);
        if self.solo.get() > 0 && inputs.iter().any(|input| self.is_suspect(input.root)) {
            self.away.suspect_runs.set(true);
        }
        let Some(page) = &self.page else { return Vec::new() };
        self.away.free.with(|free| {
            let mut places = Vec::with_capacity(inputs.len().min(SUSPECTS));
            let mut note = |root: RootId| {
                if let Some(place) = free.pop() {
                    page.work_away(place.into(), root);
                    places.push(place);
                }
            };
            for input in inputs.iter().take(SUSPECTS).filter(|input| input.root.is_tracked()) {
                match input.root.is_bundle() {
                    false => note(input.root),
                    true => self.pairs_of(input.root, 0).iter().for_each(|(root, _)| note(*root)),
                }
            }
            places
        })
    }

    /// The code of a call has returned: it works no more on what is noted at these places.
    pub fn call_returned(&self, places: Vec<u16>) {
        if let Some(page) = &self.page {
            places.iter().for_each(|place| page.work_away((*place).into(), RootId::NONE));
            self.away.free.with(|free| free.extend(places));
        }
    }

    /// A call that takes tuples has come to its end, in the loop's eyes too.
    pub fn call_ends(&self) {
        self.away.running.set(self.away.running.get() - 1);
        if self.away.running.get() == 0 {
            self.away.suspect_runs.set(false);
        }
    }
}
