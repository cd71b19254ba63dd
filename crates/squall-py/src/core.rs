//! The state that the tasks of a worker share, and what they ask of each other.

use crate::away::Away;
use crate::call::Call;
use crate::codec::{Fallback, Texts};
use crate::fault;
use crate::gil::Fixed;
use crate::links::Links;
use crate::method::Method;
use crate::raised::raised;
use crate::retries::{Buried, Retry};
use crate::roots::Pending;
use crate::row::PyRow;
use crate::task::{Cur, Task};
use crate::trace::Trace;
use crate::tuple::Tuple;
use pyo3::ffi::{PyThreadState, PyThreadState_Get};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use squall_core::ack::{Bundles, Ledger};
use squall_core::alone::Alone;
use squall_core::cell::Local;
use squall_core::ids::{EdgeIds, Incarnation, RootId};
use squall_core::mailbox::Channel;
use squall_core::timers::{TimerId, Timers};
use squall_net::page::{Page, SUSPECTS};
use squall_net::wake::{Waiter, Wake};
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The exception with its traceback in it, as Python code expects to find it.
#[cold]
pub fn exception<'py>(py: Python<'py>, error: &PyErr) -> Bound<'py, PyAny> {
    let value = error.value(py).clone().into_any();
    if let Some(traceback) = error.traceback(py)
        && let Err(fault) = value.setattr("__traceback__", traceback)
    {
        fault.write_unraisable(py, None);
    }
    value
}

/// In place of a stream's number: the record that its decoder refused.
pub const UNDECODED: u16 = u16::MAX;

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
    /// Trees that are too old fail.
    Sweep,
}

/// A root of a dead letter that is to be emitted again.
pub struct Replay {
    pub task: u32,
    pub stream: u16,
    pub values: Py<PyTuple>,
    pub direct: Option<i64>,
    pub handle: u32,
}

/// A timer of user code, or of the runtime (task -1).
pub struct UserTimer {
    pub task: i64,
    pub method: Method,
    pub args: Py<PyTuple>,
    /// 0: once.
    pub period_ns: u64,
    pub due_ns: Cell<u64>,
    pub is_tick: bool,
    pub number: u64,
}

/// Where time comes from.
pub enum Clock {
    Real(RealClock),
    Virtual(Cell<u64>),
}

/// The operating system's clock, and the processor's counter between two looks at it.
///
/// The counter costs half of what the clock does, which tells in sampled latencies; the clock keeps it from drifting.
pub struct RealClock {
    began: Instant,
    counter: quanta::Clock,
    counted: Cell<u64>,
}

impl RealClock {
    /// A clock that is at zero now.
    pub fn new() -> RealClock {
        let counter = quanta::Clock::new();
        RealClock { began: Instant::now(), counted: Cell::new(counter.raw()), counter }
    }

    fn look_ns(&self) -> u64 {
        self.counted.set(self.counter.raw());
        self.began.elapsed().as_nanos() as u64
    }

    fn since_look_ns(&self) -> u64 {
        self.counter.delta_as_nanos(self.counted.get(), self.counter.raw())
    }
}

/// The state that the tasks of a worker share. Guarded by the interpreter lock.
pub struct Core {
    pub tasks: Fixed<Rc<Task>>,
    pub components: Local<Vec<String>>,
    pub channels: Local<Vec<(Rc<Task>, usize)>>,
    pub order: Local<Vec<Rc<Task>>>,
    pub spouts: Local<Vec<Rc<Task>>>,
    pub ledger: Local<Ledger<Pending>>,
    pub bundles: Local<Bundles>,
    pub edges: EdgeIds,
    /// Which life of the worker this is.
    pub incarnation: Incarnation,
    /// The tasks by their ids, those of other workers too.
    pub by_id: Local<Vec<Option<Rc<Task>>>>,
    /// What binds this worker to the others.
    pub links: Local<Option<Box<Links>>>,
    /// Short texts that came over the links.
    pub texts: Texts,
    /// What the parent has told of other workers, and the loop has not acted on.
    pub news: Local<Vec<crate::links::News>>,
    /// Failed roots that wait for a worker that is not there.
    pub stranded: Local<Vec<crate::retries::Retry>>,
    /// Roots of other workers that are to run alone in their batches.
    pub alone: Local<Alone>,
    /// Of them, those on which workers have died.
    pub suspects: Local<Alone>,
    pub timers: Local<Timers<Due>>,
    pub user_timers: Local<HashMap<u64, TimerId>>,
    pub completions: Local<VecDeque<Py<Call>>>,
    pub rested: Local<Vec<u64>>,
    pub replays: Local<Vec<Replay>>,
    pub buried: Local<HashMap<u64, Buried>>,
    pub next_handle: Cell<u64>,
    /// Failures so far.
    pub failures: Cell<u64>,
    pub hooks: Local<Option<Py<PyAny>>>,
    pub now_ns: Cell<u64>,
    pub clock: Clock,
    pub slice_ns: u64,
    pub loop_thread: Cell<*mut PyThreadState>,
    pub current_tuple: Cell<*const Tuple>,
    /// Some task has an interceptor, or there is a trace.
    pub peculiar: Cell<bool>,
    pub acking: bool,
    pub draining: Cell<bool>,
    pub started: Cell<bool>,
    /// The loop is running: user code must not close the worker from within.
    pub running: Cell<bool>,
    /// The tasks are being closed: nothing could take what they emit.
    pub closing: Cell<bool>,
    pub observed: Cell<bool>,
    /// Somebody wants to know of each tree's end: who observes, or a trace.
    pub ends_matter: Cell<bool>,
    /// Turns in which there was something to do.
    pub activity: Cell<u64>,
    /// A task waits for the next turn, which is to come at once.
    pub wants_turn: Cell<bool>,
    /// Open roots that are to run alone in their batches.
    pub solo: Cell<u32>,
    /// Calls that work on tuples away from the loop.
    pub away: Away,
    pub waits_for_tcp: Cell<bool>,
    pub death: Local<Option<(u32, Py<PyAny>)>>,
    pub wake: Wake,
    pub waiter: Waiter,
    pub stop: Arc<AtomicBool>,
    pub page: Option<Page>,
    pub calls: Cell<u64>,
    pub component_now: Cell<u32>,
    pub seed: u64,
    /// What this life notes of all that it does.
    pub trace: Option<Trace>,
    pub settings: Settings,
}

/// The settings that the core reads.
pub struct Settings {
    pub sample_rate: f64,
    pub capacity: usize,
    pub high: f64,
    pub low: f64,
    pub max_pending_bytes: u64,
    pub tree_max_age_ns: Option<u64>,
    pub loop_max: usize,
    pub load_aware: bool,
    /// What becomes of values between workers that have no form of their own.
    pub fallback: Fallback,
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

    /// Lets a task be found by its id.
    pub fn name_task(&self, task: &Rc<Task>) {
        self.by_id.with(|tasks| {
            let id = task.task_id.max(0) as usize;
            if tasks.len() <= id {
                tasks.resize(id + 1, None);
            }
            tasks[id] = Some(task.clone());
        });
    }

    /// The task with this id, in whatever worker it is.
    #[inline]
    pub fn task_with_id(&self, id: u32) -> Option<&Rc<Task>> {
        // SAFETY: tasks are only added while building, and dropped by `close`, which is not called from within a run.
        self.by_id.with(|tasks| unsafe { &*(tasks.as_slice() as *const [Option<Rc<Task>>]) }).get(id as usize)?.as_ref()
    }

    /// The sending end of a channel: its task and the number of the stream.
    pub fn channel(&self, channel: Channel) -> (Rc<Task>, usize) {
        self.channels.with(|channels| channels.get(channel as usize).expect("the worker is open").clone())
    }

    /// Whether a task has this id.
    pub fn knows_task(&self, id: i64) -> bool {
        self.tasks.get().iter().any(|task| task.task_id == id)
    }

    /// The ids of all tasks.
    pub fn task_ids(&self) -> Vec<i64> {
        self.tasks.get().iter().map(|task| task.task_id).collect()
    }

    /// Makes the loop look at what another thread has just changed.
    pub fn wake_from_elsewhere(&self) {
        if !self.is_on_loop() {
            self.wake.wake();
        }
    }

    /// Whether the calling thread is the loop's.
    #[inline(always)]
    pub fn is_on_loop(&self) -> bool {
        // SAFETY: the interpreter lock is held wherever the core is used.
        unsafe { PyThreadState_Get() == self.loop_thread.get() }
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

    /// The time within a turn: the loop's time, and what has passed since.
    #[inline(always)]
    pub fn now_precise_ns(&self) -> u64 {
        match &self.clock {
            Clock::Real(clock) => self.now_ns.get() + clock.since_look_ns(),
            Clock::Virtual(now) => now.get(),
        }
    }

    /// The number of a new failure, from 1.
    #[cold]
    pub fn next_failure(&self) -> u64 {
        self.failures.set(self.failures.get() + 1);
        self.failures.get()
    }

    /// Reads the clock into the loop's time.
    #[inline(always)]
    pub fn tick_clock(&self) -> u64 {
        let now_ns = match &self.clock {
            Clock::Real(clock) => clock.look_ns(),
            Clock::Virtual(now) => now.get(),
        };
        self.now_ns.set(now_ns);
        now_ns
    }

    /// Whether time only moves when it is told to.
    pub fn is_virtual(&self) -> bool {
        matches!(self.clock, Clock::Virtual(_))
    }

    /// Whether the loop must come back before it takes another input.
    #[inline(always)]
    pub fn should_return(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.has_died()
    }

    /// Whether an exception has ended the worker.
    #[inline(always)]
    pub fn has_died(&self) -> bool {
        self.death.with(|death| death.is_some())
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

    /// The call that begins works on a tuple of this root.
    #[inline(always)]
    pub fn page_root(&self, root: RootId) {
        match &self.page {
            None => {}
            Some(_) if root.is_bundle() => self.page_roots([root].into_iter()),
            Some(page) => page.suspect(root.0),
        }
    }

    /// The call that begins works on tuples of these roots.
    pub fn page_roots(&self, roots: impl Iterator<Item = RootId>) {
        let Some(page) = &self.page else { return };
        let mut noted = Vec::with_capacity(SUSPECTS);
        for root in roots {
            if noted.len() >= SUSPECTS {
                break;
            }
            match root.is_bundle() {
                false => noted.push(root.0),
                true => noted.extend(self.pairs_of(root, 0).iter().map(|(root, _)| root.0)),
            }
        }
        page.suspect_all(noted.into_iter());
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
        if self.death.with(|death| death.is_none()) {
            self.death.replace(Some((task.index, value)));
        }
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

    /// What names these trees in a mailbox entry, with its edge.
    pub fn entry_of(&self, pairs: &[(RootId, u64)]) -> (RootId, u64) {
        match *pairs {
            [] => (RootId::NONE, 0),
            [only] => only,
            _ => (self.bundles.with(|bundles| bundles.put(pairs.into())), 0),
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

    /// Whether the root's tree may still be open: one of another worker may as long as that life of it is not over.
    pub fn may_be_open(&self, root: RootId) -> bool {
        match root.incarnation() == self.incarnation {
            true => self.ledger.with(|ledger| ledger.entry(root).is_some()),
            false => self.may_live(root.incarnation()),
        }
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
    pub fn bury_unsent(&self, py: Python<'_>, task: &Task, row: PyRow, id: Option<Py<PyAny>>, error: PyErr) {
        task.counts.errors.set(task.counts.errors.get() + 1);
        let told = self.hooks(py).call_method1("error", (task.index, "decode", exception(py, &error)));
        if let Err(fault) = told {
            fault.write_unraisable(py, None);
        }
        self.bury_judged(py, task, 0, row, id, error);
    }

    /// The same of an error that was judged and told. `id`: by which the spout is told when the letter is safe.
    #[cold]
    pub fn bury_judged(
        &self,
        py: Python<'_>,
        task: &Task,
        stream: u16,
        row: PyRow,
        id: Option<Py<PyAny>>,
        error: PyErr,
    ) {
        let task = self.task(task.index);
        let Some(emitted) = task.default_stream().map(|stream| &stream.emitted) else { return };
        emitted.set(emitted.get() + 1);
        let pending = Pending {
            spout: task.index,
            stream,
            solo: false,
            suspicions: 0,
            attempt: 1,
            direct: None,
            weight: 0,
            replay: 0,
            place: if task.spout().ordered.get() { task.spout().begin() } else { 0 },
            id: id.map_or(std::ptr::null_mut(), Py::into_ptr),
            row,
            emitted_ns: self.now_ns.get(),
        };
        self.bury_at_once(py, task, pending, error);
    }
}

/// An error for a row that found a loop full.
pub fn loop_overflow(task: &Task) -> crate::raised::Raised {
    // SAFETY: the interpreter lock is held wherever tuples move.
    let py = unsafe { Python::assume_attached() };
    raised(py, fault::loop_overflow(task))
}
