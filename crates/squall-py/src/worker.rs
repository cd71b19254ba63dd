//! The tasks of one worker and the loop that runs them.
//!
//! One thread runs all tasks in turn: spouts give up to 64 roots each, then bolts in topological order empty their
//! inboxes, then timers; when nothing is left to do the loop spins for some microseconds and then sleeps until the
//! next timer or a wake. A thread for each executor costs 1.3 to 2 times the CPU under the interpreter lock.

use crate::bolt::{ARG_CONSTANT, ARG_TUPLE, Binding, BoltState};
use crate::call::{Call, Kind, offload};
use crate::component::{self, Component};
use crate::fault;
use crate::gil::{Fixed, Gil};
use crate::method::Method;
use crate::row::{PyRow, raised};
use crate::spout::{Source, SpoutOptions, SpoutState};
use crate::task::{Counts, Cur, Fast, Out, OutStream, Role, Task, Times};
use crate::tcp::TcpSource;
use crate::trees::{Buried, Pending, Retry};
use crate::tuple::Tuple;
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi::{PyErr_CheckSignals, PyThreadState, PyThreadState_Get};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use squall_core::ack::{Bundles, Ledger};
use squall_core::cell::Local;
use squall_core::ids::{EdgeIds, Incarnation, RootId, mix};
use squall_core::mailbox::Channel;
use squall_core::metrics::{Latency, Sampler, Windows};
use squall_core::route::{Grouping, PartialKey, Route, Turns};
use squall_core::timers::{TimerId, Timers};
use squall_net::page::Page;
use squall_net::wake::{Waiter, Wake};
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The exception with its traceback in it, as Python code expects to find it.
#[cold]
pub fn exception<'py>(py: Python<'py>, error: &PyErr) -> Bound<'py, PyAny> {
    let value = error.value(py).clone().into_any();
    if let Some(traceback) = error.traceback(py) {
        if let Err(fault) = value.setattr("__traceback__", traceback) {
            fault.write_unraisable(py, None);
        }
    }
    value
}

/// How long one bolt runs before the others get their turn.
const SLICE_NS: u64 = 5_000_000;
/// How long the loop polls before it sleeps: shorter than a thread's wake-up.
const SPIN_NS: u64 = 20_000;

/// What a timer is for.
pub enum Due {
    /// A failed root's next try.
    Retry(Box<Retry>),
    /// A tuple that user code holds.
    Hold(Py<Tuple>),
    /// An offloaded call.
    CallHold(Py<Call>),
    /// A user's or the runtime's timer.
    User(Rc<UserTimer>),
    /// Only makes the loop look again.
    Wake,
    /// Shuffles follow the loads.
    Reweigh,
}

/// A timer of user code, or of the runtime (task -1).
pub struct UserTimer {
    task: i64,
    method: Method,
    args: Py<PyTuple>,
    /// 0: once.
    period_ns: u64,
    is_tick: bool,
    number: u64,
}

enum Clock {
    Real(Instant),
    Virtual(Cell<u64>),
}

/// The state that the tasks of a worker share. Guarded by the interpreter lock.
pub struct Core {
    pub tasks: Fixed<Rc<Task>>,
    components: Local<Vec<String>>,
    channels: Local<Vec<(Rc<Task>, usize)>>,
    order: Local<Vec<Rc<Task>>>,
    spouts: Local<Vec<Rc<Task>>>,
    pub ledger: Local<Ledger<Pending>>,
    pub bundles: Local<Bundles>,
    pub edges: EdgeIds,
    pub timers: Local<Timers<Due>>,
    user_timers: Local<HashMap<u64, TimerId>>,
    pub completions: Local<VecDeque<Py<Call>>>,
    rested: Local<Vec<u64>>,
    replays: Local<Vec<(u32, u16, Py<PyTuple>)>>,
    pub buried: Local<HashMap<u64, Buried>>,
    pub next_handle: Cell<u64>,
    hooks: Local<Option<Py<PyAny>>>,
    pub now_ns: Cell<u64>,
    clock: Clock,
    pub slice_ns: u64,
    pub loop_thread: Cell<*mut PyThreadState>,
    pub current_tuple: Cell<*const Tuple>,
    /// Some task has an interceptor.
    pub peculiar: Cell<bool>,
    pub acking: bool,
    pub draining: Cell<bool>,
    started: Cell<bool>,
    pub observed: Cell<bool>,
    /// Open roots that are to run alone in their batches.
    pub solo: Cell<u32>,
    pub waits_for_tcp: Cell<bool>,
    death: Local<Option<(u32, Py<PyAny>)>>,
    pub wake: Wake,
    waiter: Waiter,
    stop: Arc<AtomicBool>,
    page: Option<Page>,
    calls: Cell<u64>,
    component_now: Cell<u32>,
    seed: u64,
    settings: Settings,
}

/// The settings that the core reads.
struct Settings {
    sample_rate: f64,
    capacity: usize,
    high: f64,
    low: f64,
    loop_max: usize,
    load_aware: bool,
}

impl Core {
    /// The name of a component, by its number.
    pub fn component_name(&self, number: u32) -> &str {
        // SAFETY: names are only added while building.
        self.components.with(|names| unsafe { &*(names[number as usize].as_str() as *const str) })
    }

    /// A task, by its index.
    pub fn task(&self, index: u32) -> Rc<Task> {
        self.tasks.get()[index as usize].clone()
    }

    /// The sending end of a channel: its task and the number of the stream.
    pub fn channel(&self, channel: Channel) -> (&Task, usize) {
        self.channels.with(|channels| {
            let (task, stream) = channels.get(channel as usize).expect("the worker is open");
            // SAFETY: channels are only added while building, and each holds its task.
            (unsafe { &*Rc::as_ptr(task) }, *stream)
        })
    }

    /// Whether a task has this id.
    pub fn knows_task(&self, id: i64) -> bool {
        self.tasks.get().iter().any(|task| task.task_id == id)
    }

    /// The ids of all tasks.
    pub fn task_ids(&self) -> Vec<i64> {
        self.tasks.get().iter().map(|task| task.task_id).collect()
    }

    /// The most tuples that may queue on an edge that closes a loop.
    pub fn loop_max(&self) -> usize {
        self.settings.loop_max
    }

    /// The runtime's hooks.
    pub fn hooks<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.hooks.with(|hooks| match hooks {
            Some(hooks) => hooks.clone_ref(py).into_bound(py),
            None => py.None().into_bound(py),
        })
    }

    /// The clock, read now.
    #[inline(always)]
    pub fn now_precise_ns(&self) -> u64 {
        match &self.clock {
            Clock::Real(start) => start.elapsed().as_nanos() as u64,
            Clock::Virtual(now) => now.get(),
        }
    }

    /// Reads the clock into the loop's time.
    #[inline(always)]
    pub fn tick_clock(&self) -> u64 {
        let now_ns = self.now_precise_ns();
        self.now_ns.set(now_ns);
        now_ns
    }

    fn is_virtual(&self) -> bool {
        matches!(self.clock, Clock::Virtual(_))
    }

    /// Whether the loop must come back before it takes another input.
    #[inline(always)]
    pub fn should_return(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.death.with(|death| death.is_some())
    }

    /// Says whose code runs from now on; gives back whose ran before.
    #[inline(always)]
    pub fn enter(&self, task: &Task) -> u32 {
        let outer = self.component_now.replace(task.component + 1);
        if let Some(page) = &self.page {
            page.enter(task.component + 1);
        }
        outer
    }

    /// The counterpart of [`Core::enter`].
    #[inline(always)]
    pub fn leave(&self, outer: u32) {
        self.component_now.set(outer);
        if let Some(page) = &self.page {
            page.enter(outer);
        }
    }

    /// Another call of user code begins.
    #[inline(always)]
    pub fn page_call(&self) {
        let calls = self.calls.get() + 1;
        self.calls.set(calls);
        if let Some(page) = &self.page {
            page.call(calls);
        }
    }

    /// Whether the watchdog found the call that just ended to have taken longer than the message time-out.
    #[inline(always)]
    pub fn was_overdue(&self) -> bool {
        self.page.as_ref().is_some_and(|page| page.overdue() == self.calls.get())
    }

    /// The worker ends because of `error`.
    #[cold]
    pub fn die(&self, py: Python<'_>, task: &Task, error: &PyErr) {
        let value = exception(py, error).unbind();
        self.death.with(|death| {
            death.get_or_insert((task.index, value));
        });
    }

    /// Reports an exception that fails no tuple.
    #[cold]
    pub fn report(&self, py: Python<'_>, task: &Task, place: &str, error: PyErr) {
        task.counts.errors.set(task.counts.errors.get() + 1);
        if !error.is_instance_of::<pyo3::exceptions::PyException>(py) {
            return self.die(py, task, &error);
        }
        let told = self.hooks(py).call_method1("error", (task.index, place, exception(py, &error)));
        if let Err(fault) = told {
            fault.write_unraisable(py, None);
        }
    }

    /// The (root, edge) pairs of a mailbox entry.
    pub fn pairs_of(&self, root: RootId, edge: u64) -> Box<[(RootId, u64)]> {
        match root {
            RootId::NONE => Box::new([]),
            root if root.is_bundle() => self.bundles.with(|bundles| bundles.get(root).into()),
            root => Box::new([(root, edge)]),
        }
    }

    /// A new bundle with the roots of `bundle` and one edge.
    #[cold]
    pub fn rebundle(&self, bundle: RootId, edge: u64) -> RootId {
        self.bundles.with(|bundles| {
            let pairs = bundles.get(bundle).iter().map(|(root, _)| (*root, edge)).collect();
            bundles.put(pairs)
        })
    }

    /// Forgets the bundle of a mailbox entry that is neither acked nor failed here.
    pub fn forget_bundle(&self, root: RootId) {
        if root.is_bundle() {
            drop(self.bundles.with(|bundles| bundles.take(root)));
        }
    }

    /// Which try of the root this is, while its tree is open here.
    pub fn attempt_of(&self, root: RootId) -> Option<u32> {
        self.ledger.with(|ledger| ledger.entry(root).map(|pending| pending.attempt))
    }

    /// Whether the root's tree is open here.
    pub fn is_open(&self, root: RootId) -> bool {
        self.ledger.with(|ledger| ledger.entry(root).is_some())
    }

    /// When the root was emitted, while its tree is open here.
    pub fn emitted_at_ns(&self, root: RootId) -> Option<u64> {
        self.ledger.with(|ledger| ledger.entry(root).map(|pending| pending.emitted_ns))
    }

    /// Sends what user code gave outside of an input.
    pub fn send_unanchored(&self, py: Python<'_>, task: &Rc<Task>, result: Bound<'_, PyAny>, place: &str) {
        // SAFETY: `into_ptr` gives an owned reference.
        let sent = unsafe {
            match task.is_spout() {
                true => task.send_root_output(result.into_ptr()),
                false => task.send_output(result.into_ptr(), &Cur::default()),
            }
        };
        if sent.is_err() {
            self.report(py, task, place, PyErr::fetch(py));
        }
    }

    /// A record that no bolt could take: counted as a root that failed once and is dead.
    #[cold]
    pub fn bury_unsent(&self, py: Python<'_>, task: &Task, row: PyRow, error: PyErr) {
        let task = self.task(task.index);
        let Some(stream) = task.default_stream() else { return };
        stream.emitted.set(stream.emitted.get() + 1);
        task.counts.failed.set(task.counts.failed.get() + 1);
        task.counts.errors.set(task.counts.errors.get() + 1);
        let told = self.hooks(py).call_method1("error", (task.index, "decode", exception(py, &error)));
        if let Err(fault) = told {
            fault.write_unraisable(py, None);
        }
        let pending = Pending {
            spout: task.index,
            stream: 0,
            solo: false,
            attempt: 1,
            weight: 0,
            id: std::ptr::null_mut(),
            row,
            emitted_ns: self.now_ns.get(),
        };
        self.bury_at_once(py, task, pending, error);
    }
}

// -- the loop ------------------------------------------------------------------------------------------------

/// Why the loop came back.
enum Ended {
    Exhausted,
    Stopped,
    Died,
    Idle,
    Deadline,
}

impl Core {
    fn run(&self, py: Python<'_>, until_idle: bool, deadline_ns: u64) -> PyResult<Ended> {
        // SAFETY: the interpreter lock is held.
        self.loop_thread.set(unsafe { PyThreadState_Get() });
        self.adopt_thread();
        let mut spinning_since_ns = 0;
        loop {
            let now_ns = self.tick_clock();
            if self.death.with(|death| death.is_some()) {
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
                // SAFETY: the interpreter lock is held.
                if unsafe { PyErr_CheckSignals() } != 0 {
                    return Err(PyErr::fetch(py));
                }
                continue;
            }
            if self.is_exhausted() {
                return Ok(Ended::Exhausted);
            }
            if self.is_virtual() || (until_idle && self.is_idle()) {
                return Ok(Ended::Idle);
            }
            if spinning_since_ns == 0 {
                spinning_since_ns = now_ns;
            }
            if now_ns - spinning_since_ns < SPIN_NS && !until_idle {
                std::hint::spin_loop();
                continue;
            }
            self.sleep(py, deadline_ns);
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
        let mut worked = self.finish_completions(py);
        worked |= self.fire_timers(py);
        // SAFETY (both): the lists only change while building.
        let spouts: &[Rc<Task>] = self.spouts.with(|spouts| unsafe { &*(spouts.as_slice() as *const _) });
        let order: &[Rc<Task>] = self.order.with(|order| unsafe { &*(order.as_slice() as *const _) });
        if self.started.get() {
            for spout in spouts {
                worked |= self.run_spout(py, spout);
            }
        }
        let mut over_high_water = false;
        for bolt in order {
            over_high_water |= bolt.is_full();
            worked |= self.run_bolt(py, bolt) > 0;
        }
        let all_empty = order.iter().all(|bolt| bolt.inbox.is_empty());
        for spout in spouts {
            let state = spout.spout();
            if !state.acked.with(|acked| acked.is_empty()) || !state.later.with(|later| later.is_empty()) {
                self.flush_acks(py, spout);
            }
            state.limit.with(|limit| limit.observe(state.outstanding(), over_high_water, all_empty));
        }
        worked
    }

    fn finish_completions(&self, py: Python<'_>) -> bool {
        let mut worked = false;
        while let Some(call) = self.completions.with(VecDeque::pop_front) {
            worked = true;
            let outer = self.enter(&call.get().inner().task);
            self.finish_call(py, &call);
            self.leave(outer);
        }
        for handle in self.rested.replace(Vec::new()) {
            worked = true;
            self.rest(handle);
        }
        for (task, stream, values) in self.replays.replace(Vec::new()) {
            worked = true;
            let task = self.task(task);
            let row = crate::values::row_of(values.bind(py));
            let sent = row.and_then(|row| task.emit_root(py, &task.streams[stream as usize], row, None, None));
            if let Err(error) = sent {
                self.report(py, &task, "replay", error);
            }
        }
        if self.waits_for_tcp.get() {
            worked |= self.look_at_tcp();
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
        while let Some((_, due)) = self.timers.with(|timers| timers.pop_due(now_ns)) {
            worked = true;
            match due {
                Due::Retry(retry) => self.retry_now(*retry),
                Due::Hold(tuple) => self.hold_ended(py, tuple),
                Due::CallHold(call) => self.call_held_too_long(py, &call),
                Due::User(timer) => self.fire_user_timer(py, timer),
                Due::Reweigh => self.reweigh(),
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
        if timer.period_ns > 0 {
            self.schedule(timer.clone(), self.now_ns.get() + timer.period_ns);
        }
        let callable = timer.method.callable(py);
        if timer.task < 0 {
            if let Err(error) = callable.call1(py, timer.args.bind(py)) {
                error.write_unraisable(py, None);
            }
            return;
        }
        let task = self.task(timer.task as u32);
        if task.is_offloaded() {
            let kind = if timer.is_tick { Kind::Tick } else { Kind::Timer };
            let args = timer.args.bind(py).iter().map(Bound::unbind).collect();
            return offload(py, &task, kind, callable, args);
        }
        let place = if timer.is_tick { "tick" } else { "timer" };
        let outer = self.enter(&task);
        self.page_call();
        task.cur.root.set(RootId::NONE);
        match callable.call1(py, timer.args.bind(py)) {
            Ok(result) => self.send_unanchored(py, &task, result.into_bound(py), place),
            Err(error) => self.report(py, &task, place, error),
        }
        self.leave(outer);
    }

    fn schedule(&self, timer: Rc<UserTimer>, due_ns: u64) {
        let number = timer.number;
        let id = self.timers.with(|timers| timers.at(due_ns, Due::User(timer)));
        self.user_timers.with(|timers| timers.insert(number, id));
    }

    fn reweigh(&self) {
        let seed = mix(self.seed ^ self.now_ns.get());
        for task in self.tasks.get() {
            for out in task.streams.iter().flat_map(|stream| stream.outs.get()) {
                if let (Fast::Turns, Grouping::Shuffle(turns)) = (out.fast, &out.route.grouping) {
                    let load = |task: &Rc<Task>| task.inbox.len() as f64 / self.settings.capacity as f64;
                    let loads: Vec<f64> = out.targets.iter().map(load).collect();
                    turns.reweigh(&loads, seed);
                }
            }
        }
        let due = self.now_ns.get() + 1_000_000_000;
        self.timers.with(|timers| timers.at(due, Due::Reweigh));
    }

    /// Whether every spout is exhausted and nothing is pending, queued or in user hands.
    fn is_exhausted(&self) -> bool {
        let ended = |task: &Rc<Task>| {
            let state = task.spout();
            // System spouts (dead letters) give only what the others lead to, and gave it in this turn's poll.
            let exhausted = state.exhausted.get() || self.component_name(task.component).starts_with("__");
            exhausted && state.outstanding() == 0 && task.in_flight.get() == 0
        };
        self.started.get() && self.spouts.with(|spouts| spouts.iter().all(ended)) && self.is_quiet()
    }

    /// Whether no bolt has anything queued or running elsewhere.
    fn is_quiet(&self) -> bool {
        let busy = |task: &Rc<Task>| {
            !task.inbox.is_empty() || task.in_flight.get() > 0 || task.bolt().paused.with(|paused| paused.is_some())
        };
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
            unsafe { &*waiter.0 }.wait(Some(Duration::from_nanos(wait_ns)));
        });
    }

    /// When the next timer is due or the next spout wants to be polled.
    fn next_due_ns(&self) -> Option<u64> {
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
        let room = state.limit.with(|limit| limit.room(state.outstanding())) > 0;
        !state.exhausted.get() && room && !self.is_blocked(task)
    }
}

// -- the Python face -----------------------------------------------------------------------------------------

/// The tasks of one worker and the loop that runs them.
#[pyclass(frozen, module = "squall._core")]
pub struct Worker(Gil<Rc<Core>>);

impl Worker {
    /// The shared state.
    pub fn core(&self) -> &Rc<Core> {
        &self.0.0
    }

    /// What a native thread needs to stop the loop.
    pub fn stopper(&self) -> (Arc<AtomicBool>, Wake) {
        (self.core().stop.clone(), self.core().wake.clone())
    }

    /// The shared page, for the watchdog.
    pub fn page(&self) -> Option<Page> {
        self.core().page.clone()
    }

    fn task(&self, index: u32) -> PyResult<Rc<Task>> {
        let found = self.core().tasks.get().get(index as usize).cloned();
        found.ok_or_else(|| PyValueError::new_err(format!("no task has index {index}")))
    }
}

fn setting<'py, T: FromPyObjectOwned<'py>>(settings: &Bound<'py, PyAny>, key: &str, default: T) -> PyResult<T> {
    match settings.call_method1("get", (key,))? {
        value if value.is_none() => Ok(default),
        value => value.extract::<T>().map_err(Into::into),
    }
}

fn seconds_ns(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9) as u64
}

#[pymethods]
impl Worker {
    #[new]
    #[pyo3(signature = (*, incarnation, seed, hooks, r#virtual, settings, page_fd = None))]
    fn new(
        incarnation: u16,
        seed: u64,
        hooks: Py<PyAny>,
        r#virtual: bool,
        settings: &Bound<'_, PyAny>,
        page_fd: Option<i32>,
    ) -> PyResult<Worker> {
        let waiter = Waiter::new()?;
        // SAFETY: the caller hands the descriptor over.
        let page = page_fd.map(|fd| Page::open(unsafe { OwnedFd::from_raw_fd(fd) })).transpose()?;
        let acking = setting::<Option<i64>>(settings, "topology.acker.executors", None)? != Some(0);
        let core = Core {
            tasks: Fixed::default(),
            components: Local::new(Vec::new()),
            channels: Local::new(Vec::new()),
            order: Local::new(Vec::new()),
            spouts: Local::new(Vec::new()),
            ledger: Local::new(Ledger::new(Incarnation(incarnation))),
            bundles: Local::new(Bundles::default()),
            edges: EdgeIds::new(mix(seed)),
            timers: Local::new(Timers::new()),
            user_timers: Local::new(HashMap::new()),
            completions: Local::new(VecDeque::new()),
            rested: Local::new(Vec::new()),
            replays: Local::new(Vec::new()),
            buried: Local::new(HashMap::new()),
            next_handle: Cell::new(1),
            hooks: Local::new(Some(hooks)),
            now_ns: Cell::new(0),
            clock: if r#virtual { Clock::Virtual(Cell::new(0)) } else { Clock::Real(Instant::now()) },
            slice_ns: if r#virtual { u64::MAX / 2 } else { SLICE_NS },
            loop_thread: Cell::new(std::ptr::null_mut()),
            current_tuple: Cell::new(std::ptr::null()),
            peculiar: Cell::new(false),
            acking,
            draining: Cell::new(false),
            started: Cell::new(false),
            observed: Cell::new(false),
            solo: Cell::new(0),
            waits_for_tcp: Cell::new(false),
            death: Local::new(None),
            wake: waiter.waker(),
            waiter,
            stop: Arc::new(AtomicBool::new(false)),
            page,
            calls: Cell::new(0),
            component_now: Cell::new(0),
            seed,
            settings: Settings {
                sample_rate: setting(settings, "topology.stats.sample.rate", 0.05)?,
                capacity: setting(settings, "topology.executor.receive.buffer.size", 1024)?,
                high: setting(settings, "backpressure.disruptor.high.watermark", 0.9)?,
                low: setting(settings, "backpressure.disruptor.low.watermark", 0.4)?,
                loop_max: setting(settings, "topology.loop.max.queued", 100_000)?,
                load_aware: !setting(settings, "topology.disable.loadaware.messaging", false)?,
            },
        };
        Ok(Worker(Gil(Rc::new(core))))
    }

    fn add_component(&self, name: String) -> u32 {
        self.core().components.with(|names| {
            names.push(name);
            names.len() as u32 - 1
        })
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (*, component, task_id, instance, context, spout, streams, retries))]
    fn add_task(
        &self,
        component: u32,
        task_id: i64,
        instance: &Bound<'_, Component>,
        context: Py<PyAny>,
        spout: bool,
        streams: Vec<(String, Vec<String>, bool)>,
        retries: u32,
    ) -> PyResult<u32> {
        let core = self.core();
        let index = core.tasks.get().len() as u32;
        let first_channel = core.channels.with(|channels| channels.len() as u32);
        let stream = |(i, (name, fields, direct)): (usize, (String, Vec<String>, bool))| OutStream {
            name,
            fields: fields.into(),
            direct,
            number: i as u16,
            channel: first_channel + i as u32,
            outs: Fixed::default(),
            emitted: Cell::new(0),
            transferred: Cell::new(0),
            tap: Cell::new(std::ptr::null_mut()),
        };
        let settings = &core.settings;
        let role = match spout {
            true => Role::Spout(SpoutState::new()),
            false => Role::Bolt(BoltState::new(settings.capacity, settings.high, settings.low)),
        };
        let task = Rc::new(Task {
            core: core.clone(),
            index,
            task_id,
            component,
            retries,
            instance: Cell::new(instance.clone().into_ptr()),
            context: Local::new(Some(context)),
            thread: Cell::new(std::ptr::null_mut()),
            streams: streams.into_iter().enumerate().map(stream).collect(),
            default: Cell::new(std::ptr::null()),
            inbox: Default::default(),
            cur: Cur::default(),
            role,
            counts: Counts::default(),
            times: Times {
                sampler: Local::new(Sampler::new(settings.sample_rate, mix(core.seed ^ index as u64))),
                execute: Local::new(Latency::new()),
                process: Local::new(Latency::new()),
                complete: Local::new(Latency::new()),
            },
            windows: Local::new(std::array::from_fn(|_| Windows::new(core.now_precise_ns()))),
            submit: Local::new(None),
            in_flight: Cell::new(0),
            held: Cell::new(0),
            is_paused: Cell::new(false),
            paused_until_ns: Cell::new(0),
            intercept: Local::new(None),
        });
        let default = task.streams.iter().find(|stream| stream.name == "default");
        task.default.set(default.map_or(std::ptr::null(), |stream| stream));
        core.channels.with(|channels| {
            channels.extend((0..task.streams.len()).map(|stream| (task.clone(), stream)));
        });
        core.tasks.push(task.clone());
        match spout {
            true => core.spouts.with(|spouts| spouts.push(task.clone())),
            false => core.order.with(|order| order.push(task.clone())),
        }
        component::bind(instance, &task);
        Ok(index)
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (task, /, *, kind, source, ack, ack_many, fail, dead, rate_per_s, idle_wait, max_pending, submit))]
    fn configure_spout(
        &self,
        task: u32,
        kind: &str,
        source: &Bound<'_, PyAny>,
        ack: Option<Bound<'_, PyAny>>,
        ack_many: Option<Bound<'_, PyAny>>,
        fail: Option<Bound<'_, PyAny>>,
        dead: Option<Bound<'_, PyAny>>,
        rate_per_s: Option<f64>,
        idle_wait: f64,
        max_pending: Option<u32>,
        submit: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let task = self.task(task)?;
        let source = match kind {
            "next_tuple" => Source::NextTuple(Method::of(source)),
            "next_batch" => Source::NextBatch(Method::of(source)),
            "iterator" => Source::Iterator(source.clone().unbind()),
            "tcp" => Source::Tcp(source.cast::<TcpSource>()?.get().open(self.core().wake.clone())?),
            other => return Err(PyValueError::new_err(format!("unknown kind of spout {other:?}"))),
        };
        let options = SpoutOptions {
            source,
            collects_acks: ack_many.is_some(),
            ack: ack_many.or(ack).as_ref().map(Method::of),
            fail: fail.as_ref().map(Method::of),
            dead: dead.as_ref().map(Method::of),
            rate_per_s,
            idle_ns: seconds_ns(idle_wait).max(1),
            max_pending,
        };
        task.spout().configure(options, submit.is_some());
        task.submit.replace(submit);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (task, /, *, manual_ack, hold_max, batch_max, batch_wait, max_in_flight, submit))]
    fn configure_bolt(
        &self,
        task: u32,
        manual_ack: bool,
        hold_max: f64,
        batch_max: u32,
        batch_wait: f64,
        max_in_flight: u32,
        submit: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let task = self.task(task)?;
        let state = task.bolt();
        if !state.bindings.get().is_empty() {
            return Err(PyRuntimeError::new_err("a bolt is configured before its inputs are bound"));
        }
        state.manual_ack.set(manual_ack);
        state.hold_ns.set(seconds_ns(hold_max));
        state.batch_max.set(batch_max);
        state.batch_wait_ns.set(seconds_ns(batch_wait));
        state.max_in_flight.set(max_in_flight.max(1));
        task.submit.replace(submit);
        Ok(())
    }

    #[pyo3(signature = (task, /, *, sources, stream, function, codes, constants = Vec::new()))]
    fn bind(
        &self,
        task: u32,
        sources: Vec<u32>,
        stream: usize,
        function: &Bound<'_, PyAny>,
        codes: Vec<i32>,
        constants: Vec<Py<PyAny>>,
    ) -> PyResult<()> {
        let core = self.core();
        let task = self.task(task)?;
        let state = task.bolt();
        let number = state.bindings.get().len() as u16;
        let first = self.task(*sources.first().ok_or_else(|| PyValueError::new_err("an input has source tasks"))?)?;
        let fields = first.streams[stream].fields.len();
        let in_order = codes.len() == fields && codes.iter().enumerate().all(|(i, code)| *code == i as i32);
        state.bindings.push(Binding {
            method: Method::of(function),
            codes: codes.into(),
            constants,
            identity: in_order && !state.manual_ack.get(),
            label: format!("{}/{}", core.component_name(first.component), first.streams[stream].name),
            executed: Cell::new(0),
        });
        state.by_channel.with(|numbers| {
            numbers.resize(core.channels.with(|channels| channels.len()), u16::MAX);
        });
        for source in sources {
            let channel = self.task(source)?.streams[stream].channel;
            state.by_channel.with(|numbers| numbers[channel as usize] = number);
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (source, stream, /, *, targets, grouping, keys = Vec::new(), custom = None, closes_loop = false))]
    fn subscribe(
        &self,
        source: u32,
        stream: usize,
        targets: Vec<u32>,
        grouping: &str,
        keys: Vec<u16>,
        custom: Option<Py<PyAny>>,
        closes_loop: bool,
    ) -> PyResult<()> {
        let task = self.task(source)?;
        let targets: Box<[Rc<Task>]> = targets.into_iter().map(|target| self.task(target)).collect::<PyResult<_>>()?;
        let n = targets.len() as u32;
        let seed = mix(self.core().seed ^ (source as u64) << 32 ^ stream as u64);
        let grouping = match grouping {
            "shuffle" => Grouping::Shuffle(Turns::new(n, seed)),
            "fields" => Grouping::Fields(keys.into()),
            "partial_key" => Grouping::PartialKey(PartialKey::new(keys.into(), n)),
            "all" => Grouping::All,
            "global" => Grouping::Global,
            "none" => Grouping::Any(Cell::new(seed)),
            "direct" => Grouping::Direct,
            "custom" => Grouping::Custom(0),
            other => return Err(PyValueError::new_err(format!("unknown grouping {other:?}"))),
        };
        let fast = match (&grouping, n) {
            _ if closes_loop => Fast::Other,
            (Grouping::Direct | Grouping::Custom(_), _) => Fast::Other,
            (_, 1) => Fast::Only,
            (Grouping::Fields(_), _) => Fast::Fields,
            (Grouping::Shuffle(_), _) => Fast::Turns,
            _ => Fast::Other,
        };
        let out = Out { fast, route: Route::new(grouping, n), targets, custom, closes_loop };
        task.streams[stream].outs.push(out);
        Ok(())
    }

    fn set_tick(&self, py: Python<'_>, task: u32, period: f64, function: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_timer(py, task as i64, period, function, PyTuple::empty(py).unbind(), true, true)?;
        Ok(())
    }

    #[pyo3(signature = (*, until_idle = false, deadline = None))]
    fn run(&self, py: Python<'_>, until_idle: bool, deadline: Option<f64>) -> PyResult<&'static str> {
        let deadline_ns = deadline.map_or(u64::MAX, seconds_ns);
        Ok(match self.core().run(py, until_idle, deadline_ns)? {
            Ended::Exhausted => "exhausted",
            Ended::Stopped => "stopped",
            Ended::Died => "died",
            Ended::Idle => "idle",
            Ended::Deadline => "deadline",
        })
    }

    fn request_stop(&self) {
        self.core().stop.store(true, Ordering::Relaxed);
        self.core().wake.wake();
    }

    fn start_spouts(&self) {
        let core = self.core();
        find_reach(core);
        core.started.set(true);
        let turns =
            core.tasks.get().iter().any(|task| {
                task.streams.iter().any(|stream| stream.outs.get().iter().any(|out| out.fast == Fast::Turns))
            });
        if turns && core.settings.load_aware {
            let due = core.now_precise_ns() + 1_000_000_000;
            core.timers.with(|timers| timers.at(due, Due::Reweigh));
        }
    }

    fn stop_spouts(&self) {
        let core = self.core();
        core.drain_sources(core.tick_clock());
    }

    fn wake_spout(&self, task: u32) -> PyResult<bool> {
        let task = self.task(task)?;
        let state = task.spout();
        let resting = !state.exhausted.get() && !matches!(state.next_poll_ns.get(), 0 | u64::MAX);
        if resting {
            state.next_poll_ns.set(0);
            self.core().wake.wake();
        }
        Ok(resting)
    }

    fn spouts_finished(&self) -> bool {
        let finished = |task: &Rc<Task>| task.spout().exhausted.get() && task.in_flight.get() == 0;
        self.core().spouts.with(|spouts| spouts.iter().all(finished))
    }

    fn advance_to(&self, now: f64) -> PyResult<()> {
        match &self.core().clock {
            Clock::Real(_) => Err(PyRuntimeError::new_err("only virtual time can be moved")),
            Clock::Virtual(at) => {
                // A due time came out as a float and comes back here: rounding must not leave it undue.
                at.set(at.get().max(seconds_ns(now) + 1));
                self.core().tick_clock();
                Ok(())
            }
        }
    }

    fn next_due(&self) -> Option<f64> {
        self.core().next_due_ns().map(|due| due as f64 / 1e9)
    }

    fn monotonic(&self) -> f64 {
        self.core().now_precise_ns() as f64 / 1e9
    }

    fn emit_result(&self, task: u32, result: Bound<'_, PyAny>) -> PyResult<()> {
        let py = result.py();
        let task = self.task(task)?;
        // SAFETY: `into_ptr` gives an owned reference.
        let sent = unsafe {
            match task.is_spout() {
                true => task.send_root_output(result.into_ptr()),
                false => task.send_output(result.into_ptr(), &Cur::default()),
            }
        };
        sent.map_err(|error| error.take(py))
    }

    fn pause(&self, task: u32, delay: f64) -> PyResult<()> {
        let task = self.task(task)?;
        let until_ns = self.core().now_precise_ns() + seconds_ns(delay);
        task.paused_until_ns.set(until_ns);
        task.is_paused.set(delay > 0.0);
        self.core().timers.with(|timers| timers.at(until_ns, Due::Wake));
        Ok(())
    }

    fn after(
        &self,
        py: Python<'_>,
        task: i64,
        delay: f64,
        function: &Bound<'_, PyAny>,
        args: Py<PyTuple>,
    ) -> PyResult<u64> {
        self.add_timer(py, task, delay, function, args, false, false)
    }

    fn every(
        &self,
        py: Python<'_>,
        task: i64,
        period: f64,
        function: &Bound<'_, PyAny>,
        args: Py<PyTuple>,
    ) -> PyResult<u64> {
        self.add_timer(py, task, period, function, args, true, false)
    }

    fn cancel_timer(&self, timer: u64) {
        let core = self.core();
        if let Some(id) = core.user_timers.with(|timers| timers.remove(&timer)) {
            let _owned = core.timers.with(|timers| timers.cancel(id));
        }
    }

    fn dead_stored(&self, handle: u64) {
        self.core().rested.with(|rested| rested.push(handle));
        self.core().wake.wake();
    }

    fn replay(&self, task: u32, stream: u16, values: Py<PyTuple>) -> PyResult<()> {
        self.task(task)?;
        self.core().replays.with(|replays| replays.push((task, stream, values)));
        self.core().wake.wake();
        Ok(())
    }

    fn pending(&self) -> Vec<(u32, u32)> {
        let spouts = self.core().tasks.get().iter().filter(|task| task.is_spout());
        let open = spouts.map(|task| (task.index, task.spout().outstanding()));
        open.filter(|(_, pending)| *pending > 0).collect()
    }

    fn busy(&self) -> Vec<(u32, usize, u32)> {
        let of = |task: &Rc<Task>| (task.index, task.inbox.len(), task.in_flight.get() + task.held.get());
        self.core().tasks.get().iter().map(of).filter(|(_, queued, held)| *queued > 0 || *held > 0).collect()
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        crate::stats::snapshot(py, self.core().tasks.get())
    }

    fn current_component(&self) -> Option<u32> {
        self.core().component_now.get().checked_sub(1)
    }

    fn death(&self, py: Python<'_>) -> Option<(u32, Py<PyAny>)> {
        self.core().death.with(|death| death.as_ref().map(|(task, error)| (*task, error.clone_ref(py))))
    }

    fn observe(&self, on: bool) {
        self.core().observed.set(on);
    }

    #[pyo3(signature = (task, stream, rows, /))]
    fn record(&self, task: u32, stream: usize, rows: Option<Bound<'_, PyList>>) -> PyResult<()> {
        let task = self.task(task)?;
        let new = rows.map_or(std::ptr::null_mut(), |rows| rows.into_ptr());
        let old = task.streams[stream].tap.replace(new);
        if !old.is_null() {
            // SAFETY: the stream owned the reference.
            unsafe { pyo3::ffi::Py_DECREF(old) };
        }
        Ok(())
    }

    #[pyo3(signature = (task, function, /))]
    fn intercept(&self, task: u32, function: Option<Py<PyAny>>) -> PyResult<()> {
        drop(self.task(task)?.intercept.replace(function));
        let some = |task: &Rc<Task>| task.intercept.with(|intercept| intercept.is_some());
        self.core().peculiar.set(self.core().tasks.get().iter().any(some));
        Ok(())
    }

    fn close(&self, py: Python<'_>) {
        let core = self.core();
        for task in core.tasks.get() {
            let instance = task.instance.get();
            if !instance.is_null() {
                // SAFETY: the task owns the reference until `release`.
                let instance = unsafe { Bound::from_borrowed_ptr(py, instance) };
                if let Ok(instance) = instance.cast::<Component>() {
                    component::unbind(instance);
                }
            }
            task.release();
        }
        drop(core.hooks.replace(None));
        drop(core.timers.replace(Timers::new()));
        drop(core.completions.replace(VecDeque::new()));
        drop(core.replays.replace(Vec::new()));
        drop(core.buried.replace(HashMap::new()));
        drop(core.ledger.replace(Ledger::new(Incarnation(1))));
        drop(core.death.replace(None));
        drop(core.spouts.replace(Vec::new()));
        drop(core.order.replace(Vec::new()));
        drop(core.channels.replace(Vec::new()));
        core.tasks.clear();
    }
}

impl Worker {
    #[allow(clippy::too_many_arguments)]
    fn add_timer(
        &self,
        _py: Python<'_>,
        task: i64,
        delay: f64,
        function: &Bound<'_, PyAny>,
        args: Py<PyTuple>,
        repeat: bool,
        is_tick: bool,
    ) -> PyResult<u64> {
        let core = self.core();
        if task >= 0 {
            self.task(task as u32)?;
        }
        if !(delay.is_finite() && delay >= 0.0) || (repeat && delay <= 0.0) {
            return Err(PyValueError::new_err(format!("a timer cannot wait {delay} seconds")));
        }
        let number = core.next_handle.get();
        core.next_handle.set(number + 1);
        let period_ns = if repeat { seconds_ns(delay).max(1) } else { 0 };
        let timer = UserTimer { task, method: Method::of(function), args, period_ns, is_tick, number };
        core.schedule(Rc::new(timer), core.now_precise_ns() + seconds_ns(delay));
        core.wake.wake();
        Ok(number)
    }
}

/// Finds, for each spout, the bolts that its tuples can reach without crossing an edge that closes a loop.
fn find_reach(core: &Core) {
    for spout in core.tasks.get().iter().filter(|task| task.is_spout()) {
        let mut seen: Vec<Rc<Task>> = Vec::new();
        let mut next = vec![spout.clone()];
        while let Some(task) = next.pop() {
            let outs = task.streams.iter().flat_map(|stream| stream.outs.get()).filter(|out| !out.closes_loop);
            for target in outs.flat_map(|out| out.targets.iter()) {
                if !seen.iter().any(|known| known.index == target.index) {
                    seen.push(target.clone());
                    next.push(target.clone());
                }
            }
        }
        spout.spout().reach.replace(seen);
    }
}

/// Codes of a binding's arguments, for the Python side.
pub const CODES: [(&str, i32); 2] = [("ARG_TUPLE", ARG_TUPLE), ("ARG_CONSTANT", ARG_CONSTANT)];

/// An error for a row that found a loop full.
pub fn loop_overflow(task: &Task) -> crate::row::Raised {
    // SAFETY: the interpreter lock is held wherever tuples move.
    let py = unsafe { Python::assume_attached() };
    raised(py, fault::loop_overflow(task))
}
