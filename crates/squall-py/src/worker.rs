//! `Worker`: a worker's tasks as Python builds, runs and looks at them.

use crate::away::Away;
use crate::bolt::{ARG_CONSTANT, ARG_TUPLE, Binding, NO_BINDING};
use crate::codec::Texts;
use crate::component::{self, Component};
use crate::core::{Clock, Core, Due, RealClock, Replay, Settings, UserTimer};
use crate::gil::{Fixed, Gil};
use crate::links::{News, Sought};
use crate::method::Method;
use crate::order;
use crate::run_loop::Ended;
use crate::spout::{Source, SpoutOptions};
use crate::tap::TapGate;
use crate::task::{Cur, Fast, Out, Task};
use crate::tcp::SocketSource;
use crate::trace::Trace;
use crate::wiring::{self, NewTask};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use squall_core::ack::{Bundles, Ledger};
use squall_core::cell::Local;
use squall_core::ids::{EdgeIds, Incarnation, RootId, mix};
use squall_core::route::Route;
use squall_core::timers::Timers;
use squall_core::tracker::Tracker;
use squall_net::page::Page;
use squall_net::wake::Waiter;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long one bolt runs before the others get their turn.
const SLICE_NS: u64 = 5_000_000;

/// The tasks of one worker and the loop that runs them.
#[pyclass(frozen, module = "squall._core")]
pub struct Worker(Gil<Rc<Core>>);

impl Worker {
    /// The shared state.
    pub fn core(&self) -> &Rc<Core> {
        &self.0.0
    }

    /// The shared page, for the watchdog.
    pub fn page(&self) -> Option<Page> {
        self.core().page.clone()
    }

    fn hear(&self, news: News) {
        self.core().news.with(|all| all.push(news));
        self.core().wake.wake();
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

/// What a time of some months loses as a float of seconds.
const FLOAT_SLACK_NS: u64 = 1024;

fn seconds_ns(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9).round() as u64
}

#[pymethods]
impl Worker {
    #[new]
    #[pyo3(signature = (*, incarnation, seed, hooks, r#virtual, settings, page_fd = None, trace = None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        incarnation: u16,
        seed: u64,
        hooks: Py<PyAny>,
        r#virtual: bool,
        settings: &Bound<'_, PyAny>,
        page_fd: Option<i32>,
        trace: Option<(i32, u64, u32)>,
    ) -> PyResult<Worker> {
        let waiter = Waiter::new()?;
        // SAFETY: the caller hands the descriptor over.
        let page = page_fd.map(|fd| Page::open(unsafe { OwnedFd::from_raw_fd(fd) })).transpose()?;
        let trace = trace.map(|(fd, most_bytes, worker)| {
            // SAFETY: the caller hands the descriptor over.
            Trace::begin(unsafe { OwnedFd::from_raw_fd(fd) }, most_bytes, worker, incarnation)
        });
        let trace = trace.transpose().unwrap_or_else(|error| {
            PyErr::from(error).write_unraisable(settings.py(), None); // tuples are worth more than their trace
            None
        });
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
            incarnation: Incarnation(incarnation),
            by_id: Local::default(),
            links: Local::new(None),
            texts: Texts::default(),
            news: Local::default(),
            stranded: Local::default(),
            alone: Local::default(),
            suspects: Local::default(),
            timers: Local::new(Timers::new()),
            user_timers: Local::new(HashMap::new()),
            completions: Local::new(VecDeque::new()),
            rested: Local::new(Vec::new()),
            replays: Local::new(Vec::new()),
            buried: Local::new(HashMap::new()),
            next_handle: Cell::new(1),
            failures: Cell::new(0),
            hooks: Local::new(Some(hooks)),
            now_ns: Cell::new(0),
            clock: if r#virtual { Clock::Virtual(Cell::new(0)) } else { Clock::Real(RealClock::new()) },
            slice_ns: if r#virtual { u64::MAX / 2 } else { SLICE_NS },
            loop_thread: Cell::new(std::ptr::null_mut()),
            current_tuple: Cell::new(std::ptr::null()),
            peculiar: Cell::new(trace.is_some()),
            acking,
            draining: Cell::new(false),
            started: Cell::new(false),
            running: Cell::new(false),
            closing: Cell::new(false),
            observed: Cell::new(false),
            ends_matter: Cell::new(trace.is_some()),
            activity: Cell::new(0),
            wants_turn: Cell::new(false),
            solo: Cell::new(0),
            away: Away::default(),
            waits_for_tcp: Cell::new(false),
            death: Local::new(None),
            wake: waiter.waker(),
            waiter,
            stop: Arc::new(AtomicBool::new(false)),
            page,
            calls: Cell::new(0),
            component_now: Cell::new(0),
            seed,
            trace,
            settings: Settings {
                sample_rate: setting(settings, "topology.stats.sample.rate", 0.05)?,
                capacity: setting(settings, "topology.executor.receive.buffer.size", 1024)?,
                high: setting(settings, "backpressure.disruptor.high.watermark", 0.9)?,
                low: setting(settings, "backpressure.disruptor.low.watermark", 0.4)?,
                max_pending_bytes: setting(settings, "topology.max.pending.bytes", 256 << 20)?,
                tree_max_age_ns: setting::<Option<f64>>(settings, "topology.tree.max.age.secs", None)?.map(seconds_ns),
                loop_max: setting(settings, "topology.loop.max.queued", 100_000)?,
                load_aware: !setting(settings, "topology.disable.loadaware.messaging", false)?,
                fallback: setting(settings, "topology.fall.back.on.pickle", false)?.into(),
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
        let wanted = NewTask { component, task_id, streams, retries };
        let task = self.core().add_task(instance, context, spout, wanted);
        component::bind(instance, &task);
        self.core().note_task(&task);
        Ok(task.index)
    }

    #[pyo3(signature = (*, component, task_id, worker, streams, retries))]
    fn add_far_task(
        &self,
        component: u32,
        task_id: i64,
        worker: u32,
        streams: Vec<(String, Vec<String>, bool)>,
        retries: u32,
    ) -> u32 {
        self.core().add_far_task(worker, NewTask { component, task_id, streams, retries }).index
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (task, /, *, kind, source, ack, ack_many, fail, dead, rate_per_s, idle_wait, max_pending, submit,
        ordered = false))]
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
        ordered: bool,
    ) -> PyResult<()> {
        let task = self.task(task)?;
        let mut order = ordered.then(|| order::Order::Whole(Tracker::new()));
        let mut is_unknown_pace = matches!(kind, "next_tuple" | "iterator");
        let source = match kind {
            "next_tuple" => Source::NextTuple(Method::of(source)),
            "next_batch" => Source::NextBatch(Method::of(source)),
            "iterator" => Source::Iterator(source.clone().unbind()),
            "tcp" => {
                let mut reader = source.cast::<SocketSource>()?.get().open(&task, self.core().wake.clone())?;
                order = reader.order().or(order);
                is_unknown_pace = reader.is_unknown_pace();
                Source::Tcp(Box::new(reader))
            }
            other => return Err(PyValueError::new_err(format!("unknown kind of spout {other:?}"))),
        };
        let options = SpoutOptions {
            is_unknown_pace: is_unknown_pace && !self.core().is_virtual(),
            source,
            collects_acks: ack_many.is_some(),
            ack: ack_many.or(ack).as_ref().map(Method::of),
            fail: fail.as_ref().map(Method::of),
            dead: dead.as_ref().map(Method::of),
            rate_per_s,
            idle_ns: seconds_ns(idle_wait).max(1),
            max_pending,
            order,
        };
        task.spout().configure(options, submit.is_some());
        task.spout().is_peculiar.set(self.core().trace.is_some());
        task.submit.replace(submit);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (task, /, *, manual_ack, hold_max, batch_max, batch_wait, max_in_flight, submit, cancel = None,
        drains = false))]
    fn configure_bolt(
        &self,
        task: u32,
        manual_ack: bool,
        hold_max: f64,
        batch_max: u32,
        batch_wait: f64,
        max_in_flight: u32,
        submit: Option<Py<PyAny>>,
        cancel: Option<Py<PyAny>>,
        drains: bool,
    ) -> PyResult<()> {
        let task = self.task(task)?;
        let state = task.bolt();
        if !state.bindings.get().is_empty() {
            return Err(PyRuntimeError::new_err("a bolt is configured before its inputs are bound"));
        }
        state.manual_ack.set(manual_ack);
        state.drains.set(drains);
        state.hold_ns.set(seconds_ns(hold_max));
        state.batch_max.set(batch_max);
        state.batch_wait_ns.set(seconds_ns(batch_wait));
        state.max_in_flight.set(max_in_flight.max(1));
        task.submit.replace(submit);
        task.cancel.replace(cancel);
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
            numbers.resize(core.channels.with(|channels| channels.len()), NO_BINDING);
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
        let grouping = wiring::grouping(grouping, keys, n, seed)
            .ok_or_else(|| PyValueError::new_err(format!("unknown grouping {grouping:?}")))?;
        let fast = match self.core().trace.is_some() {
            true => Fast::Noted,
            false if closes_loop => Fast::Other,
            false => wiring::fast(&grouping, &targets),
        };
        let out = Out { fast, route: Route::new(grouping, n), targets, custom, closes_loop };
        task.streams[stream].outs.push(out);
        Ok(())
    }

    fn set_tick(&self, py: Python<'_>, task: u32, period: f64, function: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_timer(py, task as i64, period, function, PyTuple::empty(py).unbind(), true, true)?;
        Ok(())
    }

    #[pyo3(signature = (*, until_idle = false, deadline = None, known = None))]
    fn run(
        &self,
        py: Python<'_>,
        until_idle: bool,
        deadline: Option<f64>,
        known: Option<u64>,
    ) -> PyResult<&'static str> {
        let deadline_ns = deadline.map_or(u64::MAX, seconds_ns);
        if self.core().running.replace(true) {
            return Err(PyRuntimeError::new_err("the worker is running already: its own code cannot run it"));
        }
        let ended = self.core().run(py, until_idle, deadline_ns, known);
        self.core().running.set(false);
        self.core().note_rest();
        Ok(match ended? {
            Ended::Exhausted => "exhausted",
            Ended::Stopped => "stopped",
            Ended::Died => "died",
            Ended::Idle => "idle",
            Ended::Deadline => "deadline",
        })
    }

    fn standing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.core().standing(py)
    }

    fn links<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.core().link_figures(py)
    }

    #[pyo3(signature = (number, workers, listen_fd = None, secret = [0; 32]))]
    fn open_links(&self, number: u32, workers: u32, listen_fd: Option<i32>, secret: [u8; 32]) -> PyResult<()> {
        // SAFETY: the caller hands the descriptor over.
        let gate = listen_fd.map(|fd| (unsafe { OwnedFd::from_raw_fd(fd) }, secret));
        Ok(self.core().open_links(number, workers, gate)?)
    }

    fn links_sought(&self) -> PyResult<Vec<Sought>> {
        self.core().links_sought()
    }

    fn link_up(&self, worker: u32, incarnation: u16, session: u64, fd: i32) -> PyResult<()> {
        // SAFETY: the caller hands the descriptor over.
        self.core().link_told(worker, incarnation, session, Some(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn link_not_found(&self, worker: u32, incarnation: u16, session: u64) -> PyResult<()> {
        self.core().link_told(worker, incarnation, session, None)
    }

    fn peer(&self, worker: u32, incarnation: u16, session: u64, path: PathBuf) {
        self.hear(News::Peer { worker, incarnation, session, path });
    }

    fn peer_lost(&self, worker: u32, incarnation: u16, ran: Option<String>, suspects: Vec<u64>) {
        let suspects = suspects.into_iter().map(RootId).collect();
        self.hear(News::Lost { worker, incarnation, ran, suspects });
    }

    fn is_running(&self) -> bool {
        self.core().running.get()
    }

    fn request_stop(&self) {
        self.core().stop.store(true, Ordering::Relaxed);
        self.core().wake.wake();
    }

    fn start_spouts(&self) {
        let core = self.core();
        core.find_reach();
        core.note_spouts();
        core.started.set(true);
        let turns = core.tasks.get().iter().any(|task| {
            task.streams.iter().any(|stream| {
                stream.outs.get().iter().any(|out| matches!(out.fast, Fast::Turns | Fast::Far | Fast::Noted))
            })
        });
        if core.settings.tree_max_age_ns.is_some() {
            core.sweep_later();
        }
        if turns && core.settings.load_aware {
            let due = core.now_precise_ns() + 1_000_000_000;
            core.timers.with(|timers| timers.at(due, Due::Reweigh));
        }
    }

    fn stop_spouts(&self) {
        let core = self.core();
        core.drain_sources(core.tick_clock());
    }

    fn resume_spouts(&self) {
        self.core().draining.set(false);
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

    fn spout_ended(&self, task: u32) -> PyResult<bool> {
        let task = self.task(task)?;
        Ok(task.spout().exhausted.get() && task.in_flight.get() == 0)
    }

    fn ended_prefix(&self, task: u32) -> PyResult<Option<u64>> {
        Ok(self.task(task)?.spout().ended_prefix())
    }

    fn suspect(&self, task: u32, place: u32, deaths: u8) -> PyResult<()> {
        self.task(task)?.spout().suspect(place, deaths);
        Ok(())
    }

    fn end_emission(&self) {
        self.core().closing.set(true);
        for task in self.core().tasks.get() {
            task.thread.set(std::ptr::null_mut()); // so that every emit takes the path that looks
        }
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
                let to = seconds_ns(now);
                let due = self.core().next_due_ns().filter(|due| (to..to + FLOAT_SLACK_NS).contains(due));
                at.set(at.get().max(due.unwrap_or(to)));
                self.core().tick_clock();
                Ok(())
            }
        }
    }

    fn next_due(&self) -> Option<f64> {
        self.core().next_due_ns().map(|due| due as f64 / 1e9)
    }

    fn monotonic(&self) -> f64 {
        self.core().tick_clock() as f64 / 1e9
    }

    #[pyo3(signature = (task, /, *, again))]
    fn drained(&self, task: u32, again: bool) -> PyResult<()> {
        self.task(task)?.bolt().drained(again);
        Ok(())
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

    fn bury(&self, task: u32, values: &Bound<'_, PyTuple>, error: Bound<'_, PyAny>) -> PyResult<()> {
        let task = self.task(task)?;
        if !task.is_spout() {
            return Err(PyValueError::new_err("only a spout's records can become dead letters by themselves"));
        }
        let state = task.spout();
        state.emitted_in_poll.set(state.emitted_in_poll.get() + 1);
        self.core().bury_unsent(values.py(), &task, crate::values::row_of(values)?, PyErr::from_value(error));
        Ok(())
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

    #[pyo3(signature = (task, stream, values, /, direct = None, handle = 0))]
    fn replay(&self, task: u32, stream: u16, values: Py<PyTuple>, direct: Option<i64>, handle: u32) -> PyResult<()> {
        self.task(task)?;
        self.core().replays.with(|replays| replays.push(Replay { task, stream, values, direct, handle }));
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
        self.core().ends_matter.set(on || self.core().trace.is_some());
    }

    #[pyo3(signature = (task, stream, function, /, gate = None))]
    fn tap(
        &self,
        py: Python<'_>,
        task: u32,
        stream: usize,
        function: Py<PyAny>,
        gate: Option<Py<TapGate>>,
    ) -> PyResult<()> {
        self.task(task)?.streams[stream].taps.add(py, function, gate);
        Ok(())
    }

    #[pyo3(signature = (task, stream, function, /))]
    fn untap(&self, py: Python<'_>, task: u32, stream: usize, function: &Bound<'_, PyAny>) {
        // A worker that has closed has no task any more, and no tap.
        if let Ok(task) = self.task(task) {
            task.streams[stream].taps.remove(py, function);
        }
    }

    #[pyo3(signature = (task, function, /))]
    fn intercept(&self, task: u32, function: Option<Py<PyAny>>) -> PyResult<()> {
        drop(self.task(task)?.intercept.replace(function));
        let some = |task: &Rc<Task>| task.intercept.with(|intercept| intercept.is_some());
        self.core().peculiar.set(self.core().trace.is_some() || self.core().tasks.get().iter().any(some));
        Ok(())
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let core = self.core();
        if core.running.get() {
            return Err(PyRuntimeError::new_err("the worker is running: its own code cannot close it"));
        }
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
        for call in core.completions.replace(VecDeque::new()) {
            call.get().inner().forget();
        }
        drop(core.replays.replace(Vec::new()));
        drop(core.buried.replace(HashMap::new()));
        drop(core.ledger.replace(Ledger::new(Incarnation(1))));
        drop(core.death.replace(None));
        drop(core.links.replace(None));
        drop(core.spouts.replace(Vec::new()));
        drop(core.order.replace(Vec::new()));
        drop(core.channels.replace(Vec::new()));
        drop((core.stranded.replace(Vec::new()), core.by_id.replace(Vec::new())));
        core.tasks.clear();
        Ok(())
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
        let timer =
            UserTimer { task, method: Method::of(function), args, period_ns, due_ns: Cell::new(0), is_tick, number };
        core.schedule(Rc::new(timer), core.now_precise_ns() + seconds_ns(delay));
        core.wake.wake();
        Ok(number)
    }
}

/// Codes of a binding's arguments, for the Python side.
pub const CODES: [(&str, i32); 2] = [("ARG_TUPLE", ARG_TUPLE), ("ARG_CONSTANT", ARG_CONSTANT)];
