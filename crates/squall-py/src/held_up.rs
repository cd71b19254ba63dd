//! Finding out what holds a task up.

use crate::core::Core;
use crate::task::Task;
use squall_core::held_up::Culprit;
use std::rc::Rc;

impl Core {
    /// Notes that a spout would be polled but may not be. Always false: the poll gave nothing.
    pub fn spout_held_up(&self, task: &Task, who: impl FnOnce() -> Culprit) -> bool {
        task.held_up.with(|held_up| held_up.hold(self.now_ns.get(), who));
        task.spout().ready_since_ns.set(0);
        false
    }

    /// Notes that a bolt has inputs but no room below.
    pub fn held_up_below(&self, task: &Task) {
        task.held_up.with(|held_up| held_up.hold(self.now_ns.get(), || Culprit::Component(slowest_below(task))));
    }

    /// What a spout waits for: a full mailbox, or the one that has most of what is pending.
    pub fn who_holds_up(&self, task: &Task) -> Culprit {
        let state = task.spout();
        let full = state.reach.with(|reach| {
            // One that is full only because those below it are is not to blame.
            let slow = reach.iter().find(|bolt| bolt.is_full() && !bolt.is_held_up());
            slow.or_else(|| reach.iter().find(|bolt| bolt.is_full())).map(|bolt| bolt.component)
        });
        full.map_or_else(|| self.who_holds_most(task), Culprit::Component)
    }

    /// The loop is about to rest.
    pub fn settle_held_up(&self) {
        let now_ns = self.now_precise_ns();
        // SAFETY: the list only changes while building.
        let spouts: &[Rc<Task>] = self.spouts.with(|spouts| unsafe { &*(spouts.as_slice() as *const _) });
        for task in spouts {
            task.held_up.with(|held_up| held_up.settle(now_ns, || self.who_holds_up(task)));
        }
    }

    fn who_holds_most(&self, task: &Task) -> Culprit {
        let state = task.spout();
        let mut loads = vec![0; self.components.with(|names| names.len())];
        state.reach.with(|reach| reach.iter().for_each(|bolt| loads[bolt.component as usize] += bolt.load()));
        let components = loads.into_iter().enumerate().map(|(number, load)| (load, Culprit::Component(number as u32)));
        let waiting =
            [(state.retrying.get() as usize, Culprit::Retries), (state.burying.get() as usize, Culprit::DeadLetters)];
        let most = components.chain(waiting).filter(|(load, _)| *load > 0).max_by_key(|(load, _)| *load);
        most.map_or(Culprit::Component(task.component), |(_, culprit)| culprit)
    }
}

impl Task {
    /// Tuples that the bolt's task has not done with, as far as this worker knows.
    pub fn load(&self) -> usize {
        match self.far() {
            Some(far) => far.under_way(),
            None => self.inbox.len() + self.held.get() as usize + self.bolt().executing.get() as usize,
        }
    }
}

/// The component of a full task below that is not itself held up by one below it.
fn slowest_below(task: &Task) -> u32 {
    let full = |task: &Task| {
        let outs = task.streams.iter().flat_map(|stream| stream.outs.get()).filter(|out| !out.closes_loop);
        outs.flat_map(|out| out.targets.iter()).find(|target| target.is_full()).cloned()
    };
    let Some(mut slowest): Option<Rc<Task>> = full(task) else { return task.component };
    while slowest.inbox.ready() > 0
        && let Some(below) = full(&slowest)
    {
        slowest = below;
    }
    slowest.component
}
