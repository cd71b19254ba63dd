//! Short texts that came before: keys and words recur, and an object that is there costs less than a new one, with its
//! hash known, too.

use super::decode::ascii;
use pyo3::ffi::*;
use std::cell::Cell;
use std::ptr;

/// Texts of one character are single objects anyway; longer ones than this are told apart by more than two words.
const LENGTHS: std::ops::RangeInclusive<usize> = 2..=16;
const SLOTS_BITS: u32 = 9;
/// Texts that are looked for although few were found.
const TRIAL: i32 = 1 << 10;
/// Texts after a vain trial that are not looked for.
const PAUSE: i32 = 1 << 15;
/// What one that is found is worth, in misses.
const WORTH: i32 = 4;

/// The last short texts that were decoded, at one place each; where few recur it is mostly out of use.
pub struct Texts {
    slots: Box<[Slot]>,
    /// Above zero: the misses that are forgiven. Below: the texts until the next trial.
    credit: Cell<i32>,
}

struct Slot {
    key: Cell<Key>,
    text: Cell<*mut PyObject>,
}

/// All of a short text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    head: u64,
    tail: u64,
    length: usize,
}

impl Key {
    #[inline(always)]
    fn of(text: &[u8]) -> Key {
        let length = text.len();
        let at = |at: usize| u64::from(text[at]);
        let (head, tail) = match (text.first_chunk(), text.last_chunk()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => match (text.first_chunk(), text.last_chunk()) {
                (Some(head), Some(tail)) => (u32::from_le_bytes(*head).into(), u32::from_le_bytes(*tail).into()),
                _ => (at(0) | at(length / 2) << 8, at(length - 1)),
            },
        };
        Key { head, tail, length }
    }

    #[inline(always)]
    fn slot(self) -> usize {
        let mixed = (self.head ^ self.tail.rotate_left(29) ^ self.length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - SLOTS_BITS)) as usize
    }
}

impl Default for Texts {
    fn default() -> Texts {
        let empty = || Slot { key: Cell::new(Key { head: 0, tail: 0, length: 0 }), text: Cell::new(ptr::null_mut()) };
        Texts { slots: (0..1 << SLOTS_BITS).map(|_| empty()).collect(), credit: Cell::new(TRIAL) }
    }
}

impl Texts {
    /// The text of these ASCII characters: a new reference, or null with an exception.
    ///
    /// # Safety
    /// The interpreter lock is held, and `text` is ASCII.
    #[inline(always)]
    pub unsafe fn text(&self, text: &[u8]) -> *mut PyObject {
        let credit = self.credit.get();
        if !LENGTHS.contains(&text.len()) {
            return unsafe { ascii(text) };
        }
        if credit < 0 {
            self.credit.set(if credit == -1 { TRIAL } else { credit + 1 });
            return unsafe { ascii(text) };
        }
        let key = Key::of(text);
        let slot = &self.slots[key.slot()];
        if slot.key.get() != key {
            return unsafe { self.keep(slot, key, text) };
        }
        self.credit.set((credit + WORTH).min(WORTH * TRIAL));
        // SAFETY: a slot with a key of some length holds its text.
        unsafe { Py_NewRef(slot.text.get()) }
    }

    /// Makes a text and has it take the place of another one.
    #[inline(never)]
    unsafe fn keep(&self, slot: &Slot, key: Key, text: &[u8]) -> *mut PyObject {
        let credit = self.credit.get();
        self.credit.set(if credit == 0 { -PAUSE } else { credit - 1 });
        unsafe {
            let made = ascii(text);
            if !made.is_null() {
                slot.key.set(key);
                // A text runs nothing when it goes.
                Py_XDECREF(slot.text.replace(Py_NewRef(made)));
            }
            made
        }
    }
}

impl Drop for Texts {
    fn drop(&mut self) {
        // SAFETY: the interpreter lock is held wherever decoders go.
        self.slots.iter().for_each(|slot| unsafe { Py_XDECREF(slot.text.get()) });
    }
}
