//! A Python callable taken apart once, so that a call is one vectorcall with `self` in place.

use pyo3::ffi::*;
use pyo3::prelude::*;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

/// A function and, of a bound method, its `self`; owns both, and the callable they were taken from.
pub struct Method {
    function: *mut PyObject,
    this: *mut PyObject,
    whole: Py<PyAny>,
    /// The function's own entry. Going straight to it saves the interpreter's look-up and its check of the result, which
    /// every call here makes itself.
    entry: vectorcallfunc,
}

impl Method {
    /// Takes a bound method apart; keeps any other callable as it is.
    pub fn of(callable: &Bound<'_, PyAny>) -> Method {
        let part = |name: &str| callable.getattr(name).map_or(null_mut(), Bound::into_ptr);
        let is_bound = callable.get_type().name().is_ok_and(|name| name == "method");
        let (function, this) = match is_bound {
            true => (part("__func__"), part("__self__")),
            false => (callable.clone().into_ptr(), null_mut()),
        };
        // SAFETY: `function` is a live object.
        let entry = unsafe { PyVectorcall_Function(function) }.unwrap_or(PyObject_Vectorcall);
        Method { function, this, whole: callable.clone().unbind(), entry }
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
                return (self.entry)(self.function, arguments, n | PY_VECTORCALL_ARGUMENTS_OFFSET, null_mut());
            }
            stack[1].write(self.this);
            let arguments = stack.as_ptr().add(1) as *const *mut PyObject;
            (self.entry)(self.function, arguments, (n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, null_mut())
        }
    }

    /// The callable itself (for offloaded calls).
    pub fn callable(&self, py: Python<'_>) -> Py<PyAny> {
        self.whole.clone_ref(py)
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
