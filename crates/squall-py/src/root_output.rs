//! What a spout returned, yielded or emitted becomes roots, by the rules of an output.

use crate::emit::NESTED;
use crate::fault;
use crate::raised::{Raised, raised};
use crate::row::PyRow;
use crate::task::{OutStream, Task};
use crate::values::{Batch, Emit, emit_type};
use pyo3::ffi::*;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::ptr::null_mut;

impl Task {
    /// Opens roots for what a spout returned or yielded, by the rules of an output. Consumes the reference.
    ///
    /// # Safety
    /// `output` is an owned reference.
    #[inline(always)]
    pub unsafe fn send_root_output(&self, output: *mut PyObject) -> Result<(), Raised> {
        unsafe {
            if output == Py_None() {
                Py_DECREF(output);
                return Ok(());
            }
            if PyUnicode_CheckExact(output) != 0 || PyLong_CheckExact(output) != 0 {
                return match self.default_stream() {
                    Some(stream) if stream.fields.len() == 1 && !stream.direct => {
                        if let Err(error) = self.count_root() {
                            Py_DECREF(output);
                            return Err(error);
                        }
                        self.open_root(stream, PyRow::single(output), null_mut(), None)
                    }
                    _ => {
                        Py_DECREF(output);
                        Err(fault::raise_row(self, 1))
                    }
                };
            }
            let py = Python::assume_attached();
            let output = Bound::from_owned_ptr(py, output);
            self.send_root_any(py, &output, None).map_err(|error| raised(py, error))
        }
    }

    /// Counts a root that user code opens in this poll; an error if it was not to open so many.
    #[inline(always)]
    pub fn count_root(&self) -> Result<(), Raised> {
        let state = self.spout();
        let opened = state.emitted_in_poll.get() + 1;
        if opened > state.most.get() {
            return Err(fault::raise_too_many(self, opened, state.most.get()));
        }
        state.emitted_in_poll.set(opened);
        Ok(())
    }

    fn send_root_any(&self, py: Python<'_>, output: &Bound<'_, PyAny>, id: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let raw = output.as_ptr();
        // SAFETY: `output` is live; the checks look at its type only.
        let (is_tuple, is_list, is_emit, is_iterator) = unsafe {
            (
                PyTuple_Check(raw) != 0,
                PyList_Check(raw) != 0,
                PyObject_TypeCheck(raw, emit_type(py)) != 0,
                PyIter_Check(raw) != 0,
            )
        };
        if output.is_none() {
            return Ok(());
        }
        if unsafe { PyCoro_CheckExact(raw) } != 0 {
            return Err(fault::coroutine(self, output));
        }
        if is_emit {
            self.count_root().map_err(|error| error.take(py))?;
            let emit = unsafe { output.cast_unchecked::<Emit>() };
            let name = &emit.get().stream;
            let stream = self.stream(name).ok_or_else(|| fault::stream_unknown(self, name))?;
            let id = emit.get().id.as_ref().map(|id| id.bind(py)).or(id);
            return self.emit_root(py, stream, emit.get().row(py)?, id, emit.get().task);
        }
        if !is_tuple && output.is_instance_of::<Batch>() {
            return self.send_batch(output, u32::MAX);
        }
        if !is_tuple && (is_list || is_iterator) {
            // SAFETY: left again below, whatever happens between.
            if unsafe { Py_EnterRecursiveCall(NESTED.as_ptr()) } != 0 {
                return Err(PyErr::fetch(py));
            }
            let sent = output
                .try_iter()
                .and_then(|items| items.into_iter().try_for_each(|item| self.send_root_any(py, &item?, None)));
            unsafe { Py_LeaveRecursiveCall() };
            return sent;
        }
        self.count_root().map_err(|error| error.take(py))?;
        let stream = self.default_stream().ok_or_else(|| fault::stream_unknown(self, "default"))?;
        self.emit_root(py, stream, row_of_output(output)?, id, None)
    }

    /// Opens roots for what `next_batch` returned: rows, or a `Batch`.
    pub fn send_batch(&self, result: &Bound<'_, PyAny>, limit: u32) -> PyResult<()> {
        let py = result.py();
        if result.is_none() {
            return Ok(());
        }
        if let Ok(batch) = result.cast::<Batch>() {
            let batch = batch.get();
            let (outputs, ids) = (batch.outputs.bind(py), batch.ids.bind(py));
            let (rows, named) = (outputs.len()?, ids.len()?);
            if rows != named {
                return Err(fault::batch_ids(self, rows, named));
            }
            self.check_limit(rows, limit)?;
            let stream = self.stream(&batch.stream).ok_or_else(|| fault::stream_unknown(self, &batch.stream))?;
            return self.send_rows(py, stream, outputs, ids);
        }
        if let Ok(rows) = result.cast::<PyList>() {
            self.check_limit(rows.len(), limit)?;
            return self.send_roots(rows).map_err(|error| error.take(py));
        }
        // SAFETY: a new reference is made for the call to consume.
        unsafe { self.send_root_output(result.clone().into_ptr()) }.map_err(|error| error.take(py))
    }

    /// Opens a root for each row of a list, which user code may change meanwhile.
    fn send_roots(&self, rows: &Bound<'_, PyList>) -> Result<(), Raised> {
        let raw = rows.as_ptr();
        let mut next = 0;
        // SAFETY: the index is below the length now, and a reference of its own is given away.
        unsafe {
            while next < PyList_GET_SIZE(raw) {
                let row = PyList_GET_ITEM(raw, next);
                Py_INCREF(row);
                self.send_root_output(row)?;
                next += 1;
            }
        }
        Ok(())
    }

    fn check_limit(&self, rows: usize, limit: u32) -> PyResult<()> {
        if rows > limit as usize { Err(fault::batch_too_long(self, rows, limit)) } else { Ok(()) }
    }

    fn send_rows(
        &self,
        py: Python<'_>,
        stream: &OutStream,
        outputs: &Bound<'_, PyAny>,
        ids: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let emit = emit_type(py);
        for (output, id) in outputs.try_iter()?.zip(ids.try_iter()?) {
            let (output, id) = (output?, id?);
            if output.is_none() {
                continue; // nothing, as everywhere
            }
            // SAFETY: looks at the type only.
            if unsafe { PyObject_TypeCheck(output.as_ptr(), emit) } != 0 {
                self.send_root_any(py, &output, Some(&id))?;
                continue;
            }
            self.count_root().map_err(|error| error.take(py))?;
            self.emit_root(py, stream, row_of_output(&output)?, Some(&id), None)?;
        }
        Ok(())
    }
}

/// A tuple is a row; anything else is one value.
fn row_of_output(output: &Bound<'_, PyAny>) -> PyResult<PyRow> {
    match output.cast::<pyo3::types::PyTuple>() {
        Ok(tuple) => crate::values::row_of(tuple),
        Err(_) => Ok(PyRow::single(output.clone().into_ptr())),
    }
}
