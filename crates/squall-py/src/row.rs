//! A row of Python values: the payload that the core moves. Four references lie inline, so that a tuple on its
//! way is a plain struct; a wider row is one Python tuple.
//!
//! The price of the inline form is that a row is 40 bytes whatever it holds; a mailbox entry is one cache line.

use crate::keyhash;
use crate::raised::Raised;
use pyo3::ffi::*;
use pyo3::prelude::*;
use squall_core::route::Payload;
use std::mem::MaybeUninit;

/// How many values lie inline.
pub const INLINE: usize = 4;

/// The values of one tuple; owns a reference to each.
pub struct PyRow {
    len: u32,
    values: [MaybeUninit<*mut PyObject>; INLINE],
}

impl PyRow {
    /// A row without values.
    #[inline(always)]
    pub const fn empty() -> PyRow {
        PyRow { len: 0, values: [MaybeUninit::uninit(); INLINE] }
    }

    /// Takes a new reference to each of `len` values.
    ///
    /// # Safety
    /// `values` points to `len` live objects; the interpreter lock is held.
    #[inline(always)]
    pub unsafe fn from_borrowed(values: *const *mut PyObject, len: usize) -> Result<PyRow, Raised> {
        if len > INLINE {
            return unsafe { Self::wide(values, len) };
        }
        let mut row = PyRow { len: len as u32, values: [MaybeUninit::uninit(); INLINE] };
        for i in 0..len {
            unsafe {
                let value = *values.add(i);
                Py_INCREF(value);
                row.values[i].write(value);
            }
        }
        Ok(row)
    }

    /// Takes over one reference.
    #[inline(always)]
    pub fn single(value: *mut PyObject) -> PyRow {
        let mut row = PyRow { len: 1, values: [MaybeUninit::uninit(); INLINE] };
        row.values[0].write(value);
        row
    }

    /// Appends a value to a row that has room for it inline; takes over the reference.
    ///
    /// # Safety
    /// The row has fewer than [`INLINE`] values.
    #[inline(always)]
    pub unsafe fn push(&mut self, value: *mut PyObject) {
        debug_assert!((self.len as usize) < INLINE);
        // SAFETY: as the caller promises.
        unsafe { self.values.get_unchecked_mut(self.len as usize) }.write(value);
        self.len += 1;
    }

    #[cold]
    unsafe fn wide(values: *const *mut PyObject, len: usize) -> Result<PyRow, Raised> {
        unsafe {
            let tuple = PyTuple_New(len as Py_ssize_t);
            if tuple.is_null() {
                return Err(Raised);
            }
            for i in 0..len {
                let value = *values.add(i);
                Py_INCREF(value);
                PyTuple_SET_ITEM(tuple, i as Py_ssize_t, value);
            }
            let mut row = PyRow { len: len as u32, values: [MaybeUninit::uninit(); INLINE] };
            row.values[0].write(tuple);
            Ok(row)
        }
    }

    /// How many values the row has.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the values lie inline.
    #[inline(always)]
    pub fn is_inline(&self) -> bool {
        self.len as usize <= INLINE
    }

    /// Value `i`, borrowed from the row.
    #[inline(always)]
    pub fn get(&self, i: usize) -> *mut PyObject {
        debug_assert!(i < self.len());
        // SAFETY: the first `len` places (or the first, of a wide row) are initialised.
        unsafe {
            if self.is_inline() {
                self.values[i].assume_init()
            } else {
                PyTuple_GET_ITEM(self.values[0].assume_init(), i as Py_ssize_t)
            }
        }
    }

    /// Lays the values of an inline row out as arguments, from the third place on.
    #[inline(always)]
    pub fn lay_out(&self, stack: &mut [MaybeUninit<*mut PyObject>; INLINE + 2]) {
        debug_assert!(self.is_inline());
        // Whatever lies behind the length is copied along and not looked at: cheaper than a loop.
        stack[2] = self.values[0];
        if self.len > 1 {
            stack[3] = self.values[1];
            stack[4] = self.values[2];
            stack[5] = self.values[3];
        }
    }

    /// The row as a Python tuple.
    pub fn to_tuple<'py>(&self, py: Python<'py>) -> Bound<'py, pyo3::types::PyTuple> {
        let values = (0..self.len()).map(|i| unsafe { Bound::from_borrowed_ptr(py, self.get(i)) });
        pyo3::types::PyTuple::new(py, values.collect::<Vec<_>>()).expect("a tuple of the row's length")
    }

    fn references(&self) -> usize {
        if self.is_inline() { self.len() } else { 1 }
    }

    #[inline(never)]
    fn drop_others(&mut self) {
        for i in 0..self.references() {
            // SAFETY: as in `drop`.
            unsafe { Py_DECREF(self.values[i].assume_init()) }
        }
    }
}

impl Drop for PyRow {
    #[inline(always)]
    fn drop(&mut self) {
        // One value is the common case, and a loop costs more than it.
        if self.len == 1 {
            // SAFETY: the row owns one reference to each value; rows live and die under the interpreter lock.
            return unsafe { Py_DECREF(self.values[0].assume_init()) };
        }
        self.drop_others();
    }
}

impl Payload for PyRow {
    type Err = Raised;

    #[inline(always)]
    fn dup(&self) -> PyRow {
        // One value is the common case; all four places at once would wait for the store of the first.
        if self.len == 1 {
            // SAFETY: as in `drop`.
            return unsafe {
                let value = self.values[0].assume_init();
                Py_INCREF(value);
                PyRow::single(value)
            };
        }
        for i in 0..self.references() {
            // SAFETY: as in `drop`.
            unsafe { Py_INCREF(self.values[i].assume_init()) }
        }
        PyRow { len: self.len, values: self.values }
    }

    #[inline(always)]
    unsafe fn relocate(from: *const PyRow, to: *mut PyRow) {
        // SAFETY: as the caller promises; places behind the row's length hold nothing.
        unsafe {
            (*to).len = (*from).len;
            (*to).values[0] = (*from).values[0];
            if (*from).len > 1 {
                (*to).values[1] = (*from).values[1];
                (*to).values[2] = (*from).values[2];
                (*to).values[3] = (*from).values[3];
            }
        }
    }

    #[inline(always)]
    fn key(&self, fields: &[u16]) -> Result<u64, Raised> {
        // SAFETY: the planner checked the numbers against the stream's fields.
        unsafe {
            match fields {
                [field] => keyhash::of(self.get(*field as usize)),
                several => keyhash::of_sequence(several.iter().map(|field| self.get(*field as usize))),
            }
        }
    }

    fn custom(&self, _: u32) -> Result<Vec<u32>, Raised> {
        unreachable!("custom groupings are asked in `emit`, where the source task is known")
    }
}
