//! Interior mutability for state that only the run loop's thread touches.

use std::cell::UnsafeCell;

/// A cell without a borrow flag.
///
/// The rule that makes it sound: the closure given to [`Local::with`] must not call out (no user
/// code, no interpreter, no drop of a payload), so that no second borrow can begin while one lives.
#[derive(Default)]
pub struct Local<T>(UnsafeCell<T>);

impl<T> Local<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Local(UnsafeCell::new(value))
    }

    /// Lends the value to `f`, which must not call out.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the type is not Sync, and `f` does not re-enter (see the type's rule).
        f(unsafe { &mut *self.0.get() })
    }

    /// Puts `value` in and gives back what was there.
    pub fn replace(&self, value: T) -> T {
        self.with(|old| std::mem::replace(old, value))
    }
}
