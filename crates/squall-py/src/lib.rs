//! The private module `squall._core`: the core's tasks with Python code in them.
//!
//! Everything is guarded by the interpreter lock. Hot paths use the C calling conventions directly and keep no borrow
//! across anything that can run Python; cold ones use PyO3.

mod away;
mod batch;
mod bolt;
mod call;
mod codec;
mod component;
mod core;
mod decode;
mod emit;
mod failures;
mod far;
mod fault;
mod gil;
mod held_up;
mod keyhash;
mod links;
mod method;
mod order;
mod raised;
mod retries;
mod root_output;
mod roots;
mod row;
mod run_loop;
mod session;
mod spout;
mod stats;
mod streams;
mod tap;
mod task;
mod tcp;
mod trace;
mod trees;
mod tuple;
mod values;
mod weight;
mod wiring;
mod worker;

const _: () = assert!(!squall_core::mutants::HAS_MUTANTS, "what ships has no defects to be switched on");

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use squall_core::ids::RootId;
use squall_net::page::{Origin, Page};
use std::os::fd::{BorrowedFd, IntoRawFd};

/// A new page shared by parent and worker: its file descriptor.
#[pyfunction]
fn page_create() -> PyResult<i32> {
    let (_page, fd) = Page::create()?;
    Ok(fd.into_raw_fd())
}

fn page_of(fd: i32) -> PyResult<Page> {
    // SAFETY: the descriptor is the caller's and is only duplicated.
    let copy = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
    Ok(Page::open(copy)?)
}

/// (component number whose code is running or 0, calls so far) of a shared page.
#[pyfunction]
fn page_read(fd: i32) -> PyResult<(u32, u64)> {
    let page = page_of(fd)?;
    Ok((page.component(), page.calls()))
}

/// (whether a call away from the loop did, root, its origin if it is of this incarnation) of the tuples that calls worked
/// on, by a shared page: the loop's last call, and those away from it.
#[pyfunction]
fn page_suspects(fd: i32, incarnation: u16) -> PyResult<Vec<(bool, u64, Option<Origin>)>> {
    let page = page_of(fd)?;
    let own = |root: RootId, origin: Option<Origin>| origin.filter(|_| root.incarnation().0 == incarnation);
    let on_loop = page.suspects().into_iter().map(RootId);
    let on_loop = on_loop.map(|root| (false, root.0, own(root, page.origin_of(root))));
    let away = page.suspects_away().into_iter().map(|(root, origin)| (true, root.0, own(root, origin)));
    Ok(on_loop.chain(away).collect())
}

/// The origin of a root of this incarnation, by its shared page; none of another one's root.
#[pyfunction]
fn page_origin(fd: i32, incarnation: u16, root: u64) -> PyResult<Option<Origin>> {
    let (page, root) = (page_of(fd)?, RootId(root));
    Ok(if root.incarnation().0 == incarnation { page.origin_of(root) } else { None })
}

/// The origin of the record that user code was reading, if it was.
#[pyfunction]
fn page_reading(fd: i32) -> PyResult<Option<Origin>> {
    Ok(page_of(fd)?.reading())
}

/// How many outputs of each of so many spouts' tasks have ended with all before them, by a shared page; noted of
/// generators.
#[pyfunction]
fn page_prefixes(fd: i32, spouts: usize) -> PyResult<Vec<u64>> {
    Ok(page_of(fd)?.prefixes(spouts))
}

/// (emitted, acked, failed, dead) of a shared page: tries of roots, over all spouts, and roots that were given up.
#[pyfunction]
fn page_totals(fd: i32) -> PyResult<(u64, u64, u64, u64)> {
    let totals = page_of(fd)?.totals();
    Ok((totals.emitted, totals.acked, totals.failed, totals.dead))
}

/// The core relies on the interpreter lock (semantics 6).
fn refuse_free_threading(py: Python<'_>) -> PyResult<()> {
    let config = py.import("sysconfig")?.call_method1("get_config_var", ("Py_GIL_DISABLED",))?;
    match config.is_truthy()? {
        true => Err(PyImportError::new_err(
            "squall needs a build of Python with an interpreter lock, and this one has none",
        )),
        false => Ok(()),
    }
}

fn build_facts(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item(
        "profile",
        if cfg!(debug_assertions) { "dev" } else { option_env!("SQUALL_PROFILE").unwrap_or("release") },
    )?;
    facts.set_item("version", env!("CARGO_PKG_VERSION"))?;
    facts.set_item("python", Python::version_str().split(' ').next().unwrap_or_default())?;
    Ok(facts)
}

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    refuse_free_threading(py)?;
    m.add_class::<component::Component>()?;
    m.add_class::<component::BoltBase>()?;
    m.add_class::<component::SpoutBase>()?;
    m.add_class::<values::Emit>()?;
    m.add_class::<values::Batch>()?;
    m.add_class::<tuple::Tuple>()?;
    m.add_class::<call::Call>()?;
    m.add_class::<worker::Worker>()?;
    m.add_class::<tcp::SocketSource>()?;
    m.add_class::<streams::StreamSettings>()?;
    m.add_class::<streams::TlsSide>()?;
    m.add_class::<tap::TapGate>()?;
    m.add_class::<session::Session>()?;
    component::install_slots(py)?;
    m.add_function(wrap_pyfunction!(keyhash::stable_hash, m)?)?;
    m.add_function(wrap_pyfunction!(keyhash::task_of, m)?)?;
    m.add_function(wrap_pyfunction!(keyhash::set_key_reducer, m)?)?;
    m.add_function(wrap_pyfunction!(codec::register_codec, m)?)?;
    m.add_function(wrap_pyfunction!(codec::encode_values, m)?)?;
    m.add_function(wrap_pyfunction!(codec::decode_values, m)?)?;
    m.add_function(wrap_pyfunction!(codec::time_codec, m)?)?;
    m.add_function(wrap_pyfunction!(page_create, m)?)?;
    m.add_function(wrap_pyfunction!(page_read, m)?)?;
    m.add_function(wrap_pyfunction!(page_totals, m)?)?;
    m.add_function(wrap_pyfunction!(page_suspects, m)?)?;
    m.add_function(wrap_pyfunction!(page_origin, m)?)?;
    m.add_function(wrap_pyfunction!(page_reading, m)?)?;
    m.add_function(wrap_pyfunction!(page_prefixes, m)?)?;
    for (name, tag) in squall_core::key::TAGS {
        m.add(name, tag)?;
    }
    for (name, tag) in keyhash::UNMIXED_TAGS {
        m.add(name, tag)?;
    }
    for (name, code) in worker::CODES {
        m.add(name, code)?;
    }
    for (name, action) in [("ACTION_RETRY", 0), ("ACTION_DEAD", 1), ("ACTION_DROP", 2), ("ACTION_DIE", 3)] {
        m.add(name, action)?;
    }
    m.add("current_call", component::current_call_variable(py)?)?;
    m.add("BUILD", build_facts(py)?)
}
