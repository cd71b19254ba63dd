//! What the tasks counted, as Python dictionaries.

use crate::task::{Role, Task};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyList};
use squall_core::held_up::Culprit;
use squall_core::metrics::{Latency, Window, capacity};
use std::rc::Rc;

/// One dictionary for each task of this worker, in the order of their indexes.
pub fn snapshot<'py>(py: Python<'py>, tasks: &[Rc<Task>]) -> PyResult<Bound<'py, PyList>> {
    let of = |task: &Rc<Task>| of_task(py, task);
    let own = tasks.iter().filter(|task| task.far().is_none());
    PyList::new(py, own.map(of).collect::<PyResult<Vec<_>>>()?)
}

fn of_task<'py>(py: Python<'py>, task: &Task) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("task", task.task_id)?;
    dict.set_item("component", task.core().component_name(task.component))?;
    let (emitted, transferred, executed) = (PyDict::new(py), PyDict::new(py), PyDict::new(py));
    for stream in &task.streams {
        emitted.set_item(&stream.name, stream.emitted.get())?;
        transferred.set_item(&stream.name, stream.transferred.get())?;
    }
    let mut numbers = vec![
        ("acked", task.counts.acked.get()),
        ("failed", task.counts.failed.get()),
        ("dropped", task.counts.dropped.get()),
        ("dead", task.counts.dead.get()),
        ("errors", task.counts.errors.get()),
        ("queue", task.inbox.len() as u64),
        ("held", task.held.get() as u64),
        ("in_flight", task.in_flight.get() as u64),
    ];
    match &task.role {
        Role::Spout(state) => numbers.extend([
            ("pending", (state.pending.get() + state.burying.get()) as u64),
            ("retrying", state.retrying.get() as u64),
            ("burying", state.burying.get() as u64),
            ("pending_max", state.limit.with(|limit| limit.limit()) as u64),
            ("waited_ns", state.waited_ns.get()),
            ("busy_ns", state.polled_ns.get()),
        ]),
        Role::Bolt(state) => {
            numbers.push(("busy_ns", task.times.execute.with(|latency| latency.sum_ns()) as u64));
            if task.is_offloaded() {
                numbers.push(("in_flight_max", state.max_in_flight.get() as u64));
            }
            for binding in state.bindings.get() {
                let before = executed.get_item(&binding.label)?.map_or(Ok(0), |n| n.extract::<u64>())?;
                executed.set_item(&binding.label, before + binding.executed.get())?;
            }
        }
        Role::Far(_) => {}
    }
    dict.set_item("emitted", emitted)?;
    dict.set_item("transferred", transferred)?;
    dict.set_item("executed", executed)?;
    for (name, number) in numbers {
        dict.set_item(name, number)?;
    }
    dict.set_item("blocked_ns", blocked_ns(py, task)?)?;
    windows(py, task, &dict)?;
    let (times, recent) = (&task.times, &task.times.recent);
    for (name, latency, recent) in [
        ("execute", &times.execute, &recent.execute),
        ("process", &times.process, &recent.process),
        ("complete", &times.complete, &recent.complete),
    ] {
        let now_ns = task.core().now_precise_ns();
        // Read out first: making Python objects may run user code, which may come here again.
        let all = latency.with(|latency| Figures::of(latency));
        let lately = latency.with(|latency| recent.with(|recent| Figures::of(&recent.of(latency, now_ns))));
        dict.set_item(format!("{name}_ms"), all.in_python(py)?)?;
        dict.set_item(format!("recent_{name}_ms"), lately.in_python(py)?)?;
    }
    Ok(dict)
}

/// For how long it was held up, by component or by what else it was; names of components have no spaces.
fn blocked_ns<'py>(py: Python<'py>, task: &Task) -> PyResult<Bound<'py, PyDict>> {
    let core = task.core();
    let dict = PyDict::new(py);
    for (culprit, ns) in task.held_up.with(|held_up| held_up.totals(core.now_precise_ns())) {
        let name = match culprit {
            Culprit::Component(number) => core.component_name(number),
            Culprit::Rate => "rate limit",
            Culprit::Pause => "own pause",
            Culprit::Retries => "waiting retries",
            Culprit::DeadLetters => "dead letter log",
        };
        dict.set_item(name, ns)?;
    }
    Ok(dict)
}

/// What is counted in Storm's windows; the last one only for the capacity.
pub const WINDOWED: [&str; 6] = ["emitted", "transferred", "executed", "acked", "failed", "execute_ns"];

fn windows(py: Python<'_>, task: &Task, dict: &Bound<'_, PyDict>) -> PyResult<()> {
    let executed = match &task.role {
        Role::Bolt(state) => state.executed(),
        _ => 0,
    };
    let totals: [u64; 6] = [
        task.streams.iter().map(|stream| stream.emitted.get()).sum(),
        task.streams.iter().map(|stream| stream.transferred.get()).sum(),
        executed,
        task.counts.acked.get(),
        task.counts.failed.get(),
        task.times.execute.with(|latency| latency.sum_ns()) as u64,
    ];
    let now_ns = task.core().now_precise_ns();
    task.windows.with(|windows| {
        windows.iter_mut().zip(totals).for_each(|(window, total)| window.observe(now_ns, total));
    });
    let over = |i: usize, window: Window| task.windows.with(|windows| windows[i].over(window, now_ns));
    let out = PyDict::new(py);
    for window in Window::ALL {
        let counts = PyDict::new(py);
        for (i, name) in WINDOWED[..5].iter().enumerate() {
            counts.set_item(name, over(i, window).round())?;
        }
        out.set_item(window.name(), counts)?;
    }
    dict.set_item("windows", out)?;
    // Where several calls may run at once, one of each is not all that it can do.
    let at_once = match &task.role {
        Role::Bolt(state) if task.is_offloaded() => state.max_in_flight.get(),
        _ => 1,
    };
    let busy_ns = over(5, Window::TenMinutes) / at_once as f64;
    dict.set_item("capacity", capacity(busy_ns, 1.0, now_ns))
}

/// What is told of a distribution of durations, in milliseconds.
struct Figures {
    count: u64,
    figures: [(&'static str, f64); 6],
}

impl Figures {
    fn of(latency: &Latency) -> Self {
        let ms = |ns: u64| ns as f64 / 1e6;
        let percentile = |percent| ms(latency.percentile_ns(percent));
        let figures = [
            ("p50", percentile(50.0)),
            ("p99", percentile(99.0)),
            ("p999", percentile(99.9)),
            ("max", ms(latency.max_ns())),
            ("mean", latency.mean_ns() / 1e6),
            ("sum", latency.sum_ns() as f64 / 1e6),
        ];
        Figures { count: latency.count(), figures }
    }

    fn in_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let dict = self.figures.into_py_dict(py)?;
        dict.set_item("count", self.count)?;
        Ok(dict)
    }
}
