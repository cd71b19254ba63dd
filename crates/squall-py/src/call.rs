//! Calls of user code that does not run on the loop's thread: async and blocking components.
//!
//! The loop makes a [`Call`] and gives it to the task's offloader (Python); the offloader runs it wherever it runs
//! and says `done` or `raised` from any thread; the loop then sends the result and acks, as for any other call.

use crate::batch::{self, Rows};
use crate::bolt::{self, Input};
use crate::core::{Core, Due};
use crate::emit::Anchor;
use crate::fault;
use crate::gil::Gil;
use crate::task::{Cur, Task};
use crate::tuple::{self, Standing, Tuple};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use squall_core::cell::Local;
use squall_core::ids::RootId;
use squall_core::timers::TimerId;
use squall_core::trace::Step;
use std::cell::Cell;
use std::rc::Rc;

/// Outputs of a returned generator that one submission of its call takes.
const GENERATOR_CHUNK: usize = 32;

/// What a call is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Process,
    Batch,
    Poll,
    Ack,
    Fail,
    Dead,
    Tick,
    Timer,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Process => "process",
            Kind::Batch => "batch",
            Kind::Poll => "poll",
            Kind::Ack => "ack",
            Kind::Fail => "fail",
            Kind::Dead => "dead",
            Kind::Tick => "tick",
            Kind::Timer => "timer",
        }
    }

    fn has_inputs(self) -> bool {
        matches!(self, Kind::Process | Kind::Batch)
    }
}

/// What a call is in the core.
pub struct Inner {
    pub task: Rc<Task>,
    kind: Kind,
    function: Local<Py<PyAny>>,
    args: Local<Py<PyTuple>>,
    /// The generator that it returned: from then on each submission of the call takes some of its outputs.
    generator: Local<Option<Py<PyAny>>>,
    /// What the submission that runs has taken so far, also if it raises.
    taken: Local<Option<Py<PyList>>>,
    /// Inputs that the generator acked: its outputs up to then are sent first.
    acked: Local<Vec<Py<Tuple>>>,
    inputs: Local<Vec<Input>>,
    /// Where its roots are noted while user code runs.
    noted: Local<Vec<u16>>,
    tuples: Local<Option<Vec<Py<Tuple>>>>,
    /// What `self.emit` inside the call anchors to.
    pub cur: Cur,
    started_ns: u64,
    weight: u32,
    hold: Cell<Option<TimerId>>,
    /// Its inputs failed by the time-out; whatever it returns now is ignored.
    timed_out: Cell<bool>,
    ended: Cell<bool>,
    outcome: Local<Option<PyResult<Py<PyAny>>>>,
}

/// One call of a task whose code does not run on the loop's thread.
#[pyclass(frozen, module = "squall._core")]
pub struct Call(pub Gil<Inner>);

impl Call {
    /// The call in the core.
    pub fn inner(&self) -> &Inner {
        &self.0.0
    }
}

#[pymethods]
impl Call {
    #[getter]
    fn task(&self) -> u32 {
        self.inner().task.index
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.inner().kind.name()
    }

    #[getter]
    fn function(&self, py: Python<'_>) -> Py<PyAny> {
        self.inner().function.with(|function| function.clone_ref(py))
    }

    #[getter]
    fn args(&self, py: Python<'_>) -> Py<PyTuple> {
        self.inner().args.with(|args| args.clone_ref(py))
    }

    /// The call returned.
    fn done(slf: Py<Self>, py: Python<'_>, result: Py<PyAny>) {
        end(slf, py, Ok(result));
    }

    /// The call raised.
    fn raised(slf: Py<Self>, py: Python<'_>, error: Bound<'_, PyAny>) {
        end(slf, py, Err(PyErr::from_value(error)));
    }
}

fn end(call: Py<Call>, _py: Python<'_>, outcome: PyResult<Py<PyAny>>) {
    let inner = call.get().inner();
    if inner.ended.replace(true) {
        return;
    }
    inner.outcome.replace(Some(outcome));
    let task = inner.task.clone();
    task.core().call_returned(inner.noted.replace(Vec::new()));
    task.core().completions.with(|waiting| waiting.push_back(call));
    task.core().wake.wake();
}

fn make(task: &Rc<Task>, kind: Kind, function: Py<PyAny>, args: Py<PyTuple>, inputs: Vec<Input>) -> Inner {
    let cur = Cur::default();
    if let ([only], Kind::Process) = (&inputs[..], kind) {
        cur.root.set(only.root);
    }
    Inner {
        task: task.clone(),
        kind,
        function: Local::new(function),
        args: Local::new(args),
        generator: Local::new(None),
        taken: Local::new(None),
        acked: Local::new(Vec::new()),
        inputs: Local::new(inputs),
        noted: Local::default(),
        tuples: Local::new(None),
        cur,
        started_ns: 0,
        weight: 0,
        hold: Cell::new(None),
        timed_out: Cell::new(false),
        ended: Cell::new(false),
        outcome: Local::new(None),
    }
}

/// Has `function(*args)` run where the task's code runs.
pub fn offload(py: Python<'_>, task: &Rc<Task>, kind: Kind, function: Py<PyAny>, args: Vec<Py<PyAny>>) {
    let args = match PyTuple::new(py, args) {
        Ok(args) => args.unbind(),
        Err(error) => return error.write_unraisable(py, None),
    };
    submit(py, task, make(task, kind, function, args, Vec::new()));
}

fn submit(py: Python<'_>, task: &Rc<Task>, inner: Inner) -> Option<Py<Call>> {
    let made = Py::new(py, Call(Gil(inner)));
    let call = match made {
        Ok(call) => call,
        Err(error) => {
            error.write_unraisable(py, None);
            return None;
        }
    };
    hand_over(py, task, &call);
    Some(call)
}

/// Gives a call to the offloader.
fn hand_over(py: Python<'_>, task: &Rc<Task>, call: &Py<Call>) {
    let submit = task.submit.with(|submit| submit.as_ref().map(|f| f.clone_ref(py)));
    task.in_flight.set(task.in_flight.get() + 1);
    let inner = call.get().inner();
    if inner.kind.has_inputs() {
        drop(inner.noted.replace(inner.inputs.with(|inputs| task.core().call_begins(inputs))));
    }
    let taken =
        submit.ok_or_else(|| PyRuntimeError::new_err("the worker is closed")).and_then(|f| f.call1(py, (call,)));
    if let Err(error) = taken {
        end(call.clone_ref(py), py, Err(error));
    }
}

/// Gives what waits in the inbox to the offloader, as far as calls may be in flight. How many inputs that was.
pub fn submit_inputs(core: &Core, py: Python<'_>, task: &Rc<Task>) -> usize {
    let state = task.bolt();
    let kind = bolt::kind_of(state);
    let most = state.batch_max.get().max(1) as usize;
    let mut taken = 0;
    while task.in_flight.get() < state.max_in_flight.get() && task.inbox.ready() > 0 && !task.is_held_up() {
        if core.waits_for_suspect(task) {
            break;
        }
        if kind == Kind::Batch && (core.batch_should_wait(task, most) || core.batch_still_grows(task, most)) {
            break;
        }
        let inputs = core.take_batch(task, most);
        if inputs.is_empty() {
            break;
        }
        taken += inputs.len();
        submit_call(core, py, task, kind, inputs);
        if task.is_paused.get() {
            break;
        }
    }
    taken
}

fn submit_call(core: &Core, py: Python<'_>, task: &Rc<Task>, kind: Kind, inputs: Vec<Input>) {
    let state = task.bolt();
    let binding = state.binding(inputs[0].channel);
    binding.executed.set(binding.executed.get() + inputs.len() as u64);
    let weight = inputs.iter().filter_map(|_| task.times.sampler.with(|sampler| sampler.hit())).sum();
    let started_ns = core.now_precise_ns();
    let tuples = match core.batch_tuples(py, task, binding, &inputs, started_ns) {
        Ok(tuples) => tuples,
        Err(error) => return core.batch_failed(py, task, inputs, None, error),
    };
    let args = match kind {
        Kind::Batch => batch::columns(py, binding, &inputs, tuples.as_deref()),
        _ => Ok(bolt::arguments(py, binding, &inputs[0].row, tuples.as_ref().map(|tuples| &tuples[0]))),
    };
    let args = match args.and_then(|args| PyTuple::new(py, args)) {
        Ok(args) => args.unbind(),
        Err(error) => return core.batch_failed(py, task, inputs, tuples, error),
    };
    state.executing.set(state.executing.get() + inputs.len() as u32);
    let mut inner = make(task, kind, binding.method.callable(py), args, inputs);
    inner.tuples = Local::new(tuples);
    (inner.started_ns, inner.weight) = (started_ns, weight);
    if let Some(call) = submit(py, task, inner) {
        core.hold_call(py, &call);
    }
}

impl Core {
    /// Starts the time-out of a call's inputs, anew if it runs already; what `manual_ack` holds is timed tuple by tuple.
    pub fn hold_call(&self, py: Python<'_>, call: &Py<Call>) {
        let inner = call.get().inner();
        if let Some(timer) = inner.hold.take() {
            let _owned = self.timers.with(|timers| timers.cancel(timer));
        }
        let state = inner.task.bolt();
        let hold_ns = state.hold_ns.get();
        if hold_ns > 0 && !state.manual_ack.get() && !inner.ended.get() && !inner.timed_out.get() {
            let due = self.now_ns.get() + hold_ns;
            let timer = self.timers.with(|timers| timers.at(due, Due::CallHold(call.clone_ref(py))));
            inner.hold.set(Some(timer));
        }
    }

    /// A call was in user hands for too long: its inputs fail now, and what it returns later is ignored.
    #[cold]
    pub fn call_held_too_long(&self, py: Python<'_>, call: &Py<Call>) {
        let inner = call.get().inner();
        inner.hold.set(None);
        if inner.ended.get() || inner.timed_out.replace(true) {
            return;
        }
        self.finish_inputs(py, call, Err(fault::held_too_long(&inner.task)));
        let cancel = inner.task.cancel.with(|cancel| cancel.as_ref().map(|f| f.clone_ref(py)));
        if let Some(Err(error)) = cancel.map(|cancel| cancel.call1(py, (call,))) {
            error.write_unraisable(py, None);
        }
    }

    /// Carries out what an offloaded call came to.
    pub fn finish_call(&self, py: Python<'_>, call: &Py<Call>) {
        let inner = call.get().inner();
        let task = &inner.task;
        task.in_flight.set(task.in_flight.get() - 1);
        if inner.kind.has_inputs() {
            self.call_ends();
        }
        if let Some(timer) = inner.hold.take() {
            let _owned = self.timers.with(|timers| timers.cancel(timer));
        }
        let Some(outcome) = inner.outcome.replace(None) else { return };
        if inner.timed_out.get() {
            return;
        }
        if inner.kind.has_inputs() {
            return self.finish_inputs(py, call, outcome);
        }
        match (inner.kind, outcome) {
            (Kind::Poll, outcome) => self.finish_poll(py, task, outcome.map(|result| result.into_bound(py))),
            (Kind::Tick | Kind::Timer, Ok(result)) => {
                let sent = task.sent();
                self.send_unanchored(py, task, result.into_bound(py), inner.kind.name());
                task.timers_send.set(task.sent() != sent);
            }
            (_, Ok(_)) => {}
            (kind, Err(error)) => self.report(py, task, kind.name(), error),
        }
    }

    fn finish_inputs(&self, py: Python<'_>, call: &Py<Call>, outcome: PyResult<Py<PyAny>>) {
        let inner = call.get().inner();
        let task = &inner.task;
        let outcome = match inner.kind {
            Kind::Process => match self.take_outputs(py, call, outcome) {
                Some(outcome) => outcome,
                None => return, // its generator has more
            },
            _ => outcome,
        };
        let mut inputs = inner.inputs.replace(Vec::new());
        let executing = &task.bolt().executing;
        executing.set(executing.get() - inputs.len() as u32);
        let tuples = inner.tuples.replace(None);
        self.call_took(inner, inputs.len());
        match outcome {
            Err(error) if inner.kind == Kind::Batch => self.batch_failed(py, task, inputs, tuples, error),
            Ok(result) if inner.kind == Kind::Batch => self.finish_batch(py, task, inputs, tuples, result.bind(py)),
            outcome => {
                let Some(input) = inputs.pop() else { return };
                let tuple = tuples.and_then(|mut tuples| tuples.pop());
                self.finish_single(py, inner, input, tuple, outcome);
            }
        }
        inner.cur.root.set(RootId::NONE);
    }

    /// Each input of a batch waited for the whole call, but was executed for its share of it only.
    fn call_took(&self, inner: &Inner, inputs: usize) {
        if inner.weight == 0 {
            return;
        }
        let task = &inner.task;
        let took_ns = self.now_precise_ns().saturating_sub(inner.started_ns);
        let share_ns = took_ns / inputs.max(1) as u64;
        task.times.execute.with(|latency| latency.record(share_ns, inner.weight));
        if !task.bolt().manual_ack.get() {
            task.times.process.with(|latency| latency.record(took_ns, inner.weight));
        }
    }

    /// A returned generator runs where the call ran, some outputs at a time. What is left to send; None: it goes on.
    fn take_outputs(
        &self,
        py: Python<'_>,
        call: &Py<Call>,
        outcome: PyResult<Py<PyAny>>,
    ) -> Option<PyResult<Py<PyAny>>> {
        let inner = call.get().inner();
        match (inner.taken.replace(None), outcome) {
            (None, Err(error)) => return Some(Err(error)),
            (None, Ok(result)) => {
                // SAFETY: looks at the type only.
                if unsafe { bolt::is_plain(result.as_ptr()) } {
                    return Some(Ok(result));
                }
                drop(inner.generator.replace(Some(result)));
            }
            (Some(taken), outcome) => {
                let more = taken.bind(py).len() == GENERATOR_CHUNK;
                let sent = inner.send_taken(py, taken);
                if let Err(error) = sent.and(outcome) {
                    return Some(Err(error));
                }
                if !more {
                    return Some(Ok(py.None()));
                }
            }
        }
        match inner.task.is_held_up() {
            true => inner.pause(py, call),
            false => self.go_on(py, call),
        }
        None
    }

    /// Submits a call again, to take more outputs of its generator.
    pub fn go_on(&self, py: Python<'_>, call: &Py<Call>) {
        let inner = call.get().inner();
        inner.ended.set(false);
        match inner.prepare_to_take(py) {
            Ok(()) => {
                self.hold_again(py, inner);
                hand_over(py, &inner.task, call);
                self.hold_call(py, call);
            }
            Err(error) => self.finish_inputs(py, call, Err(error)),
        }
    }

    /// Times what `manual_ack` holds again, after a pause.
    fn hold_again(&self, py: Python<'_>, inner: &Inner) {
        let state = inner.task.bolt();
        for tuple in inner.tuples_now(py).iter().filter(|_| state.manual_ack.get()) {
            let held = tuple.get().inner();
            if held.standing.get() == Standing::Live && tuple::is_let_go(held) {
                self.hold(py, &inner.task, tuple, state.hold_ns.get());
            }
        }
    }

    /// Sends what a call came to, acks or fails its input.
    fn finish_single(
        &self,
        py: Python<'_>,
        inner: &Inner,
        input: Input,
        tuple: Option<Py<Tuple>>,
        outcome: PyResult<Py<PyAny>>,
    ) {
        let task = &inner.task;
        let manual = task.bolt().manual_ack.get();
        if manual {
            inner.cur_of(tuple.as_slice());
        }
        let sent = outcome.and_then(|result| {
            // SAFETY: `into_ptr` gives an owned reference.
            unsafe { task.send_output(result.into_ptr(), &inner.cur) }.map_err(|error| error.take(py))
        });
        let mut xor = inner.cur.xor.replace(0);
        if manual {
            let Some(tuple) = tuple else { return self.forget_bundle(input.root) };
            let held = tuple.get().inner();
            match (sent, held.standing.get() == Standing::Live) {
                (Ok(()), true) => held.xor.set(held.xor.get() ^ xor),
                (Ok(()), false) => {}
                (Err(error), true) => {
                    held.xor.set(held.xor.get() ^ xor);
                    tuple::settle(held, Standing::Failed);
                    self.fail_tuple(py, task, tuple, error);
                }
                (Err(error), false) => self.report(py, task, "process", error),
            }
            return self.forget_bundle(input.root);
        }
        if let Some(tuple) = &tuple {
            xor ^= tuple.get().inner().xor.get();
            tuple::settle(tuple.get().inner(), if sent.is_ok() { Standing::Acked } else { Standing::Failed });
        }
        match sent {
            Ok(()) => {
                task.counts.acked.set(task.counts.acked.get() + 1);
                self.note_input(task, input.root, input.edge, Step::Acked);
                self.ack_msg(input.root, input.edge, xor);
            }
            Err(error) => {
                let tuple = tuple.or_else(|| self.tuple_of(py, task, &input));
                self.input_raised(py, task, &input, tuple, error, xor, false);
            }
        }
    }
}

impl Inner {
    /// Says that what follows works on its inputs.
    pub fn page_roots(&self) {
        self.inputs.with(|inputs| match &inputs[..] {
            [only] => self.task.core().page_root(only.root),
            inputs => self.task.core().page_roots(inputs.iter().map(|input| input.root)),
        });
    }

    /// Lets go of what the call came to: an exception holds the frame that holds the call, and no collector sees that.
    pub fn forget(&self) {
        drop(self.outcome.replace(None));
    }

    /// Has the next submission take some outputs of the generator: into a list that keeps them also if it raises.
    fn prepare_to_take(&self, py: Python<'_>) -> PyResult<()> {
        let generator = self.generator.with(|generator| generator.as_ref().map(|it| it.clone_ref(py)));
        let some = py.import("itertools")?.getattr("islice")?.call1((generator, GENERATOR_CHUNK))?;
        let taken = PyList::empty(py);
        drop(self.function.replace(taken.getattr("extend")?.unbind()));
        drop(self.args.replace(PyTuple::new(py, [some])?.unbind()));
        drop(self.taken.replace(Some(taken.unbind())));
        Ok(())
    }

    /// Sends what a generator gave, and then acks what it acked meanwhile.
    fn send_taken(&self, py: Python<'_>, taken: Py<PyList>) -> PyResult<()> {
        let tuples = if self.task.bolt().manual_ack.get() { self.tuples_now(py) } else { Vec::new() };
        let cur = self.cur_of(&tuples);
        // SAFETY: `into_ptr` gives an owned reference.
        let sent = unsafe { self.task.send_output(taken.into_any().into_ptr(), cur) }.map_err(|error| error.take(py));
        let acked = self.acked.replace(Vec::new());
        if let ([tuple], false) = (&tuples[..], acked.is_empty()) {
            let held = tuple.get().inner();
            held.xor.set(held.xor.get() ^ cur.xor.replace(0));
        }
        let acked: Vec<Bound<'_, Tuple>> = acked.iter().map(|tuple| tuple.bind(py).clone()).collect();
        tuple::ack_all(&self.task, &acked);
        sent
    }

    /// Waits for room below; what it holds does not age meanwhile.
    fn pause(&self, py: Python<'_>, call: &Py<Call>) {
        for tuple in self.tuples_now(py) {
            tuple::let_go(tuple.get().inner());
        }
        self.task.held.set(self.task.held.get() + 1);
        self.task.bolt().paused_calls.with(|calls| calls.push_back(call.clone_ref(py)));
    }

    /// Keeps an ack of one of its inputs until what its generator gave before is sent; whether it did.
    pub fn ack_later(&self, tuple: &Bound<'_, Tuple>) -> bool {
        let later = self.taken.with(|taken| taken.is_some()) && self.has(tuple);
        if later {
            self.acked.with(|acked| acked.push(tuple.clone().unbind()));
        }
        later
    }

    /// What outputs hang on: the input, unless `manual_ack` has it acked or failed already.
    fn cur_of(&self, tuples: &[Py<Tuple>]) -> &Cur {
        if tuples.iter().any(|tuple| tuple.get().inner().standing.get() != Standing::Live) {
            self.cur.root.set(RootId::NONE);
        }
        &self.cur
    }

    /// Whether its inputs failed by the time-out.
    pub fn has_timed_out(&self) -> bool {
        self.timed_out.get()
    }

    /// Whether `tuple` is an input of this call.
    pub fn has(&self, tuple: &Bound<'_, Tuple>) -> bool {
        self.tuples.with(|tuples| tuples.as_ref().is_some_and(|tuples| tuples.iter().any(|own| own.is(tuple))))
    }

    /// Has `send` anchor to the inputs of this call.
    pub fn send(&self, py: Python<'_>, send: impl FnOnce(Anchor<'_>) -> PyResult<()>) -> PyResult<()> {
        let (inputs, tuples) = (self.inputs.with(|inputs| inputs.as_slice() as *const [Input]), self.tuples_now(py));
        if self.kind == Kind::Batch || (self.kind == Kind::Process && self.task.bolt().manual_ack.get()) {
            // SAFETY: the inputs are taken out only by the loop, under the interpreter lock, which is held here.
            let rows = Rows { inputs: unsafe { &*inputs }, tuples: Some(&tuples) };
            return self.task.send_for_rows(py, &rows, send);
        }
        send(Anchor::Cur(&self.cur))
    }

    fn tuples_now(&self, py: Python<'_>) -> Vec<Py<Tuple>> {
        self.tuples.with(|tuples| tuples.iter().flatten().map(|tuple| tuple.clone_ref(py)).collect())
    }
}
