//! What looks at the rows of a stream on their way: tests, and people with `squall tap`.
//!
//! A stream without a tap costs a look at one pointer for each tuple. One with taps asks each tap's gate (a share of the
//! tuples, a rate, a share of the time: see `squall_core::tap`), and builds a Python tuple only for what is admitted.

use crate::core::Core;
use crate::gil::Gil;
use crate::row::PyRow;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use squall_core::cell::Local;
use squall_core::tap::{Allowed, Gate};
use std::cell::Cell;
use std::ptr::null;
use std::rc::Rc;

/// Decides which tuples a tap looks at; several streams and tasks may share one.
#[pyclass(frozen, module = "squall._core")]
pub struct TapGate(Gil<Local<Gate>>);

#[pymethods]
impl TapGate {
    #[new]
    #[pyo3(signature = (*, ratio = 1.0, shown_per_s = None, time_ratio = None, seed = 0))]
    fn new(ratio: f64, shown_per_s: Option<f64>, time_ratio: Option<f64>, seed: u64) -> PyResult<TapGate> {
        if !(ratio > 0.0 && ratio <= 1.0) {
            return Err(PyValueError::new_err(format!("{ratio} is no share of the tuples")));
        }
        let allowed = Allowed { ratio, shown_per_s, time_ratio };
        Ok(TapGate(Gil(Local::new(Gate::new(allowed, seed)))))
    }

    /// (tuples that came by, tuples that were skipped).
    fn seen(&self) -> (u64, u64) {
        let seen = self.0.with(|gate| gate.seen());
        (seen.passed, seen.skipped)
    }
}

/// Who looks, and when; without a gate always.
struct Tap {
    function: Py<PyAny>,
    gate: Option<Py<TapGate>>,
}

impl Tap {
    fn look(&self, py: Python<'_>, core: &Core, row: &PyRow) -> PyResult<()> {
        let Some(gate) = &self.gate else {
            self.function.call1(py, (row.to_tuple(py),))?;
            return Ok(());
        };
        let gate = &gate.get().0;
        if !gate.with(|gate| gate.admits(|| core.now_precise_ns())) {
            return Ok(());
        }
        let began_ns = core.now_precise_ns();
        let shown = self.function.call1(py, (row.to_tuple(py),)).and_then(|shown| shown.is_truthy(py));
        let took_ns = core.now_precise_ns().saturating_sub(began_ns);
        gate.with(|gate| gate.looked(took_ns, *shown.as_ref().unwrap_or(&false)));
        shown.map(|_| ())
    }
}

/// The taps of one stream of one task; null when there is none, which is all that a hot loop looks at.
pub struct Taps(Cell<*const Vec<Tap>>);

impl Default for Taps {
    fn default() -> Self {
        Taps(Cell::new(null()))
    }
}

impl Taps {
    /// Shows a row to the taps, if there are any.
    #[inline(always)]
    pub fn show(&self, core: &Core, row: &PyRow) {
        if !self.0.get().is_null() {
            self.show_to_all(core, row);
        }
    }

    #[cold]
    #[inline(never)]
    fn show_to_all(&self, core: &Core, row: &PyRow) {
        // SAFETY: the interpreter lock is held wherever tuples move.
        let py = unsafe { Python::assume_attached() };
        for tap in self.list().iter() {
            if let Err(error) = tap.look(py, core, row) {
                error.write_unraisable(py, None);
            }
        }
    }

    /// The taps now. Kept alive by the caller: a look may itself change them.
    fn list(&self) -> Rc<Vec<Tap>> {
        let list = self.0.get();
        if list.is_null() {
            return Rc::default();
        }
        // SAFETY: it came from `Rc::into_raw`, and this owns one count of it.
        unsafe {
            Rc::increment_strong_count(list);
            Rc::from_raw(list)
        }
    }

    /// Adds a tap: `function` gets each row that `gate` admits, and says whether it was shown.
    pub fn add(&self, py: Python<'_>, function: Py<PyAny>, gate: Option<Py<TapGate>>) {
        let mut taps = self.copies(py, |_| true);
        taps.push(Tap { function, gate });
        self.replace(taps);
    }

    /// Takes away the taps with this very function.
    pub fn remove(&self, py: Python<'_>, function: &Bound<'_, PyAny>) {
        self.replace(self.copies(py, |tap| !tap.function.is(function)));
    }

    /// Takes away all taps.
    pub fn clear(&self) {
        self.replace(Vec::new());
    }

    fn copies(&self, py: Python<'_>, kept: impl Fn(&Tap) -> bool) -> Vec<Tap> {
        let copy = |tap: &Tap| Tap {
            function: tap.function.clone_ref(py),
            gate: tap.gate.as_ref().map(|gate| gate.clone_ref(py)),
        };
        self.list().iter().filter(|tap| kept(tap)).map(copy).collect()
    }

    fn replace(&self, taps: Vec<Tap>) {
        let new = if taps.is_empty() { null() } else { Rc::into_raw(Rc::new(taps)) };
        let old = self.0.replace(new);
        if !old.is_null() {
            // SAFETY: as in `list`. Dropped after the new list is in its place, as that may run Python.
            drop(unsafe { Rc::from_raw(old) });
        }
    }
}

impl Drop for Taps {
    fn drop(&mut self) {
        self.clear();
    }
}
