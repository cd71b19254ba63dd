//! State that the interpreter lock guards.

use squall_core::cell::Local;

/// Says that a value is only touched while the interpreter lock is held.
///
/// A worker's state is reached from the loop's thread, from threads of offloaded calls and from threads of the
/// user's own, always with the lock held; the core never gives it up inside a closure of [`Local::with`].
pub struct Gil<T>(pub T);

// SAFETY: see the type; free-threaded builds are refused when the module is imported.
unsafe impl<T> Send for Gil<T> {}
unsafe impl<T> Sync for Gil<T> {}

impl<T> std::ops::Deref for Gil<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A vector that is built once and read by reference afterwards.
pub struct Fixed<T>(Local<Vec<T>>);

impl<T> Default for Fixed<T> {
    fn default() -> Self {
        Fixed(Local::new(Vec::new()))
    }
}

impl<T> Fixed<T> {
    /// Appends while building; no reference into it may be alive.
    pub fn push(&self, item: T) {
        self.0.with(|items| items.push(item));
    }

    /// The items.
    #[inline(always)]
    pub fn get(&self) -> &[T] {
        // SAFETY: `push` is only called before the first run, when no such slice is held.
        self.0.with(|items| unsafe { &*(items.as_slice() as *const [T]) })
    }

    /// Drops the items, at the end of the worker's life.
    pub fn clear(&self) {
        drop(self.0.replace(Vec::new()));
    }
}
