//! From bytes to Python values.

use super::{Fallback, Texts, made};
use crate::row::{INLINE, PyRow};
use pyo3::ffi::*;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use squall_core::codec::{Fault, MAX_ITEMS, Reader, Token};

/// Why bytes do not become values.
pub enum Reason {
    /// They are none: the sender is broken or hostile.
    Bytes(Fault),
    /// The row has fewer or more values than its stream has fields; the sender's topology is another one.
    Fields,
    /// No type is registered by this name here.
    Unregistered(String),
    /// The `decode` of a registered type raised.
    Decoder(String, PyErr),
    /// The `decode` of a registered type returned something else: of the type by the second name.
    Lied(String, String),
    /// A pickle, which is not asked for here.
    Pickle,
    /// A value that cannot be made here: a day that does not exist, a zone or module that is missing.
    Value(PyErr),
}

/// Values that cannot be made: of which field, and why.
pub struct Undecodable {
    /// The value's place in the row.
    pub field: usize,
    /// Why.
    pub reason: Reason,
}

pub(super) type Made = Result<*mut PyObject, Box<Reason>>;

impl From<Fault> for Box<Reason> {
    #[cold]
    fn from(fault: Fault) -> Self {
        Box::new(Reason::Bytes(fault))
    }
}

impl From<PyErr> for Box<Reason> {
    #[cold]
    fn from(error: PyErr) -> Self {
        Box::new(Reason::Value(error))
    }
}

#[cold]
#[allow(clippy::boxed_local)] // it comes so
fn undecodable(field: usize, reason: Box<Reason>) -> Box<Undecodable> {
    Box::new(Undecodable { field, reason: *reason })
}

/// What rows are read with.
pub struct Around<'a> {
    pub fallback: Fallback,
    pub texts: &'a Texts,
    /// Is called before code of the user runs.
    pub users_code: &'a dyn Fn(),
}

/// Puts the `fields` values whose bytes these are into a row that is empty, if they are of the kinds that nearly all are.
/// Whether they are; else [`decode_row`] tells more, and the row is empty.
///
/// In place, and without what only others need: a row that was just written piece by piece is slow to copy.
#[inline(always)]
pub fn decode_common_row(_py: Python<'_>, bytes: &[u8], fields: usize, texts: &Texts, row: &mut PyRow) -> bool {
    let Ok(mut reader) = Reader::new(bytes) else { return false };
    if fields > INLINE {
        return false;
    }
    for _ in 0..fields {
        let made = match reader.common() {
            // SAFETY: the interpreter lock is held, as `_py` says.
            Some(token) => unsafe { common(token, texts) },
            None => std::ptr::null_mut(),
        };
        if made.is_null() {
            return not_common(row);
        }
        // SAFETY: the row has room for so many fields.
        unsafe { row.push(made) };
    }
    reader.is_at_end() || not_common(row)
}

#[cold]
fn not_common(row: &mut PyRow) -> bool {
    // SAFETY: rows live under the interpreter lock. What could not be made now is tried again, and raises then.
    unsafe { PyErr_Clear() };
    *row = PyRow::empty();
    false
}

/// A value of a common kind: a new reference, or null with an exception.
#[inline(always)]
unsafe fn common(token: Token<'_>, texts: &Texts) -> *mut PyObject {
    unsafe {
        match token {
            Token::Ascii(text) => texts.text(text),
            Token::Int(number) => PyLong_FromLongLong(number),
            Token::Float(number) => PyFloat_FromDouble(number),
            _ => unreachable!("`Reader::common` gives these alone"),
        }
    }
}

/// The row of `fields` values whose bytes these are.
pub fn decode_row(py: Python<'_>, bytes: &[u8], fields: usize, around: &Around<'_>) -> Result<PyRow, Box<Undecodable>> {
    let mut decoder = Decoder::new(bytes, around).map_err(|fault| undecodable(0, fault.into()))?;
    if fields > INLINE {
        return decoder.wide_row(py, fields);
    }
    let mut row = PyRow::empty();
    for field in 0..fields {
        if decoder.reader.is_at_end() {
            return Err(undecodable(field, Box::new(Reason::Fields)));
        }
        // SAFETY: the interpreter lock is held, as `py` says, and the row has room.
        match unsafe { decoder.value() } {
            Ok(value) => unsafe { row.push(value) },
            Err(reason) => return Err(undecodable(field, reason)),
        }
    }
    if decoder.reader.is_at_end() { Ok(row) } else { Err(undecodable(fields, Box::new(Reason::Fields))) }
}

/// The values of a row whose stream is not known, as a tuple.
pub(super) fn decode_all<'py>(
    py: Python<'py>,
    bytes: &[u8],
    fallback: Fallback,
) -> Result<Bound<'py, PyTuple>, Box<Undecodable>> {
    let texts = Texts::default();
    let around = Around { fallback, texts: &texts, users_code: &|| () };
    let mut decoder = Decoder::new(bytes, &around).map_err(|fault| undecodable(0, fault.into()))?;
    let mut values: Vec<Bound<'py, PyAny>> = Vec::new();
    while !decoder.reader.is_at_end() {
        if values.len() == MAX_ITEMS {
            return Err(undecodable(values.len(), Fault::TooMany.into()));
        }
        // SAFETY: the interpreter lock is held.
        match unsafe { decoder.value() } {
            Ok(value) => values.push(unsafe { Bound::from_owned_ptr(py, value) }),
            Err(reason) => return Err(undecodable(values.len(), reason)),
        }
    }
    PyTuple::new(py, values).map_err(|error| undecodable(0, error.into()))
}

/// A new reference, let go of on an error.
struct Owned(*mut PyObject);

impl Owned {
    unsafe fn new(made: *mut PyObject) -> Result<Owned, Box<Reason>> {
        if made.is_null() { Err(raised()) } else { Ok(Owned(made)) }
    }

    fn give(self) -> *mut PyObject {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it owns the reference; the interpreter lock is held while values are made.
        unsafe { Py_DECREF(self.0) }
    }
}

#[cold]
pub(super) fn raised() -> Box<Reason> {
    // SAFETY: the interpreter lock is held while values are made.
    PyErr::fetch(unsafe { Python::assume_attached() }).into()
}

/// Makes the values of one row.
pub(super) struct Decoder<'a> {
    reader: Reader<'a>,
    around: &'a Around<'a>,
}

impl<'a> Decoder<'a> {
    #[inline(always)]
    fn new(bytes: &'a [u8], around: &'a Around<'a>) -> Result<Self, Fault> {
        Ok(Decoder { reader: Reader::new(bytes)?, around })
    }

    #[cold]
    fn wide_row(&mut self, py: Python<'_>, fields: usize) -> Result<PyRow, Box<Undecodable>> {
        let values = (0..fields).map(|field| {
            if self.reader.is_at_end() {
                return Err(undecodable(field, Box::new(Reason::Fields)));
            }
            // SAFETY: the interpreter lock is held; the value is a new reference.
            let value = unsafe { self.value() }.map_err(|reason| undecodable(field, reason))?;
            Ok(unsafe { Bound::<PyAny>::from_owned_ptr(py, value) })
        });
        let values = values.collect::<Result<Vec<_>, _>>()?;
        if !self.reader.is_at_end() {
            return Err(undecodable(fields, Box::new(Reason::Fields)));
        }
        let pointers: Vec<*mut PyObject> = values.iter().map(|value| value.as_ptr()).collect();
        // SAFETY: `values` holds them.
        let row = unsafe { PyRow::from_borrowed(pointers.as_ptr(), fields) };
        row.map_err(|_| undecodable(0, raised()))
    }

    /// Makes one value: a new reference.
    ///
    /// # Safety
    /// The interpreter lock is held.
    #[inline(always)]
    pub unsafe fn value(&mut self) -> Made {
        let made = match self.reader.common() {
            Some(token) => unsafe { common(token, self.around.texts) },
            None => return unsafe { self.other() },
        };
        if made.is_null() { Err(raised()) } else { Ok(made) }
    }

    #[inline(never)]
    unsafe fn other(&mut self) -> Made {
        unsafe {
            let made = match self.reader.token()? {
                Token::Ascii(text) => ascii(text),
                Token::Int(number) => PyLong_FromLongLong(number),
                Token::Float(number) => PyFloat_FromDouble(number),
                Token::None => Py_NewRef(Py_None()),
                Token::Bool(value) => PyBool_FromLong(value.into()),
                Token::Utf8(text) => {
                    PyUnicode_DecodeUTF8(text.as_ptr().cast(), text.len() as Py_ssize_t, std::ptr::null())
                }
                Token::Bytes(bytes) => PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as Py_ssize_t),
                Token::List(items) => return self.list(items),
                Token::Tuple(items) => return self.tuple(items),
                Token::Dict(pairs) => return self.dict(pairs),
                Token::Set(items) => return self.set(PySet_New(std::ptr::null_mut()), items),
                Token::FrozenSet(items) => return self.set(PyFrozenSet_New(std::ptr::null_mut()), items),
                Token::Surrogates(bytes) => {
                    PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), bytes.len() as Py_ssize_t, c"surrogatepass".as_ptr())
                }
                Token::ByteArray(bytes) => {
                    PyByteArray_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as Py_ssize_t)
                }
                Token::Complex(real, imaginary) => PyComplex_FromDoubles(real, imaginary),
                Token::Registered(name) => {
                    let nested = self.inside()?;
                    (self.around.users_code)();
                    return made::registered(Python::assume_attached(), name, nested);
                }
                Token::Time(time) => {
                    let zone = if time.zone { Some(self.inside()?) } else { None };
                    return made::time(Python::assume_attached(), time, zone);
                }
                Token::DateTime(date, time) => {
                    let zone = if time.zone { Some(self.inside()?) } else { None };
                    return made::date_time(Python::assume_attached(), date, time, zone);
                }
                other => {
                    if let Token::Pickle(_) = other {
                        (self.around.users_code)();
                    }
                    return made::plain(Python::assume_attached(), other, self.around.fallback);
                }
            };
            if made.is_null() { Err(raised()) } else { Ok(made) }
        }
    }

    /// The value that belongs to the token just read.
    unsafe fn inside(&mut self) -> Result<Bound<'static, PyAny>, Box<Reason>> {
        self.reader.enter()?;
        let value = unsafe { self.value()? };
        self.reader.leave();
        Ok(unsafe { Bound::from_owned_ptr(Python::assume_attached(), value) })
    }

    #[inline(never)]
    unsafe fn list(&mut self, items: usize) -> Made {
        unsafe {
            self.reader.enter()?;
            let list = Owned::new(PyList_New(items as Py_ssize_t))?;
            for i in 0..items {
                PyList_SET_ITEM(list.0, i as Py_ssize_t, self.value()?);
            }
            self.reader.leave();
            Ok(list.give())
        }
    }

    #[inline(never)]
    unsafe fn tuple(&mut self, items: usize) -> Made {
        unsafe {
            self.reader.enter()?;
            let tuple = Owned::new(PyTuple_New(items as Py_ssize_t))?;
            for i in 0..items {
                PyTuple_SET_ITEM(tuple.0, i as Py_ssize_t, self.value()?);
            }
            self.reader.leave();
            Ok(tuple.give())
        }
    }

    #[inline(never)]
    unsafe fn dict(&mut self, pairs: usize) -> Made {
        unsafe {
            self.reader.enter()?;
            let dict = Owned::new(PyDict_New())?;
            for _ in 0..pairs {
                let key = Owned::new(self.value()?)?;
                let value = Owned::new(self.value()?)?;
                if PyDict_SetItem(dict.0, key.0, value.0) < 0 {
                    return Err(raised());
                }
            }
            self.reader.leave();
            Ok(dict.give())
        }
    }

    #[inline(never)]
    unsafe fn set(&mut self, set: *mut PyObject, items: usize) -> Made {
        unsafe {
            let set = Owned::new(set)?;
            self.reader.enter()?;
            for _ in 0..items {
                let item = Owned::new(self.value()?)?;
                if PySet_Add(set.0, item.0) < 0 {
                    return Err(raised());
                }
            }
            self.reader.leave();
            Ok(set.give())
        }
    }
}

/// Text of ASCII characters, which `text` is known to be.
#[inline(always)]
pub(super) unsafe fn ascii(text: &[u8]) -> *mut PyObject {
    unsafe {
        if text.len() < 2 {
            // The interpreter has one object for each of these.
            return PyUnicode_FromKindAndData(
                PyUnicode_1BYTE_KIND as i32,
                text.as_ptr().cast(),
                text.len() as Py_ssize_t,
            );
        }
        let made = PyUnicode_New(text.len() as Py_ssize_t, 0x7f);
        if !made.is_null() {
            let characters = (made as *mut PyASCIIObject).add(1) as *mut u8;
            std::ptr::copy_nonoverlapping(text.as_ptr(), characters, text.len());
        }
        made
    }
}
