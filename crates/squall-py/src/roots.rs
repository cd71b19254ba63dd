//! Roots on their way out: opened in the ledger, weighed, sent; what cannot be sent fails at once.

use crate::core::Replay;
use crate::emit::Anchor;
use crate::failures::Failure;
use crate::fault;
use crate::raised::{Raised, raised};
use crate::row::PyRow;
use crate::task::{Cur, OutStream, Task};
use crate::trees::Told;
use crate::weight;
use pyo3::ffi::*;
use pyo3::prelude::*;
use squall_core::ids::RootId;
use squall_core::retry::{self, Action};
use squall_core::route::Payload;
use squall_core::suspects::{ALONE_FROM, DEAD_FROM};
use std::cell::Cell;
use std::mem::ManuallyDrop;

/// Roots between two that are weighed.
const WEIGH_EVERY: u32 = 255;
/// What the ledger and a mailbox take for a root, beside its values.
const ROOT_BYTES: u64 = 176;

/// What the ledger keeps for a root.
pub struct Pending {
    pub spout: u32,
    pub stream: u16,
    pub solo: bool,
    /// Deaths of workers while its tuples were executed (semantics 9).
    pub suspicions: u8,
    pub attempt: u32,
    /// The task that it was sent to, on a direct stream.
    pub direct: Option<i64>,
    /// Weight of its complete latency; 0 when not sampled.
    pub weight: u32,
    /// Of a dead letter's replay: what the runtime is told by when it has ended; else 0.
    pub replay: u32,
    /// Where it stands in the order of its spout's outputs (the low half), if that is kept.
    pub place: u32,
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

    /// Emits the root of a dead letter again; the runtime is told when it has ended. The ledger has room.
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
            core.tell_replayed(replay.handle, true, 1);
            return Ok(());
        }
        let pending = Pending {
            spout: self.index,
            stream: stream.number,
            solo: false,
            suspicions: 0,
            attempt: 1,
            direct: replay.direct,
            weight: 0,
            replay: replay.handle,
            place: 0,
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
        // SAFETY: the entry is written below, before anything else happens to the ledger.
        let opened = core.ledger.with(|ledger| unsafe { ledger.open_place() });
        let Some((root, entry)) = opened else {
            // SAFETY: nobody took them.
            unsafe { Py_XDECREF(id) };
            drop(ManuallyDrop::into_inner(kept));
            return Err(self.ledger_full());
        };
        let place = if state.ordered.get() { state.begin() } else { 0 };
        self.note_origin(root, place);
        let suspicions = if state.is_peculiar.get() { self.look_closer(root, attempt, place, solo) } else { 0 };
        // SAFETY: every field is written, where it stays. See `Mailbox::push_from`.
        unsafe {
            (*entry).spout = self.index;
            (*entry).stream = stream.number;
            (*entry).solo = solo;
            (*entry).suspicions = suspicions;
            (*entry).attempt = attempt;
            (*entry).direct = direct;
            (*entry).weight = weight;
            (*entry).replay = 0;
            (*entry).place = place;
            (*entry).id = id;
            (*entry).emitted_ns = emitted_ns;
            PyRow::relocate(&raw const *kept, &raw mut (*entry).row);
        }
        if suspicions > 0 && !self.may_be_tried(root, stream, suspicions) {
            return Ok(());
        }
        if solo {
            core.solo.set(core.solo.get() + 1);
        }
        self.send_opened(root, stream, row, direct);
        Ok(())
    }

    /// Notes for the parent with which output a tree begins, in case the worker dies on it.
    #[inline(always)]
    fn note_origin(&self, root: RootId, place: u32) {
        if let Some(page) = &self.core().page {
            let state = self.spout();
            page.set_origin(root, state.origin(place).map(|origin| (state.number.get(), origin)));
        }
    }

    /// How often workers died on the output whose root is opened; what a trace notes of the root.
    #[cold]
    #[inline(never)]
    fn look_closer(&self, root: RootId, attempt: u32, place: u32, solo: bool) -> u8 {
        let suspicions = self.spout().suspicions_of(place);
        self.note_opened(root, attempt, place, solo, suspicions);
        suspicions
    }

    /// An output on which workers died before: whether it is tried again, from the second death on alone (semantics 9).
    #[cold]
    fn may_be_tried(&self, root: RootId, stream: &OutStream, deaths: u8) -> bool {
        let core = self.core();
        if deaths < DEAD_FROM {
            let becomes_solo = core.ledger.with(|ledger| {
                let pending = ledger.entry_mut(root).expect("it was opened just now");
                let becomes_solo = deaths >= ALONE_FROM && !pending.solo;
                pending.solo |= becomes_solo;
                becomes_solo
            });
            core.solo.set(core.solo.get() + u32::from(becomes_solo));
            return true;
        }
        let pending = &self.spout().pending;
        pending.set(pending.get() + 1);
        stream.emitted.set(stream.emitted.get() + 1); // it counts as a try that failed
        // SAFETY: the interpreter lock is held wherever tuples move.
        let py = unsafe { Python::assume_attached() };
        let error = fault::worker_killer(deaths).into_value(py).into_any();
        let verdict = retry::Failure { action: Action::Dead, counts: true, after_ns: None };
        let (number, task) = (core.next_failure(), core.task(self.index));
        let failure = Failure { number, task, error, verdict, input: None, together: false };
        core.fail_root(py, root, &failure);
        false
    }

    /// Opens the root of `pending`, which was opened before, and sends `row`.
    pub fn launch(&self, stream: &OutStream, row: PyRow, pending: Pending) {
        let core = self.core();
        let (solo, direct) = (pending.solo, pending.direct);
        let place = pending.place;
        let root = core.ledger.with(|ledger| ledger.open(pending)).expect("the caller saw room");
        self.note_launched(root);
        self.note_origin(root, place);
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
        let Some(verdict) = core.judge(py, &task, &error, "emit", &[(root, 0)]) else { return };
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
            Err(error) => match self.core().judge(py, &self.core().task(self.index), &error, "emit", &[]) {
                Some(verdict) if verdict.action == Action::Drop => {
                    self.counts.dropped.set(self.counts.dropped.get() + 1);
                    &self.counts.acked
                }
                _ => &self.counts.failed, // nothing is tried again, but it was told
            },
        };
        count.set(count.get() + 1);
        let state = self.spout();
        if state.ordered.get() {
            let place = state.begin();
            state.end(place);
        }
        if !id.is_null() {
            unsafe { Py_INCREF(id) };
            self.core().tell(self, Told::Ack, id);
        }
        Ok(())
    }
}

/// Whether the id's type says that it has no hash. What a tuple of such values does is found when it fails.
#[inline(always)]
unsafe fn is_unhashable(id: *mut PyObject) -> bool {
    unsafe { (*Py_TYPE(id)).tp_hash }
        .is_some_and(|hash| hash as usize == PyObject_HashNotImplemented as *const () as usize)
}
