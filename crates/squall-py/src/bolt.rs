//! Running a bolt: taking inputs from its inbox, calling user code, sending what it returns, acking.

use crate::call::{self, Kind};
use crate::fault;
use crate::gil::Fixed;
use crate::method::Method;
use crate::row::{INLINE, PyRow, Raised, raised};
use crate::task::{Cur, Task};
use crate::trees::Failure;
use crate::tuple::{self, Standing, Tuple};
use crate::worker::{Core, Due};
use pyo3::exceptions::PyBaseException;
use pyo3::ffi::*;
use pyo3::prelude::*;
use pyo3::types::PyList;
use squall_core::cell::Local;
use squall_core::flow::HighWater;
use squall_core::ids::RootId;
use squall_core::mailbox::Msg;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::rc::Rc;

/// In the codes of a binding: the whole tuple.
pub const ARG_TUPLE: i32 = -1;
/// In the codes of a binding: `ARG_CONSTANT - i` is constant `i`.
pub const ARG_CONSTANT: i32 = -2;
/// Most arguments that are passed without a heap allocation.
const STACK_ARGUMENTS: usize = 16;
/// Inputs between two looks at the clock and at the tasks below.
const CHUNK: usize = 64;
/// Outputs of one generator between two looks at the tasks below.
const GENERATOR_CHUNK: usize = 32;

/// How the tuples of some streams are given to user code.
pub struct Binding {
    pub method: Method,
    pub codes: Box<[i32]>,
    pub constants: Vec<Py<PyAny>>,
    /// The fields in their order, nothing else.
    pub identity: bool,
    pub label: String,
    pub executed: Cell<u64>,
}

/// What a bolt's task knows beside what every task knows.
pub struct BoltState {
    pub bindings: Fixed<Binding>,
    /// Channel → binding.
    pub by_channel: Local<Vec<u16>>,
    pub high_water: Local<HighWater>,
    pub manual_ack: Cell<bool>,
    pub hold_ns: Cell<u64>,
    /// 0: one call a tuple.
    pub batch_max: Cell<u32>,
    pub batch_wait_ns: Cell<u64>,
    pub max_in_flight: Cell<u32>,
    /// When the first row of the batch that is being waited for was seen; 0: none.
    pub waiting_since_ns: Cell<u64>,
    /// A generator whose outputs found the tasks below full.
    pub paused: Local<Option<Box<Paused>>>,
    /// Inputs of the batch that user code is working on; null outside.
    pub batch: Cell<*const [Input]>,
}

/// A returned generator that waits, with the input it belongs to.
pub struct Paused {
    iterator: Py<PyAny>,
    msg: Msg<PyRow>,
    tuple: Option<Py<Tuple>>,
    xor: u64,
}

/// A tuple that left its inbox and is in user hands.
pub type Input = Msg<PyRow>;

impl BoltState {
    /// A bolt before it is configured.
    pub fn new(capacity: usize, high: f64, low: f64) -> BoltState {
        BoltState {
            bindings: Fixed::default(),
            by_channel: Local::new(Vec::new()),
            high_water: Local::new(HighWater::new(capacity, high, low)),
            manual_ack: Cell::new(false),
            hold_ns: Cell::new(0),
            batch_max: Cell::new(0),
            batch_wait_ns: Cell::new(0),
            max_in_flight: Cell::new(1),
            waiting_since_ns: Cell::new(0),
            paused: Local::new(None),
            batch: Cell::new(std::ptr::slice_from_raw_parts(std::ptr::null(), 0)),
        }
    }

    /// Drops what belongs to the interpreter.
    pub fn release(&self) {
        self.bindings.clear();
        drop(self.paused.replace(None));
    }

    #[inline(always)]
    fn binding_number(&self, channel: u32) -> usize {
        self.by_channel.with(|numbers| numbers[channel as usize]) as usize
    }

    /// The binding of a channel.
    #[inline(always)]
    pub fn binding(&self, channel: u32) -> &Binding {
        match self.bindings.get() {
            [only] => only,
            several => &several[self.binding_number(channel)],
        }
    }
}

impl Core {
    /// Runs a bolt until its inbox is empty, its budget is used up or the tasks below are full. How many inputs it took.
    pub fn run_bolt(&self, py: Python<'_>, task: &Rc<Task>) -> usize {
        let state = task.bolt();
        if state.paused.with(|paused| paused.is_some()) && !self.resume_generator(py, task) {
            return 0;
        }
        if task.inbox.ready() == 0 || task.still_paused(self.now_ns.get()) {
            return 0;
        }
        let outer = self.enter(task);
        let taken = match (task.is_offloaded(), state.batch_max.get()) {
            (true, _) => call::submit_inputs(self, py, task),
            (false, 0) => self.run_tuples(py, task),
            (false, most) => self.run_batches(py, task, most as usize),
        };
        task.cur.root.set(RootId::NONE);
        self.leave(outer);
        taken
    }

    fn run_tuples(&self, py: Python<'_>, task: &Rc<Task>) -> usize {
        let mut taken = 0;
        let until_ns = self.now_ns.get() + self.slice_ns;
        let mut place = MaybeUninit::uninit();
        loop {
            for _ in 0..CHUNK {
                if !task.inbox.pop_into(&mut place) {
                    return taken;
                }
                taken += 1;
                // SAFETY: `pop_into` said that it wrote a tuple, which is taken out exactly once.
                if unsafe { self.run_tuple(py, task, &mut place) }.is_break() {
                    return taken;
                }
            }
            if task.is_held_up() || self.should_return() || self.tick_clock() > until_ns {
                return taken;
            }
        }
    }

    /// One input, from its call to its ack. Breaks when the task cannot take another one now.
    ///
    /// # Safety
    /// `place` holds a tuple; it is taken out.
    #[inline(always)]
    unsafe fn run_tuple(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        place: &mut MaybeUninit<Msg<PyRow>>,
    ) -> std::ops::ControlFlow<()> {
        // SAFETY: as the caller promises; `take` is called at most once, on each way out.
        let msg = unsafe { place.assume_init_ref() };
        let take = |place: &MaybeUninit<Msg<PyRow>>| unsafe { place.assume_init_read() };
        let binding = task.bolt().binding(msg.channel);
        task.cur.root.set(msg.root);
        task.cur.xor.set(0);
        binding.executed.set(binding.executed.get() + 1);
        self.page_call();
        if !binding.identity || !msg.row.is_inline() || self.peculiar.get() {
            return self.run_peculiar(py, task, binding, take(place));
        }
        let weight = task.times.sampler.with(|sampler| sampler.hit());
        let started_ns = if weight.is_some() { self.now_precise_ns() } else { 0 };
        let mut stack = [MaybeUninit::<*mut PyObject>::uninit(); INLINE + 2];
        let n = msg.row.len();
        msg.row.lay_out(&mut stack);
        // SAFETY: the row owns the arguments during the call.
        let result = unsafe { binding.method.call_stack(&mut stack, n) };
        if let Some(weight) = weight {
            self.took(task, started_ns, weight, true);
        }
        // SAFETY: `result` is null or an owned reference.
        let sent = unsafe {
            if result == Py_None() {
                Py_DECREF(result);
                Ok(())
            } else if result.is_null() {
                Err(Raised)
            } else if is_plain(result) {
                task.send_output(result, &task.cur)
            } else {
                return self.run_generator(py, task, result, take(place), None);
            }
        };
        if sent.is_err() || self.was_overdue() {
            self.input_failed(py, task, take(place), None);
            return self.may_go_on(task);
        }
        let (root, edge) = (msg.root, msg.edge);
        // SAFETY: taken out here, on the only way that comes this far.
        unsafe { place.assume_init_drop() };
        task.counts.acked.set(task.counts.acked.get() + 1);
        self.ack_msg(root, edge, task.cur.xor.get());
        match task.is_paused.get() {
            true => std::ops::ControlFlow::Break(()),
            false => std::ops::ControlFlow::Continue(()),
        }
    }

    #[cold]
    fn may_go_on(&self, task: &Task) -> std::ops::ControlFlow<()> {
        match self.should_return() || task.is_paused.get() {
            true => std::ops::ControlFlow::Break(()),
            false => std::ops::ControlFlow::Continue(()),
        }
    }

    /// Inputs that need more than their fields in order: tuples, constants, wide rows, manual acks, tests' interceptors.
    #[inline(never)]
    fn run_peculiar(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        binding: &Binding,
        msg: Msg<PyRow>,
    ) -> std::ops::ControlFlow<()> {
        let state = task.bolt();
        let weight = task.times.sampler.with(|sampler| sampler.hit()).unwrap_or(0);
        let started_ns = if weight > 0 { self.now_precise_ns() } else { 0 };
        let wants_tuple = state.manual_ack.get() || binding.codes.contains(&ARG_TUPLE);
        let intercept = task.intercept.with(|intercept| intercept.as_ref().map(|f| f.clone_ref(py)));
        let made = (wants_tuple || intercept.is_some()).then(|| Tuple::of(py, task, &msg, started_ns, weight));
        let tuple = match made.transpose() {
            Ok(tuple) => tuple,
            Err(error) => {
                error.restore(py);
                self.input_failed(py, task, msg, None);
                return self.may_go_on(task);
            }
        };
        if let Some(tuple) = tuple.as_ref().filter(|_| state.manual_ack.get()) {
            self.hold(py, task, tuple, state.hold_ns.get());
        }
        self.current_tuple.set(tuple.as_ref().map_or(std::ptr::null(), |tuple| tuple.get()));
        let allowed = intercept.map_or(Ok(()), |intercept| intercept.call1(py, (&tuple,)).map(drop));
        let result = match allowed {
            Ok(()) => call_with_codes(py, binding, &msg.row, tuple.as_ref()),
            Err(error) => Err(raised(py, error)),
        };
        if weight > 0 {
            self.took(task, started_ns, weight, !state.manual_ack.get());
        }
        let flow = match result {
            Ok(result) if !unsafe { is_plain(result) } => return self.run_generator(py, task, result, msg, tuple),
            // SAFETY: an owned reference.
            Ok(result) => unsafe { task.send_output(result, &task.cur) },
            Err(error) => Err(error),
        };
        if flow.is_err() || self.was_overdue() {
            self.input_failed(py, task, msg, tuple);
            return self.may_go_on(task);
        }
        self.input_done(task, msg, tuple);
        self.may_go_on(task)
    }

    /// The call of an input ended well; what `manual_ack` holds stays open.
    fn input_done(&self, task: &Rc<Task>, msg: Msg<PyRow>, tuple: Option<Py<Tuple>>) {
        self.current_tuple.set(std::ptr::null());
        let mut xor = task.cur.xor.replace(0);
        let Msg { root, edge, row, .. } = msg;
        drop(row);
        if let Some(tuple) = &tuple {
            let inner = tuple.get().inner();
            if task.bolt().manual_ack.get() {
                if inner.standing.get() == Standing::Live {
                    inner.xor.set(inner.xor.get() ^ xor);
                }
                return self.forget_bundle(root);
            }
            inner.standing.set(Standing::Acked);
            xor ^= inner.xor.get();
        }
        task.counts.acked.set(task.counts.acked.get() + 1);
        self.ack_msg(root, edge, xor);
    }

    fn run_generator(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        iterator: *mut PyObject,
        msg: Msg<PyRow>,
        tuple: Option<Py<Tuple>>,
    ) -> std::ops::ControlFlow<()> {
        // SAFETY: an owned reference.
        let iterator = unsafe { Bound::from_owned_ptr(py, iterator) }.unbind();
        self.drive(py, task, Paused { iterator, msg, tuple, xor: 0 })
    }

    /// Sends a generator's outputs until it ends or the tasks below are full.
    fn drive(&self, py: Python<'_>, task: &Rc<Task>, mut paused: Paused) -> std::ops::ControlFlow<()> {
        task.cur.root.set(paused.msg.root);
        task.cur.xor.set(paused.xor);
        self.current_tuple.set(paused.tuple.as_ref().map_or(std::ptr::null(), |tuple| tuple.get()));
        loop {
            for _ in 0..GENERATOR_CHUNK {
                // SAFETY: `PyIter_Next` gives an owned reference or null.
                let item = unsafe { PyIter_Next(paused.iterator.as_ptr()) };
                let sent = match item.is_null() {
                    true if unsafe { PyErr_Occurred().is_null() } => {
                        self.input_done(task, paused.msg, paused.tuple);
                        return self.may_go_on(task);
                    }
                    true => Err(Raised),
                    false => unsafe { task.send_output(item, &task.cur) },
                };
                if sent.is_err() {
                    self.input_failed(py, task, paused.msg, paused.tuple);
                    return self.may_go_on(task);
                }
            }
            if task.is_held_up() {
                paused.xor = task.cur.xor.get();
                self.current_tuple.set(std::ptr::null());
                task.bolt().paused.replace(Some(Box::new(paused)));
                return std::ops::ControlFlow::Break(());
            }
        }
    }

    /// Goes on with a paused generator. Whether the task may take the next input.
    fn resume_generator(&self, py: Python<'_>, task: &Rc<Task>) -> bool {
        if task.is_held_up() {
            return false;
        }
        let Some(paused) = task.bolt().paused.replace(None) else { return true };
        let outer = self.enter(task);
        let flow = self.drive(py, task, *paused);
        task.cur.root.set(RootId::NONE);
        self.leave(outer);
        flow.is_continue()
    }

    #[inline(never)]
    fn took(&self, task: &Task, started_ns: u64, weight: u32, acked: bool) {
        let took_ns = self.now_precise_ns().saturating_sub(started_ns);
        task.times.execute.with(|latency| latency.record(took_ns, weight));
        if acked {
            task.times.process.with(|latency| latency.record(took_ns, weight));
        }
    }

    /// User code raised (the error is in the interpreter's indicator) or took longer than the time-out.
    #[cold]
    #[inline(never)]
    fn input_failed(&self, py: Python<'_>, task: &Rc<Task>, msg: Msg<PyRow>, tuple: Option<Py<Tuple>>) {
        self.current_tuple.set(std::ptr::null());
        let error = PyErr::take(py).unwrap_or_else(|| fault::overdue(task));
        let xor = task.cur.xor.replace(0);
        if let Some(tuple) = tuple.as_ref().filter(|_| task.bolt().manual_ack.get()) {
            let inner = tuple.get().inner();
            if inner.standing.get() != Standing::Live {
                self.report(py, task, "process", error); // acked or failed before it raised
                return self.forget_bundle(msg.root);
            }
            tuple::settle(inner, Standing::Failed);
        }
        let input = msg;
        let input_tuple = match tuple {
            Some(tuple) => Some(tuple),
            None => self.tuple_of(py, task, &input),
        };
        let own_xor = input_tuple.as_ref().map_or(0, |tuple| tuple.get().inner().xor.get());
        self.input_raised(py, task, &input, input_tuple, error, xor ^ own_xor, false);
    }

    /// The `Tuple` of an input, for an error report.
    pub fn tuple_of(&self, py: Python<'_>, task: &Rc<Task>, input: &Input) -> Option<Py<Tuple>> {
        Tuple::of(py, task, input, 0, 0).ok()
    }

    /// Judges what an input's call raised and carries it out.
    #[cold]
    #[allow(clippy::too_many_arguments)]
    pub fn input_raised(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        input: &Input,
        tuple: Option<Py<Tuple>>,
        error: PyErr,
        xor: u64,
        together: bool,
    ) {
        let judged = self.judge(py, task, &error, "process");
        let Some(verdict) = judged else { return self.forget_bundle(input.root) };
        if verdict.action == squall_core::retry::Action::Drop {
            task.counts.dropped.set(task.counts.dropped.get() + 1);
            return self.ack_msg(input.root, input.edge, xor);
        }
        task.counts.failed.set(task.counts.failed.get() + 1);
        let pairs = self.pairs_of(input.root, input.edge);
        self.forget_bundle(input.root);
        let failure =
            Failure { task: task.clone(), error: error.into_value(py).into_any(), verdict, input: tuple, together };
        self.fail_pairs(py, &pairs, &failure);
    }

    /// Starts the hold time-out of a tuple that user code holds.
    pub fn hold(&self, py: Python<'_>, task: &Task, tuple: &Py<Tuple>, hold_ns: u64) {
        task.held.set(task.held.get() + 1);
        if hold_ns == 0 {
            // Time-outs are off: the timer only marks that the tuple is held.
            let never = self.timers.with(|timers| timers.at(u64::MAX, Due::Hold(tuple.clone_ref(py))));
            return tuple.get().inner().hold.set(Some(never));
        }
        let due = self.now_ns.get() + hold_ns;
        let timer = self.timers.with(|timers| timers.at(due, Due::Hold(tuple.clone_ref(py))));
        tuple.get().inner().hold.set(Some(timer));
    }

    /// A held tuple's time is up.
    #[cold]
    pub fn hold_ended(&self, py: Python<'_>, tuple: Py<Tuple>) {
        let inner = tuple.get().inner();
        inner.hold.set(None);
        if inner.standing.get() != Standing::Live {
            return;
        }
        inner.standing.set(Standing::Failed);
        let task = inner.task.clone();
        task.held.set(task.held.get() - 1);
        self.fail_tuple(py, &task, tuple, fault::held_too_long(&task));
    }

    /// Fails the roots of a tuple that left its inbox earlier.
    #[cold]
    pub fn fail_tuple(&self, py: Python<'_>, task: &Rc<Task>, tuple: Py<Tuple>, error: PyErr) {
        let pairs = tuple.get().inner().pairs.clone();
        let xor = tuple.get().inner().xor.get();
        let Some(verdict) = self.judge(py, task, &error, "process") else { return };
        if verdict.action == squall_core::retry::Action::Drop {
            task.counts.dropped.set(task.counts.dropped.get() + 1);
            pairs.iter().for_each(|(root, edge)| self.ack_root(*root, edge ^ xor));
            return;
        }
        task.counts.failed.set(task.counts.failed.get() + 1);
        let error = error.into_value(py).into_any();
        let failure = Failure { task: task.clone(), error, verdict, input: Some(tuple), together: false };
        self.fail_pairs(py, &pairs, &failure);
    }

    fn run_batches(&self, py: Python<'_>, task: &Rc<Task>, most: usize) -> usize {
        let mut taken = 0;
        let until_ns = self.now_ns.get() + self.slice_ns;
        while task.inbox.ready() > 0 && !self.batch_should_wait(task, most) {
            let inputs = self.take_batch(task, most);
            taken += inputs.len();
            self.run_batch(py, task, inputs);
            if task.is_held_up() || task.is_paused.get() || self.should_return() || self.tick_clock() > until_ns {
                break;
            }
        }
        taken
    }

    /// Whether fewer rows than a batch may hold are there and more may come within `batch_wait`.
    pub fn batch_should_wait(&self, task: &Rc<Task>, most: usize) -> bool {
        let state = task.bolt();
        let wait_ns = state.batch_wait_ns.get();
        if wait_ns == 0 || task.inbox.ready() >= most || self.draining.get() {
            state.waiting_since_ns.set(0);
            return false;
        }
        let now_ns = self.now_ns.get();
        match state.waiting_since_ns.get() {
            0 => {
                state.waiting_since_ns.set(now_ns.max(1));
                self.timers.with(|timers| timers.at(now_ns.max(1) + wait_ns, Due::Wake));
                true
            }
            since if now_ns >= since + wait_ns => {
                state.waiting_since_ns.set(0);
                false
            }
            _ => true,
        }
    }

    /// The next rows of one input; a root that failed in a batch comes alone.
    pub fn take_batch(&self, task: &Task, most: usize) -> Vec<Input> {
        let state = task.bolt();
        let mut inputs: Vec<Input> = Vec::with_capacity(most.min(task.inbox.ready()));
        if state.bindings.get().len() == 1 && self.solo.get() == 0 {
            while inputs.len() < most {
                inputs.reserve(1); // no-op but when tuples came in meanwhile
                if !task.inbox.pop_into(&mut inputs.spare_capacity_mut()[0]) {
                    break;
                }
                // SAFETY: `pop_into` said that it wrote the place behind the last one.
                unsafe { inputs.set_len(inputs.len() + 1) };
            }
            return inputs;
        }
        let mut binding = None;
        while inputs.len() < most {
            if let (Some(channel), false) = (task.inbox.front_channel(), inputs.is_empty()) {
                let other = state.bindings.get().len() > 1 && Some(state.binding_number(channel)) != binding;
                if other || (self.solo.get() > 0 && self.front_is_solo(task)) {
                    break;
                }
            }
            let Some(msg) = task.inbox.pop() else { break };
            if state.bindings.get().len() > 1 {
                binding = Some(state.binding_number(msg.channel));
            }
            let alone = self.solo.get() > 0 && self.is_solo(msg.root);
            inputs.push(msg);
            if alone {
                break;
            }
        }
        inputs
    }

    fn front_is_solo(&self, task: &Task) -> bool {
        task.inbox.front_root().is_some_and(|root| self.is_solo(root))
    }

    fn is_solo(&self, root: RootId) -> bool {
        let solo = |root: RootId| self.ledger.with(|ledger| ledger.entry(root).is_some_and(|pending| pending.solo));
        if root.is_bundle() { self.pairs_of(root, 0).iter().any(|(root, _)| solo(*root)) } else { solo(root) }
    }

    fn run_batch(&self, py: Python<'_>, task: &Rc<Task>, inputs: Vec<Input>) {
        let state = task.bolt();
        let binding = state.binding(inputs[0].channel);
        let n = inputs.len();
        binding.executed.set(binding.executed.get() + n as u64);
        self.page_call();
        let weight: u32 = (0..n).filter_map(|_| task.times.sampler.with(|sampler| sampler.hit())).sum();
        let started_ns = if weight > 0 { self.now_precise_ns() } else { 0 };
        let tuples = match self.batch_tuples(py, task, binding, &inputs, started_ns) {
            Ok(tuples) => tuples,
            Err(error) => return self.batch_failed(py, task, inputs, None, error),
        };
        task.cur.root.set(RootId::NONE);
        task.cur.xor.set(0);
        let thread = task.thread.replace(std::ptr::null_mut());
        state.batch.set(inputs.as_slice());
        let result = columns(py, binding, &inputs, tuples.as_deref()).map(|columns| {
            // SAFETY: the columns are live during the call.
            unsafe { call_columns(binding, &columns) }
        });
        state.batch.set(std::ptr::slice_from_raw_parts(std::ptr::null(), 0));
        task.thread.set(thread);
        if weight > 0 {
            let took_ns = self.now_precise_ns().saturating_sub(started_ns) / n as u64;
            task.times.execute.with(|latency| latency.record(took_ns, weight));
            if !state.manual_ack.get() {
                task.times.process.with(|latency| latency.record(took_ns, weight));
            }
        }
        let result = match result {
            Ok(result) if !result.is_null() => unsafe { Bound::from_owned_ptr(py, result) },
            Ok(_) => return self.batch_failed(py, task, inputs, tuples, PyErr::fetch(py)),
            Err(error) => return self.batch_failed(py, task, inputs, tuples, error),
        };
        if self.was_overdue() {
            return self.batch_failed(py, task, inputs, tuples, fault::overdue(task));
        }
        let cur = Cur { root: Cell::new(task.cur.root.get()), xor: Cell::new(task.cur.xor.get()) };
        self.finish_batch(py, task, inputs, tuples, &result, &cur);
    }

    /// The `Tuple`s of a batch, if user code asked for them or holds them.
    pub fn batch_tuples(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        binding: &Binding,
        inputs: &[Input],
        started_ns: u64,
    ) -> PyResult<Option<Vec<Py<Tuple>>>> {
        let manual = task.bolt().manual_ack.get();
        let intercept = task.intercept.with(|intercept| intercept.as_ref().map(|f| f.clone_ref(py)));
        if !manual && intercept.is_none() && !binding.codes.contains(&ARG_TUPLE) {
            return Ok(None);
        }
        let mut tuples = Vec::with_capacity(inputs.len());
        for input in inputs {
            tuples.push(Tuple::of(py, task, input, started_ns, 0)?);
        }
        if manual {
            tuples.iter().for_each(|tuple| self.hold(py, task, tuple, task.bolt().hold_ns.get()));
        }
        if let Some(intercept) = intercept {
            for tuple in &tuples {
                if let Err(error) = intercept.call1(py, (tuple,)) {
                    if manual {
                        tuples.iter().for_each(|tuple| tuple::settle(tuple.get().inner(), Standing::Failed));
                    }
                    return Err(error);
                }
            }
        }
        Ok(Some(tuples))
    }

    /// Sends what a batch call returned, each entry anchored to its row alone, and acks the rows.
    pub fn finish_batch(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        inputs: Vec<Input>,
        tuples: Option<Vec<Py<Tuple>>>,
        result: &Bound<'_, PyAny>,
        shared: &Cur,
    ) {
        let manual = task.bolt().manual_ack.get();
        if !result.is_none() {
            match result.len() {
                Ok(n) if n == inputs.len() => {}
                Ok(n) => return self.batch_failed(py, task, inputs, tuples, fault::batch_length(task, n)),
                Err(_) => return self.batch_failed(py, task, inputs, tuples, fault::batch_type(task, result)),
            }
        }
        self.apply_shared(shared);
        if result.is_none() && tuples.is_none() {
            return self.ack_rows(task, &inputs);
        }
        let listed = result.cast_exact::<PyList>().ok();
        for (i, input) in inputs.into_iter().enumerate() {
            let entry = match (&listed, result.is_none()) {
                (_, true) => None,
                (Some(list), _) => list.get_item(i).ok(),
                (None, _) => match result.get_item(i) {
                    Ok(entry) => Some(entry),
                    Err(error) => Some(error.into_value(py).into_bound(py).into_any()),
                },
            };
            let tuple = tuples.as_ref().map(|tuples| &tuples[i]);
            self.finish_row(py, task, input, tuple, entry, manual);
        }
    }

    /// Acks rows without outputs; neighbours of one root are one ack.
    fn ack_rows(&self, task: &Task, inputs: &[Input]) {
        task.counts.acked.set(task.counts.acked.get() + inputs.len() as u64);
        for rows in inputs.chunk_by(|a, b| a.root == b.root && !a.root.is_bundle()) {
            self.ack_msg(rows[0].root, rows.iter().fold(0, |xor, row| xor ^ row.edge), 0);
        }
    }

    #[inline(always)]
    fn finish_row(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        input: Input,
        tuple: Option<&Py<Tuple>>,
        entry: Option<Bound<'_, PyAny>>,
        manual: bool,
    ) {
        let cur = Cur { root: Cell::new(input.root), xor: Cell::new(0) };
        let sent = match entry {
            None => Ok(()),
            Some(entry) if entry.is_none() => Ok(()),
            Some(entry) if entry.is_instance_of::<PyBaseException>() => Err(PyErr::from_value(entry)),
            // SAFETY: `into_ptr` gives an owned reference.
            Some(entry) => unsafe { task.send_output(entry.into_ptr(), &cur) }.map_err(|error| error.take(py)),
        };
        let mut xor = cur.xor.get();
        if let Some(tuple) = tuple {
            let inner = tuple.get().inner();
            if manual && sent.is_ok() {
                inner.xor.set(inner.xor.get() ^ xor);
                return self.forget_bundle(input.root);
            }
            if manual && inner.standing.get() != Standing::Live {
                return self.forget_bundle(input.root);
            }
            xor ^= inner.xor.get();
            tuple::settle(inner, if sent.is_ok() { Standing::Acked } else { Standing::Failed });
        }
        match sent {
            Ok(()) => {
                task.counts.acked.set(task.counts.acked.get() + 1);
                self.ack_msg(input.root, input.edge, xor);
            }
            Err(error) => {
                let tuple = match tuple {
                    Some(tuple) => Some(tuple.clone_ref(py)),
                    None => self.tuple_of(py, task, &input),
                };
                self.input_raised(py, task, &input, tuple, error, xor, false);
            }
        }
    }

    /// A batch call raised: several rows are each tried alone before anything counts.
    #[cold]
    pub fn batch_failed(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        inputs: Vec<Input>,
        tuples: Option<Vec<Py<Tuple>>>,
        error: PyErr,
    ) {
        let together = inputs.len() > 1;
        let manual = task.bolt().manual_ack.get();
        for (i, input) in inputs.into_iter().enumerate() {
            let tuple = match &tuples {
                Some(tuples) => Some(tuples[i].clone_ref(py)),
                None => self.tuple_of(py, task, &input),
            };
            if let Some(inner) = tuple.as_ref().map(|tuple| tuple.get().inner()) {
                if manual && inner.standing.get() != Standing::Live && tuples.is_some() {
                    self.forget_bundle(input.root);
                    continue;
                }
                tuple::settle(inner, Standing::Failed);
            }
            self.input_raised(py, task, &input, tuple, error.clone_ref(py), 0, together);
        }
    }

    /// Edges that `self.emit` in a batch call anchored to all its rows: once for each root, before any row is acked.
    pub fn apply_shared(&self, shared: &Cur) {
        let root = shared.root.replace(RootId::NONE);
        if !root.is_bundle() {
            if root.is_tracked() {
                self.ack_root(root, shared.xor.get());
            }
            return;
        }
        for (root, _) in self.bundles.with(|bundles| bundles.take(root)).iter() {
            self.ack_root(*root, shared.xor.get());
        }
    }

    /// Makes the rows of the running batch the current input of `cur`.
    #[cold]
    pub fn share_batch(&self, inputs: &[Input], cur: &Cur) {
        if cur.root.get().is_tracked() {
            return;
        }
        let mut pairs: Vec<(RootId, u64)> = Vec::new();
        for input in inputs {
            for (root, _) in self.pairs_of(input.root, 0).iter() {
                if !pairs.iter().any(|pair| pair.0 == *root) {
                    pairs.push((*root, 0));
                }
            }
        }
        let root = match pairs[..] {
            [] => RootId::NONE,
            [(root, _)] => root,
            _ => self.bundles.with(|bundles| bundles.put(pairs.into_boxed_slice())),
        };
        cur.root.set(root);
    }
}

/// Whether a result is anything but an iterator: those are sent in one go.
#[inline(always)]
unsafe fn is_plain(result: *mut PyObject) -> bool {
    unsafe {
        result == Py_None()
            || PyList_CheckExact(result) != 0
            || PyUnicode_CheckExact(result) != 0
            || PyLong_CheckExact(result) != 0
            || PyTuple_Check(result) != 0
            || PyList_Check(result) != 0
            || PyIter_Check(result) == 0
    }
}

/// Calls with arguments by codes; an owned reference.
fn call_with_codes(
    py: Python<'_>,
    binding: &Binding,
    row: &PyRow,
    tuple: Option<&Py<Tuple>>,
) -> Result<*mut PyObject, Raised> {
    let n = binding.codes.len();
    let mut few = [MaybeUninit::<*mut PyObject>::uninit(); STACK_ARGUMENTS + 2];
    let mut many = Vec::new();
    let stack: &mut [MaybeUninit<*mut PyObject>] = if n <= STACK_ARGUMENTS {
        &mut few
    } else {
        many.resize(n + 2, MaybeUninit::uninit());
        &mut many
    };
    for (i, code) in binding.codes.iter().enumerate() {
        stack[i + 2].write(match *code {
            ARG_TUPLE => tuple.map_or_else(|| unsafe { Py_None() }, |tuple| tuple.as_ptr()),
            field if field >= 0 => row.get(field as usize),
            constant => binding.constants[(ARG_CONSTANT - constant) as usize].as_ptr(),
        });
    }
    let _ = py;
    // SAFETY: the row, the tuple and the binding own the arguments during the call.
    let result = unsafe { binding.method.call_stack(stack, n) };
    if result.is_null() { Err(Raised) } else { Ok(result) }
}

/// The arguments of one call, for an offloader.
pub fn arguments(py: Python<'_>, binding: &Binding, row: &PyRow, tuple: Option<&Py<Tuple>>) -> Vec<Py<PyAny>> {
    let argument = |code: &i32| match *code {
        ARG_TUPLE => tuple.map_or_else(|| py.None(), |tuple| tuple.clone_ref(py).into_any()),
        field if field >= 0 => unsafe { Bound::from_borrowed_ptr(py, row.get(field as usize)) }.unbind(),
        constant => binding.constants[(ARG_CONSTANT - constant) as usize].clone_ref(py),
    };
    binding.codes.iter().map(argument).collect()
}

/// One argument for each code: a list with one item a row; constants stay single.
pub fn columns(
    py: Python<'_>,
    binding: &Binding,
    inputs: &[Input],
    tuples: Option<&[Py<Tuple>]>,
) -> PyResult<Vec<Py<PyAny>>> {
    let column = |code: &i32| -> PyResult<Py<PyAny>> {
        match *code {
            ARG_TUPLE => Ok(PyList::new(py, tuples.unwrap_or_default())?.into_any().unbind()),
            field if field >= 0 => {
                // SAFETY: each item gets a reference of its own; the list is full before anyone sees it.
                unsafe {
                    let list = PyList_New(inputs.len() as Py_ssize_t);
                    if list.is_null() {
                        return Err(PyErr::fetch(py));
                    }
                    for (i, input) in inputs.iter().enumerate() {
                        let value = input.row.get(field as usize);
                        Py_INCREF(value);
                        PyList_SET_ITEM(list, i as Py_ssize_t, value);
                    }
                    Ok(Bound::from_owned_ptr(py, list).unbind())
                }
            }
            constant => Ok(binding.constants[(ARG_CONSTANT - constant) as usize].clone_ref(py)),
        }
    };
    binding.codes.iter().map(column).collect()
}

unsafe fn call_columns(binding: &Binding, columns: &[Py<PyAny>]) -> *mut PyObject {
    let mut stack = vec![MaybeUninit::<*mut PyObject>::uninit(); columns.len() + 2];
    for (i, column) in columns.iter().enumerate() {
        stack[i + 2].write(column.as_ptr());
    }
    unsafe { binding.method.call_stack(&mut stack, columns.len()) }
}

/// Gives what waits in the inbox to an offloader. See [`call`].
pub fn kind_of(state: &BoltState) -> Kind {
    if state.batch_max.get() > 0 { Kind::Batch } else { Kind::Process }
}
