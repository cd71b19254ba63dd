//! What follows when a root has failed: its next try, or its dead letter.
//!
//! `retry` in the core decides; this file carries it out: counters, back-off timers, letters.

use crate::core::{Core, Due};
use crate::failures::Failure;
use crate::roots::Pending;
use crate::task::Task;
use crate::trees::Told;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use squall_core::ids::RootId;
use squall_core::retry::{self, Action, Verdict};
use squall_core::route::Payload;
use squall_core::trace::{End, Note};
use std::rc::Rc;

/// Pause of a retry or a replay that found the ledger full, and of an uncounted one in a drain.
pub const SHORT_WAIT_NS: u64 = 10_000_000;

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

impl Core {
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
                if pending.replay != 0 {
                    self.tell_replay_failed(py, &pending, failure);
                }
                pending.attempt = attempt;
                match if state.has_fail.get() { state.remember(py, &pending) } else { Ok(()) } {
                    Ok(()) => {
                        self.note(|| Note::Ended { root, end: End::Failed });
                        self.try_again(spout, pending, self.pause_ns(after_ns, failure.verdict.counts));
                    }
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

    /// A replayed root has failed on its way and is tried again.
    fn tell_replay_failed(&self, py: Python<'_>, pending: &Pending, failure: &Failure) {
        let about = (pending.replay, failure.task.index, failure.error.bind(py), pending.attempt);
        if let Err(fault) = self.hooks(py).call_method1("replay_failed", about) {
            fault.write_unraisable(py, None);
        }
    }

    /// The back-off, cut short in a drain. What fails without counting may do so for ever, so it never spins.
    fn pause_ns(&self, after_ns: u64, counts: bool) -> u64 {
        match (self.draining.get(), counts) {
            (false, _) => after_ns,
            (true, true) => 0,
            (true, false) => SHORT_WAIT_NS,
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
    ///
    /// What the engine emits waits for the workers that it may come to: else it would wait on its way.
    pub fn retry_now(&self, retry: Retry) {
        if !retry.spout.spout().has_fail.get() && self.is_cut_off(&retry.spout) {
            return self.stranded.with(|stranded| stranded.push(retry));
        }
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

    /// Whether a worker that the spout's tuples may come to is not there.
    pub fn is_cut_off(&self, spout: &Task) -> bool {
        let is_away = |task: &Rc<Task>| task.far().is_some_and(|far| far.is_away.get());
        spout.spout().workers.with(|workers| workers.iter().any(is_away))
    }

    /// A worker has come: what waited for it may be tried again.
    #[cold]
    pub fn retry_stranded(&self) {
        let now_ns = self.now_ns.get();
        for retry in self.stranded.replace(Vec::new()) {
            self.timers.with(|timers| timers.at(now_ns, Due::Retry(Box::new(retry))));
        }
    }

    /// Gives a root up: its letter goes to the log, and only then the spout may move on.
    fn bury(&self, py: Python<'_>, spout: Rc<Task>, pending: Pending, root: RootId, failure: &Failure) {
        if root.is_tracked() {
            self.note(|| Note::Ended { root, end: End::Dead });
        }
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
        let (stream, fields): (&str, &[String]) = match spout.streams.get(pending.stream as usize) {
            Some(stream) => (&stream.name, &stream.fields),
            None => ("__record", &["record".to_owned()]), // UNDECODED: no stream could take it
        };
        match &failure.input {
            Some(input) => {
                let input = input.bind(py);
                for name in ["source", "stream", "fields", "values"] {
                    letter.set_item(name, input.getattr(name)?)?;
                }
            }
            None => {
                letter.set_item("source", self.component_name(spout.component))?;
                letter.set_item("stream", stream)?;
                letter.set_item("fields", pyo3::types::PyTuple::new(py, fields.iter())?)?;
                letter.set_item("values", pending.row.to_tuple(py))?;
            }
        }
        letter.set_item("error", failure.error.bind(py))?;
        letter.set_item("attempts", pending.attempt)?;
        letter.set_item("root", root.0)?;
        letter.set_item("failure", failure.number)?;
        letter.set_item("spout", self.component_name(spout.component))?;
        letter.set_item("spout_task", spout.task_id)?;
        letter.set_item("spout_stream", stream)?;
        letter.set_item("direct", pending.direct)?;
        let kept = !spout.spout().has_fail.get();
        letter.set_item("root_values", if kept { Some(pending.row.to_tuple(py)) } else { None })?;
        let id = (!pending.id.is_null()).then(|| unsafe { Bound::from_borrowed_ptr(py, pending.id) });
        letter.set_item("message_id", id)?;
        letter.set_item("root_fields", pyo3::types::PyTuple::new(py, fields.iter())?)?;
        letter.set_item("replay_of", pending.replay)?;
        Ok(letter)
    }

    /// The letter is safe: the spout may move on.
    pub fn rest(&self, handle: u64) {
        let Some(Buried { spout, mut pending }) = self.buried.with(|buried| buried.remove(&handle)) else { return };
        let state = spout.spout();
        state.burying.set(state.burying.get() - 1);
        spout.counts.failed.set(spout.counts.failed.get() + 1);
        spout.counts.dead.set(spout.counts.dead.get() + 1);
        if state.ordered.get() && pending.replay == 0 {
            state.end(pending.place);
        }
        self.tell_replayed(pending.replay, false, pending.attempt);
        let id = std::mem::replace(&mut pending.id, std::ptr::null_mut());
        if id.is_null() {
            return;
        }
        let what = if state.callback(Told::Dead).is_some() { Told::Dead } else { Told::Ack };
        self.tell(&spout, what, id);
    }

    /// Writes the dead letter of a root that was never sent.
    #[cold]
    pub fn bury_at_once(&self, py: Python<'_>, spout: Rc<Task>, pending: Pending, error: PyErr) {
        let verdict = retry::Failure { action: Action::Dead, counts: true, after_ns: None };
        let (number, error) = (self.next_failure(), error.into_value(py).into_any());
        let failure = Failure { number, task: spout.clone(), error, verdict, input: None, together: false };
        self.bury(py, spout, pending, RootId::NONE, &failure);
    }
}
