//! One task: its inbox, its streams with their routes, and the input it is working on.

use crate::bolt::BoltState;
use crate::core::Core;
use crate::far::FarState;
use crate::gil::Fixed;
use crate::row::PyRow;
use crate::spout::SpoutState;
use crate::tap::Taps;
use pyo3::ffi::{PyObject, PyThreadState};
use pyo3::prelude::*;
use squall_core::cell::Local;
use squall_core::held_up::HeldUp;
use squall_core::ids::RootId;
use squall_core::mailbox::{Channel, Mailbox};
use squall_core::metrics::{Latency, RecentLatency, Sampler, Windows};
use squall_core::route::Route;
use std::cell::Cell;
use std::rc::Rc;

/// The input that is being worked on: its root, and the XOR of the edges anchored to it so far.
#[derive(Default)]
pub struct Cur {
    pub root: Cell<RootId>,
    pub xor: Cell<u64>,
}

/// How a subscription picks, told apart once so that the common ones cost a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fast {
    /// There is one target and every tuple goes to it.
    Only,
    /// By key, over several targets.
    Fields,
    /// In turn, over several targets.
    Turns,
    /// In any of these ways, over targets some of which are in other workers.
    Far,
    /// In any way, one by one: a trace notes each tuple.
    Noted,
    /// Whatever else.
    Other,
}

/// One subscription to a stream of this task.
pub struct Out {
    pub fast: Fast,
    pub route: Route,
    pub targets: Box<[Rc<Task>]>,
    pub custom: Option<Py<PyAny>>,
    /// Bounded by `topology.loop.max.queued` instead of by high-water marks.
    pub closes_loop: bool,
}

/// One declared stream of this task.
pub struct OutStream {
    pub name: String,
    pub fields: Box<[String]>,
    pub direct: bool,
    /// Its place among the component's streams.
    pub number: u16,
    pub channel: Channel,
    pub outs: Fixed<Out>,
    pub emitted: Cell<u64>,
    pub transferred: Cell<u64>,
    pub taps: Taps,
}

/// What the task does.
#[allow(clippy::large_enum_variant)] // one a task, never moved
pub enum Role {
    Spout(SpoutState),
    Bolt(BoltState),
    /// It runs in another worker: what is sent to it waits here for its link.
    Far(FarState),
}

/// Counters that both kinds have.
#[derive(Default)]
pub struct Counts {
    pub acked: Cell<u64>,
    pub failed: Cell<u64>,
    pub dropped: Cell<u64>,
    pub dead: Cell<u64>,
    pub errors: Cell<u64>,
}

/// Sampled times, in nanoseconds.
pub struct Times {
    pub sampler: Local<Sampler>,
    pub execute: Local<Latency>,
    pub process: Local<Latency>,
    pub complete: Local<Latency>,
    pub recent: RecentTimes,
}

/// What of them was recorded lately.
pub struct RecentTimes {
    pub execute: Local<RecentLatency>,
    pub process: Local<RecentLatency>,
    pub complete: Local<RecentLatency>,
}

impl RecentTimes {
    /// Nothing was recorded before `now_ns`.
    pub fn new(now_ns: u64) -> Self {
        let recent = || Local::new(RecentLatency::new(now_ns));
        RecentTimes { execute: recent(), process: recent(), complete: recent() }
    }
}

/// One task of the worker.
pub struct Task {
    pub core: Rc<Core>,
    pub index: u32,
    pub task_id: i64,
    pub component: u32,
    pub retries: u32,
    /// The user's object (or the bare base, for a function); owned until the worker closes.
    pub instance: Cell<*mut PyObject>,
    pub context: Local<Option<Py<PyAny>>>,
    /// The loop's thread while the task's code runs on it; null when its code runs elsewhere.
    pub thread: Cell<*mut PyThreadState>,
    pub streams: Box<[OutStream]>,
    /// The stream called "default", or null.
    pub default: Cell<*const OutStream>,
    pub inbox: Mailbox<PyRow>,
    pub cur: Cur,
    pub role: Role,
    pub counts: Counts,
    pub times: Times,
    /// Growth of the counters that [`crate::stats::WINDOWED`] names.
    pub windows: Local<[Windows; 6]>,
    /// Where code of offloaded tasks runs; None: on the loop's thread.
    pub submit: Local<Option<Py<PyAny>>>,
    /// Ends a call that took too long; None: nothing can.
    pub cancel: Local<Option<Py<PyAny>>>,
    pub in_flight: Cell<u32>,
    pub held: Cell<u32>,
    /// What keeps it from going on, and for how long.
    pub held_up: Local<HeldUp>,
    /// When it has sent so many tuples, those that it feeds are to be looked at again before it sends more.
    pub full_at: Cell<u64>,
    /// The user's code asked for a pause that may not have passed: what a hot loop looks at.
    pub is_paused: Cell<bool>,
    pub paused_until_ns: Cell<u64>,
    /// The last tick or timer sent something, so the next one waits while the tasks below are full.
    pub timers_send: Cell<bool>,
    /// Asked before each input (tests).
    pub intercept: Local<Option<Py<PyAny>>>,
}

impl Task {
    /// The worker's shared state.
    #[inline(always)]
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The state of a spout; panics for a bolt.
    #[inline(always)]
    pub fn spout(&self) -> &SpoutState {
        match &self.role {
            Role::Spout(state) => state,
            _ => unreachable!("asked for the spout state of another task"),
        }
    }

    /// The state of a bolt; panics for a spout.
    #[inline(always)]
    pub fn bolt(&self) -> &BoltState {
        match &self.role {
            Role::Bolt(state) => state,
            _ => unreachable!("asked for the bolt state of another task"),
        }
    }

    /// The state of a task of another worker.
    pub fn far(&self) -> Option<&FarState> {
        match &self.role {
            Role::Far(state) => Some(state),
            _ => None,
        }
    }

    /// Whether the task is a spout of this worker.
    pub fn is_spout(&self) -> bool {
        matches!(self.role, Role::Spout(_))
    }

    /// The stream called `name`.
    pub fn stream(&self, name: &str) -> Option<&OutStream> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// The default stream, if the component declares it.
    #[inline(always)]
    pub fn default_stream(&self) -> Option<&OutStream> {
        // SAFETY: it points into `streams`, which never move.
        unsafe { self.default.get().as_ref() }
    }

    /// Whether the code of the task runs on other threads than the loop's.
    pub fn is_offloaded(&self) -> bool {
        self.submit.with(|submit| submit.is_some())
    }

    /// Whether a task that this one feeds is over its high-water mark.
    pub fn is_held_up(&self) -> bool {
        self.room_below() == 0
    }

    /// How many tuples may be sent before a task that this one feeds can be over its high-water mark.
    pub fn room_below(&self) -> u64 {
        let outs = self.streams.iter().flat_map(|stream| stream.outs.get()).filter(|out| !out.closes_loop);
        outs.flat_map(|out| out.targets.iter()).map(|task| task.room()).min().unwrap_or(u64::MAX)
    }

    /// How many tuples it has sent.
    #[inline(always)]
    pub fn sent(&self) -> u64 {
        match &*self.streams {
            [only] => only.transferred.get(),
            several => several.iter().map(|stream| stream.transferred.get()).sum(),
        }
    }

    /// Whether the pause that the user's code asked for is not over yet.
    pub fn still_paused(&self, now_ns: u64) -> bool {
        let paused = self.is_paused.get() && self.paused_until_ns.get() > now_ns;
        self.is_paused.set(paused);
        paused
    }

    /// Whether the inbox is over its high-water mark, and has not sunk to the low one since.
    pub fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// How many tuples the inbox may take before it is over its high-water mark.
    fn room(&self) -> u64 {
        match &self.role {
            Role::Far(state) => state.room(),
            _ => self.bolt().high_water.with(|mark| mark.room(self.inbox.len())) as u64,
        }
    }

    /// How many tuples wait for it here.
    pub fn queued(&self) -> usize {
        self.far().map_or_else(|| self.inbox.len(), FarState::waiting)
    }

    /// Lets go of everything that belongs to the interpreter, so that cycles through the core end here.
    pub fn release(&self) {
        while self.inbox.pop().is_some() {}
        drop(self.context.replace(None));
        drop((self.submit.replace(None), self.cancel.replace(None)));
        drop(self.intercept.replace(None));
        match &self.role {
            Role::Spout(state) => state.release(),
            Role::Bolt(state) => state.release(),
            Role::Far(_) => {}
        }
        for stream in &self.streams {
            stream.outs.clear();
            stream.taps.clear();
        }
        let instance = self.instance.replace(std::ptr::null_mut());
        if !instance.is_null() {
            // SAFETY: the task owned the reference.
            unsafe { pyo3::ffi::Py_DECREF(instance) };
        }
    }
}
