//! Calls of user code that does not run on the loop's thread: async and blocking components.
//!
//! The loop makes a [`Call`] and gives it to the task's offloader (Python); the offloader runs it wherever it runs
//! and says `done` or `raised` from any thread; the loop then sends the result and acks, as for any other call.

use crate::batch;
use crate::bolt::{self, Input};
use crate::core::{Core, Due};
use crate::fault;
use crate::gil::Gil;
use crate::task::{Cur, Task};
use crate::tuple::{self, Standing, Tuple};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use squall_core::cell::Local;
use squall_core::ids::RootId;
use squall_core::timers::TimerId;
use std::cell::Cell;
use std::rc::Rc;

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
    function: Py<PyAny>,
    args: Py<PyTuple>,
    inputs: Local<Vec<Input>>,
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
        self.inner().function.clone_ref(py)
    }

    #[getter]
    fn args(&self, py: Python<'_>) -> Py<PyTuple> {
        self.inner().args.clone_ref(py)
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
        function,
        args,
        inputs: Local::new(inputs),
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
    let submit = task.submit.with(|submit| submit.as_ref().map(|f| f.clone_ref(py)))?;
    let made = Py::new(py, Call(Gil(inner)));
    let call = match made {
        Ok(call) => call,
        Err(error) => {
            error.write_unraisable(py, None);
            return None;
        }
    };
    task.in_flight.set(task.in_flight.get() + 1);
    if let Err(error) = submit.call1(py, (&call,)) {
        end(call.clone_ref(py), py, Err(error));
    }
    Some(call)
}

/// Gives what waits in the inbox to the offloader, as far as calls may be in flight. How many inputs that was.
pub fn submit_inputs(core: &Core, py: Python<'_>, task: &Rc<Task>) -> usize {
    let state = task.bolt();
    let kind = bolt::kind_of(state);
    let most = state.batch_max.get().max(1) as usize;
    let mut taken = 0;
    while task.in_flight.get() < state.max_in_flight.get() && task.inbox.ready() > 0 && !task.is_held_up() {
        if kind == Kind::Batch && core.batch_should_wait(task, most) {
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
    let mut inner = make(task, kind, binding.method.callable(py), args, inputs);
    inner.tuples = Local::new(tuples);
    (inner.started_ns, inner.weight) = (started_ns, weight);
    let Some(call) = submit(py, task, inner) else { return };
    let hold_ns = state.hold_ns.get();
    if hold_ns > 0 && !state.manual_ack.get() && !call.get().inner().ended.get() {
        let due = core.now_ns.get() + hold_ns;
        let timer = core.timers.with(|timers| timers.at(due, Due::CallHold(call.clone_ref(py))));
        call.get().inner().hold.set(Some(timer));
    }
}

impl Core {
    /// A call was in user hands for too long: its inputs fail now, and what it returns later is ignored.
    #[cold]
    pub fn call_held_too_long(&self, py: Python<'_>, call: &Py<Call>) {
        let inner = call.get().inner();
        inner.hold.set(None);
        if inner.ended.get() || inner.timed_out.replace(true) {
            return;
        }
        inner.cur.root.set(RootId::NONE);
        let inputs = inner.inputs.replace(Vec::new());
        let tuples = inner.tuples.replace(None);
        self.batch_failed(py, &inner.task, inputs, tuples, fault::held_too_long(&inner.task));
    }

    /// Carries out what an offloaded call came to.
    pub fn finish_call(&self, py: Python<'_>, call: &Py<Call>) {
        let inner = call.get().inner();
        let task = &inner.task;
        task.in_flight.set(task.in_flight.get() - 1);
        if let Some(timer) = inner.hold.take() {
            let _owned = self.timers.with(|timers| timers.cancel(timer));
        }
        let Some(outcome) = inner.outcome.replace(None) else { return };
        if inner.timed_out.get() {
            return;
        }
        if inner.kind.has_inputs() {
            return self.finish_inputs(py, inner, outcome);
        }
        match (inner.kind, outcome) {
            (Kind::Poll, outcome) => self.finish_poll(py, task, outcome.map(|result| result.into_bound(py))),
            (Kind::Tick | Kind::Timer, Ok(result)) => {
                self.send_unanchored(py, task, result.into_bound(py), inner.kind.name())
            }
            (_, Ok(_)) => {}
            (kind, Err(error)) => self.report(py, task, kind.name(), error),
        }
    }

    fn finish_inputs(&self, py: Python<'_>, inner: &Inner, outcome: PyResult<Py<PyAny>>) {
        let task = &inner.task;
        let mut inputs = inner.inputs.replace(Vec::new());
        let tuples = inner.tuples.replace(None);
        if inner.weight > 0 {
            let took_ns = self.now_precise_ns().saturating_sub(inner.started_ns);
            task.times.execute.with(|latency| latency.record(took_ns, inner.weight));
            if !task.bolt().manual_ack.get() {
                task.times.process.with(|latency| latency.record(took_ns, inner.weight));
            }
        }
        match outcome {
            Err(error) => self.batch_failed(py, task, inputs, tuples, error),
            Ok(result) if inner.kind == Kind::Batch => {
                self.finish_batch(py, task, inputs, tuples, result.bind(py), &inner.cur);
            }
            Ok(result) => {
                let Some(input) = inputs.pop() else { return };
                let tuple = tuples.and_then(|mut tuples| tuples.pop());
                self.finish_single(py, inner, input, tuple, result);
            }
        }
        inner.cur.root.set(RootId::NONE);
    }

    fn finish_single(&self, py: Python<'_>, inner: &Inner, input: Input, tuple: Option<Py<Tuple>>, result: Py<PyAny>) {
        let task = &inner.task;
        // SAFETY: `into_ptr` gives an owned reference.
        let sent = unsafe { task.send_output(result.into_ptr(), &inner.cur) };
        let mut xor = inner.cur.xor.replace(0);
        if task.bolt().manual_ack.get() {
            let Some(tuple) = tuple else { return self.forget_bundle(input.root) };
            let held = tuple.get().inner();
            if held.standing.get() == Standing::Live {
                held.xor.set(held.xor.get() ^ xor);
                if sent.is_err() {
                    tuple::settle(held, Standing::Failed);
                    self.fail_tuple(py, task, tuple, PyErr::fetch(py));
                }
            } else if sent.is_err() {
                self.report(py, task, "process", PyErr::fetch(py));
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
                self.ack_msg(input.root, input.edge, xor);
            }
            Err(error) => {
                let tuple = tuple.or_else(|| self.tuple_of(py, task, &input));
                self.input_raised(py, task, &input, tuple, error.take(py), xor, false);
            }
        }
    }
}

impl Inner {
    /// Lets go of what the call came to: an exception holds the frame that holds the call, and no collector sees that.
    pub fn forget(&self) {
        drop(self.outcome.replace(None));
    }

    /// Makes the rows of a batch call the current input of its `cur`.
    pub fn share_inputs(&self) {
        if self.kind != Kind::Batch || self.timed_out.get() || self.ended.get() {
            return;
        }
        let inputs = self.inputs.with(|inputs| inputs.as_slice() as *const [Input]);
        // SAFETY: the inputs are taken out only by the loop, under the interpreter lock, which is held here.
        self.task.core().share_batch(unsafe { &*inputs }, &self.cur);
    }
}
