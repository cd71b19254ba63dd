//! What user code hands over besides plain values: `Emit` and `Batch`.

use crate::row::PyRow;
use pyo3::ffi::PyTypeObject;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// One output with everything about it; legal wherever an output is legal.
#[pyclass(frozen, module = "squall", subclass)]
pub struct Emit {
    #[pyo3(get)]
    values: Py<PyTuple>,
    #[pyo3(get)]
    pub stream: String,
    #[pyo3(get)]
    pub task: Option<i64>,
    #[pyo3(get)]
    pub anchors: Option<Py<PyAny>>,
    #[pyo3(get)]
    pub id: Option<Py<PyAny>>,
}

#[pymethods]
impl Emit {
    #[new]
    #[pyo3(signature = (*values, stream = "default".to_owned(), task = None, anchors = None, id = None))]
    fn new(
        values: Bound<'_, PyTuple>,
        stream: String,
        task: Option<i64>,
        anchors: Option<Py<PyAny>>,
        id: Option<Py<PyAny>>,
    ) -> Emit {
        Emit { values: values.unbind(), stream, task, anchors, id }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let values = self.values.bind(py).iter().map(|v| Ok(v.repr()?.to_string())).collect::<PyResult<Vec<_>>>()?;
        Ok(format!("Emit({}, stream={:?})", values.join(", "), self.stream))
    }
}

impl Emit {
    /// The values as a row.
    pub fn row(&self, py: Python<'_>) -> PyResult<PyRow> {
        row_of(self.values.bind(py))
    }
}

/// The values of a Python tuple as a row.
pub fn row_of(values: &Bound<'_, PyTuple>) -> PyResult<PyRow> {
    // SAFETY: the items of a tuple are live while it is.
    let row = unsafe {
        let items = (*(values.as_ptr() as *mut pyo3::ffi::PyTupleObject)).ob_item.as_ptr();
        PyRow::from_borrowed(items, values.len())
    };
    row.map_err(|error| error.take(values.py()))
}

/// The type object of `Emit`.
#[inline(always)]
pub fn emit_type(py: Python<'_>) -> *mut PyTypeObject {
    <Emit as pyo3::PyTypeInfo>::type_object_raw(py)
}

/// What `next_batch` returns when its rows have ids.
#[pyclass(frozen, module = "squall", subclass)]
pub struct Batch {
    #[pyo3(get)]
    pub outputs: Py<PyAny>,
    #[pyo3(get)]
    pub ids: Py<PyAny>,
    #[pyo3(get)]
    pub stream: String,
}

#[pymethods]
impl Batch {
    #[new]
    #[pyo3(signature = (outputs, /, *, ids, stream = "default".to_owned()))]
    fn new(outputs: Py<PyAny>, ids: Py<PyAny>, stream: String) -> Batch {
        Batch { outputs, ids, stream }
    }
}
