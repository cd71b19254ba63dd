//! From an output to the mailboxes: what `return`, `yield` and `self.emit` have in common.
//!
//! Hot: nothing here builds a Python object for a tuple on its way, and no borrow lives across anything that can run
//! Python (hashing a key, a custom grouping, a decref).

use crate::core;
use crate::fault;
use crate::raised::{Raised, raised};
use crate::row::PyRow;
use crate::task::{Cur, Fast, Out, OutStream, Task};
use crate::tuple::{self, Anchoring, Tuple};
use crate::values::{Emit, emit_type};
use pyo3::ffi::*;
use pyo3::prelude::*;
use squall_core::ids::RootId;
use squall_core::mailbox::Msg;
use squall_core::route::{Grouping, Payload, Pick};
use std::ffi::CStr;
use std::mem::ManuallyDrop;

/// What Python's own message for too deep a recursion ends with.
pub const NESTED: &CStr = c" in nested outputs";

/// What a new tuple hangs on.
#[derive(Clone, Copy)]
pub enum Anchor<'a> {
    /// The input being worked on (or the root just opened).
    Cur(&'a Cur),
    /// Exactly these tuples.
    Tuples(&'a [Bound<'a, Tuple>]),
}

impl Task {
    /// Sends one row of `stream` to its subscribers.
    #[inline(always)]
    pub fn send(&self, stream: &OutStream, row: PyRow, cur: &Cur) -> Result<(), Raised> {
        stream.emitted.set(stream.emitted.get() + 1);
        // From here on the row is passed by its place: see `Mailbox::push_from`.
        let mut row = ManuallyDrop::new(row);
        stream.taps.show(self.core(), &row);
        let Some((last, others)) = stream.outs.get().split_last() else {
            // SAFETY: nobody took it.
            unsafe { ManuallyDrop::drop(&mut row) };
            return Ok(());
        };
        if !others.is_empty() {
            self.send_others(stream, others, &row, cur)?;
        }
        self.send_out(stream, last, &mut row, cur)
    }

    #[inline(never)]
    fn send_others(&self, stream: &OutStream, outs: &[Out], row: &PyRow, cur: &Cur) -> Result<(), Raised> {
        outs.iter().try_for_each(|out| self.send_out(stream, out, &mut ManuallyDrop::new(row.dup()), cur))
    }

    /// Sends a row to one subscription; takes it, also when it fails.
    #[inline(always)]
    fn send_out(&self, stream: &OutStream, out: &Out, row: &mut ManuallyDrop<PyRow>, cur: &Cur) -> Result<(), Raised> {
        let target = match out.fast {
            Fast::Only => 0,
            Fast::Fields => match &out.route.grouping {
                Grouping::Fields(fields) => match row.key(fields) {
                    Ok(hash) => squall_core::key::task_of(hash, out.route.targets),
                    Err(error) => {
                        // SAFETY: nobody took it.
                        unsafe { ManuallyDrop::drop(row) };
                        return Err(fault::key(self, stream, out, error));
                    }
                },
                _ => unreachable!("`fast` is derived from the grouping"),
            },
            Fast::Turns => match &out.route.grouping {
                Grouping::Shuffle(turns) => turns.next_target(),
                _ => unreachable!("`fast` is derived from the grouping"),
            },
            Fast::Far => return self.send_far(stream, out, row, cur),
            Fast::Other | Fast::Noted => {
                // SAFETY: taken here.
                let row = unsafe { ManuallyDrop::take(row) };
                return self.send_other(stream, out, row, Anchor::Cur(cur));
            }
        };
        // SAFETY: routes answer numbers below the number of targets; the row is taken here.
        unsafe { self.deliver_from(stream, out.targets.get_unchecked(target as usize), row, cur) };
        Ok(())
    }

    /// Sends a row to a subscription by one of the common groupings, some of whose tasks are in other workers; takes it,
    /// also when it fails.
    #[inline(never)]
    fn send_far(&self, stream: &OutStream, out: &Out, row: &mut ManuallyDrop<PyRow>, cur: &Cur) -> Result<(), Raised> {
        let target = match &out.route.grouping {
            Grouping::Fields(fields) if out.targets.len() > 1 => {
                row.key(fields).map(|hash| squall_core::key::task_of(hash, out.route.targets))
            }
            Grouping::Shuffle(turns) if out.targets.len() > 1 => Ok(turns.next_target()),
            _ => Ok(0),
        };
        let sent = match target {
            Ok(target) => {
                let target = &*out.targets[target as usize];
                match target.far() {
                    Some(far) => self.send_over(stream, far, row, cur),
                    None => {
                        // SAFETY: the row is taken here.
                        unsafe { self.deliver_from(stream, target, row, cur) };
                        return Ok(());
                    }
                }
            }
            Err(error) => Err(fault::key(self, stream, out, error)),
        };
        // SAFETY: nobody took it.
        unsafe { ManuallyDrop::drop(row) };
        sent
    }

    /// Brings the row to the target, anchored to `cur`.
    fn deliver(&self, stream: &OutStream, target: &Task, row: PyRow, cur: &Cur) -> Result<(), Raised> {
        let before = cur.xor.get();
        match target.far() {
            Some(far) => self.send_over(stream, far, &row, cur)?,
            // SAFETY: the row is taken by the call.
            None => unsafe { self.deliver_from(stream, target, &ManuallyDrop::new(row), cur) },
        }
        if self.core().trace.is_some() {
            self.note_sent_of(stream, target, cur, before);
        }
        Ok(())
    }

    /// Puts the row in the mailbox of a task of this worker, anchored to `cur`; it is moved from where it lies.
    ///
    /// # Safety
    /// The row is not used (nor dropped) afterwards.
    #[inline(always)]
    unsafe fn deliver_from(&self, stream: &OutStream, target: &Task, row: &ManuallyDrop<PyRow>, cur: &Cur) {
        let root = cur.root.get();
        let (mut msg_root, mut edge) = (root, 0);
        if root.is_tracked() {
            edge = self.core().edges.next_id();
            cur.xor.set(cur.xor.get() ^ edge);
            if root.is_bundle() {
                msg_root = self.core().rebundle(root, edge);
            }
        }
        stream.transferred.set(stream.transferred.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { target.inbox.push_from(msg_root, edge, stream.channel, &raw const **row) };
    }

    #[cold]
    #[inline(never)]
    fn send_other(&self, stream: &OutStream, out: &Out, row: PyRow, anchor: Anchor<'_>) -> Result<(), Raised> {
        if out.closes_loop && !self.is_alive(anchor) {
            return Ok(()); // a tree that has ended does not go round for ever
        }
        for target in self.targets_of(stream, out, &row)? {
            let target = &out.targets[target as usize];
            if out.closes_loop && target.queued() >= self.core().loop_max() {
                return Err(core::loop_overflow(self));
            }
            self.deliver_to(stream, target, row.dup(), anchor)?;
        }
        Ok(())
    }

    /// Whether a tree that the output would belong to is still open; true for an output that belongs to none.
    fn is_alive(&self, anchor: Anchor<'_>) -> bool {
        let core = self.core();
        let any_open =
            |pairs: &[(RootId, u64)]| pairs.is_empty() || pairs.iter().any(|(root, _)| core.may_be_open(*root));
        match anchor {
            Anchor::Cur(cur) => any_open(&core.pairs_of(cur.root.get(), 0)),
            Anchor::Tuples([]) => true,
            Anchor::Tuples(tuples) => tuples.iter().any(|tuple| any_open(&tuple.get().inner().pairs)),
        }
    }

    fn targets_of(&self, stream: &OutStream, out: &Out, row: &PyRow) -> Result<Vec<u32>, Raised> {
        if let Some(custom) = &out.custom {
            return self.ask_custom(custom, out, row);
        }
        Ok(match out.route.pick(row).map_err(|error| fault::key(self, stream, out, error))? {
            Pick::One(target) => vec![target],
            Pick::All => (0..out.route.targets).collect(),
            Pick::Many(targets) => targets,
        })
    }

    fn ask_custom(&self, custom: &Py<PyAny>, out: &Out, row: &PyRow) -> Result<Vec<u32>, Raised> {
        // SAFETY: the interpreter lock is held wherever tuples move.
        let py = unsafe { Python::assume_attached() };
        let chosen = custom.call1(py, (self.task_id, row.to_tuple(py))).and_then(|ids| ids.extract::<Vec<i64>>(py));
        let number = |id: i64| {
            out.targets
                .iter()
                .position(|task| task.task_id == id)
                .map(|i| i as u32)
                .ok_or_else(|| fault::task_unknown(self, id))
        };
        let numbers = chosen.and_then(|ids| ids.into_iter().map(number).collect());
        numbers.map_err(|error: PyErr| raised(py, error))
    }

    fn deliver_to(&self, stream: &OutStream, target: &Task, row: PyRow, anchor: Anchor<'_>) -> Result<(), Raised> {
        let tuples = match anchor {
            Anchor::Cur(cur) => return self.deliver(stream, target, row, cur),
            Anchor::Tuples(tuples) => tuples,
        };
        let anchoring = Anchoring::new(self.core(), tuples);
        match target.far() {
            Some(far) => self.put_over(stream, far, &row, &anchoring.pairs)?,
            None => {
                let (root, edge) = self.core().entry_of(&anchoring.pairs);
                stream.transferred.set(stream.transferred.get() + 1);
                target.inbox.push(Msg { root, edge, channel: stream.channel, row });
            }
        }
        if self.core().trace.is_some() {
            self.note_sent(stream, target, &anchoring.pairs);
        }
        anchoring.hold();
        Ok(())
    }

    /// Sends one row with everything said about it: stream, direct task, anchors.
    pub fn send_with(&self, stream: &OutStream, row: PyRow, anchor: Anchor<'_>, direct: Option<i64>) -> PyResult<()> {
        let py = unsafe { Python::assume_attached() };
        self.check_fits(stream, &row, direct)?;
        if let Anchor::Tuples(tuples) = anchor {
            tuple::check_anchors(self, tuples)?;
        }
        stream.emitted.set(stream.emitted.get() + 1);
        stream.taps.show(self.core(), &row);
        for out in stream.outs.get() {
            match direct {
                None => self.send_other(stream, out, row.dup(), anchor).map_err(|error| error.take(py))?,
                Some(id) => {
                    if let Some(target) = out.targets.iter().find(|task| task.task_id == id) {
                        self.deliver_to(stream, target, row.dup(), anchor).map_err(|error| error.take(py))?;
                    }
                }
            }
        }
        match direct {
            Some(id) if !self.core().knows_task(id) => Err(fault::task_unknown(self, id)),
            _ => Ok(()),
        }
    }

    /// Sends whatever user code returned or yielded, by the rules of an output. Consumes the reference.
    ///
    /// # Safety
    /// `output` is an owned reference.
    #[inline(always)]
    pub unsafe fn send_output(&self, output: *mut PyObject, cur: &Cur) -> Result<(), Raised> {
        unsafe {
            if output == Py_None() {
                Py_DECREF(output);
                return Ok(());
            }
            let result = self.send_borrowed(output, cur);
            Py_DECREF(output);
            result
        }
    }

    #[inline(always)]
    unsafe fn send_borrowed(&self, output: *mut PyObject, cur: &Cur) -> Result<(), Raised> {
        unsafe {
            // Each kind is told by its exact type, so the order is that of their frequency.
            if PyUnicode_CheckExact(output) != 0 || PyLong_CheckExact(output) != 0 {
                return self.send_value(output, cur);
            }
            if PyList_CheckExact(output) != 0 {
                return self.send_list(output, cur);
            }
            self.send_any(output, cur)
        }
    }

    #[inline(never)]
    unsafe fn send_list(&self, list: *mut PyObject, cur: &Cur) -> Result<(), Raised> {
        unsafe {
            if Py_EnterRecursiveCall(NESTED.as_ptr()) != 0 {
                return Err(Raised); // a list that holds itself, for one
            }
            // Hashing a key may run user code: it could empty the list, or let go of one that lies in another.
            Py_INCREF(list);
            let mut sent = Ok(());
            let mut i = 0;
            while sent.is_ok() && i < PyList_GET_SIZE(list) {
                sent = self.send_borrowed(PyList_GET_ITEM(list, i), cur);
                i += 1;
            }
            Py_DECREF(list);
            Py_LeaveRecursiveCall();
            sent
        }
    }

    /// One value for the one field of the default stream.
    #[inline(always)]
    unsafe fn send_value(&self, value: *mut PyObject, cur: &Cur) -> Result<(), Raised> {
        match self.default_stream() {
            Some(stream) if stream.fields.len() == 1 && !stream.direct => {
                unsafe { Py_INCREF(value) };
                self.send(stream, PyRow::single(value), cur)
            }
            _ => Err(fault::raise_value(self, value)),
        }
    }

    #[inline(never)]
    unsafe fn send_any(&self, output: *mut PyObject, cur: &Cur) -> Result<(), Raised> {
        unsafe {
            if PyTuple_Check(output) != 0 {
                let values = (*(output as *mut PyTupleObject)).ob_item.as_ptr();
                let row = PyRow::from_borrowed(values, PyTuple_GET_SIZE(output) as usize)?;
                return match self.default_stream() {
                    Some(stream) if stream.fields.len() == row.len() && !stream.direct => self.send(stream, row, cur),
                    _ => Err(fault::raise_row(self, row.len())),
                };
            }
            if PyList_Check(output) != 0 {
                return self.send_list(output, cur);
            }
            if output == Py_None() {
                return Ok(());
            }
            let py = Python::assume_attached();
            if PyObject_TypeCheck(output, emit_type(py)) != 0 {
                let emit = Bound::from_borrowed_ptr(py, output).cast_into_unchecked::<Emit>();
                return self.send_emit(&emit, cur).map_err(|error| raised(py, error));
            }
            if PyIter_Check(output) != 0 {
                return self.send_iterator(output, cur);
            }
            if PyCoro_CheckExact(output) != 0 {
                return Err(raised(py, fault::coroutine(self, &Bound::from_borrowed_ptr(py, output))));
            }
            self.send_value(output, cur)
        }
    }

    unsafe fn send_iterator(&self, iterator: *mut PyObject, cur: &Cur) -> Result<(), Raised> {
        // SAFETY: an iterator of a list may be let go of by the user code that it runs.
        let iterator = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), iterator) };
        if unsafe { Py_EnterRecursiveCall(NESTED.as_ptr()) } != 0 {
            return Err(Raised);
        }
        let sent = loop {
            let item = unsafe { PyIter_Next(iterator.as_ptr()) };
            if item.is_null() {
                break if unsafe { PyErr_Occurred().is_null() } { Ok(()) } else { Err(Raised) };
            }
            if unsafe { self.send_output(item, cur) }.is_err() {
                break Err(Raised);
            }
        };
        unsafe { Py_LeaveRecursiveCall() };
        sent
    }

    /// Sends an `Emit`.
    pub fn send_emit(&self, emit: &Bound<'_, Emit>, cur: &Cur) -> PyResult<()> {
        let py = emit.py();
        let emit = emit.get();
        let stream = self.stream(&emit.stream).ok_or_else(|| fault::stream_unknown(self, &emit.stream))?;
        let row = emit.row(py)?;
        if self.is_spout() {
            return self.emit_root(py, stream, row, emit.id.as_ref().map(|id| id.bind(py)), emit.task);
        }
        if let Some(id) = &emit.id {
            return Err(fault::id_from_bolt(self, id.bind(py)));
        }
        match &emit.anchors {
            None => self.send_with(stream, row, Anchor::Cur(cur), emit.task),
            Some(anchors) => {
                let tuples = tuple::extract_all(anchors.bind(py))?;
                self.send_with(stream, row, Anchor::Tuples(&tuples), emit.task)
            }
        }
    }
}

/// A cur that anchors nothing.
pub fn unanchored() -> Cur {
    Cur { root: std::cell::Cell::new(RootId::NONE), xor: std::cell::Cell::new(0) }
}
