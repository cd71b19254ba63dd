//! Batches: many inputs in one call of user code, each with anchors of its own.
//!
//! A batch that fails is taken apart: its roots are tried again one by one, and only there a failure counts.

use crate::bolt::{ARG_CONSTANT, ARG_TUPLE, Binding, Input};
use crate::core::{Core, Due};
use crate::emit::Anchor;
use crate::fault;
use crate::task::{Cur, Task};
use crate::tuple::{self, Standing, Tuple};
use pyo3::exceptions::PyBaseException;
use pyo3::ffi::*;
use pyo3::prelude::*;
use pyo3::types::PyList;
use squall_core::ids::RootId;
use squall_core::suspects::ALONE_FROM;
use squall_core::trace::Step;
use std::cell::Cell;
use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::rc::Rc;

impl Core {
    /// Gives the inbox to user code in batches. How many inputs that were.
    pub fn run_batches(&self, py: Python<'_>, task: &Rc<Task>, most: usize) -> usize {
        let mut taken = 0;
        let until_ns = self.now_ns.get() + self.slice_ns;
        while task.inbox.ready() > 0 && !task.is_held_up() && !self.batch_should_wait(task, most) {
            let inputs = self.take_batch(task, most);
            taken += inputs.len();
            self.run_batch(py, task, inputs);
            if task.is_paused.get() || self.should_return() || self.tick_clock() > until_ns {
                break;
            }
        }
        taken
    }

    /// Whether fewer rows than a batch may hold are there and more may come within `batch_wait`.
    pub fn batch_should_wait(&self, task: &Rc<Task>, most: usize) -> bool {
        let state = task.bolt();
        let wait_ns = state.batch_wait_ns.get();
        // Over its high-water mark nothing more comes: what feeds it waits.
        if wait_ns == 0 || task.inbox.ready() >= most || task.is_full() || self.draining.get() {
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

    /// Whether rows came in since the last turn: then more may come in the next one. A batch that goes to another thread
    /// costs a hand-over of the interpreter lock, so it leaves when it is full or when the loop runs dry; one with a
    /// `batch_wait` has waited already.
    pub fn batch_still_grows(&self, task: &Rc<Task>, most: usize) -> bool {
        let (state, ready) = (task.bolt(), task.inbox.ready());
        if state.batch_wait_ns.get() != 0 {
            return false;
        }
        let grows = ready > state.seen_ready.replace(ready) && ready < most && !task.is_full() && !self.draining.get();
        if grows {
            self.wants_turn.set(true);
        } else {
            state.seen_ready.set(0);
        }
        grows
    }

    /// The next rows of one input; a root that failed in a batch comes alone.
    pub fn take_batch(&self, task: &Task, most: usize) -> Vec<Input> {
        let state = task.bolt();
        let alike = state.bindings.get().len() == 1 && self.solo.get() == 0;
        if let Some(all) = if alike { task.inbox.take_whole(most) } else { None } {
            return all;
        }
        let mut inputs: Vec<Input> = Vec::with_capacity(most.min(task.inbox.ready()));
        if alike {
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

    /// Whether the root is to run alone in its batches.
    pub fn is_solo(&self, root: RootId) -> bool {
        let solo = |root: RootId| match root.incarnation() == self.incarnation {
            true => self.ledger.with(|ledger| ledger.entry(root).is_some_and(|pending| pending.solo)),
            false => self.alone.with(|alone| alone.contains(root)),
        };
        if root.is_bundle() { self.pairs_of(root, 0).iter().any(|(root, _)| solo(*root)) } else { solo(root) }
    }

    /// Whether workers have died on the root so often that nothing else is to run beside its calls.
    pub fn is_suspect(&self, root: RootId) -> bool {
        let is_suspect = |root: RootId| match root.incarnation() == self.incarnation {
            true => {
                self.ledger.with(|ledger| ledger.entry(root).is_some_and(|pending| pending.suspicions >= ALONE_FROM))
            }
            false => self.suspects.with(|suspects| suspects.contains(root)),
        };
        self.pairs_of(root, 0).iter().any(|(root, _)| is_suspect(*root))
    }

    fn run_batch(&self, py: Python<'_>, task: &Rc<Task>, inputs: Vec<Input>) {
        let state = task.bolt();
        let binding = state.binding(inputs[0].channel);
        let n = inputs.len();
        binding.executed.set(binding.executed.get() + n as u64);
        self.page_call();
        if self.page.is_some() {
            self.page_roots(inputs.iter().map(|input| input.root));
        }
        let weight: u32 = (0..n).filter_map(|_| task.times.sampler.with(|sampler| sampler.hit())).sum();
        let started_ns = if weight > 0 { self.now_precise_ns() } else { 0 };
        let tuples = match self.batch_tuples(py, task, binding, &inputs, started_ns) {
            Ok(tuples) => tuples,
            Err(error) => return self.batch_failed(py, task, inputs, None, error),
        };
        let thread = task.thread.replace(std::ptr::null_mut());
        let rows = Rows { inputs: &inputs, tuples: tuples.as_deref() };
        state.batch.set((&raw const rows).cast());
        let result = columns(py, binding, &inputs, tuples.as_deref()).map(|columns| {
            // SAFETY: the columns are live during the call.
            unsafe { call_columns(binding, &columns) }
        });
        state.batch.set(std::ptr::null());
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
        self.finish_batch(py, task, inputs, tuples, &result);
    }

    fn note_taken(&self, task: &Task, inputs: &[Input]) {
        let step = Step::Taken { together: inputs.len() as u32 };
        inputs.iter().for_each(|input| self.note_input(task, input.root, input.edge, step));
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
        if self.trace.is_some() {
            self.note_taken(task, inputs);
        }
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
    ) {
        let manual = task.bolt().manual_ack.get();
        if !result.is_none() {
            match result.len() {
                Ok(n) if n == inputs.len() => {}
                Ok(n) => return self.batch_failed(py, task, inputs, tuples, fault::batch_length(task, n)),
                Err(_) => return self.batch_failed(py, task, inputs, tuples, fault::batch_type(task, result)),
            }
        }
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
        if self.trace.is_some() {
            inputs.iter().for_each(|input| self.note_input(task, input.root, input.edge, Step::Acked));
        }
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
        if manual && tuple.is_some_and(|tuple| tuple.get().inner().standing.get() != Standing::Live) {
            cur.root.set(RootId::NONE); // acked or failed in the call: what follows hangs on nothing
        }
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
                self.note_input(task, input.root, input.edge, Step::Acked);
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
            let xor = tuple.as_ref().map_or(0, |tuple| tuple.get().inner().xor.get());
            self.input_raised(py, task, &input, tuple, error.clone_ref(py), xor, together);
        }
    }
}

/// The rows that a batch call works on, and their `Tuple`s if it asked for them.
pub struct Rows<'a> {
    pub inputs: &'a [Input],
    pub tuples: Option<&'a [Py<Tuple>]>,
}

impl Task {
    /// Has `send` anchor to every row of a running batch that is not acked yet.
    #[cold]
    pub fn send_for_rows(
        &self,
        py: Python<'_>,
        rows: &Rows<'_>,
        send: impl FnOnce(Anchor<'_>) -> PyResult<()>,
    ) -> PyResult<()> {
        if let Some(tuples) = rows.tuples.filter(|_| self.bolt().manual_ack.get()) {
            let live = tuples.iter().filter(|tuple| tuple.get().inner().standing.get() == Standing::Live);
            let live: Vec<Bound<'_, Tuple>> = live.map(|tuple| tuple.bind(py).clone()).collect();
            return send(Anchor::Tuples(&live));
        }
        let core = self.core();
        let shared = Cur { root: Cell::new(core.roots_of(rows.inputs)), xor: Cell::new(0) };
        let sent = send(Anchor::Cur(&shared));
        // The rows are still open, so the trees cannot end by this.
        for (root, _) in core.pairs_of(shared.root.get(), 0).iter() {
            core.ack_root(*root, shared.xor.get());
        }
        core.forget_bundle(shared.root.get());
        sent
    }
}

impl Core {
    /// All roots of some inputs, each once, under one id.
    fn roots_of(&self, inputs: &[Input]) -> RootId {
        let mut pairs: Vec<(RootId, u64)> = Vec::new();
        let mut seen = HashSet::new();
        for input in inputs {
            let roots = self.pairs_of(input.root, 0);
            pairs.extend(roots.iter().filter(|(root, _)| seen.insert(*root)));
        }
        match pairs[..] {
            [] => RootId::NONE,
            [(root, _)] => root,
            _ => self.bundles.with(|bundles| bundles.put(pairs.into_boxed_slice())),
        }
    }
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
