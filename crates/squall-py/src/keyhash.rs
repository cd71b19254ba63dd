//! The stable hash of Python values, composed from the core's pieces (semantics 29).
//!
//! Numbers go through the interpreter's own modular hash, which is exact and the same everywhere; text and bytes
//! through the core's. What the core does not know by its exact type is named by a reducer in Python.

use crate::raised::{Raised, raised};
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::*;
use pyo3::prelude::*;
use squall_core::key;
use std::slice;

/// The hash of one value.
///
/// # Safety
/// `value` is a live object; the interpreter lock is held.
#[inline(always)]
pub unsafe fn of(value: *mut PyObject) -> Result<u64, Raised> {
    unsafe {
        if PyUnicode_CheckExact(value) != 0 {
            if PyUnicode_IS_COMPACT_ASCII(value) != 0 {
                let length = (*(value as *mut PyASCIIObject)).length as usize;
                let bytes = (value as *mut PyASCIIObject).add(1) as *const u8;
                return Ok(key::text(slice::from_raw_parts(bytes, length)));
            }
            return text(value);
        }
        if PyLong_CheckExact(value) != 0 {
            let mut overflow = 0;
            let number = PyLong_AsLongLongAndOverflow(value, &mut overflow);
            if overflow == 0 {
                return Ok(key::int(number));
            }
        }
        other(value)
    }
}

/// The hash of several fields: that of their tuple.
///
/// # Safety
/// As of [`of`].
pub unsafe fn of_sequence(values: impl Iterator<Item = *mut PyObject>) -> Result<u64, Raised> {
    let mut mixer = key::Sequence::new(key::TAG_SEQUENCE);
    for value in values {
        mixer.push(unsafe { of(value)? });
    }
    Ok(mixer.finish())
}

#[cold]
unsafe fn text(value: *mut PyObject) -> Result<u64, Raised> {
    unsafe {
        let mut length = 0;
        let bytes = PyUnicode_AsUTF8AndSize(value, &mut length);
        if !bytes.is_null() {
            return Ok(key::text(slice::from_raw_parts(bytes as *const u8, length as usize)));
        }
        PyErr_Clear(); // lone surrogates: by code points all the same
        let encoded = PyUnicode_AsEncodedString(value, c"utf-8".as_ptr(), c"surrogatepass".as_ptr());
        if encoded.is_null() {
            return Err(Raised);
        }
        let hash = key::text(bytes_of(encoded));
        Py_DECREF(encoded);
        Ok(hash)
    }
}

unsafe fn bytes_of<'a>(value: *mut PyObject) -> &'a [u8] {
    unsafe { slice::from_raw_parts(PyBytes_AsString(value) as *const u8, PyBytes_Size(value) as usize) }
}

#[inline(never)]
unsafe fn other(value: *mut PyObject) -> Result<u64, Raised> {
    unsafe {
        if value == Py_None() {
            return Ok(key::NONE);
        }
        if PyFloat_CheckExact(value) != 0 {
            return Ok(key::float(PyFloat_AsDouble(value)));
        }
        if PyLong_CheckExact(value) != 0 || PyBool_Check(value) != 0 {
            return number(value);
        }
        if PyBytes_CheckExact(value) != 0 {
            return Ok(key::bytes(bytes_of(value)));
        }
        if PyTuple_CheckExact(value) != 0 || PyList_CheckExact(value) != 0 {
            return nested(value, |value| {
                let length = PySequence_Size(value);
                let items: Result<Vec<u64>, Raised> = (0..length)
                    .map(|i| {
                        let item = PySequence_GetItem(value, i);
                        if item.is_null() {
                            return Err(Raised);
                        }
                        let hash = of(item);
                        Py_DECREF(item);
                        hash
                    })
                    .collect();
                let mut mixer = key::Sequence::new(key::TAG_SEQUENCE);
                items?.into_iter().for_each(|item| mixer.push(item));
                Ok(mixer.finish())
            });
        }
        if PyAnySet_Check(value) != 0 {
            return nested(value, |value| Ok(key::unordered(key::TAG_SET, each(value)?.into_iter())));
        }
        if PyDict_CheckExact(value) != 0 {
            return nested(value, |value| {
                let items = PyDict_Items(value);
                if items.is_null() {
                    return Err(Raised);
                }
                let hashes = each(items);
                Py_DECREF(items);
                Ok(key::unordered(key::TAG_DICT, hashes?.into_iter()))
            });
        }
        reduced(value)
    }
}

unsafe fn nested(value: *mut PyObject, hash: impl FnOnce(*mut PyObject) -> Result<u64, Raised>) -> Result<u64, Raised> {
    unsafe {
        if Py_EnterRecursiveCall(c" while hashing a key".as_ptr()) != 0 {
            return Err(Raised);
        }
        let result = hash(value);
        Py_LeaveRecursiveCall();
        result
    }
}

unsafe fn each(iterable: *mut PyObject) -> Result<Vec<u64>, Raised> {
    unsafe {
        let iterator = PyObject_GetIter(iterable);
        if iterator.is_null() {
            return Err(Raised);
        }
        let mut hashes = Vec::new();
        let result = loop {
            let item = PyIter_Next(iterator);
            if item.is_null() {
                break if PyErr_Occurred().is_null() { Ok(hashes) } else { Err(Raised) };
            }
            let hash = of(item);
            Py_DECREF(item);
            match hash {
                Ok(hash) => hashes.push(hash),
                Err(error) => break Err(error),
            }
        };
        Py_DECREF(iterator);
        result
    }
}

unsafe fn number(value: *mut PyObject) -> Result<u64, Raised> {
    let hash = unsafe { PyObject_Hash(value) };
    if hash == -1 { Err(Raised) } else { Ok(key::number(hash as i64)) }
}

/// The named value is hashed in place of the other.
const TAG_SAME: i64 = -1;
/// The named value is a number's modular hash.
const TAG_NUMBER: i64 = -2;
/// The value is not a number.
const TAG_NAN: i64 = -3;

/// What the reducer names values by, beside the core's tags: their values are not mixed in.
pub const UNMIXED_TAGS: [(&str, i64); 3] = [("TAG_SAME", TAG_SAME), ("TAG_NUMBER", TAG_NUMBER), ("TAG_NAN", TAG_NAN)];

static REDUCER: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();

/// A value that only Python can name: (tag, value that the core knows).
#[cold]
unsafe fn reduced(value: *mut PyObject) -> Result<u64, Raised> {
    // SAFETY: the interpreter lock is held.
    let py = unsafe { Python::assume_attached() };
    let Some(reducer) = REDUCER.get(py) else {
        return Err(raised(py, PyTypeError::new_err("no key reducer is installed")));
    };
    let value = unsafe { Bound::from_borrowed_ptr(py, value) };
    let named = reducer.call1(py, (value,)).and_then(|named| named.extract::<(i64, Py<PyAny>)>(py));
    let (tag, known) = named.map_err(|error| raised(py, error))?;
    match tag {
        TAG_SAME => return unsafe { nested(known.as_ptr(), |known| of(known)) },
        TAG_NUMBER => return Ok(key::number(known.extract::<i64>(py).map_err(|error| raised(py, error))?)),
        TAG_NAN => return Ok(key::NAN),
        _ => {}
    }
    unsafe {
        nested(known.as_ptr(), |known| {
            let mut mixer = key::Sequence::new(tag as u64);
            mixer.push(of(known)?);
            Ok(mixer.finish())
        })
    }
}

/// Installs the reducer; the first one stays.
#[pyfunction]
pub fn set_key_reducer(py: Python<'_>, reduce: Py<PyAny>) {
    let _ = REDUCER.set(py, reduce);
}

/// The 64-bit key hash of a value (semantics 29).
#[pyfunction]
pub fn stable_hash(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    unsafe { of(value.as_ptr()) }.map_err(|error| error.take(value.py()))
}

/// The number of the task that owns the hash's key range (semantics 30).
#[pyfunction]
pub fn task_of(hash: u64, tasks: u32) -> u32 {
    key::task_of(hash, tasks)
}
