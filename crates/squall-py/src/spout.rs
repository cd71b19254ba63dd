//! Polling a spout: how many roots it may open now, and taking what it gives.

use crate::call::{Kind, offload};
use crate::core::{Core, Due, exception};
use crate::method::Method;
use crate::order::Order;
use crate::roots::Pending;
use crate::task::Task;
use crate::tcp::TcpReader;
use crate::trees::Told;
use pyo3::exceptions::PyStopIteration;
use pyo3::ffi::*;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use squall_core::cell::Local;
use squall_core::flow::{PendingBytes, PendingLimit, RateLimit};
use squall_core::held_up::Culprit;
use squall_core::ids::MAX_SLOTS;
use squall_net::tcp::Ends;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

/// Most roots that one poll opens, so that bolts run between.
const POLL: u32 = 64;
/// The same of a spout on a thread of its own that gives many at once: its call holds up nobody, and to hand it over
/// costs as much as many rows do.
const POLL_AWAY: u32 = 512;
/// A poll that took longer asks for fewer rows the next time, so that a slow source holds up little.
const POLL_NS: u64 = 1_000_000;
/// Most failed ids of a task whose tries are counted.
const REMEMBERED: usize = 1 << 17;
/// What the runtime answers where it is asked for the pause of a spout that raised: the worker dies; the spout has ended.
const DIE_S: f64 = -1.0;
const ENDED_S: f64 = -2.0;

/// Where a spout's outputs come from.
pub enum Source {
    NextTuple(Method),
    NextBatch(Method),
    Iterator(Py<PyAny>),
    Tcp(Box<TcpReader>),
}

/// What a spout's task knows beside what every task knows.
pub struct SpoutState {
    pub source: Local<Option<Source>>,
    ack: Local<Option<Method>>,
    fail: Local<Option<Method>>,
    dead: Local<Option<Method>>,
    /// The spout re-emits failed ids itself; else the engine keeps the values.
    pub has_fail: Cell<bool>,
    /// `ack_many` is called with what a turn collected.
    pub collects_acks: Cell<bool>,
    is_batched: Cell<bool>,
    has_plain_ack: Cell<bool>,
    pub rate: Local<RateLimit>,
    pub limit: Local<PendingLimit>,
    pub bytes: Local<PendingBytes>,
    /// Roots until the next row is weighed.
    pub weigh_in: Cell<u32>,
    pub idle_ns: Cell<u64>,
    pub next_poll_ns: Cell<u64>,
    pub pending: Cell<u32>,
    pub retrying: Cell<u32>,
    pub burying: Cell<u32>,
    pub exhausted: Cell<bool>,
    pub polling: Cell<bool>,
    pub emitted_in_poll: Cell<u32>,
    /// Most rows of the next poll: up to [`POLL`] while polls are short.
    stride: Cell<u32>,
    /// Roots that the poll that is running was asked for.
    granted: Cell<u32>,
    /// Roots that it may open: a hard bound for `next_batch` only.
    pub most: Cell<u32>,
    pub acked: Local<Vec<*mut PyObject>>,
    pub later: Local<Vec<(Told, *mut PyObject)>>,
    /// Of a spout with `fail`: id → (tries counted, whether it is to run alone), while it is neither acked nor dead.
    pub failed_ids: Local<Option<Py<PyDict>>>,
    /// When the last poll ended, if it gave something and nothing but the loop's other work keeps it since; else 0.
    pub ready_since_ns: Cell<u64>,
    /// How long it had something to give while the loop was at other work.
    pub waited_ns: Cell<u64>,
    /// How long its polls took.
    pub polled_ns: Cell<u64>,
    /// Whether the order of its outputs is kept, for a spout with positions or receipts.
    pub ordered: Cell<bool>,
    /// Whether the next life of its worker runs it again from its beginning: what has ended is known by its count.
    pub is_rerun: Cell<bool>,
    order: Local<Option<Order>>,
    /// Its number among the spouts' tasks of the worker.
    pub number: Cell<u32>,
    /// Its roots are looked at one by one: on some outputs a worker died before, or there is a trace.
    pub is_peculiar: Cell<bool>,
    /// These outputs by their origins, with how often.
    suspected: Local<HashMap<u32, u8>>,
    /// Bolts' tasks that this spout's tuples can reach, loops left out.
    pub reach: Local<Vec<Rc<Task>>>,
    /// A task of each other worker that they can come to, by loops too.
    pub workers: Local<Vec<Rc<Task>>>,
}

/// The callbacks and limits of a spout.
pub struct SpoutOptions {
    pub source: Source,
    pub ack: Option<Method>,
    pub collects_acks: bool,
    pub fail: Option<Method>,
    pub dead: Option<Method>,
    pub rate_per_s: Option<f64>,
    pub idle_ns: u64,
    pub max_pending: Option<u32>,
    /// What keeps the order of its outputs.
    pub order: Option<Order>,
    /// Each row is a call that may take any time.
    pub is_unknown_pace: bool,
}

impl SpoutState {
    /// A spout before it is configured.
    pub fn new(max_bytes: u64) -> SpoutState {
        SpoutState {
            source: Local::new(None),
            ack: Local::new(None),
            fail: Local::new(None),
            dead: Local::new(None),
            has_fail: Cell::new(false),
            collects_acks: Cell::new(false),
            is_batched: Cell::new(false),
            has_plain_ack: Cell::new(false),
            rate: Local::new(RateLimit::new(None)),
            limit: Local::new(PendingLimit::new(None)),
            bytes: Local::new(PendingBytes::new(max_bytes)),
            weigh_in: Cell::new(0),
            idle_ns: Cell::new(1_000_000),
            next_poll_ns: Cell::new(0),
            pending: Cell::new(0),
            retrying: Cell::new(0),
            burying: Cell::new(0),
            exhausted: Cell::new(false),
            polling: Cell::new(false),
            emitted_in_poll: Cell::new(0),
            stride: Cell::new(POLL),
            granted: Cell::new(0),
            most: Cell::new(u32::MAX),
            acked: Local::new(Vec::new()),
            later: Local::new(Vec::new()),
            failed_ids: Local::new(None),
            ready_since_ns: Cell::new(0),
            waited_ns: Cell::new(0),
            polled_ns: Cell::new(0),
            ordered: Cell::new(false),
            is_rerun: Cell::new(false),
            order: Local::new(None),
            number: Cell::new(0),
            is_peculiar: Cell::new(false),
            suspected: Local::default(),
            reach: Local::new(Vec::new()),
            workers: Local::new(Vec::new()),
        }
    }

    /// Takes the callbacks and limits.
    pub fn configure(&self, options: SpoutOptions, offloaded: bool) {
        if options.is_unknown_pace {
            self.stride.set(1);
        }
        self.is_batched.set(matches!(options.source, Source::NextBatch(_)));
        self.has_plain_ack.set(options.ack.is_some() && !options.collects_acks && !offloaded);
        self.has_fail.set(options.fail.is_some());
        self.ordered.set(options.order.is_some());
        self.is_rerun.set(options.order.is_some() && matches!(options.source, Source::Iterator(_)));
        self.order.replace(options.order);
        self.collects_acks.set(options.collects_acks);
        self.rate.replace(RateLimit::new(options.rate_per_s));
        self.limit.replace(PendingLimit::new(options.max_pending));
        self.idle_ns.set(options.idle_ns);
        self.source.replace(Some(options.source));
        self.ack.replace(options.ack);
        self.fail.replace(options.fail);
        self.dead.replace(options.dead);
    }

    /// The callback for one kind of news.
    #[inline(always)]
    pub fn callback(&self, what: Told) -> Option<&Method> {
        let slot = match what {
            Told::Ack => &self.ack,
            Told::Fail => &self.fail,
            Told::Dead => &self.dead,
        };
        // SAFETY: callbacks are set before the first run and dropped by `release`, which is not called from within one.
        slot.with(|method| unsafe { (*(method as *const Option<Method>)).as_ref() })
    }

    /// The `ack` that is called for each id on the loop's thread, if the spout has one: the common case, in one look.
    #[inline(always)]
    pub fn plain_ack(&self) -> Option<&Method> {
        if self.has_plain_ack.get() { self.callback(Told::Ack) } else { None }
    }

    /// What user code calls the callback.
    pub fn name_of(&self, what: Told) -> &'static str {
        match what {
            Told::Ack if self.collects_acks.get() => "ack_many",
            Told::Ack => "ack",
            Told::Fail => "fail",
            Told::Dead => "dead",
        }
    }

    /// Roots that count against the limit.
    pub fn outstanding(&self) -> u32 {
        self.pending.get() + self.retrying.get() + self.burying.get()
    }

    /// (tries counted, whether alone) of an id that failed before; the first try otherwise.
    #[cold]
    pub fn known_attempt(&self, id: *mut PyObject) -> (u32, bool) {
        let py = unsafe { Python::assume_attached() };
        let ids = self.failed_ids.with(|ids| ids.as_ref().map(|ids| ids.clone_ref(py)));
        let id = unsafe { Bound::from_borrowed_ptr(py, id) };
        let known = ids.and_then(|ids| ids.bind(py).get_item(id).ok().flatten());
        known.and_then(|known| known.extract().ok()).unwrap_or((1, false))
    }

    /// Remembers how often an id was tried; the oldest is forgotten when there are too many.
    pub fn remember(&self, py: Python<'_>, pending: &Pending) -> PyResult<()> {
        let known = self.failed_ids.with(|ids| ids.as_ref().map(|ids| ids.clone_ref(py)));
        let ids = known.unwrap_or_else(|| PyDict::new(py).unbind()).into_bound(py);
        let id = unsafe { Bound::from_borrowed_ptr(py, pending.id) };
        ids.set_item(id, (pending.attempt, pending.solo))?;
        if ids.len() > REMEMBERED
            && let Some(oldest) = ids.call_method0("__iter__")?.try_iter()?.next()
        {
            ids.del_item(oldest?)?;
        }
        drop(self.failed_ids.replace(Some(ids.unbind())));
        Ok(())
    }

    /// An exhausted spout that was told of a failure may have something again; after a drain nothing is asked any more.
    pub fn poll_again(&self, draining: bool) {
        if !draining && self.exhausted.replace(false) {
            self.next_poll_ns.set(0);
        }
    }

    /// Halves the rows of the next poll after one that took too long, doubles them else.
    fn adapt_stride(&self, took_ns: u64) {
        let stride = self.stride.get();
        self.stride.set(if took_ns > POLL_NS { (stride / 2).max(1) } else { (stride * 2).min(POLL) });
    }

    /// Notes how long a poll took, and how long it was waited for if there was something to wait for.
    fn note_poll(&self, began_ns: u64, ended_ns: u64, gave: bool) {
        self.polled_ns.set(self.polled_ns.get() + ended_ns.saturating_sub(began_ns));
        let since_ns = self.ready_since_ns.replace(if gave { ended_ns } else { 0 });
        if gave && since_ns > 0 {
            self.waited_ns.set(self.waited_ns.get() + began_ns.saturating_sub(since_ns));
        }
    }

    /// Whether the root that is opened is one of those that its task was asked for.
    pub fn was_asked(&self) -> bool {
        self.polling.get() && self.emitted_in_poll.get() <= self.granted.get()
    }

    /// A poll has ended: what it opened is charged against what the rate had granted it.
    fn end_poll(&self) {
        self.most.set(u32::MAX);
        self.rate.with(|rate| rate.settle(self.granted.get(), self.emitted_in_poll.get()));
    }

    /// The next output begins; its place, as far as an entry of the ledger has room for it.
    #[inline(always)]
    pub fn begin(&self) -> u32 {
        self.order.with(|order| order.as_mut().map_or(0, Order::begin))
    }

    /// The output at a place has ended for good: it was acked, or its dead letter is on disk.
    #[inline(always)]
    pub fn end(&self, place: u32) {
        self.order.with(|order| {
            if let Some(order) = order {
                order.end(place);
            }
        });
    }

    /// What the output at a place is known by over all lives of the worker, if it comes again from the next.
    #[inline(always)]
    pub fn origin(&self, place: u32) -> Option<u32> {
        self.order.with(|order| order.as_ref().and_then(|order| order.origin(place)))
    }

    /// Workers died so often while tuples of the output of this origin were executed.
    pub fn suspect(&self, origin: u32, deaths: u8) {
        self.is_peculiar.set(true);
        self.suspected.with(|suspected| suspected.insert(origin, deaths));
    }

    /// How often workers died on the output at a place. A record may have several outputs.
    #[cold]
    pub fn suspicions_of(&self, place: u32) -> u8 {
        self.origin(place).map_or(0, |origin| self.deaths_on(origin))
    }

    /// How often workers died on outputs of an origin.
    pub fn deaths_on(&self, origin: u32) -> u8 {
        self.suspected.with(|suspected| suspected.get(&origin).copied()).unwrap_or(0)
    }

    /// The number in the journal of the record whose outputs are being sent.
    pub fn current_origin(&self) -> Option<u32> {
        self.with_ends(|ends| ends.current_origin()).flatten()
    }

    /// How many outputs have ended such that all before them have (semantics 31); None: the order is not kept.
    pub fn ended_prefix(&self) -> Option<u64> {
        self.order.with(|order| order.as_ref().and_then(Order::ended_prefix))
    }

    /// How many outputs have begun, and those of them that have not ended; None: the order is not kept.
    pub fn unended(&self) -> Option<(u64, Vec<u64>)> {
        self.order.with(|order| order.as_ref().and_then(Order::unended))
    }

    /// The slot of a connection whose records are counted.
    pub fn slot_of(&self, connection: u64) -> u32 {
        self.with_ends(|ends| ends.slot(connection)).unwrap_or(0)
    }

    /// The outputs that follow are those of the next record of a connection.
    pub fn begin_record(&self, slot: u32) {
        self.with_ends(|ends| ends.begin_record(slot));
    }

    /// All outputs of the record are sent.
    pub fn end_record(&self) {
        self.with_ends(Ends::end_record);
    }

    /// A record of a connection was skipped.
    pub fn skip_record(&self, slot: u32) {
        self.with_ends(|ends| ends.skip(slot));
    }

    /// Nothing more comes from a connection.
    pub fn close_connection(&self, connection: u64) {
        self.with_ends(|ends| ends.close(connection));
    }

    #[inline(always)]
    fn with_ends<R>(&self, f: impl FnOnce(&mut Ends) -> R) -> Option<R> {
        self.order.with(|order| match order {
            Some(Order::Records(ends)) => Some(f(ends)),
            _ => None,
        })
    }

    /// Forgets an id that was acked or given up. The id is borrowed.
    #[inline(always)]
    pub fn forget(&self, id: *mut PyObject) {
        if self.failed_ids.with(|ids| ids.is_some()) {
            self.forget_failed(id);
        }
    }

    #[cold]
    fn forget_failed(&self, id: *mut PyObject) {
        let py = unsafe { Python::assume_attached() };
        let Some(ids) = self.failed_ids.with(|ids| ids.as_ref().map(|ids| ids.clone_ref(py))) else { return };
        // SAFETY: `id` is live; a missing key is no error here.
        unsafe {
            if PyDict_DelItem(ids.as_ptr(), id) != 0 {
                PyErr_Clear();
            }
        }
        if ids.bind(py).is_empty() {
            drop(self.failed_ids.replace(None));
        }
    }

    /// Drops what belongs to the interpreter.
    pub fn release(&self) {
        drop(self.source.replace(None));
        drop((self.ack.replace(None), self.fail.replace(None), self.dead.replace(None)));
        drop(self.failed_ids.replace(None));
        drop((self.reach.replace(Vec::new()), self.workers.replace(Vec::new())));
        let ids = self.acked.replace(Vec::new()).into_iter();
        for id in ids.chain(self.later.replace(Vec::new()).into_iter().map(|(_, id)| id)) {
            // SAFETY: owned references.
            unsafe { Py_DECREF(id) };
        }
    }
}

/// What a poll of user code came to.
enum Polled {
    /// Outputs were sent; there may be more.
    Some,
    /// Nothing for now.
    Nothing,
    /// Nothing will come any more.
    Ended,
    /// User code raised.
    Raised(PyErr),
}

impl Core {
    /// Polls a spout, if it may open roots now. Whether it gave anything.
    pub fn run_spout(&self, py: Python<'_>, task: &Rc<Task>) -> bool {
        let state = task.spout();
        let now_ns = self.now_ns.get();
        if state.exhausted.get() || state.next_poll_ns.get() > now_ns {
            return false; // it rests, or waits for its rate, as the last look has found
        }
        if task.still_paused(now_ns) {
            return self.spout_held_up(task, || Culprit::Pause);
        }
        let stride = if state.is_batched.get() && task.is_offloaded() { POLL_AWAY } else { state.stride.get() };
        let room = self.room(py, task).min(stride);
        if room == 0 || self.is_blocked(task) {
            return self.spout_held_up(task, || self.who_holds_up(task));
        }
        let room = state.rate.with(|rate| rate.take(now_ns, room));
        if room == 0 {
            let next = state.rate.with(|rate| rate.next_at_ns());
            state.next_poll_ns.set(next.max(now_ns + 1));
            return self.spout_held_up(task, || Culprit::Rate);
        }
        task.held_up.with(|held_up| held_up.free(now_ns));
        let outer = self.enter(task);
        state.polling.set(true);
        state.emitted_in_poll.set(0);
        state.granted.set(room);
        state.most.set(if state.is_batched.get() { room } else { u32::MAX });
        self.page_call();
        let began_ns = self.now_precise_ns();
        let polled = self.poll(py, task, room);
        let ended_ns = self.now_precise_ns();
        state.adapt_stride(ended_ns.saturating_sub(began_ns));
        state.polling.set(false);
        self.leave(outer);
        let used = state.emitted_in_poll.get();
        if !task.is_offloaded() {
            state.end_poll();
            state.note_poll(began_ns, ended_ns, used > 0);
        }
        if !state.later.with(|later| later.is_empty()) {
            self.flush_acks(py, task);
        }
        self.after_poll(py, task, polled) || used > 0
    }

    /// How many more roots the spout's task may open.
    fn room(&self, py: Python<'_>, task: &Rc<Task>) -> u32 {
        let state = task.spout();
        let pending = state.outstanding();
        let by_bytes = state.bytes.with(|bytes| bytes.room(pending));
        if by_bytes == 0 && state.bytes.with(|bytes| bytes.should_say(pending)) {
            self.say_who_holds(py, task, state.bytes.with(|bytes| bytes.bytes(pending)));
        }
        state.limit.with(|limit| limit.room(pending)).min(by_bytes).min(self.room_in_ledger())
    }

    /// How many more trees may be opened, with a place for each root that waits for its next try.
    fn room_in_ledger(&self) -> u32 {
        let retrying: u32 = self.spouts.with(|spouts| spouts.iter().map(|spout| spout.spout().retrying.get()).sum());
        MAX_SLOTS.saturating_sub(self.ledger.with(|ledger| ledger.pending()).saturating_add(retrying))
    }

    #[cold]
    fn say_who_holds(&self, py: Python<'_>, task: &Task, bytes: u64) {
        let load = |bolt: &&Rc<Task>| bolt.load();
        let holder =
            task.spout().reach.with(|reach| reach.iter().max_by_key(load).map_or(task.index, |bolt| bolt.index));
        if let Err(fault) = self.hooks(py).call_method1("holding", (task.index, bytes, holder)) {
            fault.write_unraisable(py, None);
        }
    }

    /// Whether a bolt that the spout can reach is over its high-water mark, or a worker that its tuples may come to away.
    pub fn is_blocked(&self, task: &Task) -> bool {
        task.spout().reach.with(|reach| reach.iter().any(|bolt| bolt.is_full())) || self.is_cut_off(task)
    }

    fn after_poll(&self, py: Python<'_>, task: &Rc<Task>, polled: Polled) -> bool {
        let state = task.spout();
        match polled {
            Polled::Some => return true,
            Polled::Nothing => self.rest_spout(state),
            Polled::Ended => {
                state.exhausted.set(true);
                return true; // whoever runs the loop has looked before, and looks again only where something happened
            }
            Polled::Raised(error) => self.spout_raised(py, task, error),
        }
        false
    }

    fn rest_spout(&self, state: &SpoutState) {
        match self.draining.get() {
            true => state.exhausted.set(true),
            false => state.next_poll_ns.set(self.now_ns.get() + state.idle_ns.get()),
        }
    }

    #[cold]
    fn spout_raised(&self, py: Python<'_>, task: &Rc<Task>, error: PyErr) {
        let state = task.spout();
        let is_exception = error.is_instance_of::<pyo3::exceptions::PyException>(py);
        let ask = || self.hooks(py).call_method1("spout_failed", (task.index, exception(py, &error)))?.extract();
        let told: PyResult<Option<f64>> = if is_exception { ask() } else { Ok(Some(DIE_S)) };
        if !matches!(told, Ok(None)) {
            task.counts.errors.set(task.counts.errors.get() + 1);
        }
        match told {
            Ok(Some(DIE_S)) => self.die(py, task, &error),
            Ok(Some(ENDED_S)) => state.exhausted.set(true),
            Ok(Some(pause_s)) if !self.draining.get() => {
                state.next_poll_ns.set(self.now_ns.get() + (pause_s.max(0.0) * 1e9) as u64);
            }
            Ok(Some(_)) => state.exhausted.set(true),
            Ok(None) => state.exhausted.set(true),
            Err(fault) => {
                fault.write_unraisable(py, None);
                state.exhausted.set(true);
            }
        }
    }

    fn poll(&self, py: Python<'_>, task: &Rc<Task>, room: u32) -> Polled {
        let state = task.spout();
        // SAFETY: the source is set before the first run and dropped by `release`, which is not called from within one.
        let source = state.source.with(|source| unsafe { (*(source as *mut Option<Source>)).as_mut() });
        let Some(source) = source else { return Polled::Ended };
        if self.draining.get() && !matches!(source, Source::Tcp(_)) {
            return Polled::Ended;
        }
        if task.is_offloaded() {
            return self.poll_offloaded(py, task, source, room);
        }
        match source {
            Source::NextTuple(method) => self.poll_next_tuple(py, task, method, room),
            Source::NextBatch(method) => self.poll_next_batch(py, task, method, room),
            Source::Iterator(iterator) => self.poll_iterator(py, task, iterator.as_ptr(), room),
            Source::Tcp(reader) => match reader.poll(py, task, room) {
                true => Polled::Some,
                false if reader.finished() => Polled::Ended,
                false => {
                    // It wakes the loop itself; meanwhile there is nothing to ask for.
                    let pause_ns = if self.draining.get() { 1_000_000 } else { u64::MAX / 4 };
                    state.next_poll_ns.set(self.now_ns.get() + pause_ns);
                    reader.listen_for_more(task);
                    Polled::Some
                }
            },
        }
    }

    #[inline(always)]
    fn poll_next_tuple(&self, py: Python<'_>, task: &Rc<Task>, method: &Method, room: u32) -> Polled {
        let state = task.spout();
        let mut calls = 0;
        while state.emitted_in_poll.get() < room && calls < room && !task.is_paused.get() {
            calls += 1;
            let before = state.emitted_in_poll.get();
            // SAFETY: no arguments; an owned reference comes back, or null.
            let result = unsafe { method.call([]) };
            if result.is_null() {
                return Polled::Raised(PyErr::fetch(py));
            }
            if let Err(error) = unsafe { task.send_root_output(result) } {
                return Polled::Raised(error.take(py));
            }
            if state.emitted_in_poll.get() == before {
                return Polled::Nothing;
            }
        }
        Polled::Some
    }

    fn poll_next_batch(&self, py: Python<'_>, task: &Rc<Task>, method: &Method, room: u32) -> Polled {
        let limit = unsafe { Bound::from_owned_ptr(py, PyLong_FromLong(room as _)) };
        // SAFETY: the argument is live during the call.
        let result = unsafe { method.call([limit.as_ptr()]) };
        if result.is_null() {
            return Polled::Raised(PyErr::fetch(py));
        }
        let result = unsafe { Bound::from_owned_ptr(py, result) };
        match task.send_batch(&result, room) {
            Err(error) => Polled::Raised(error),
            Ok(()) if task.spout().emitted_in_poll.get() == 0 => Polled::Nothing,
            Ok(()) => Polled::Some,
        }
    }

    #[inline(always)]
    fn poll_iterator(&self, py: Python<'_>, task: &Rc<Task>, iterator: *mut PyObject, room: u32) -> Polled {
        let state = task.spout();
        // SAFETY: the planner checked that it is an iterator; the reference that comes back is owned.
        let next = unsafe { (*Py_TYPE(iterator)).tp_iternext }.expect("an iterator has a next");
        while state.emitted_in_poll.get() < room && !task.is_paused.get() {
            let output = unsafe { next(iterator) };
            if output.is_null() {
                return iteration_ended(py);
            }
            let before = state.emitted_in_poll.get();
            if let Err(error) = unsafe { task.send_root_output(output) } {
                return Polled::Raised(error.take(py));
            }
            if state.emitted_in_poll.get() == before {
                return Polled::Nothing;
            }
        }
        Polled::Some
    }

    fn poll_offloaded(&self, py: Python<'_>, task: &Rc<Task>, source: &Source, room: u32) -> Polled {
        let state = task.spout();
        state.next_poll_ns.set(u64::MAX); // until this poll has ended
        let (function, args) = match source {
            Source::NextTuple(method) => (method.callable(py), Vec::new()),
            Source::NextBatch(method) => {
                let limit = room.into_pyobject(py).expect("an int").into_any().unbind();
                (method.callable(py), vec![limit])
            }
            Source::Iterator(iterator) => match iterator.getattr(py, "__next__") {
                Ok(next) => (next, Vec::new()),
                Err(error) => return Polled::Raised(error),
            },
            Source::Tcp(_) => unreachable!("native sources have threads of their own"),
        };
        offload(py, task, Kind::Poll, function, args);
        Polled::Some
    }

    /// An offloaded poll ended.
    pub fn finish_poll(&self, py: Python<'_>, task: &Rc<Task>, outcome: PyResult<Bound<'_, PyAny>>) {
        let state = task.spout();
        state.next_poll_ns.set(0);
        let polled = match outcome {
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => Polled::Ended,
            Err(error) => Polled::Raised(error),
            Ok(result) => {
                let sent = match state.is_batched.get() {
                    true => task.send_batch(&result, state.granted.get()),
                    false => unsafe { task.send_root_output(result.into_ptr()) }.map_err(|error| error.take(py)),
                };
                match sent {
                    Err(error) => Polled::Raised(error),
                    Ok(()) if state.emitted_in_poll.get() == 0 => Polled::Nothing,
                    Ok(()) => Polled::Some,
                }
            }
        };
        state.end_poll();
        self.after_poll(py, task, polled);
    }
}

/// `tp_iternext` gave null: the end, with or without StopIteration, or an error.
#[cold]
fn iteration_ended(py: Python<'_>) -> Polled {
    match PyErr::take(py) {
        None => Polled::Ended,
        Some(error) if error.is_instance_of::<PyStopIteration>(py) => Polled::Ended,
        Some(error) => Polled::Raised(error),
    }
}

impl Core {
    /// Sources give what they hold already and then nothing; back-offs and batch waits are cut short.
    pub fn drain_sources(&self, now_ns: u64) {
        self.draining.set(true);
        for task in self.tasks.get().iter().filter(|task| task.is_spout()) {
            let state = task.spout();
            if state.next_poll_ns.get() != u64::MAX {
                state.next_poll_ns.set(0);
            }
            task.is_paused.set(false);
            task.paused_until_ns.set(0);
            state.rate.replace(RateLimit::new(None));
            state.source.with(|source| {
                if let Some(Source::Tcp(reader)) = source {
                    reader.stop_accepting();
                }
            });
        }
        self.timers.with(|timers| timers.pull_forward(now_ns, |due| matches!(due, Due::Retry(_) | Due::Wake)));
    }
}
