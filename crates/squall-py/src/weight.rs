//! What a row weighs, roughly: its values and what they hold, as far as a short look goes.
//!
//! A row in some hundreds is weighed, so a look may cost some microseconds. Large containers are judged by their first
//! items, and nothing is looked at below some levels: an estimate that is too low by a constant still bounds memory.

use crate::row::PyRow;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyList, PySet, PyTuple};

/// Levels of containers that are looked into.
const DEPTH: u32 = 4;
/// Items of one container that are looked at.
const ITEMS: usize = 16;

/// Bytes of a row's values.
pub fn of_row(py: Python<'_>, row: &PyRow) -> u64 {
    // SAFETY: the row owns its values.
    let values = (0..row.len()).map(|i| unsafe { Bound::from_borrowed_ptr(py, row.get(i)) });
    values.map(|value| of(&value, DEPTH)).sum()
}

fn of(value: &Bound<'_, PyAny>, depth: u32) -> u64 {
    let own = value.call_method0("__sizeof__").and_then(|size| size.extract::<u64>()).unwrap_or(0);
    let is_container = value.is_instance_of::<PyList>()
        || value.is_instance_of::<PyTuple>()
        || value.is_instance_of::<PySet>()
        || value.is_instance_of::<PyFrozenSet>();
    let held = match value.cast::<PyDict>() {
        _ if depth == 0 => 0,
        Ok(dict) => {
            // Taken out first: a look at an item may run user code, which may change the dict.
            let items: Vec<_> = dict.iter().take(ITEMS).collect();
            items_of(dict.len(), items.iter().map(|(key, item)| of(key, depth - 1) + of(item, depth - 1)))
        }
        Err(_) if is_container => {
            let items = value.try_iter().into_iter().flatten().flatten();
            items_of(value.len().unwrap_or(0), items.map(|item| of(&item, depth - 1)))
        }
        Err(_) => 0,
    };
    own.saturating_add(held)
}

/// What `len` items weigh, by the first of them.
fn items_of(len: usize, weights: impl Iterator<Item = u64>) -> u64 {
    let looked = len.min(ITEMS);
    let sum: u64 = weights.take(looked).sum();
    (sum as f64 * len as f64 / looked.max(1) as f64) as u64
}
