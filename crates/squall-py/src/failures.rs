//! From an exception or a time-out to failed roots: what user code raised is judged, the input's trees fail or end.

use crate::bolt::Input;
use crate::core::{Core, Due, exception};
use crate::fault;
use crate::row::PyRow;
use crate::task::Task;
use crate::tuple::{self, Standing, Tuple};
use pyo3::prelude::*;
use squall_core::ids::RootId;
use squall_core::mailbox::Msg;
use squall_core::retry::{self, Action, Verdict};
use squall_core::trace::Step;
use std::rc::Rc;

/// Why roots fail, and what their failing leads to.
pub struct Failure {
    /// Which failure of this worker's life: it links the letters of all roots that it gives up.
    pub number: u64,
    /// The task whose code failed.
    pub task: Rc<Task>,
    /// The exception.
    pub error: Py<PyAny>,
    pub verdict: retry::Failure,
    /// The input that was being worked on: a `Tuple`, or what another worker told of it.
    pub input: Option<Py<PyAny>>,
    /// Several rows failed in one batch: each is tried alone before anything counts.
    pub together: bool,
}

impl Core {
    /// What the runtime makes of an exception that fails `roots`; None when it means that the worker dies.
    #[cold]
    pub fn judge(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        error: &PyErr,
        place: &str,
        roots: &[(RootId, u64)],
    ) -> Option<retry::Failure> {
        task.counts.errors.set(task.counts.errors.get() + 1);
        // What is judged is what the worker dies of: the call that is noted may be another, before it.
        let die = || {
            if !self.has_died() {
                self.page_roots(roots.iter().map(|(root, _)| *root));
            }
            self.die(py, task, error);
        };
        if !error.is_instance_of::<pyo3::exceptions::PyException>(py) {
            die();
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
            die();
            return None;
        }
        let verdict = retry::Failure { action, counts, after_ns: after.map(|s| (s.max(0.0) * 1e9) as u64) };
        if action != Action::Drop {
            let (attempt, again) = self.tries(roots, verdict, task.retries);
            let reported = hooks.call_method1("error", (task.index, place, value, attempt, again));
            if let Err(fault) = reported {
                fault.write_unraisable(py, None);
            }
        }
        Some(verdict)
    }

    /// Which try of the roots has failed (the latest; 0 if none is known), and whether each is tried again.
    fn tries(&self, roots: &[(RootId, u64)], failure: retry::Failure, retries: u32) -> (u32, bool) {
        self.ledger.with(|ledger| {
            let tries = roots.iter().filter_map(|(root, _)| ledger.entry(*root)).map(|pending| pending.attempt);
            let attempt = tries.max().unwrap_or(0);
            let again = matches!(retry::verdict(failure, attempt, retries), Verdict::Again { .. });
            (attempt, attempt > 0 && again)
        })
    }

    /// User code raised (the error is in the interpreter's indicator) or took longer than the time-out.
    #[cold]
    #[inline(never)]
    pub fn input_failed(&self, py: Python<'_>, task: &Rc<Task>, msg: Msg<PyRow>, tuple: Option<Py<Tuple>>) {
        self.current_tuple.set(std::ptr::null());
        let error = PyErr::take(py).unwrap_or_else(|| fault::overdue(task));
        let xor = task.cur.xor.replace(0);
        if let Some(tuple) = tuple.as_ref().filter(|_| task.bolt().manual_ack.get()) {
            let inner = tuple.get().inner();
            if inner.standing.get() != Standing::Live {
                self.report(py, task, "process", error); // acked or failed before it raised
                return self.forget_bundle(msg.root);
            }
            tuple::settle(inner, Standing::Failed);
        }
        let input = msg;
        let input_tuple = match tuple {
            Some(tuple) => Some(tuple),
            None => self.tuple_of(py, task, &input),
        };
        let own_xor = input_tuple.as_ref().map_or(0, |tuple| tuple.get().inner().xor.get());
        self.input_raised(py, task, &input, input_tuple, error, xor ^ own_xor, false);
    }

    /// The `Tuple` of an input, for an error report.
    pub fn tuple_of(&self, py: Python<'_>, task: &Rc<Task>, input: &Input) -> Option<Py<Tuple>> {
        Tuple::of(py, task, input, 0, 0).ok()
    }

    /// Judges what an input's call raised and carries it out.
    #[cold]
    #[allow(clippy::too_many_arguments)]
    pub fn input_raised(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        input: &Input,
        tuple: Option<Py<Tuple>>,
        error: PyErr,
        xor: u64,
        together: bool,
    ) {
        let pairs = self.pairs_of(input.root, input.edge);
        let judged = self.judge(py, task, &error, "process", &pairs);
        let Some(verdict) = judged else { return self.forget_bundle(input.root) };
        if verdict.action == squall_core::retry::Action::Drop {
            task.counts.dropped.set(task.counts.dropped.get() + 1);
            self.note_pairs(task, &pairs, Step::Acked);
            return self.ack_msg(input.root, input.edge, xor);
        }
        self.note_pairs(task, &pairs, Step::Failed);
        task.counts.failed.set(task.counts.failed.get() + 1);
        self.forget_bundle(input.root);
        let (number, error) = (self.next_failure(), error.into_value(py).into_any());
        let input = tuple.map(Py::into_any);
        let failure = Failure { number, task: task.clone(), error, verdict, input, together };
        self.fail_pairs(py, &pairs, &failure);
    }

    /// Fails the roots of a tuple that left its inbox earlier.
    #[cold]
    pub fn fail_tuple(&self, py: Python<'_>, task: &Rc<Task>, tuple: Py<Tuple>, error: PyErr) {
        let pairs = tuple.get().inner().pairs.clone();
        let xor = tuple.get().inner().xor.get();
        let Some(verdict) = self.judge(py, task, &error, "process", &pairs) else { return };
        if verdict.action == squall_core::retry::Action::Drop {
            task.counts.dropped.set(task.counts.dropped.get() + 1);
            self.note_pairs(task, &pairs, Step::Acked);
            pairs.iter().for_each(|(root, edge)| self.ack_root(*root, edge ^ xor));
            return;
        }
        self.note_pairs(task, &pairs, Step::Failed);
        task.counts.failed.set(task.counts.failed.get() + 1);
        let (number, error) = (self.next_failure(), error.into_value(py).into_any());
        let input = Some(tuple.into_any());
        let failure = Failure { number, task: task.clone(), error, verdict, input, together: false };
        self.fail_pairs(py, &pairs, &failure);
    }

    /// Starts the hold time-out of a tuple that user code holds.
    pub fn hold(&self, py: Python<'_>, task: &Task, tuple: &Py<Tuple>, hold_ns: u64) {
        task.held.set(task.held.get() + 1);
        if hold_ns == 0 {
            // Time-outs are off: the timer only marks that the tuple is held.
            let never = self.timers.with(|timers| timers.at(u64::MAX, Due::Hold(tuple.clone_ref(py))));
            return tuple.get().inner().hold.set(Some(never));
        }
        let due = self.now_ns.get() + hold_ns;
        let timer = self.timers.with(|timers| timers.at(due, Due::Hold(tuple.clone_ref(py))));
        tuple.get().inner().hold.set(Some(timer));
    }

    /// A held tuple's time is up.
    #[cold]
    pub fn hold_ended(&self, py: Python<'_>, tuple: Py<Tuple>) {
        let inner = tuple.get().inner();
        inner.hold.set(None);
        if inner.standing.get() != Standing::Live {
            return;
        }
        inner.standing.set(Standing::Failed);
        let task = inner.task.clone();
        task.held.set(task.held.get() - 1);
        self.fail_tuple(py, &task, tuple, fault::held_too_long(&task));
    }

    /// Fails the roots of a mailbox entry.
    #[cold]
    pub fn fail_pairs(&self, py: Python<'_>, pairs: &[(RootId, u64)], failure: &Failure) {
        let (own, others): (Vec<RootId>, Vec<RootId>) =
            pairs.iter().map(|(root, _)| *root).partition(|root| root.incarnation() == self.incarnation);
        for root in own {
            self.fail_root(py, root, failure);
        }
        if !others.is_empty() {
            self.fail_over(py, &others, failure);
        }
    }
}
