//! `Tuple`: one input as a whole, made only where user code asks for it.

use crate::core::Core;
use crate::emit::unanchored;
use crate::fault;
use crate::gil::Gil;
use crate::row::PyRow;
use crate::task::{OutStream, Task};
use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::{PyDelta, PyTuple};
use squall_core::ids::RootId;
use squall_core::mailbox::Msg;
use squall_core::route::Payload;
use squall_core::timers::TimerId;
use squall_core::trace::Step;
use std::cell::Cell;
use std::rc::Rc;

/// Where a tuple stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not acked and not failed yet.
    Live,
    /// Acked.
    Acked,
    /// Failed, by user code or by a time-out.
    Failed,
}

/// What a tuple is in the core.
pub struct Inner {
    /// The task whose input it is.
    pub task: Rc<Task>,
    pub row: PyRow,
    /// Who sent it, and the number of the stream.
    source: (Rc<Task>, usize),
    /// Its (root, edge) pairs; several for a tuple below a join.
    pub pairs: Box<[(RootId, u64)]>,
    /// XOR of the edges anchored to it explicitly.
    pub xor: Cell<u64>,
    pub standing: Cell<Standing>,
    /// Its hold time-out, while a bolt with `manual_ack` holds it.
    pub hold: Cell<Option<TimerId>>,
    pub started_ns: u64,
    /// Weight of its process latency; 0 when not sampled.
    pub weight: u32,
}

/// One input as a whole: values, where it came from, its tree.
#[pyclass(frozen, module = "squall", name = "Tuple")]
pub struct Tuple(pub Gil<Inner>);

impl Tuple {
    /// The tuple of a mailbox entry, which keeps its bundle.
    pub fn of(py: Python<'_>, task: &Rc<Task>, msg: &Msg<PyRow>, started_ns: u64, weight: u32) -> PyResult<Py<Tuple>> {
        let inner = Inner {
            task: task.clone(),
            row: msg.row.dup(),
            source: task.core().channel(msg.channel),
            pairs: task.core().pairs_of(msg.root, msg.edge),
            xor: Cell::new(0),
            standing: Cell::new(Standing::Live),
            hold: Cell::new(None),
            started_ns,
            weight,
        };
        Py::new(py, Tuple(Gil(inner)))
    }

    /// The tuple in the core.
    #[inline(always)]
    pub fn inner(&self) -> &Inner {
        &self.0.0
    }

    fn stream_of(&self) -> &OutStream {
        let (task, stream) = &self.inner().source;
        &task.streams[*stream]
    }

    fn field(&self, name: &str) -> Option<usize> {
        self.stream_of().fields.iter().position(|field| field == name)
    }

    fn value<'py>(&self, py: Python<'py>, at: usize) -> Bound<'py, PyAny> {
        // SAFETY: the row owns its values.
        unsafe { Bound::from_borrowed_ptr(py, self.inner().row.get(at)) }
    }
}

#[pymethods]
impl Tuple {
    /// Name of the component that emitted it.
    #[getter]
    fn source(&self) -> String {
        let task = &self.inner().source.0;
        task.core().component_name(task.component).to_owned()
    }

    /// Name of the stream it came on.
    #[getter]
    fn stream(&self) -> String {
        self.stream_of().name.clone()
    }

    /// Id of the task that emitted it.
    #[getter]
    fn source_task(&self) -> i64 {
        self.inner().source.0.task_id
    }

    /// Names of its fields.
    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.stream_of().fields.iter())
    }

    /// Its values.
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> Bound<'py, PyTuple> {
        self.inner().row.to_tuple(py)
    }

    /// Which try of its root this is, counted from 1; the highest, of a tuple below a join.
    #[getter]
    fn attempt(&self) -> u32 {
        let core = self.inner().task.core();
        self.inner().pairs.iter().filter_map(|(root, _)| core.attempt_of(*root)).max().unwrap_or(1)
    }

    /// Ids of the roots it belongs to; empty when it is not tracked.
    #[getter]
    fn roots<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner().pairs.iter().map(|(root, _)| root.0))
    }

    /// Time since its (oldest) root was emitted; zero when it is not tracked.
    #[getter]
    fn age<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDelta>> {
        let core = self.inner().task.core();
        let born = self.inner().pairs.iter().filter_map(|(root, _)| core.emitted_at_ns(*root)).min();
        let age_us = born.map_or(0, |born| core.now_precise_ns().saturating_sub(born) / 1000);
        PyDelta::new(py, 0, (age_us / 1_000_000) as i32, (age_us % 1_000_000) as i32, true)
    }

    fn __len__(&self) -> usize {
        self.inner().row.len()
    }

    fn __getitem__<'py>(&self, field: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = field.py();
        if let Ok(at) = field.extract::<isize>() {
            let len = self.inner().row.len() as isize;
            let at = if at < 0 { at + len } else { at };
            return if (0..len).contains(&at) {
                Ok(self.value(py, at as usize))
            } else {
                Err(PyIndexError::new_err(format!("the tuple has {len} values")))
            };
        }
        let name: String = field.extract()?;
        let at = self.field(&name).ok_or_else(|| {
            PyKeyError::new_err(format!(
                "{name:?}; stream {:?} declares: {}",
                self.stream(),
                self.stream_of().fields.join(", ")
            ))
        })?;
        Ok(self.value(py, at))
    }

    /// The value of a field, or `default` if the stream has no such field.
    #[pyo3(signature = (field, default = None, /))]
    fn get<'py>(&self, py: Python<'py>, field: &str, default: Option<Bound<'py, PyAny>>) -> Bound<'py, PyAny> {
        match self.field(field) {
            Some(at) => self.value(py, at),
            None => default.unwrap_or_else(|| py.None().into_bound(py)),
        }
    }

    /// The values as the NamedTuple class `row`, by position.
    fn into<'py>(&self, row: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        row.call1(self.inner().row.to_tuple(row.py()))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let values = self.values(py);
        let mut pairs = Vec::new();
        for (field, value) in self.stream_of().fields.iter().zip(values.iter()) {
            pairs.push(format!("{field}={}", value.repr()?));
        }
        Ok(format!("Tuple({}/{}: {})", self.source(), self.stream(), pairs.join(", ")))
    }
}

/// The `Tuple`s of a sequence given as anchors.
pub fn extract_all<'py>(anchors: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, Tuple>>> {
    anchors.try_iter()?.map(|item| Ok(item?.cast_into::<Tuple>()?)).collect()
}

/// Refuses anchors that are acked already.
pub fn check_anchors(task: &Task, tuples: &[Bound<'_, Tuple>]) -> PyResult<()> {
    let acked = |tuple: &Bound<'_, Tuple>| tuple.get().inner().standing.get() == Standing::Acked;
    if tuples.iter().any(acked) { Err(fault::anchor_acked(task)) } else { Ok(()) }
}

/// New edges from some tuples, before anything hangs on them. What failed already anchors nothing.
pub struct Anchoring<'a, 'py> {
    edges: Vec<(&'a Bound<'py, Tuple>, u64)>,
    /// The trees of what is anchored, with its edge in each.
    pub pairs: Vec<(RootId, u64)>,
}

impl<'a, 'py> Anchoring<'a, 'py> {
    /// A new edge from each tuple.
    pub fn new(core: &Core, tuples: &'a [Bound<'py, Tuple>]) -> Anchoring<'a, 'py> {
        let is_live = |tuple: &&Bound<'_, Tuple>| {
            let inner = tuple.get().inner();
            inner.standing.get() == Standing::Live && !inner.pairs.is_empty()
        };
        let edges: Vec<_> = tuples.iter().filter(is_live).map(|tuple| (tuple, core.edges.next_id())).collect();
        let mut pairs: Vec<(RootId, u64)> = Vec::new();
        for (tuple, edge) in &edges {
            for (root, _) in tuple.get().inner().pairs.iter() {
                match pairs.iter_mut().find(|pair| pair.0 == *root) {
                    Some(pair) => pair.1 ^= edge,
                    None => pairs.push((*root, *edge)),
                }
            }
        }
        Anchoring { edges, pairs }
    }

    /// Something was sent that hangs on the tuples.
    pub fn hold(&self) {
        for (tuple, edge) in &self.edges {
            let inner = tuple.get().inner();
            inner.xor.set(inner.xor.get() ^ edge);
        }
    }
}

/// Acks each live tuple of a bolt with `manual_ack`.
pub fn ack_all(task: &Task, tuples: &[Bound<'_, Tuple>]) {
    for tuple in tuples {
        let inner = tuple.get().inner();
        if inner.standing.get() != Standing::Live {
            continue;
        }
        let core = inner.task.core();
        let also = task.leave_current(tuple.get());
        settle(inner, Standing::Acked);
        if inner.weight > 0 {
            let took_ns = core.now_precise_ns().saturating_sub(inner.started_ns);
            inner.task.times.process.with(|latency| latency.record(took_ns, inner.weight));
        }
        inner.task.counts.acked.set(inner.task.counts.acked.get() + 1);
        let xor = inner.xor.get() ^ also;
        core.note_pairs(&inner.task, &inner.pairs, Step::Acked);
        for (root, edge) in inner.pairs.iter() {
            core.ack_root(*root, edge ^ xor);
        }
    }
}

/// Ends a tuple's standing and its hold time-out.
pub fn settle(inner: &Inner, standing: Standing) {
    inner.standing.set(standing);
    let_go(inner);
}

/// Whether no hold time-out runs.
pub fn is_let_go(inner: &Inner) -> bool {
    let timer = inner.hold.take();
    let let_go = timer.is_none();
    inner.hold.set(timer);
    let_go
}

/// Ends the hold time-out; whether there was one.
pub fn let_go(inner: &Inner) -> bool {
    let Some(timer) = inner.hold.take() else { return false };
    inner.task.held.set(inner.task.held.get() - 1);
    let _owned = inner.task.core().timers.with(|timers| timers.cancel(timer));
    true
}

impl Task {
    /// If `tuple` is the input being worked on: what was anchored to it so far; what follows is anchored to nothing.
    fn leave_current(&self, tuple: &Tuple) -> u64 {
        if !std::ptr::eq(self.core().current_tuple.get(), tuple) {
            return 0;
        }
        let none = unanchored();
        self.cur.root.set(none.root.get());
        self.cur.xor.replace(0)
    }
}
