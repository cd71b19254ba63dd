//! Roots: opened, ended, tried again, given up.
//!
//! The ledger decides when a tree ends and `retry` what follows a failure; this file carries it out: counters,
//! callbacks of the spout, back-off timers, dead letters.

use crate::call::{Kind, offload};
use crate::core::{Core, Due, Replay, exception};
use crate::emit::Anchor;
use crate::fault;
use crate::method::Method;
use crate::raised::{Raised, raised};
use crate::row::PyRow;
use crate::spout::SpoutState;
use crate::task::{Cur, OutStream, Task};
use crate::tuple::Tuple;
use crate::weight;
use pyo3::ffi::*;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use squall_core::ids::RootId;
use squall_core::retry::{self, Action, Verdict};
use squall_core::route::Payload;
use std::cell::Cell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::rc::Rc;

/// Roots between two that are weighed.
const WEIGH_EVERY: u32 = 255;
/// Pause of a retry that found the ledger full, and the longest of an uncounted one in a drain.
const SHORT_WAIT_NS: u64 = 10_000_000;
/// What the ledger and a mailbox take for a root, beside its values.
const ROOT_BYTES: u64 = 176;

/// What the ledger keeps for a root.
pub struct Pending {
    pub spout: u32,
    pub stream: u16,
    pub solo: bool,
    pub attempt: u32,
    /// The task that it was sent to, on a direct stream.
    pub direct: Option<i64>,
    /// Weight of its complete latency; 0 when not sampled.
    pub weight: u32,
    /// Of a dead letter's replay: what the runtime is told by when it has ended; else 0.
    pub replay: u32,
    /// The message id; owned, or null.
    pub id: *mut PyObject,
    /// The values, if the engine can emit them again; else empty.
    pub row: PyRow,
    pub emitted_ns: u64,
}

impl Drop for Pending {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.id.is_null() {
            // SAFETY: owned; entries die under the interpreter lock.
            unsafe { Py_DECREF(self.id) };
        }
    }
}

/// Why roots fail, and what their failing leads to.
pub struct Failure {
    /// Which failure of this worker's life: it links the letters of all roots that it gives up.
    pub number: u64,
    /// The task whose code failed.
    pub task: Rc<Task>,
    /// The exception.
    pub error: Py<PyAny>,
    pub verdict: retry::Failure,
    /// The input that was being worked on.
    pub input: Option<Py<Tuple>>,
    /// Several rows failed in one batch: each is tried alone before anything counts.
    pub together: bool,
}

/// What a spout is told about a message id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Ack,
    Fail,
    Dead,
}

/// A root on its way from a failed try to the next one.
pub struct Retry {
    pub spout: Rc<Task>,
    pub pending: Pending,
}

/// A root whose dead letter is not on disk yet.
pub struct Buried {
    pub spout: Rc<Task>,
    pub pending: Pending,
}

impl Task {
    /// Opens a root and sends its row, as user code of the spout asked. `id` is borrowed.
    pub fn emit_root(
        &self,
        py: Python<'_>,
        stream: &OutStream,
        row: PyRow,
        id: Option<&Bound<'_, PyAny>>,
        direct: Option<i64>,
    ) -> PyResult<()> {
        self.check_fits(stream, &row, direct)?;
        let id = id.filter(|id| !id.is_none()).map_or(std::ptr::null_mut(), |id| id.as_ptr());
        // SAFETY: `id` is null or live.
        unsafe { self.open_root(stream, row, id, direct) }.map_err(|error| error.take(py))
    }

    /// Whether a row may go out on a stream in this way.
    pub fn check_fits(&self, stream: &OutStream, row: &PyRow, direct: Option<i64>) -> PyResult<()> {
        match direct {
            _ if row.len() != stream.fields.len() => Err(fault::arity(self, stream, row.len())),
            Some(_) if !stream.direct => Err(fault::not_direct(self, stream)),
            None if stream.direct => Err(fault::only_direct(self, stream)),
            _ => Ok(()),
        }
    }

    /// Emits the root of a dead letter again; the runtime is told when it has ended.
    #[cold]
    pub fn replay(&self, py: Python<'_>, replay: &Replay) -> PyResult<()> {
        let core = self.core();
        let stream = &self.streams[replay.stream as usize];
        let row = crate::values::row_of(replay.values.bind(py))?;
        self.check_fits(stream, &row, replay.direct)?;
        if !core.acking {
            // SAFETY: there is no id.
            unsafe { self.open_root(stream, row, std::ptr::null_mut(), replay.direct) }
                .map_err(|error| error.take(py))?;
            core.tell_replayed(replay.handle);
            return Ok(());
        }
        if core.ledger.with(|ledger| ledger.is_full()) {
            return Err(fault::ledger_full(self));
        }
        let pending = Pending {
            spout: self.index,
            stream: stream.number,
            solo: false,
            attempt: 1,
            direct: replay.direct,
            weight: 0,
            replay: replay.handle,
            id: std::ptr::null_mut(),
            row: row.dup(),
            emitted_ns: core.now_ns.get(),
        };
        self.launch(stream, row, pending);
        Ok(())
    }

    /// Opens a root and sends its row. `id` is borrowed or null; the row fits the stream.
    ///
    /// # Safety
    /// `id` is null or live; the interpreter lock is held.
    #[inline(always)]
    pub unsafe fn open_root(
        &self,
        stream: &OutStream,
        row: PyRow,
        id: *mut PyObject,
        direct: Option<i64>,
    ) -> Result<(), Raised> {
        let core = self.core();
        let state = self.spout();
        if !core.acking || (id.is_null() && state.has_fail.get()) {
            return self.send_untracked(stream, row, id, direct);
        }
        if state.has_fail.get() && unsafe { is_unhashable(id) } {
            return Err(fault::raise_unhashable(self, id));
        }
        let (mut attempt, mut solo) = (1, false);
        if state.failed_ids.with(|ids| ids.is_some()) && !id.is_null() {
            (attempt, solo) = state.known_attempt(id);
        }
        let (mut weight, mut emitted_ns) = (0, core.now_ns.get());
        if let Some(sampled) = self.times.sampler.with(|sampler| sampler.hit()) {
            (weight, emitted_ns) = (sampled, core.now_precise_ns());
        }
        match state.weigh_in.get() {
            0 => self.weigh(&row),
            left => state.weigh_in.set(left - 1),
        }
        if !id.is_null() {
            unsafe { Py_INCREF(id) };
        }
        let kept = ManuallyDrop::new(if state.has_fail.get() { PyRow::empty() } else { row.dup() });
        let root = core.ledger.with(|ledger| {
            // SAFETY: every field is written, where it stays. See `Mailbox::push_from`.
            unsafe {
                ledger.open_with(|place| {
                    (*place).spout = self.index;
                    (*place).stream = stream.number;
                    (*place).solo = solo;
                    (*place).attempt = attempt;
                    (*place).direct = direct;
                    (*place).weight = weight;
                    (*place).replay = 0;
                    (*place).id = id;
                    (*place).emitted_ns = emitted_ns;
                    PyRow::relocate(&raw const *kept, &raw mut (*place).row);
                })
            }
        });
        let Some(root) = root else {
            // SAFETY: nobody took them.
            unsafe { Py_XDECREF(id) };
            drop(ManuallyDrop::into_inner(kept));
            return Err(self.ledger_full());
        };
        if solo {
            core.solo.set(core.solo.get() + 1);
        }
        self.send_opened(root, stream, row, direct);
        Ok(())
    }

    /// Opens the root of `pending`, which was opened before, and sends `row`.
    fn launch(&self, stream: &OutStream, row: PyRow, pending: Pending) {
        let core = self.core();
        let (solo, direct) = (pending.solo, pending.direct);
        let root = core.ledger.with(|ledger| ledger.open(pending)).expect("the caller saw room");
        if solo {
            core.solo.set(core.solo.get() + 1);
        }
        self.send_opened(root, stream, row, direct);
    }

    /// Takes one row of some hundreds as a sample of what pending roots weigh.
    #[cold]
    #[inline(never)]
    fn weigh(&self, row: &PyRow) {
        let state = self.spout();
        state.weigh_in.set(WEIGH_EVERY);
        // SAFETY: the interpreter lock is held wherever tuples move.
        let bytes = ROOT_BYTES + weight::of_row(unsafe { Python::assume_attached() }, row);
        state.bytes.with(|mean| mean.weigh(bytes));
    }

    #[cold]
    fn ledger_full(&self) -> Raised {
        // SAFETY: the interpreter lock is held wherever tuples move.
        raised(unsafe { Python::assume_attached() }, fault::ledger_full(self))
    }

    #[inline(always)]
    fn send_opened(&self, root: RootId, stream: &OutStream, row: PyRow, direct: Option<i64>) {
        let core = self.core();
        let state = self.spout();
        state.pending.set(state.pending.get() + 1);
        let cur = Cur { root: Cell::new(root), xor: Cell::new(0) };
        let sent = match direct {
            None => self.send(stream, row, &cur),
            Some(_) => {
                let py = unsafe { Python::assume_attached() };
                self.send_with(stream, row, Anchor::Cur(&cur), direct).map_err(|error| raised(py, error))
            }
        };
        if sent.is_err() {
            return self.fail_unsent(root, cur.xor.get());
        }
        core.end_with(root, cur.xor.get());
    }

    /// The row could not be routed (a key without a stable hash, a custom grouping that raised): its root fails.
    #[cold]
    fn fail_unsent(&self, root: RootId, sent: u64) {
        let py = unsafe { Python::assume_attached() };
        let error = PyErr::fetch(py);
        let core = self.core();
        let task = core.task(self.index);
        let Some(verdict) = core.judge(py, &task, &error, "emit") else { return };
        if verdict.action == Action::Drop {
            self.counts.dropped.set(self.counts.dropped.get() + 1);
            return core.end_with(root, sent);
        }
        let (number, error) = (core.next_failure(), error.into_value(py).into_any());
        let failure = Failure { number, task, error, verdict, input: None, together: false };
        core.fail_root(py, root, &failure);
    }

    #[cold]
    fn send_untracked(
        &self,
        stream: &OutStream,
        row: PyRow,
        id: *mut PyObject,
        direct: Option<i64>,
    ) -> Result<(), Raised> {
        let py = unsafe { Python::assume_attached() };
        let none = crate::emit::unanchored();
        let sent = match direct {
            None => self.send(stream, row, &none).map_err(|error| error.take(py)),
            Some(_) => self.send_with(stream, row, Anchor::Cur(&none), direct),
        };
        let count = match sent {
            Ok(()) => &self.counts.acked,
            Err(error) => {
                // Nobody waits for it and nothing is tried again, but it is told.
                self.core().report(py, self, "emit", error);
                &self.counts.failed
            }
        };
        count.set(count.get() + 1);
        if !id.is_null() {
            unsafe { Py_INCREF(id) };
            self.core().tell(self, Told::Ack, id);
        }
        Ok(())
    }
}

impl Core {
    /// All edges of a root are sent; carries out its end, if they are acked already.
    #[inline(always)]
    fn end_with(&self, root: RootId, sent: u64) {
        if let Some(place) = self.ledger.with(|ledger| ledger.init_place(root, sent)) {
            // SAFETY: the entry is taken out at once.
            unsafe { self.complete(place) };
        }
    }

    /// XORs into a root and carries out its end.
    #[inline(always)]
    pub fn ack_root(&self, root: RootId, xor: u64) {
        if let Some(place) = self.ledger.with(|ledger| ledger.ack_place(root, xor)) {
            // SAFETY: the entry is taken out at once.
            unsafe { self.complete(place) };
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
    unsafe fn complete(&self, place: *const Pending) {
        // SAFETY: each field is taken once; the row leaves first, and it is dropped last, since that may run user code.
        let (mut row, spout, weight, emitted_ns, solo, attempt, replay, id) = unsafe {
            let mut row = MaybeUninit::<PyRow>::uninit();
            PyRow::relocate(&raw const (*place).row, row.as_mut_ptr());
            let ended = &*place;
            (row, ended.spout, ended.weight, ended.emitted_ns, ended.solo, ended.attempt, ended.replay, ended.id)
        };
        let task = &self.tasks.get()[spout as usize];
        let state = task.spout();
        state.pending.set(state.pending.get() - 1);
        task.counts.acked.set(task.counts.acked.get() + 1);
        if weight > 0 {
            let took_ns = self.now_precise_ns().saturating_sub(emitted_ns);
            task.times.complete.with(|latency| latency.record(took_ns, weight));
        }
        if solo {
            self.solo.set(self.solo.get() - 1);
        }
        if replay != 0 {
            self.tell_replayed(replay);
        }
        if self.observed.get() {
            self.observe(task, "acked", id, attempt);
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
    fn callback_raised(&self, task: &Task, place: &str) {
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

    /// What the runtime makes of an exception; None when it means that the worker dies.
    #[cold]
    pub fn judge(&self, py: Python<'_>, task: &Rc<Task>, error: &PyErr, place: &str) -> Option<retry::Failure> {
        task.counts.errors.set(task.counts.errors.get() + 1);
        if !error.is_instance_of::<pyo3::exceptions::PyException>(py) {
            self.die(py, task, error);
            return None;
        }
        let hooks = self.hooks(py);
        let value = exception(py, error);
        let judged =
            hooks.call_method1("failed", (task.index, &value)).and_then(|v| v.extract::<(u8, bool, Option<f64>)>());
        let (action, counts, after) = match judged {
            Ok(judged) => judged,
            Err(fault) => {
                fault.write_unraisable(py, None);
                (0, true, None)
            }
        };
        let action = match action {
            1 => Action::Dead,
            2 => Action::Drop,
            3 => Action::Die,
            _ => Action::Retry,
        };
        if action == Action::Die {
            self.die(py, task, error);
            return None;
        }
        if action != Action::Drop {
            let reported = hooks.call_method1("error", (task.index, place, value));
            if let Err(fault) = reported {
                fault.write_unraisable(py, None);
            }
        }
        Some(retry::Failure { action, counts, after_ns: after.map(|s| (s.max(0.0) * 1e9) as u64) })
    }

    /// Fails the roots of a mailbox entry.
    #[cold]
    pub fn fail_pairs(&self, py: Python<'_>, pairs: &[(RootId, u64)], failure: &Failure) {
        for (root, _) in pairs {
            self.fail_root(py, *root, failure);
        }
    }

    /// Fails one root and does what follows.
    #[cold]
    pub fn fail_root(&self, py: Python<'_>, root: RootId, failure: &Failure) {
        let Some(mut pending) = self.ledger.with(|ledger| ledger.fail(root)) else { return };
        let spout = self.task(pending.spout);
        let state = spout.spout();
        state.pending.set(state.pending.get() - 1);
        if pending.solo {
            self.solo.set(self.solo.get() - 1);
        }
        if self.observed.get() {
            self.observe(&spout, "failed", pending.id, pending.attempt);
        }
        // Without counting nothing is to be found out, so its batch is not taken apart.
        let together = failure.together && failure.verdict.counts;
        let verdict = match together && !pending.solo {
            true => Verdict::Again { after_ns: 0, attempt: pending.attempt },
            false => retry::verdict(failure.verdict, pending.attempt, failure.task.retries),
        };
        pending.solo |= together;
        match verdict {
            Verdict::Again { after_ns, attempt } => {
                pending.attempt = attempt;
                match if state.has_fail.get() { state.remember(py, &pending) } else { Ok(()) } {
                    Ok(()) => self.try_again(spout, pending, self.pause_ns(after_ns, failure.verdict.counts)),
                    Err(error) => {
                        self.report(py, &spout, "fail", error); // its tries cannot be counted
                        self.bury(py, spout, pending, root, failure);
                    }
                }
            }
            Verdict::Dead => self.bury(py, spout, pending, root, failure),
            Verdict::Drop | Verdict::Die => unreachable!("carried out where the failure was judged"),
        }
    }

    /// The back-off, cut short in a drain. What fails without counting may do so for ever, so it never spins.
    fn pause_ns(&self, after_ns: u64, counts: bool) -> u64 {
        match (self.draining.get(), counts) {
            (false, _) => after_ns,
            (true, true) => 0,
            (true, false) => after_ns.min(SHORT_WAIT_NS),
        }
    }

    fn try_again(&self, spout: Rc<Task>, pending: Pending, after_ns: u64) {
        spout.counts.failed.set(spout.counts.failed.get() + 1);
        self.retry_after(spout, pending, after_ns);
    }

    fn retry_after(&self, spout: Rc<Task>, pending: Pending, after_ns: u64) {
        let state = spout.spout();
        state.retrying.set(state.retrying.get() + 1);
        let due = self.now_ns.get() + after_ns;
        self.timers.with(|timers| timers.at(due, Due::Retry(Box::new(Retry { spout, pending }))));
    }

    /// The back-off is over: the engine emits the kept values again, or the spout is told to.
    pub fn retry_now(&self, retry: Retry) {
        let Retry { spout, mut pending } = retry;
        let state = spout.spout();
        state.retrying.set(state.retrying.get() - 1);
        if state.has_fail.get() {
            let id = std::mem::replace(&mut pending.id, std::ptr::null_mut());
            if !id.is_null() {
                self.tell(&spout, Told::Fail, id);
                state.poll_again(self.draining.get());
            }
            return;
        }
        if self.ledger.with(|ledger| ledger.is_full()) {
            return self.retry_after(spout.clone(), pending, SHORT_WAIT_NS);
        }
        let stream = &spout.streams[pending.stream as usize];
        pending.emitted_ns = self.now_ns.get();
        pending.weight = 0;
        let row = pending.row.dup();
        spout.launch(stream, row, pending);
    }

    /// Gives a root up: its letter goes to the log, and only then the spout may move on.
    fn bury(&self, py: Python<'_>, spout: Rc<Task>, pending: Pending, root: RootId, failure: &Failure) {
        let state = spout.spout();
        if !pending.id.is_null() {
            state.forget(pending.id);
        }
        let letter = self.letter(py, &spout, &pending, root, failure);
        state.burying.set(state.burying.get() + 1);
        let handle = self.next_handle.get();
        self.next_handle.set(handle + 1);
        self.buried.with(|buried| buried.insert(handle, Buried { spout, pending }));
        let told = letter.and_then(|letter| self.hooks(py).call_method1("dead", (handle, letter)).map(drop));
        if let Err(fault) = told {
            fault.write_unraisable(py, None);
        }
    }

    fn letter<'py>(
        &self,
        py: Python<'py>,
        spout: &Task,
        pending: &Pending,
        root: RootId,
        failure: &Failure,
    ) -> PyResult<Bound<'py, PyDict>> {
        let letter = PyDict::new(py);
        let failed = &failure.task;
        letter.set_item("component", self.component_name(failed.component))?;
        letter.set_item("task", failed.task_id)?;
        let stream = &spout.streams[pending.stream as usize];
        match &failure.input {
            Some(input) => {
                let input = input.bind(py);
                for name in ["source", "stream", "fields", "values"] {
                    letter.set_item(name, input.getattr(name)?)?;
                }
            }
            None => {
                letter.set_item("source", self.component_name(spout.component))?;
                letter.set_item("stream", &stream.name)?;
                letter.set_item("fields", pyo3::types::PyTuple::new(py, stream.fields.iter())?)?;
                letter.set_item("values", pending.row.to_tuple(py))?;
            }
        }
        letter.set_item("error", failure.error.bind(py))?;
        letter.set_item("attempts", pending.attempt)?;
        letter.set_item("root", root.0)?;
        letter.set_item("failure", failure.number)?;
        letter.set_item("spout", self.component_name(spout.component))?;
        letter.set_item("spout_task", spout.task_id)?;
        letter.set_item("spout_stream", &stream.name)?;
        letter.set_item("direct", pending.direct)?;
        let kept = !spout.spout().has_fail.get();
        letter.set_item("root_values", if kept { Some(pending.row.to_tuple(py)) } else { None })?;
        let id = (!pending.id.is_null()).then(|| unsafe { Bound::from_borrowed_ptr(py, pending.id) });
        letter.set_item("message_id", id)?;
        Ok(letter)
    }

    /// The letter is safe: the spout may move on.
    pub fn rest(&self, handle: u64) {
        let Some(Buried { spout, mut pending }) = self.buried.with(|buried| buried.remove(&handle)) else { return };
        let state = spout.spout();
        state.burying.set(state.burying.get() - 1);
        spout.counts.failed.set(spout.counts.failed.get() + 1);
        spout.counts.dead.set(spout.counts.dead.get() + 1);
        self.tell_replayed(pending.replay);
        let id = std::mem::replace(&mut pending.id, std::ptr::null_mut());
        if id.is_null() {
            return;
        }
        let what = if state.callback(Told::Dead).is_some() { Told::Dead } else { Told::Ack };
        self.tell(&spout, what, id);
    }

    /// A replayed root was acked, or has a letter of its own now.
    #[cold]
    fn tell_replayed(&self, replay: u32) {
        if replay == 0 {
            return;
        }
        let py = unsafe { Python::assume_attached() };
        if let Err(fault) = self.hooks(py).call_method1("replayed", (replay,)) {
            fault.write_unraisable(py, None);
        }
    }

    #[cold]
    fn observe(&self, task: &Task, event: &str, id: *mut PyObject, attempt: u32) {
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

/// Whether the id's type says that it has no hash. What a tuple of such values does is found when it fails.
#[inline(always)]
unsafe fn is_unhashable(id: *mut PyObject) -> bool {
    unsafe { (*Py_TYPE(id)).tp_hash }
        .is_some_and(|hash| hash as usize == PyObject_HashNotImplemented as *const () as usize)
}

impl Core {
    /// Writes the dead letter of a root that was never sent.
    #[cold]
    pub fn bury_at_once(&self, py: Python<'_>, spout: Rc<Task>, pending: Pending, error: PyErr) {
        let verdict = retry::Failure { action: Action::Dead, counts: true, after_ns: None };
        let (number, error) = (self.next_failure(), error.into_value(py).into_any());
        let failure = Failure { number, task: spout.clone(), error, verdict, input: None, together: false };
        self.bury(py, spout, pending, RootId::NONE, &failure);
    }
}
