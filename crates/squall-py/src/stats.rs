//! What the tasks counted, as Python dictionaries.

use crate::task::{Role, Task};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use squall_core::metrics::Latency;
use std::rc::Rc;

/// One dictionary for each task, in the order of their indexes.
pub fn snapshot<'py>(py: Python<'py>, tasks: &[Rc<Task>]) -> PyResult<Bound<'py, PyList>> {
    let of = |task: &Rc<Task>| of_task(py, task);
    PyList::new(py, tasks.iter().map(of).collect::<PyResult<Vec<_>>>()?)
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
            ("pending", state.pending.get() as u64),
            ("retrying", state.retrying.get() as u64),
            ("burying", state.burying.get() as u64),
        ]),
        Role::Bolt(state) => {
            for binding in state.bindings.get() {
                let before = executed.get_item(&binding.label)?.map_or(Ok(0), |n| n.extract::<u64>())?;
                executed.set_item(&binding.label, before + binding.executed.get())?;
            }
        }
    }
    dict.set_item("emitted", emitted)?;
    dict.set_item("transferred", transferred)?;
    dict.set_item("executed", executed)?;
    for (name, number) in numbers {
        dict.set_item(name, number)?;
    }
    dict.set_item("execute_ms", task.times.execute.with(|latency| latency_ms(py, latency))?)?;
    dict.set_item("process_ms", task.times.process.with(|latency| latency_ms(py, latency))?)?;
    dict.set_item("complete_ms", task.times.complete.with(|latency| latency_ms(py, latency))?)?;
    Ok(dict)
}

fn latency_ms<'py>(py: Python<'py>, latency: &mut Latency) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let ms = |ns: u64| ns as f64 / 1e6;
    dict.set_item("p50", ms(latency.percentile_ns(50.0)))?;
    dict.set_item("p99", ms(latency.percentile_ns(99.0)))?;
    dict.set_item("p999", ms(latency.percentile_ns(99.9)))?;
    dict.set_item("max", ms(latency.max_ns()))?;
    dict.set_item("mean", latency.mean_ns() / 1e6)?;
    dict.set_item("sum", latency.sum_ns() as f64 / 1e6)?;
    dict.set_item("count", latency.count())?;
    Ok(dict)
}
