//! Rows of Python values on the wire: `squall_core::codec` has the form, this is what the values are.
//!
//! Types are told by their exact type, by pointer: an instance of a subclass is never narrowed to what it derives from.
//! A value without a form fails where it is emitted, and not at the other end. Hot values (text, integers, floats) go
//! from the object's memory to the buffer and back without an object between.
//!
//! What runs Python in the middle (registered types, types that only a module knows) may change the very values that
//! are walked: each container is held while its items are, its size is looked at anew for each, and one that changed is
//! an error.

mod decode;
mod encode;
mod foreign;
mod made;
mod registry;
mod texts;
mod timing;

pub use decode::{Around, Reason, Undecodable, decode_common_row, decode_row};
pub use encode::{Cause, Unencodable, encode_plain_row, encode_row};
pub use registry::register_codec;
pub use texts::Texts;
pub use timing::time_codec;

use crate::fault;
use crate::values::row_of;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

/// What becomes of values that have no form of their own (`topology.fall.back.on.pickle`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// They are refused; so are the pickles of a sender that does otherwise.
    Refuse,
    /// They are pickled.
    Pickle,
    /// They are left to the caller, with everything else that takes Python code; making an object does (an iterator, a dict),
    /// since the collector may run.
    NoPython,
}

impl From<bool> for Fallback {
    fn from(pickle: bool) -> Self {
        if pickle { Fallback::Pickle } else { Fallback::Refuse }
    }
}

/// The bytes of a row of values.
#[pyfunction]
#[pyo3(signature = (values, /, *, pickle = false))]
pub fn encode_values<'py>(values: &Bound<'py, PyTuple>, pickle: bool) -> PyResult<Bound<'py, PyBytes>> {
    let py = values.py();
    let (row, mut out) = (row_of(values)?, Vec::new());
    encode_row(py, &row, pickle.into(), &mut out).map_err(|trouble| fault::unencodable_value(py, *trouble))?;
    Ok(PyBytes::new(py, &out))
}

/// The values that the bytes of a row are of.
#[pyfunction]
#[pyo3(signature = (data, /, *, pickle = false))]
pub fn decode_values<'py>(py: Python<'py>, data: &[u8], pickle: bool) -> PyResult<Bound<'py, PyTuple>> {
    decode::decode_all(py, data, pickle.into()).map_err(|trouble| fault::undecodable_value(py, *trouble))
}
