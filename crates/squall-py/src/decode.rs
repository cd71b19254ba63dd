//! How the bytes of a record become outputs.

use crate::core::UNDECODED;
use crate::fault;
use crate::method::Method;
use crate::row::PyRow;
use crate::task::Task;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi::*;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use squall_core::retry::Action;
use squall_core::suspects::DEAD_FROM;
use squall_core::tally::Outputs;
use std::ptr::{null, null_mut};

/// How a record becomes outputs of stream `default`.
pub enum Decode {
    /// One value: text in UTF-8.
    Text,
    /// One value: the bytes.
    Bytes,
    /// One value: what the decoder makes of the bytes.
    Value(Method),
    /// One row: the decoder makes an object of the bytes, and the second callable a tuple of that.
    Row(Method, Method),
    /// What user code makes of the bytes, by the rules of an output.
    Outputs(Method),
}

// SAFETY: methods are used and dropped under the interpreter lock; see `Gil`.
unsafe impl Send for Decode {}

/// What became of a record.
pub enum Sent {
    /// Its outputs are under way, if it has any.
    Emitted,
    /// It went to the dead letters.
    Dead,
    /// The worker ends because of it.
    Ends,
}

impl Decode {
    /// From Python: "text", "bytes", or a kind with its callables.
    pub fn of(decode: &Bound<'_, PyAny>) -> PyResult<Decode> {
        if let Ok(name) = decode.extract::<&str>() {
            return match name {
                "text" => Ok(Decode::Text),
                "bytes" => Ok(Decode::Bytes),
                other => Err(PyValueError::new_err(format!("unknown decoding {other:?}"))),
            };
        }
        let parts = decode.cast::<PyTuple>()?;
        let method = |at: usize| Ok::<_, PyErr>(Method::of(&parts.get_item(at)?));
        match parts.get_item(0)?.extract::<&str>()? {
            "value" => Ok(Decode::Value(method(1)?)),
            "row" => Ok(Decode::Row(method(1)?, method(2)?)),
            "outputs" => Ok(Decode::Outputs(method(1)?)),
            other => Err(PyValueError::new_err(format!("unknown decoding {other:?}"))),
        }
    }

    /// How many outputs a record has.
    pub fn outputs(&self) -> Outputs {
        if self.is_users() { Outputs::Any } else { Outputs::One }
    }

    /// Whether it is user code.
    pub fn is_users(&self) -> bool {
        matches!(self, Decode::Outputs(_))
    }

    /// Whether code outside of the core reads the bytes, which may end the process.
    pub fn runs_python(&self) -> bool {
        !matches!(self, Decode::Text | Decode::Bytes)
    }

    /// Sends what a record of a journal holds, or gives it up if workers died on it too often (semantics 9).
    ///
    /// `origin`: what the record is known by over all lives of the worker.
    pub fn send_known(&self, py: Python<'_>, task: &Task, record: &[u8], origin: u32) -> Sent {
        let (state, core) = (task.spout(), task.core());
        let deaths = state.deaths_on(origin);
        if deaths >= DEAD_FROM {
            let value = pyo3::types::PyBytes::new(py, record).into_any().into_ptr();
            core.bury_judged(py, task, UNDECODED, PyRow::single(value), None, fault::worker_killer(deaths));
            return Sent::Dead;
        }
        let Some(page) = &core.page else { return self.send(py, task, record) };
        page.reads(Some((state.number.get(), origin)));
        let sent = self.send(py, task, record);
        page.reads(None);
        sent
    }

    /// Sends what a record holds.
    #[inline(always)]
    pub fn send(&self, py: Python<'_>, task: &Task, record: &[u8]) -> Sent {
        // SAFETY: the slice is live; both constructors copy it.
        let value = unsafe {
            match self {
                Decode::Text => PyUnicode_DecodeUTF8(record.as_ptr() as _, record.len() as Py_ssize_t, null()),
                _ => PyBytes_FromStringAndSize(record.as_ptr() as _, record.len() as Py_ssize_t),
            }
        };
        if value.is_null() {
            return bury_text(py, task, record);
        }
        // SAFETY: the reference is owned, and taken over.
        let sent = unsafe {
            match self {
                Decode::Text | Decode::Bytes => send_row(py, task, PyRow::single(value)),
                decode => decode.send_decoded(py, task, Bound::from_owned_ptr(py, value)),
            }
        };
        match sent {
            Ok(()) => Sent::Emitted,
            Err(error) => bury(py, task, record, error),
        }
    }

    #[inline]
    fn send_decoded(&self, py: Python<'_>, task: &Task, record: Bound<'_, PyAny>) -> PyResult<()> {
        match self {
            Decode::Value(decode) => send_row(py, task, PyRow::single(call(py, decode, &record)?.into_ptr())),
            Decode::Row(decode, row) => {
                let row = call(py, row, &call(py, decode, &record)?)?;
                let row = row.cast::<PyTuple>().map_err(|_| PyTypeError::new_err("a decoder's row is no tuple"))?;
                send_row(py, task, crate::values::row_of(row)?)
            }
            Decode::Outputs(decode) => {
                task.core().page_call();
                let output = call(py, decode, &record)?;
                // SAFETY: an owned reference.
                unsafe { task.send_root_output(output.into_ptr()) }.map_err(|error| error.take(py))
            }
            Decode::Text | Decode::Bytes => unreachable!("sent as they are"),
        }
    }
}

#[inline(always)]
fn call<'py>(py: Python<'py>, method: &Method, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the argument is live; an owned reference comes back, or null.
    unsafe {
        let result = method.call([argument.as_ptr()]);
        if result.is_null() { Err(PyErr::fetch(py)) } else { Ok(Bound::from_owned_ptr(py, result)) }
    }
}

#[inline(always)]
fn send_row(py: Python<'_>, task: &Task, row: PyRow) -> PyResult<()> {
    let state = task.spout();
    state.emitted_in_poll.set(state.emitted_in_poll.get() + 1);
    let stream = task.default_stream().ok_or_else(|| fault::stream_unknown(task, "default"))?;
    // SAFETY: the row takes the reference over.
    unsafe { task.open_root(stream, row, null_mut(), None) }.map_err(|error| error.take(py))
}

/// Bytes that are no UTF-8: no bolt could take them, so they go to the dead letters at once.
#[cold]
fn bury_text(py: Python<'_>, task: &Task, record: &[u8]) -> Sent {
    let error = PyErr::fetch(py);
    let value = pyo3::types::PyBytes::new(py, record);
    task.core().bury_unsent(py, task, PyRow::single(value.into_any().into_ptr()), None, error);
    Sent::Dead
}

/// What the decoder refuses, or what it gave that cannot be sent, is judged as a bolt's failure is, but not tried again:
/// the same bytes would fail in the same way.
#[cold]
fn bury(py: Python<'_>, task: &Task, record: &[u8], error: PyErr) -> Sent {
    let core = task.core();
    let Some(verdict) = core.judge(py, &core.task(task.index), &error, "decode", &[]) else { return Sent::Ends };
    if verdict.action == Action::Drop {
        task.counts.dropped.set(task.counts.dropped.get() + 1);
        return Sent::Emitted;
    }
    let value = pyo3::types::PyBytes::new(py, record);
    core.bury_judged(py, task, UNDECODED, PyRow::single(value.into_any().into_ptr()), None, error);
    Sent::Dead
}
