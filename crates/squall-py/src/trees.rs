//! How trees end, and what their spouts are told of it.

use crate::call::{Kind, offload};
use crate::core::Core;
use crate::method::Method;
use crate::roots::Pending;
use crate::row::PyRow;
use crate::spout::SpoutState;
use crate::task::Task;
use pyo3::ffi::*;
use pyo3::prelude::*;
use pyo3::types::PyList;
use squall_core::ids::RootId;
use squall_core::route::Payload;
use squall_core::trace::{End, Note};
use std::mem::MaybeUninit;

/// What a spout is told about a message id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Ack,
    Fail,
    Dead,
}

impl Core {
    /// All edges of a root are sent; carries out its end, if they are acked already.
    #[inline(always)]
    pub fn end_with(&self, root: RootId, sent: u64) {
        if let Some(place) = self.ledger.with(|ledger| ledger.init_place(root, sent)) {
            // SAFETY: the entry is taken out at once.
            unsafe { self.complete(root, place) };
        }
    }

    /// XORs into a root and carries out its end; of another worker's root, tells that worker.
    #[inline(always)]
    pub fn ack_root(&self, root: RootId, xor: u64) {
        if root.incarnation() != self.incarnation {
            return self.ack_over(root, xor);
        }
        if let Some(place) = self.ledger.with(|ledger| ledger.ack_place(root, xor)) {
            // SAFETY: the entry is taken out at once.
            unsafe { self.complete(root, place) };
        }
    }

    /// Acks a mailbox entry; `xor` is of the edges anchored to it.
    #[inline(always)]
    pub fn ack_msg(&self, root: RootId, edge: u64, xor: u64) {
        if !root.is_tracked() {
            return;
        }
        if root.is_bundle() {
            for (root, edge) in self.bundles.with(|bundles| bundles.take(root)).iter() {
                self.ack_root(*root, edge ^ xor);
            }
            return;
        }
        self.ack_root(root, edge ^ xor);
    }

    /// A tree ended well.
    ///
    /// # Safety
    /// `place` is the entry of a tree that has just been closed; it is taken out here.
    #[inline(always)]
    unsafe fn complete(&self, root: RootId, place: *const Pending) {
        // SAFETY: each field is taken once; the row leaves first, and it is dropped last, since that may run user code.
        let (mut row, spout, weight, emitted_ns, solo, attempt, replay, nth, id) = unsafe {
            let mut row = MaybeUninit::<PyRow>::uninit();
            PyRow::relocate(&raw const (*place).row, row.as_mut_ptr());
            let ended = &*place;
            (
                row,
                ended.spout,
                ended.weight,
                ended.emitted_ns,
                ended.solo,
                ended.attempt,
                ended.replay,
                ended.place,
                ended.id,
            )
        };
        let task = &self.tasks.get()[spout as usize];
        let state = task.spout();
        state.pending.set(state.pending.get() - 1);
        task.counts.acked.set(task.counts.acked.get() + 1);
        if weight > 0 {
            let took_ns = self.now_precise_ns().saturating_sub(emitted_ns);
            task.times.complete.with(|latency| latency.record(took_ns, weight));
        }
        if state.ordered.get() & (replay == 0) {
            state.end(nth);
        }
        if solo | (replay != 0) | self.ends_matter.get() {
            self.tell_of_end(root, task, solo, replay, id, attempt);
        }
        if !id.is_null() {
            state.forget(id);
            self.tell(task, Told::Ack, id);
        }
        // SAFETY: taken out above.
        unsafe { row.assume_init_drop() };
    }

    /// Tells a spout about one of its ids, between two of its calls. Consumes the reference.
    #[inline(always)]
    pub fn tell(&self, task: &Task, what: Told, id: *mut PyObject) {
        let state = task.spout();
        if let (Told::Ack, Some(method), false) = (what, state.plain_ack(), state.polling.get())
            && self.is_on_loop()
        {
            return self.call_back(task, state, method, what, id);
        }
        if what == Told::Ack && state.collects_acks.get() {
            state.acked.with(|ids| ids.push(id));
            return self.wake_from_elsewhere();
        }
        match state.callback(what) {
            // SAFETY: the reference is owned by us.
            None => unsafe { Py_DECREF(id) },
            Some(_) if state.polling.get() || !self.is_on_loop() => {
                state.later.with(|later| later.push((what, id)));
                self.wake_from_elsewhere();
            }
            Some(method) if task.is_offloaded() => self.call_back_offloaded(task, method, what, id),
            Some(method) => self.call_back(task, state, method, what, id),
        }
    }

    #[inline(always)]
    fn call_back(&self, task: &Task, state: &SpoutState, method: &Method, what: Told, id: *mut PyObject) {
        // SAFETY: `id` is owned by us; the method lives as long as the task.
        unsafe {
            let outer = self.enter(task);
            let result = method.call([id]);
            self.leave(outer);
            if result.is_null() {
                self.callback_raised(task, state.name_of(what));
            } else {
                Py_DECREF(result);
            }
            Py_DECREF(id);
        }
    }

    #[cold]
    fn call_back_offloaded(&self, task: &Task, method: &Method, what: Told, id: *mut PyObject) {
        let py = unsafe { Python::assume_attached() };
        let id = unsafe { Bound::from_owned_ptr(py, id) };
        let kind = match what {
            Told::Ack => Kind::Ack,
            Told::Fail => Kind::Fail,
            Told::Dead => Kind::Dead,
        };
        offload(py, &self.task(task.index), kind, method.callable(py), vec![id.unbind()]);
    }

    #[cold]
    pub fn callback_raised(&self, task: &Task, place: &str) {
        let py = unsafe { Python::assume_attached() };
        self.report(py, task, place, PyErr::fetch(py));
    }

    /// Hands the ids collected for `ack_many` over, and says what waited for the end of a poll.
    pub fn flush_acks(&self, py: Python<'_>, task: &Task) {
        let state = task.spout();
        for (what, id) in state.later.replace(Vec::new()) {
            self.tell(task, what, id);
        }
        let ids = state.acked.replace(Vec::new());
        if ids.is_empty() {
            return;
        }
        // SAFETY: each id is an owned reference; the list takes them over.
        let list = unsafe {
            let list = PyList_New(ids.len() as Py_ssize_t);
            for (i, id) in ids.into_iter().enumerate() {
                PyList_SET_ITEM(list, i as Py_ssize_t, id);
            }
            Bound::from_owned_ptr(py, list).cast_into_unchecked::<PyList>()
        };
        let Some(method) = state.callback(Told::Ack) else { return };
        if task.is_offloaded() {
            offload(py, &self.task(task.index), Kind::Ack, method.callable(py), vec![list.into_any().unbind()]);
            return;
        }
        // SAFETY: the list is live during the call.
        unsafe {
            let outer = self.enter(task);
            let result = method.call([list.as_ptr()]);
            self.leave(outer);
            if result.is_null() {
                self.callback_raised(task, "ack_many");
            } else {
                Py_DECREF(result);
            }
        }
    }

    /// What only some roots need when they end well.
    #[cold]
    #[inline(never)]
    fn tell_of_end(&self, root: RootId, task: &Task, solo: bool, replay: u32, id: *mut PyObject, attempt: u32) {
        self.note(|| Note::Ended { root, end: End::Acked });
        if solo {
            self.solo.set(self.solo.get() - 1);
        }
        self.tell_replayed(replay, true, attempt);
        if self.observed.get() {
            self.observe(task, "acked", id, attempt);
        }
    }

    /// A replayed root was acked, or has a letter of its own now.
    #[cold]
    pub fn tell_replayed(&self, replay: u32, acked: bool, attempt: u32) {
        if replay == 0 {
            return;
        }
        let py = unsafe { Python::assume_attached() };
        if let Err(fault) = self.hooks(py).call_method1("replayed", (replay, acked, attempt)) {
            fault.write_unraisable(py, None);
        }
    }

    #[cold]
    pub fn observe(&self, task: &Task, event: &str, id: *mut PyObject, attempt: u32) {
        let py = unsafe { Python::assume_attached() };
        let id = match id.is_null() {
            true => py.None().into_bound(py),
            false => unsafe { Bound::from_borrowed_ptr(py, id) },
        };
        let told = self.hooks(py).call_method1("observe", (event, task.index, id, attempt));
        if let Err(fault) = told {
            fault.write_unraisable(py, None);
        }
    }
}
