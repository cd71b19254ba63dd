//! The loop that runs the tasks of a worker.
//!
//! One thread runs all tasks in turn: spouts give up to 64 roots each, then bolts in topological order empty their
//! inboxes, then timers; when nothing is left to do the loop spins for some microseconds, where that has paid lately, and
//! then sleeps until the next timer or a wake. A thread for each executor costs 1.3 to 2 times the CPU under the interpreter lock.

use crate::call::{Kind, offload};
use crate::core::{Core, Due, UserTimer, exception};
use crate::failures::Failure;
use crate::fault;
use crate::gil::Gil;
use crate::retries::SHORT_WAIT_NS;
use crate::roots::Pending;
use crate::spout::{Source, SpoutState};
use crate::task::{Fast, Task};
use pyo3::ffi::{PyErr_CheckSignals, PyThreadState_Get};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use squall_core::ids::{RootId, mix};
use squall_core::retry::{self, Action};
use squall_core::route::Grouping;
use squall_core::spin::Spin;
use squall_net::page::Totals;
use squall_net::wake::Waiter;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a timer waits that found the tasks below full.
const ROOM_WAIT_NS: u64 = 5_000_000;

/// Why the loop came back.
pub enum Ended {
    Exhausted,
    Stopped,
    Died,
    Idle,
    Deadline,
}

impl Core {
    /// Runs turns until there is a reason to come back.
    ///
    /// `known`: the activity up to which the caller knows that it is exhausted.
    pub fn run(&self, py: Python<'_>, until_idle: bool, deadline_ns: u64, known: Option<u64>) -> PyResult<Ended> {
        // SAFETY: the interpreter lock is held.
        self.loop_thread.set(unsafe { PyThreadState_Get() });
        self.adopt_thread();
        let (mut spinning_since_ns, mut spin) = (0, Spin::default());
        loop {
            let now_ns = self.tick_clock();
            if self.has_died() {
                return Ok(Ended::Died);
            }
            if self.stop.swap(false, Ordering::Relaxed) {
                return Ok(Ended::Stopped);
            }
            if now_ns >= deadline_ns {
                return Ok(Ended::Deadline);
            }
            if self.turn(py) {
                spinning_since_ns = 0;
                self.activity.set(self.activity.get() + 1);
                // SAFETY: the interpreter lock is held.
                if unsafe { PyErr_CheckSignals() } != 0 {
                    return Err(PyErr::fetch(py));
                }
                continue;
            }
            if known != Some(self.activity.get()) && self.is_exhausted() {
                return Ok(Ended::Exhausted);
            }
            if self.is_virtual() || (until_idle && self.is_idle()) {
                self.settle_held_up();
                return Ok(Ended::Idle);
            }
            if spinning_since_ns == 0 {
                spinning_since_ns = now_ns;
            }
            if now_ns - spinning_since_ns < spin.for_ns() && !until_idle {
                std::hint::spin_loop();
                continue;
            }
            self.settle_held_up();
            self.sleep(py, deadline_ns);
            spin.slept(self.now_precise_ns().saturating_sub(now_ns));
            if unsafe { PyErr_CheckSignals() } != 0 {
                return Err(PyErr::fetch(py));
            }
        }
    }

    /// Tasks whose code runs on the loop's thread emit on the fast path from it.
    fn adopt_thread(&self) {
        let thread = self.loop_thread.get();
        for task in self.tasks.get() {
            task.thread.set(if task.is_offloaded() { std::ptr::null_mut() } else { thread });
        }
    }

    /// One turn of everything. Whether there was something to do.
    fn turn(&self, py: Python<'_>) -> bool {
        self.turn_away();
        let mut worked = self.receive(py) | self.finish_completions(py);
        worked |= self.fire_timers(py);
        // SAFETY (both): the lists only change while building.
        let spouts: &[Rc<Task>] = self.spouts.with(|spouts| unsafe { &*(spouts.as_slice() as *const _) });
        let order: &[Rc<Task>] = self.order.with(|order| unsafe { &*(order.as_slice() as *const _) });
        if self.started.get() {
            for spout in spouts.iter().take_while(|_| !self.has_died()) {
                worked |= self.run_spout(py, spout);
            }
        }
        let mut over_high_water = false;
        for bolt in order.iter().take_while(|_| !self.has_died()) {
            over_high_water |= bolt.is_full() && self.is_full_of_own(bolt);
            worked |= self.run_bolt(py, bolt) > 0;
        }
        // What waits in an inbox for the rest of its batch waits for its next input, as in a join.
        let waits = |bolt: &Rc<Task>| bolt.inbox.is_empty() || bolt.bolt().waiting_since_ns.get() != 0;
        let is_taken = |task: &Rc<Task>| task.far().is_none_or(|far| far.is_soon_taken());
        let all_empty = order.iter().all(waits) && (self.is_alone() || self.tasks.get().iter().all(is_taken));
        for spout in spouts {
            let state = spout.spout();
            let has_acks = !state.acked.with(|acked| acked.is_empty()) || !state.later.with(|later| later.is_empty());
            if has_acks && !self.has_died() {
                self.flush_acks(py, spout);
            }
            state.limit.with(|limit| limit.observe(state.outstanding(), over_high_water, all_empty));
        }
        if self.trace.is_some() {
            self.write_trace();
        }
        if let (true, Some(page)) = (worked, &self.page) {
            page.set_totals(totals(spouts));
            for (i, spout) in spouts.iter().enumerate().filter(|(_, spout)| spout.spout().is_rerun.get()) {
                page.set_prefix(i, spout.spout().ended_prefix().unwrap_or(0));
            }
        }
        worked |= self.wants_turn.replace(false);
        self.send_over_links(py, !worked);
        worked
    }

    fn finish_completions(&self, py: Python<'_>) -> bool {
        let mut worked = false;
        // What killed the worker is what its last call worked on: no other call may follow, here and below.
        while !self.has_died() {
            let Some(call) = self.completions.with(VecDeque::pop_front) else { break };
            worked = true;
            let inner = call.get().inner();
            let outer = self.enter(&inner.task);
            inner.page_roots(); // what it gave is sent, which may run its types' `encode`
            self.finish_call(py, &call);
            self.leave(outer);
        }
        if self.has_died() {
            return true;
        }
        for handle in self.rested.replace(Vec::new()) {
            worked = true;
            self.rest(handle);
        }
        worked |= self.replay(py);
        if self.waits_for_tcp.get() {
            worked |= self.look_at_tcp();
        }
        worked
    }

    /// Emits roots of dead letters again, as far as the ledger has room; the others wait. Whether any was.
    fn replay(&self, py: Python<'_>) -> bool {
        let mut waiting = self.replays.replace(Vec::new()).into_iter();
        let mut worked = false;
        while let Some(replay) = waiting.next() {
            if self.ledger.with(|ledger| ledger.is_full()) {
                self.replays.with(|replays| replays.extend([replay].into_iter().chain(waiting)));
                let due = self.now_ns.get() + SHORT_WAIT_NS;
                self.timers.with(|timers| timers.at(due, Due::Wake));
                break;
            }
            worked = true;
            let task = self.task(replay.task);
            if let Err(error) = task.replay(py, &replay) {
                let told = self.hooks(py).call_method1("replay_refused", (replay.handle, exception(py, &error)));
                if let Err(fault) = told {
                    fault.write_unraisable(py, None);
                }
            }
        }
        worked
    }

    /// Polls TCP spouts again that had nothing and have something now.
    fn look_at_tcp(&self) -> bool {
        let mut found = false;
        self.spouts.with(|spouts| {
            for task in spouts.iter() {
                let state = task.spout();
                let more = state.source.with(|source| matches!(source, Some(Source::Tcp(reader)) if reader.has_more()));
                if more && state.next_poll_ns.get() > self.now_ns.get() {
                    state.next_poll_ns.set(0);
                    found = true;
                }
            }
        });
        found
    }

    fn fire_timers(&self, py: Python<'_>) -> bool {
        let now_ns = self.now_ns.get();
        let mut worked = false;
        while !self.has_died() {
            let Some((_, due)) = self.timers.with(|timers| timers.pop_due(now_ns)) else { break };
            worked = true;
            match due {
                Due::Retry(retry) => self.retry_now(*retry),
                Due::Hold(tuple) => self.hold_ended(py, tuple),
                Due::CallHold(call) => self.call_held_too_long(py, &call),
                Due::User(timer) => self.fire_user_timer(py, timer),
                Due::Reweigh => self.reweigh(),
                Due::Sweep => self.sweep(py),
                Due::Wake => {}
            }
            if self.should_return() {
                break;
            }
        }
        worked
    }

    fn fire_user_timer(&self, py: Python<'_>, timer: Rc<UserTimer>) {
        self.user_timers.with(|timers| timers.remove(&timer.number));
        let callable = timer.method.callable(py);
        if timer.task < 0 {
            self.schedule_next(&timer);
            if let Err(error) = callable.call1(py, timer.args.bind(py)) {
                error.write_unraisable(py, None);
            }
            return;
        }
        let task = self.task(timer.task as u32);
        if task.timers_send.get() && self.is_out_of_room(&task) {
            let due_ns = timer.due_ns.get();
            self.schedule(timer.clone(), self.now_ns.get() + ROOM_WAIT_NS);
            return timer.due_ns.set(due_ns);
        }
        self.schedule_next(&timer);
        if task.is_offloaded() {
            let kind = if timer.is_tick { Kind::Tick } else { Kind::Timer };
            let args = timer.args.bind(py).iter().map(Bound::unbind).collect();
            return offload(py, &task, kind, callable, args);
        }
        let place = if timer.is_tick { "tick" } else { "timer" };
        let outer = self.enter(&task);
        self.page_call();
        self.page_root(RootId::NONE);
        task.cur.root.set(RootId::NONE);
        let sent = task.sent();
        match callable.call1(py, timer.args.bind(py)) {
            Ok(result) => self.send_unanchored(py, &task, result.into_bound(py), place),
            Err(error) => self.report(py, &task, place, error),
        }
        task.timers_send.set(task.sent() != sent);
        self.leave(outer);
    }

    /// Whether what the task emitted now would find the tasks below full.
    fn is_out_of_room(&self, task: &Task) -> bool {
        if task.is_spout() { self.is_blocked(task) } else { task.is_held_up() }
    }

    /// From when it was due, so that it does not drift; a period that was slept through is not made up for.
    fn schedule_next(&self, timer: &Rc<UserTimer>) {
        if timer.period_ns == 0 {
            return;
        }
        let (next_ns, now_ns) = (timer.due_ns.get() + timer.period_ns, self.now_ns.get());
        self.schedule(timer.clone(), if next_ns > now_ns { next_ns } else { now_ns + timer.period_ns });
    }

    /// Has a user's timer come due.
    pub fn schedule(&self, timer: Rc<UserTimer>, due_ns: u64) {
        let number = timer.number;
        timer.due_ns.set(due_ns);
        let id = self.timers.with(|timers| timers.at(due_ns, Due::User(timer)));
        self.user_timers.with(|timers| timers.insert(number, id));
    }

    /// Looks for trees that are too old a while later.
    pub fn sweep_later(&self) {
        let Some(max_age_ns) = self.settings.tree_max_age_ns else { return };
        let due = self.now_ns.get() + (max_age_ns / 4).clamp(1_000_000, 1_000_000_000);
        self.timers.with(|timers| timers.at(due, Due::Sweep));
    }

    fn sweep(&self, py: Python<'_>) {
        let now_ns = self.now_ns.get();
        let max_age_ns = self.settings.tree_max_age_ns.unwrap_or(u64::MAX);
        let old: Vec<(RootId, u32)> = self.ledger.with(|ledger| {
            let is_old = |pending: &Pending| now_ns.saturating_sub(pending.emitted_ns) > max_age_ns;
            ledger.iter().filter(|(_, pending)| is_old(pending)).map(|(root, pending)| (root, pending.spout)).collect()
        });
        for (root, spout) in old {
            let task = self.task(spout);
            let error = fault::tree_too_old(&task);
            let verdict = retry::Failure { action: Action::Retry, counts: true, after_ns: None };
            let (number, error) = (self.next_failure(), error.into_value(py).into_any());
            let failure = Failure { number, task, error, verdict, input: None, together: false };
            self.fail_root(py, root, &failure);
        }
        self.sweep_later();
    }

    fn reweigh(&self) {
        let seed = mix(self.seed ^ self.now_ns.get());
        for task in self.tasks.get() {
            for out in task.streams.iter().flat_map(|stream| stream.outs.get()) {
                if let (Fast::Turns | Fast::Far | Fast::Noted, Grouping::Shuffle(turns)) =
                    (out.fast, &out.route.grouping)
                {
                    let load = |task: &Rc<Task>| task.load() as f64 / self.settings.capacity as f64;
                    let loads: Vec<f64> = out.targets.iter().map(load).collect();
                    turns.reweigh(&loads, seed);
                }
            }
        }
        let due = self.now_ns.get() + 1_000_000_000;
        self.timers.with(|timers| timers.at(due, Due::Reweigh));
    }

    /// Whether every spout is exhausted and nothing is pending, queued or in user hands; where there are other workers,
    /// as far as this one can tell.
    fn is_exhausted(&self) -> bool {
        let waits_for_drain = |state: &SpoutState| {
            state.retrying.get() == 0 && state.burying.get() == 0 && (!self.is_alone() || self.is_held_for_drain())
        };
        let ended = |task: &Rc<Task>| {
            let state = task.spout();
            self.has_ended(task) && (state.outstanding() == 0 || waits_for_drain(state))
        };
        self.started.get() && self.spouts.with(|spouts| spouts.iter().all(ended)) && self.is_quiet()
    }

    /// Whether nothing more comes from a spout by itself.
    fn has_ended(&self, task: &Task) -> bool {
        // System spouts (dead letters) give only what the others lead to, and gave it in this turn's poll.
        let exhausted = task.spout().exhausted.get() || self.component_name(task.component).starts_with("__");
        exhausted && task.in_flight.get() == 0
    }

    /// How the worker stands, all of one moment: what may still move, and what is waited for.
    pub fn standing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let spouts: Vec<Rc<Task>> = self.spouts.with(|spouts| spouts.clone());
        let of_spouts = |count: fn(&SpoutState) -> u32| spouts.iter().map(|task| count(task.spout())).sum::<u32>();
        let going_on = || spouts.iter().filter(|task| !self.has_ended(task));
        let held = |drains: bool| {
            let bolts = self.order.with(|order| order.clone()).into_iter();
            bolts.filter(|task| task.bolt().drains.get() == drains).map(|task| task.held.get()).sum::<u32>()
        };
        let waits_to_go_out = self.tasks.get().iter().filter_map(|task| task.far()).any(|far| far.waiting() > 0);
        let moving = !self.started.get()
            || !self.is_quiet()
            || of_spouts(|state| state.retrying.get() + state.burying.get()) > 0
            || waits_to_go_out
            || self.has_acks_to_send()
            || !self.rested.with(|rested| rested.is_empty())
            || !self.news.with(|news| news.is_empty())
            || !self.replays.with(|replays| replays.is_empty());
        let dict = PyDict::new(py);
        dict.set_item("activity", self.activity.get())?;
        dict.set_item("in_call", self.component_now.get() != 0)?;
        dict.set_item("moving", moving)?;
        dict.set_item("exhausted", going_on().next().is_none())?;
        dict.set_item("only_polls", going_on().all(|task| task.in_flight.get() > 0))?;
        dict.set_item("pending", of_spouts(SpoutState::outstanding))?;
        dict.set_item("held", held(true) + held(false))?;
        dict.set_item("kept", held(false))?;
        dict.set_item("undrained", self.order.with(|order| order.iter().any(|task| task.bolt().is_undrained())))?;
        dict.set_item("due", self.next_due_ns().map(|due| due as f64 / 1e9))?;
        let (sent, received) = self.frames_of_work();
        dict.set_item("sent", sent)?;
        dict.set_item("received", received)?;
        Ok(dict)
    }

    /// Whether bolts hold tuples and all that do have a `drain`, which is called when the sources have ended: what they
    /// wait for will not come any more.
    fn is_held_for_drain(&self) -> bool {
        let mut holding = self.tasks.get().iter().filter(|task| task.held.get() > 0).peekable();
        !self.draining.get() && holding.peek().is_some() && holding.all(|task| task.bolt().drains.get())
    }

    /// Whether no bolt has anything queued or running elsewhere.
    fn is_quiet(&self) -> bool {
        let busy = |task: &Rc<Task>| !task.inbox.is_empty() || task.in_flight.get() > 0 || task.bolt().has_paused();
        !self.order.with(|order| order.iter().any(busy)) && self.completions.with(|waiting| waiting.is_empty())
    }

    /// Whether nothing can run without time moving or the world sending something.
    fn is_idle(&self) -> bool {
        let running = |task: &Rc<Task>| task.in_flight.get() > 0;
        !self.tasks.get().iter().any(running)
            && self.buried.with(|buried| buried.is_empty())
            && self.completions.with(|waiting| waiting.is_empty())
    }

    /// Sleeps until something is due or someone wakes the loop; gives the interpreter lock up meanwhile.
    fn sleep(&self, py: Python<'_>, deadline_ns: u64) {
        let now_ns = self.now_precise_ns();
        let mut until_ns = deadline_ns.min(self.next_due_ns().unwrap_or(u64::MAX));
        if until_ns == u64::MAX {
            until_ns = now_ns + 1_000_000_000;
        }
        let wait_ns = until_ns.saturating_sub(now_ns).min(1_000_000_000);
        if wait_ns == 0 {
            return;
        }
        let waiter = Gil(&self.waiter as *const Waiter);
        py.detach(|| {
            let waiter = &waiter;
            // SAFETY: the core outlives the call; the waiter is made for use without the lock.
            unsafe { &*waiter.0 }.wait_any(&mut Vec::new(), Some(Duration::from_nanos(wait_ns)));
        });
    }

    /// When the next timer is due or the next spout wants to be polled.
    pub fn next_due_ns(&self) -> Option<u64> {
        let timer = self.timers.with(|timers| timers.next_due());
        let spout = self.spouts.with(|spouts| {
            let waiting = spouts.iter().filter(|task| self.started.get() && self.may_poll_later(task));
            waiting.map(|task| task.spout().next_poll_ns.get().max(task.paused_until_ns.get())).min()
        });
        let paused = self.order.with(|order| {
            let paused = order.iter().filter(|task| !task.inbox.is_empty());
            paused.map(|task| task.paused_until_ns.get()).filter(|until| *until > self.now_ns.get()).min()
        });
        [timer, spout.filter(|at| *at < u64::MAX / 8), paused].into_iter().flatten().min()
    }

    fn may_poll_later(&self, task: &Task) -> bool {
        let state = task.spout();
        let pending = state.outstanding();
        let room = state.limit.with(|limit| limit.room(pending)).min(state.bytes.with(|bytes| bytes.room(pending))) > 0;
        !state.exhausted.get() && room && !self.is_blocked(task)
    }
}

/// What became of the roots of these spouts.
fn totals(spouts: &[Rc<Task>]) -> Totals {
    let mut totals = Totals::default();
    for spout in spouts {
        totals.emitted += spout.streams.iter().map(|stream| stream.emitted.get()).sum::<u64>();
        totals.acked += spout.counts.acked.get();
        totals.failed += spout.counts.failed.get();
        totals.dead += spout.counts.dead.get();
    }
    totals
}
