//! The error of hot code: that there is one. The exception itself is where the interpreter looks for it.

use pyo3::prelude::*;

/// "The interpreter's error indicator is set." Zero-sized, so a hot result is one byte.
#[derive(Debug)]
pub struct Raised;

impl Raised {
    /// Takes the exception out of the interpreter's indicator.
    pub fn take(self, py: Python<'_>) -> PyErr {
        PyErr::fetch(py)
    }
}

/// Puts `error` where the interpreter looks for it.
#[cold]
pub fn raised(py: Python<'_>, error: PyErr) -> Raised {
    error.restore(py);
    Raised
}
