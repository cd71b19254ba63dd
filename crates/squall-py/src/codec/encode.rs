//! From Python values to bytes.

use super::{Fallback, foreign};
use crate::row::PyRow;
use pyo3::ffi::*;
use pyo3::prelude::*;
use pyo3::types::PyType;
use squall_core::codec::{MAX_BYTES, MAX_DEPTH, MAX_ITEMS, Writer};
use std::slice;

/// Why a value has no bytes.
pub enum Cause {
    /// Nobody said how instances of its type are written.
    Type(Py<PyType>),
    /// The row takes more than [`MAX_BYTES`].
    TooLong,
    /// More than [`MAX_ITEMS`] values lie inside of others.
    TooMany,
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
    /// It changed while it was written.
    Changed,
    /// The `encode` of a registered type raised, or pickling did.
    Encoder(String, PyErr),
    /// The `encode` of a registered type returned the instance that it was given.
    Itself(String),
    /// The interpreter raised.
    Raised(PyErr),
    /// Python code would have to run, and must not ([`Fallback::NoPython`]).
    NeedsPython,
}

/// A value that cannot be written: which field it is in, where in it, and why.
pub struct Unencodable {
    /// Its place in the row.
    pub field: usize,
    /// The way to it from the field's value, innermost step first.
    pub path: Vec<String>,
    /// Why.
    pub cause: Cause,
}

impl Unencodable {
    #[cold]
    pub(super) fn new(cause: Cause) -> Box<Self> {
        Box::new(Unencodable { field: 0, path: Vec::new(), cause })
    }

    #[cold]
    pub(super) fn at(mut self: Box<Self>, step: impl FnOnce() -> String) -> Box<Self> {
        if !matches!(self.cause, Cause::NeedsPython) {
            self.path.push(step()); // showing it may run Python too
        }
        self
    }
}

impl From<PyErr> for Box<Unencodable> {
    #[cold]
    fn from(error: PyErr) -> Self {
        Unencodable::new(Cause::Raised(error))
    }
}

pub(super) type Written = Result<(), Box<Unencodable>>;

/// Appends the values of a row if no Python code is needed for that; on an error `out` holds some of them.
#[inline(always)]
pub fn encode_plain_row(row: &PyRow, out: &mut Vec<u8>) -> Written {
    // SAFETY: the interpreter lock is held wherever rows are.
    let py = unsafe { Python::assume_attached() };
    encode_row(py, row, Fallback::NoPython, out)
}

/// Appends the values of a row; on an error `out` holds some of them.
#[inline(always)]
pub fn encode_row(py: Python<'_>, row: &PyRow, fallback: Fallback, out: &mut Vec<u8>) -> Written {
    let most = out.len() + MAX_BYTES;
    let mut encoder = Encoder { out, most, items_left: MAX_ITEMS, depth_left: MAX_DEPTH, fallback };
    for field in 0..row.len() {
        // SAFETY: the row holds its values, and `py` says that the interpreter lock is held.
        if let Err(trouble) = unsafe { encoder.value(row.get(field)) } {
            return Err(in_field(trouble, field));
        }
    }
    let _ = py;
    if encoder.out.len() > most { Err(in_field(Unencodable::new(Cause::TooLong), row.len() - 1)) } else { Ok(()) }
}

#[cold]
fn in_field(mut trouble: Box<Unencodable>, field: usize) -> Box<Unencodable> {
    trouble.field = field;
    trouble
}

/// A reference that is held while Python code may let go of others.
pub(super) struct Held(*mut PyObject);

impl Held {
    /// # Safety
    /// `value` is a live object; the interpreter lock is held as long as this lives.
    pub unsafe fn new(value: *mut PyObject) -> Held {
        unsafe { Py_INCREF(value) };
        Held(value)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: it owns the reference.
        unsafe { Py_DECREF(self.0) }
    }
}

/// Writes the values of one row.
pub(super) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    most: usize,
    items_left: usize,
    depth_left: usize,
    pub fallback: Fallback,
}

impl Encoder<'_> {
    /// Where the next value goes.
    #[inline(always)]
    pub fn writer(&mut self) -> Writer<'_> {
        Writer(self.out)
    }

    /// Writes one value.
    ///
    /// # Safety
    /// `value` is a live object, and the interpreter lock is held. It may be borrowed from a container that user code can
    /// reach: whatever runs Python holds it first.
    #[inline(always)]
    pub unsafe fn value(&mut self, value: *mut PyObject) -> Written {
        unsafe {
            let kind = Py_TYPE(value);
            if kind == &raw mut PyUnicode_Type {
                if PyUnicode_IS_COMPACT_ASCII(value) != 0 {
                    let length = (*(value as *mut PyASCIIObject)).length as usize;
                    self.fits(length)?;
                    let bytes = (value as *mut PyASCIIObject).add(1) as *const u8;
                    self.writer().ascii(slice::from_raw_parts(bytes, length));
                    return Ok(());
                }
                return self.text(value);
            }
            if kind == &raw mut PyLong_Type {
                let mut overflow = 0;
                let number = PyLong_AsLongLongAndOverflow(value, &mut overflow);
                if overflow == 0 {
                    self.writer().int(number);
                    return Ok(());
                }
                return self.big_int(value);
            }
            if kind == &raw mut PyFloat_Type {
                self.writer().float(PyFloat_AS_DOUBLE(value));
                return Ok(());
            }
            self.other(value, kind)
        }
    }

    #[inline(never)]
    unsafe fn other(&mut self, value: *mut PyObject, kind: *mut PyTypeObject) -> Written {
        unsafe {
            if value == Py_None() {
                self.writer().none();
            } else if kind == &raw mut PyBool_Type {
                self.writer().bool(value == Py_True());
            } else if kind == &raw mut PyBytes_Type {
                let length = PyBytes_Size(value) as usize;
                self.fits(length)?;
                self.writer().bytes(slice::from_raw_parts(PyBytes_AsString(value) as *const u8, length));
            } else if kind == &raw mut PyList_Type {
                return self.list(value);
            } else if kind == &raw mut PyDict_Type {
                return self.dict(value);
            } else if kind == &raw mut PyTuple_Type {
                return self.tuple(value);
            } else if (kind == &raw mut PySet_Type || kind == &raw mut PyFrozenSet_Type)
                && self.fallback != Fallback::NoPython
            {
                return self.set(value, kind == &raw mut PyFrozenSet_Type);
            } else if kind == &raw mut PyByteArray_Type {
                let length = PyByteArray_Size(value) as usize;
                self.fits(length)?;
                self.writer().byte_array(slice::from_raw_parts(PyByteArray_AsString(value) as *const u8, length));
            } else if kind == &raw mut PyComplex_Type {
                self.writer().complex(PyComplex_RealAsDouble(value), PyComplex_ImagAsDouble(value));
            } else if self.fallback == Fallback::NoPython {
                return Err(Unencodable::new(Cause::NeedsPython));
            } else {
                let _held = Held::new(value);
                let py = Python::assume_attached();
                return foreign::write(self, &Bound::from_borrowed_ptr(py, value));
            }
            Ok(())
        }
    }

    /// Whether so many bytes more are within the limit.
    #[inline(always)]
    pub fn fits(&self, bytes: usize) -> Written {
        if bytes > self.most.saturating_sub(self.out.len()) {
            return Err(Unencodable::new(Cause::TooLong));
        }
        Ok(())
    }

    /// One level down, with so many values.
    pub fn enter(&mut self, items: usize) -> Written {
        if self.depth_left == 0 {
            return Err(Unencodable::new(Cause::TooDeep));
        }
        let Some(items_left) = self.items_left.checked_sub(items) else {
            return Err(Unencodable::new(Cause::TooMany));
        };
        self.depth_left -= 1;
        self.items_left = items_left;
        Ok(())
    }

    /// Back up.
    pub fn leave(&mut self) {
        self.depth_left += 1;
    }

    /// An item; a container of many small ones is looked at for its size at each.
    #[inline(always)]
    unsafe fn item(&mut self, item: *mut PyObject) -> Written {
        unsafe { self.value(item)? };
        self.fits(0)
    }

    #[inline(never)]
    unsafe fn text(&mut self, value: *mut PyObject) -> Written {
        unsafe {
            let length = PyUnicode_GetLength(value); // makes its characters known where they are not yet
            if length < 0 {
                return Err(raised());
            }
            self.fits(length as usize)?;
            let (data, length) = (PyUnicode_DATA(value), length as usize);
            let mut writer = Writer(self.out);
            // Its kind is the number of bytes a character.
            match PyUnicode_KIND(value) {
                1 => {
                    let latin1 = slice::from_raw_parts(data as *const u8, length);
                    match latin1.is_ascii() {
                        true => writer.ascii(latin1), // not compact: one of the interpreter's old strings
                        false => writer.text(latin1.iter().map(|character| u32::from(*character))),
                    }
                }
                2 => {
                    let characters = slice::from_raw_parts(data as *const u16, length);
                    writer.text(characters.iter().map(|character| u32::from(*character)));
                }
                _ => writer.text(slice::from_raw_parts(data as *const u32, length).iter().copied()),
            }
            self.fits(0)
        }
    }

    #[cold]
    unsafe fn big_int(&mut self, value: *mut PyObject) -> Written {
        if self.fallback == Fallback::NoPython {
            return Err(Unencodable::new(Cause::NeedsPython));
        }
        // SAFETY: as the caller promises; exact integers run no user code.
        let value = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), value) };
        let bytes = foreign::bytes_of_int(&value)?;
        self.fits(bytes.len())?;
        self.writer().big_int(&bytes);
        Ok(())
    }

    #[inline(never)]
    unsafe fn list(&mut self, list: *mut PyObject) -> Written {
        unsafe {
            let length = PyList_GET_SIZE(list);
            self.enter(length as usize)?;
            let _held = Held::new(list);
            self.writer().list(length as usize);
            for i in 0..length {
                if PyList_GET_SIZE(list) != length {
                    return Err(Unencodable::new(Cause::Changed));
                }
                if let Err(trouble) = self.item(PyList_GET_ITEM(list, i)) {
                    return Err(trouble.at(|| format!("[{i}]")));
                }
            }
            self.leave();
            if PyList_GET_SIZE(list) == length { Ok(()) } else { Err(Unencodable::new(Cause::Changed)) }
        }
    }

    #[inline(never)]
    unsafe fn tuple(&mut self, tuple: *mut PyObject) -> Written {
        unsafe {
            let length = PyTuple_GET_SIZE(tuple);
            self.enter(length as usize)?;
            let _held = Held::new(tuple);
            self.writer().tuple(length as usize);
            for i in 0..length {
                if let Err(trouble) = self.item(PyTuple_GET_ITEM(tuple, i)) {
                    return Err(trouble.at(|| format!("[{i}]")));
                }
            }
            self.leave();
            Ok(())
        }
    }

    #[inline(never)]
    unsafe fn dict(&mut self, dict: *mut PyObject) -> Written {
        unsafe {
            let length = PyDict_Size(dict);
            self.enter(2 * length as usize)?;
            let _held = Held::new(dict);
            self.writer().dict(length as usize);
            let (mut position, mut pairs) = (0, 0);
            let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
            while PyDict_Next(dict, &mut position, &mut key, &mut value) != 0 {
                // What the key's type runs may take both out of the dict.
                let _pair = (Held::new(key), Held::new(value));
                if let Err(trouble) = self.item(key) {
                    return Err(trouble.at(|| format!(" key {}", foreign::repr_of(key))));
                }
                if let Err(trouble) = self.item(value) {
                    return Err(trouble.at(|| format!("[{}]", foreign::repr_of(key))));
                }
                pairs += 1;
                if pairs > length || PyDict_Size(dict) != length {
                    return Err(Unencodable::new(Cause::Changed));
                }
            }
            self.leave();
            if pairs == length { Ok(()) } else { Err(Unencodable::new(Cause::Changed)) }
        }
    }

    #[inline(never)]
    unsafe fn set(&mut self, set: *mut PyObject, frozen: bool) -> Written {
        unsafe {
            let length = PySet_Size(set) as usize;
            self.enter(length)?;
            match frozen {
                true => self.writer().frozen_set(length),
                false => self.writer().set(length),
            }
            let set = Bound::from_borrowed_ptr(Python::assume_attached(), set);
            let mut items = 0;
            for item in set.try_iter()? {
                // A set that changed says so by an error of its iterator.
                let item = item.map_err(|_| Unencodable::new(Cause::Changed))?;
                if let Err(trouble) = self.item(item.as_ptr()) {
                    return Err(trouble.at(|| format!(" item {}", foreign::repr_of(item.as_ptr()))));
                }
                items += 1;
            }
            self.leave();
            if items == length { Ok(()) } else { Err(Unencodable::new(Cause::Changed)) }
        }
    }
}

#[cold]
fn raised() -> Box<Unencodable> {
    // SAFETY: the interpreter lock is held while values are written.
    PyErr::fetch(unsafe { Python::assume_attached() }).into()
}
