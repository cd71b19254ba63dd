//! A Python callable taken apart once, so that a call is one vectorcall with `self` in place.

use pyo3::ffi::*;
use pyo3::prelude::*;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

/// A function and, of a bound method, its `self`; owns both.
pub struct Method {
    function: *mut PyObject,
    this: *mut PyObject,
}

impl Method {
    /// Takes a bound method apart; keeps any other callable as it is.
    pub fn of(callable: &Bound<'_, PyAny>) -> Method {
        // SAFETY: `callable` is live; the references taken are owned.
        unsafe {
            let object = callable.as_ptr();
            let (function, this) = match PyMethod_Check(object) {
                0 => (object, null_mut()),
                _ => (PyMethod_GET_FUNCTION(object), PyMethod_GET_SELF(object)),
            };
            Py_INCREF(function);
            Py_XINCREF(this);
            Method { function, this }
        }
    }

    /// Calls with up to three arguments; a new reference or null.
    ///
    /// # Safety
    /// The arguments are live; the interpreter lock is held.
    #[inline(always)]
    pub unsafe fn call<const N: usize>(&self, arguments: [*mut PyObject; N]) -> *mut PyObject {
        const MOST: usize = 3;
        const { assert!(N <= MOST) };
        let mut stack = [MaybeUninit::<*mut PyObject>::uninit(); MOST + 2];
        for (i, argument) in arguments.into_iter().enumerate() {
            stack[i + 2].write(argument);
        }
        unsafe { self.call_stack(&mut stack, N) }
    }

    /// Calls with the `n` arguments that lie in `stack` from its third place on.
    ///
    /// # Safety
    /// As of [`Method::call`]; `stack` has at least `n + 2` places.
    #[inline(always)]
    pub unsafe fn call_stack(&self, stack: &mut [MaybeUninit<*mut PyObject>], n: usize) -> *mut PyObject {
        unsafe {
            if self.this.is_null() {
                let arguments = stack.as_ptr().add(2) as *const *mut PyObject;
                return PyObject_Vectorcall(self.function, arguments, n | PY_VECTORCALL_ARGUMENTS_OFFSET, null_mut());
            }
            stack[1].write(self.this);
            let arguments = stack.as_ptr().add(1) as *const *mut PyObject;
            PyObject_Vectorcall(self.function, arguments, (n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, null_mut())
        }
    }

    /// The callable, put together again (for offloaded calls).
    pub fn callable(&self, py: Python<'_>) -> Py<PyAny> {
        // SAFETY: both are live as long as the method.
        unsafe {
            if self.this.is_null() {
                return Bound::from_borrowed_ptr(py, self.function).unbind();
            }
            Bound::from_owned_ptr(py, PyMethod_New(self.function, self.this)).unbind()
        }
    }
}

impl Drop for Method {
    fn drop(&mut self) {
        // SAFETY: owned; methods die under the interpreter lock.
        unsafe {
            Py_DECREF(self.function);
            Py_XDECREF(self.this);
        }
    }
}
