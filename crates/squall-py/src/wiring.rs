//! Making tasks and the ways between them, before the first run.

use crate::bolt::BoltState;
use crate::component::Component;
use crate::core::Core;
use crate::far::FarState;
use crate::gil::Fixed;
use crate::spout::SpoutState;
use crate::tap::Taps;
use crate::task::{Counts, Cur, Fast, Out, OutStream, RecentTimes, Role, Task, Times};
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use squall_core::cell::Local;
use squall_core::flow::HighWater;
use squall_core::ids::mix;
use squall_core::metrics::{Latency, Sampler, Windows};
use squall_core::route::{Grouping, PartialKey, Turns};
use std::cell::Cell;
use std::rc::Rc;

/// What a new task is told of itself.
pub struct NewTask {
    pub component: u32,
    pub task_id: i64,
    /// Name, fields and directness of each stream.
    pub streams: Vec<(String, Vec<String>, bool)>,
    pub retries: u32,
}

impl Core {
    /// Makes a task with a channel for each of its streams.
    pub fn add_task(
        self: &Rc<Self>,
        instance: &Bound<'_, Component>,
        context: Py<PyAny>,
        spout: bool,
        wanted: NewTask,
    ) -> Rc<Task> {
        let settings = &self.settings;
        let role = match spout {
            true => Role::Spout(SpoutState::new(settings.max_pending_bytes)),
            false => Role::Bolt(BoltState::new(settings.capacity, settings.high, settings.low)),
        };
        let task = self.add(instance.clone().into_ptr(), Some(context), role, wanted);
        match spout {
            true => self.spouts.with(|spouts| {
                task.spout().number.set(spouts.len() as u32);
                spouts.push(task.clone());
            }),
            false => self.order.with(|order| order.push(task.clone())),
        }
        task
    }

    /// Makes the stand-in of a task that runs in another worker.
    pub fn add_far_task(self: &Rc<Self>, worker: u32, wanted: NewTask) -> Rc<Task> {
        let settings = &self.settings;
        let high_water = HighWater::new(settings.capacity, settings.high, settings.low);
        self.add(std::ptr::null_mut(), None, Role::Far(FarState::new(worker, high_water)), wanted)
    }

    fn add(
        self: &Rc<Self>,
        instance: *mut PyObject,
        context: Option<Py<PyAny>>,
        role: Role,
        wanted: NewTask,
    ) -> Rc<Task> {
        let index = self.tasks.get().len() as u32;
        let first_channel = self.channels.with(|channels| channels.len() as u32);
        let stream = |(i, (name, fields, direct)): (usize, (String, Vec<String>, bool))| OutStream {
            name,
            fields: fields.into(),
            direct,
            number: i as u16,
            channel: first_channel + i as u32,
            outs: Fixed::default(),
            emitted: Cell::new(0),
            transferred: Cell::new(0),
            taps: Taps::default(),
        };
        let settings = &self.settings;
        let task = Rc::new(Task {
            core: self.clone(),
            index,
            task_id: wanted.task_id,
            component: wanted.component,
            retries: wanted.retries,
            instance: Cell::new(instance),
            context: Local::new(context),
            thread: Cell::new(std::ptr::null_mut()),
            streams: wanted.streams.into_iter().enumerate().map(stream).collect(),
            default: Cell::new(std::ptr::null()),
            inbox: Default::default(),
            cur: Cur::default(),
            role,
            counts: Counts::default(),
            times: Times {
                sampler: Local::new(Sampler::new(settings.sample_rate, mix(self.seed ^ index as u64))),
                execute: Local::new(Latency::new()),
                process: Local::new(Latency::new()),
                complete: Local::new(Latency::new()),
                recent: RecentTimes::new(self.now_precise_ns()),
            },
            windows: Local::new(std::array::from_fn(|_| Windows::new(self.now_precise_ns()))),
            submit: Local::new(None),
            cancel: Local::new(None),
            in_flight: Cell::new(0),
            held: Cell::new(0),
            held_up: Local::default(),
            full_at: Cell::new(0),
            is_paused: Cell::new(false),
            paused_until_ns: Cell::new(0),
            timers_send: Cell::new(false),
            intercept: Local::new(None),
        });
        let default = task.streams.iter().find(|stream| stream.name == "default");
        task.default.set(default.map_or(std::ptr::null(), |stream| stream));
        self.channels.with(|channels| {
            channels.extend((0..task.streams.len()).map(|stream| (task.clone(), stream)));
        });
        self.tasks.push(task.clone());
        self.name_task(&task);
        task
    }

    /// Finds, for each spout, the bolts that its tuples can reach without crossing an edge that closes a loop, and the
    /// other workers that they can come to at all.
    pub fn find_reach(&self) {
        for spout in self.tasks.get().iter().filter(|task| task.is_spout()) {
            let mut workers: Vec<Rc<Task>> = Vec::new();
            for task in reached(spout, |_| true) {
                let worker = |task: &Rc<Task>| task.far().map(|far| far.worker);
                if task.far().is_some() && workers.iter().all(|known| worker(known) != worker(&task)) {
                    workers.push(task);
                }
            }
            spout.spout().reach.replace(reached(spout, |out| !out.closes_loop));
            spout.spout().workers.replace(workers);
        }
    }
}

/// The tasks that tuples of `from` can come to over the subscriptions that `counts`.
fn reached(from: &Rc<Task>, counts: impl Fn(&Out) -> bool) -> Vec<Rc<Task>> {
    let mut seen: Vec<Rc<Task>> = Vec::new();
    let mut next = vec![from.clone()];
    while let Some(task) = next.pop() {
        let outs = task.streams.iter().flat_map(|stream| stream.outs.get()).filter(|out| counts(out));
        for target in outs.flat_map(|out| out.targets.iter()) {
            if !seen.iter().any(|known| known.index == target.index) {
                seen.push(target.clone());
                next.push(target.clone());
            }
        }
    }
    seen
}

/// A grouping by its name, over `targets` tasks.
pub fn grouping(name: &str, keys: Vec<u16>, targets: u32, seed: u64) -> Option<Grouping> {
    Some(match name {
        "shuffle" => Grouping::Shuffle(Turns::new(targets, seed)),
        "fields" => Grouping::Fields(keys.into()),
        "partial_key" => Grouping::PartialKey(PartialKey::new(keys.into(), targets)),
        "all" => Grouping::All,
        "global" => Grouping::Global,
        "none" => Grouping::Any(Cell::new(seed)),
        "direct" => Grouping::Direct,
        "custom" => Grouping::Custom(0),
        _ => return None,
    })
}

/// The shortest way to pick a target that the grouping allows.
pub fn fast(grouping: &Grouping, targets: &[Rc<Task>]) -> Fast {
    let any_far = targets.iter().any(|target| target.far().is_some());
    match (grouping, targets.len()) {
        (Grouping::Direct | Grouping::Custom(_), _) => Fast::Other,
        (Grouping::Fields(_) | Grouping::Shuffle(_), _) | (_, 1) if any_far => Fast::Far,
        (_, 1) => Fast::Only,
        (Grouping::Fields(_), _) => Fast::Fields,
        (Grouping::Shuffle(_), _) => Fast::Turns,
        _ => Fast::Other,
    }
}
