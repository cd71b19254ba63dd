//! Running a bolt, one call a tuple: taking inputs from its inbox, calling user code, sending what it returns, acking.

use crate::batch::Rows;
use crate::call::{self, Call, Kind};
use crate::core::Core;
use crate::gil::Fixed;
use crate::method::Method;
use crate::raised::{Raised, raised};
use crate::row::{INLINE, PyRow};
use crate::task::Task;
use crate::tuple::{self, Standing, Tuple};
use pyo3::ffi::*;
use pyo3::prelude::*;
use squall_core::cell::Local;
use squall_core::flow::HighWater;
use squall_core::ids::RootId;
use squall_core::mailbox::Msg;
use squall_core::trace::Step;
use std::cell::Cell;
use std::collections::VecDeque;
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
/// The binding of a channel that the bolt has not subscribed to.
pub const NO_BINDING: u16 = u16::MAX;

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
    /// It has a `drain`, which ends what it holds when nothing will come any more.
    pub drains: Cell<bool>,
    /// What it had executed when that was called; the most there is, where it is called once only.
    drained_at: Cell<u64>,
    pub hold_ns: Cell<u64>,
    /// 0: one call a tuple.
    pub batch_max: Cell<u32>,
    pub batch_wait_ns: Cell<u64>,
    pub max_in_flight: Cell<u32>,
    /// Inputs of the calls that are in flight.
    pub executing: Cell<u32>,
    /// When the first row of the batch that is being waited for was seen; 0: none.
    pub waiting_since_ns: Cell<u64>,
    /// Rows that waited for another thread when they were last looked at.
    pub seen_ready: Cell<usize>,
    /// A generator whose outputs found the tasks below full.
    pub paused: Local<Option<Box<Paused>>>,
    /// Calls that run elsewhere and returned such a generator.
    pub paused_calls: Local<VecDeque<Py<Call>>>,
    /// The batch that user code is working on; null outside.
    pub batch: Cell<*const Rows<'static>>,
}

/// A returned generator that waits, with the input it belongs to.
pub struct Paused {
    iterator: Py<PyAny>,
    msg: Msg<PyRow>,
    tuple: Option<Py<Tuple>>,
    xor: u64,
    /// Its tuple's hold time-out is suspended.
    held: bool,
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
            drains: Cell::new(false),
            drained_at: Cell::new(0),
            hold_ns: Cell::new(0),
            batch_max: Cell::new(0),
            batch_wait_ns: Cell::new(0),
            max_in_flight: Cell::new(1),
            executing: Cell::new(0),
            waiting_since_ns: Cell::new(0),
            seen_ready: Cell::new(0),
            paused: Local::new(None),
            paused_calls: Local::new(VecDeque::new()),
            batch: Cell::new(std::ptr::null()),
        }
    }

    /// Drops what belongs to the interpreter.
    pub fn release(&self) {
        self.bindings.clear();
        drop(self.paused.replace(None));
        drop(self.paused_calls.replace(VecDeque::new()));
    }

    /// How many tuples it has executed.
    pub fn executed(&self) -> u64 {
        self.bindings.get().iter().map(|binding| binding.executed.get()).sum()
    }

    /// Its `drain` is called now, and `again` for what it executes later.
    pub fn drained(&self, again: bool) {
        self.drained_at.set(if again { self.executed() } else { u64::MAX });
    }

    /// Whether it has executed tuples for which its `drain` is to be called again.
    pub fn is_undrained(&self) -> bool {
        self.drains.get() && self.executed() > self.drained_at.get()
    }

    /// Whether an inbox so long is over the high-water mark.
    pub fn is_over_high_water(&self, len: usize) -> bool {
        self.high_water.with(|mark| mark.is_over(len))
    }

    /// Whether a generator waits for room below.
    pub fn has_paused(&self) -> bool {
        self.paused.with(|paused| paused.is_some()) || self.paused_calls.with(|calls| !calls.is_empty())
    }

    #[inline(always)]
    /// The number of a channel's binding.
    pub fn binding_number(&self, channel: u32) -> usize {
        self.by_channel.with(|numbers| numbers[channel as usize]) as usize
    }

    /// Whether the bolt has subscribed to what comes by the channel.
    pub fn takes(&self, channel: u32) -> bool {
        self.by_channel.with(|numbers| numbers.get(channel as usize).is_some_and(|number| *number != NO_BINDING))
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
        if state.has_paused() && !self.resume_generators(py, task) {
            self.held_up_below(task);
            return 0;
        }
        if task.inbox.ready() == 0 || task.still_paused(self.now_ns.get()) {
            task.held_up.with(|held_up| held_up.free(self.now_ns.get()));
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
        match task.inbox.ready() > 0 && task.is_held_up() {
            true => self.held_up_below(task),
            false => task.held_up.with(|held_up| held_up.free(self.now_ns.get())),
        }
        taken
    }

    fn run_tuples(&self, py: Python<'_>, task: &Rc<Task>) -> usize {
        let mut taken = 0;
        let until_ns = self.now_ns.get() + self.slice_ns;
        let mut place = MaybeUninit::uninit();
        loop {
            let room = task.room_below();
            if room == 0 {
                return taken;
            }
            task.full_at.set(task.sent().saturating_add(room));
            for _ in 0..CHUNK {
                if !task.inbox.pop_into(&mut place) {
                    return taken;
                }
                taken += 1;
                // SAFETY: `pop_into` said that it wrote a tuple, which is taken out exactly once.
                if unsafe { self.run_tuple(py, task, &mut place) }.is_break() {
                    return taken;
                }
                if task.sent() >= task.full_at.get() {
                    break;
                }
            }
            if task.inbox.ready() == 0 || self.should_return() || self.tick_clock() > until_ns {
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
        self.page_root(msg.root);
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

    /// Inputs that need more than their fields in order: tuples, constants, wide rows, manual acks, tests' interceptors; and
    /// all of a worker that writes a trace.
    #[inline(never)]
    fn run_peculiar(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        binding: &Binding,
        msg: Msg<PyRow>,
    ) -> std::ops::ControlFlow<()> {
        let state = task.bolt();
        self.note_input(task, msg.root, msg.edge, Step::Taken { together: 1 });
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
        self.note_input(task, root, edge, Step::Acked);
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
        self.drive(py, task, Paused { iterator, msg, tuple, xor: 0, held: false })
    }

    /// Sends a generator's outputs until it ends or the tasks below are full.
    fn drive(&self, py: Python<'_>, task: &Rc<Task>, mut paused: Paused) -> std::ops::ControlFlow<()> {
        task.cur.root.set(paused.msg.root);
        task.cur.xor.set(paused.xor);
        self.current_tuple.set(paused.tuple.as_ref().map_or(std::ptr::null(), |tuple| tuple.get()));
        loop {
            task.full_at.set(task.sent().saturating_add(task.room_below()));
            while task.sent() < task.full_at.get() {
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
                return self.pause_generator(task, paused);
            }
        }
    }

    /// Keeps a generator until there is room below; a tuple that it holds does not age meanwhile.
    fn pause_generator(&self, task: &Rc<Task>, mut paused: Paused) -> std::ops::ControlFlow<()> {
        self.current_tuple.set(std::ptr::null());
        paused.held = paused.tuple.as_ref().is_some_and(|tuple| tuple::let_go(tuple.get().inner()));
        task.held.set(task.held.get() + 1);
        task.bolt().paused.replace(Some(Box::new(paused)));
        std::ops::ControlFlow::Break(())
    }

    /// Goes on with paused generators. Whether the task may take the next input.
    fn resume_generators(&self, py: Python<'_>, task: &Rc<Task>) -> bool {
        while !task.is_held_up() {
            let Some(call) = task.bolt().paused_calls.with(VecDeque::pop_front) else { break };
            task.held.set(task.held.get() - 1);
            self.go_on(py, &call);
        }
        if task.is_held_up() {
            return false;
        }
        let Some(paused) = task.bolt().paused.replace(None) else { return true };
        task.held.set(task.held.get() - 1);
        if let Some(tuple) = paused.tuple.as_ref().filter(|_| paused.held) {
            self.hold(py, task, tuple, task.bolt().hold_ns.get());
        }
        let outer = self.enter(task);
        self.page_call();
        self.page_root(paused.msg.root);
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
}

/// Whether a result is anything but an iterator: those are sent in one go.
#[inline(always)]
pub unsafe fn is_plain(result: *mut PyObject) -> bool {
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

/// What a call of the bolt is for, when it runs elsewhere.
pub fn kind_of(state: &BoltState) -> Kind {
    if state.batch_max.get() > 0 { Kind::Batch } else { Kind::Process }
}
