//! Errors that user code meets when it emits, anchors or acks wrongly: what happened to which named thing, the facts,
//! the fix, the code. All are cold.

mod values;

pub use values::{row_too_long, undecodable, undecodable_value, unencodable, unencodable_value};

use crate::raised::{Raised, raised};
use crate::task::{Out, OutStream, Task};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use squall_core::route::Grouping;
use squall_net::journal::JournalDefect;

/// An error of the project's tree, made by `squall.errors`.
fn make(code: &str, message: String, facts: &[(&str, String)], fix: &str) -> PyErr {
    made_by("emission_error", code, message, facts, fix)
}

fn made_by(maker: &str, code: &str, message: String, facts: &[(&str, String)], fix: &str) -> PyErr {
    Python::attach(|py| {
        let made = py
            .import("squall.errors")
            .and_then(|errors| errors.getattr(maker)?.call1((code, &message, facts.to_vec(), fix)));
        match made {
            Ok(error) => PyErr::from_value(error),
            Err(_) => PyRuntimeError::new_err(format!("{message}\n  fix: {fix}\n  code: {code}")),
        }
    })
}

fn who(task: &Task) -> String {
    let kind = if task.is_spout() { "spout" } else { "bolt" };
    format!("{kind} \"{}\"", task.core().component_name(task.component))
}

fn declared(stream: &OutStream) -> String {
    if stream.fields.is_empty() { "no fields".to_owned() } else { stream.fields.join(", ") }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A row has not as many values as its stream has fields.
pub fn arity(task: &Task, stream: &OutStream, given: usize) -> PyErr {
    make(
        "emit_arity",
        format!(
            "{} emitted {} to stream \"{}\", which has {}",
            who(task),
            counted(given, "value"),
            stream.name,
            counted(stream.fields.len(), "field")
        ),
        &[("declared", declared(stream))],
        match (given, stream.fields.len()) {
            (1, 2..) => {
                "emit a tuple for one row, `(a, b)`; a list is many outputs (so rows that are lists, as \
                 `csv.reader` gives them, want `map(tuple, ...)`)"
            }
            (_, 1) => "emit one value; a list is many outputs, and `((1, 2),)` is one value that is a tuple",
            _ => "emit one value for each declared field; `([1, 2],)` is how to say one value that is a list",
        },
    )
}

/// A value of a key has no stable hash: the error is told again with where that was, if it is that.
#[cold]
#[inline(never)]
pub fn key(task: &Task, stream: &OutStream, out: &Out, error: Raised) -> Raised {
    // SAFETY: the interpreter lock is held wherever tuples move.
    let py = unsafe { Python::assume_attached() };
    let error = error.take(py);
    let fields = match &out.route.grouping {
        Grouping::Fields(fields) => fields,
        Grouping::PartialKey(state) => &state.fields,
        _ => return raised(py, error),
    };
    let names: Vec<&str> = fields.iter().map(|field| stream.fields[*field as usize].as_str()).collect();
    let source = format!("{}/{}", task.core().component_name(task.component), stream.name);
    let target = out.targets.first().map(|target| who(target));
    let told = py
        .import("squall.errors")
        .and_then(|errors| errors.getattr("key_error")?.call1((error.value(py), source, names, target)));
    raised(py, told.map_or(error, PyErr::from_value))
}

/// A stream was named that the component does not declare.
pub fn stream_unknown(task: &Task, name: &str) -> PyErr {
    let names: Vec<&str> = task.streams.iter().map(|stream| stream.name.as_str()).collect();
    make(
        "emit_stream_unknown",
        format!("{} emitted to stream \"{name}\", which it does not declare", who(task)),
        &[("declared", if names.is_empty() { "no streams".to_owned() } else { names.join(", ") })],
        if names.is_empty() && name == "default" {
            "name the fields of what it emits: `outputs=(\"word\",)`; or return None to emit nothing"
        } else {
            "declare it in `outputs` (stream \"default\") or `streams`"
        },
    )
}

/// A task was named that does not exist (or, by a custom grouping, that does not subscribe).
pub fn task_unknown(task: &Task, id: i64) -> PyErr {
    make(
        "emit_task_unknown",
        format!("{} chose task {id}, which is no task of a subscriber", who(task)),
        &[("tasks", format!("{:?}", task.core().task_ids()))],
        "choose among `context.tasks(component)` or among the tasks given to the grouping's `prepare`",
    )
}

/// `task=` on a stream that is not direct.
pub fn not_direct(task: &Task, stream: &OutStream) -> PyErr {
    make(
        "emit_not_direct",
        format!("{} emitted with `task=` to stream \"{}\", which is not direct", who(task), stream.name),
        &[],
        "declare the stream with `Fields(..., direct=True)`, or leave `task=` out",
    )
}

/// No `task=` on a direct stream.
pub fn only_direct(task: &Task, stream: &OutStream) -> PyErr {
    make(
        "emit_direct_needs_task",
        format!("{} emitted without `task=` to direct stream \"{}\"", who(task), stream.name),
        &[],
        "say which task receives it: `Emit(..., stream=..., task=...)`",
    )
}

/// A bolt gave an id.
pub fn id_from_bolt(task: &Task, id: &Bound<'_, PyAny>) -> PyErr {
    let id = id.repr().map_or_else(|_| "?".to_owned(), |id| id.to_string());
    make(
        "emit_id_from_bolt",
        format!("{} emitted with id={id}, but only a spout's outputs have ids", who(task)),
        &[],
        "leave `id=` out; what a bolt emits belongs to the trees of its anchors",
    )
}

/// An anchor was acked already, so its trees may have ended.
pub fn anchor_acked(task: &Task) -> PyErr {
    make(
        "anchor_acked",
        format!("{} anchored an output to a tuple that is acked already", who(task)),
        &[],
        "emit before you ack; or pass `anchors=()` for an output that belongs to no tree",
    )
}

/// The component has no task yet.
pub fn not_bound() -> PyErr {
    make(
        "emit_before_open",
        "a component emitted before it was opened".to_owned(),
        &[],
        "emit from `open` on, not in `__init__`",
    )
}

/// The tasks are being closed.
pub fn closing(task: &Task) -> PyErr {
    make(
        "emit_in_close",
        format!("{} emitted in `close`, when nothing runs any more that could take it", who(task)),
        &[],
        "emit the rest in `drain`",
    )
}

/// 2^20 trees are open.
pub fn ledger_full(task: &Task) -> PyErr {
    make(
        "pending_full",
        format!("{} emitted while 1,048,576 of this worker's tuples were pending", who(task)),
        &[],
        "emit less in one call, or set `topology.max.spout.pending`",
    )
}

/// Raises the arity error for a row given to the default stream.
pub fn raise_row(task: &Task, given: usize) -> Raised {
    let error = match task.default_stream() {
        None => stream_unknown(task, "default"),
        Some(stream) if stream.direct => only_direct(task, stream),
        Some(stream) => arity(task, stream, given),
    };
    // SAFETY: the interpreter lock is held wherever tuples move.
    raised(unsafe { Python::assume_attached() }, error)
}

/// Raises the error for one value where a row was needed.
pub fn raise_value(task: &Task, _value: *mut pyo3::ffi::PyObject) -> Raised {
    raise_row(task, 1)
}

/// An edge that closes a loop holds too many tuples.
pub fn loop_overflow(task: &Task) -> PyErr {
    make(
        "loop_overflow",
        format!("{} emitted into a loop that already holds {} tuples", who(task), task.core().loop_max()),
        &[],
        "emit less than comes in, end the loop for old tuples, or raise `topology.loop.max.queued`",
    )
}

/// A message id without a hash.
#[cold]
pub fn raise_unhashable(task: &Task, id: *mut pyo3::ffi::PyObject) -> Raised {
    let py = unsafe { Python::assume_attached() };
    let id = unsafe { Bound::from_borrowed_ptr(py, id) };
    let kind = id.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    let error = make(
        "id_unhashable",
        format!("{} emitted a {kind} as a message id", who(task)),
        &[],
        "give an id that can be a dict's key: a number, a text, a tuple of such",
    );
    raised(py, error)
}

/// A tree has been open for longer than the backstop allows.
pub fn tree_too_old(task: &Task) -> PyErr {
    make(
        "tree_too_old",
        format!("a root of {} has been pending for longer than `topology.tree.max.age.secs`", who(task)),
        &[],
        "see where its tuples are (`squall run` shows queues and held tuples), or raise or unset the setting",
    )
}

/// A call took longer than the message time-out.
pub fn overdue(task: &Task) -> PyErr {
    make(
        "call_overdue",
        format!("a call of {} took longer than `topology.message.timeout.secs`", who(task)),
        &[],
        "make the call shorter, declare `blocking = True`, or raise the time-out",
    )
}

/// A tuple was in user hands for too long.
pub fn held_too_long(task: &Task) -> PyErr {
    make(
        "held_too_long",
        format!("{} held a tuple for longer than its time-out without acking or failing it", who(task)),
        &[],
        "ack or fail it, call `reset_timeout`, or set `hold_max`",
    )
}

/// User code called `fail` without an error.
pub fn failed_by_user(task: &Task) -> PyErr {
    make("failed_by_user", format!("{} failed the tuple", who(task)), &[], "see why the component calls `fail`")
}

/// `ack` or `fail` in a bolt whose inputs end by themselves.
pub fn not_manual(task: &Task, what: &str) -> PyErr {
    make(
        "ack_not_manual",
        format!("{} called `{what}`, but its inputs end when its calls return", who(task)),
        &[],
        "set `manual_ack = True` in the class, or return to ack and raise to fail",
    )
}

/// `process_batch` returned another number of entries than there were rows.
pub fn batch_length(task: &Task, entries: usize) -> PyErr {
    make(
        "batch_length",
        format!("`process_batch` of {} returned {entries} entries, which is not one for each row", who(task)),
        &[],
        "return one entry a row (an output, a list of outputs, None or an exception), or None for the whole batch",
    )
}

/// `process_batch` returned something that is no sequence.
pub fn batch_type(task: &Task, result: &Bound<'_, PyAny>) -> PyErr {
    let kind = result.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string());
    make(
        "batch_type",
        format!("`process_batch` of {} returned a {kind}, which has no length", who(task)),
        &[],
        "return a list with one entry a row, or None; collect a generator into a list",
    )
}

/// `next_batch` gave another number of ids than rows.
pub fn batch_ids(task: &Task, rows: usize, ids: usize) -> PyErr {
    make(
        "batch_ids",
        format!("{} returned a Batch of {rows} outputs with {ids} ids", who(task)),
        &[],
        "give one id for each output",
    )
}

/// `next_batch` gave more than it was asked for.
pub fn batch_too_long(task: &Task, rows: usize, limit: u32) -> PyErr {
    make(
        "batch_too_long",
        format!("`next_batch` of {} gave {rows} rows when asked for at most {limit}", who(task)),
        &[],
        "return at most `limit` rows and keep the others for the next call",
    )
}

/// `next_batch` gives more than it was asked for, not as a list.
#[cold]
pub fn raise_too_many(task: &Task, rows: u32, limit: u32) -> Raised {
    raised(unsafe { Python::assume_attached() }, batch_too_long(task, rows as usize, limit))
}

/// A coroutine where an output is wanted; it is closed, since nobody will await it.
pub fn coroutine(task: &Task, output: &Bound<'_, PyAny>) -> PyErr {
    if let Err(fault) = output.call_method0("close") {
        fault.write_unraisable(output.py(), None);
    }
    make(
        "output_coroutine",
        format!("{} gave a coroutine as an output", who(task)),
        &[],
        "await it in an `async def process`, or return what it comes to",
    )
}

/// A record of a native source was refused.
pub fn record(task: &Task, what: &str) -> PyErr {
    make("record_refused", format!("{}: {what}", who(task)), &[], "raise `max_record`, or mend the sender's framing")
}

/// A TLS hand-shake failed.
pub fn handshake(task: &Task, what: &str) -> PyErr {
    let fix = "look at the certificates of both sides, and at who calls";
    make("tls_handshake", format!("{}: {what}", who(task)), &[], fix)
}

/// A journal that cannot be opened.
pub fn journal(task: &Task, dir: &str, defect: &JournalDefect) -> PyErr {
    let who = who(task);
    let (code, message, facts, fix) = match defect {
        JournalDefect::InUse { holder } => (
            "journal_in_use",
            format!("the journal of {who} is in use by {holder}"),
            vec![("journal", dir.to_owned())],
            "end the other run, or give each its own directory",
        ),
        JournalDefect::Corrupt { file, at, what } => (
            "journal_corrupt",
            format!("the journal of {who} is damaged: {what}"),
            vec![("file", file.display().to_string()), ("byte", at.to_string())],
            "restore the directory from a copy, or move it away to begin without the records that had not ended",
        ),
        JournalDefect::Unusable(error) => (
            "journal_unusable",
            format!("the journal of {who} cannot be opened: {error}"),
            vec![("journal", dir.to_owned())],
            "give a directory on a local disk that this user may write to",
        ),
    };
    made_by("journal_error", code, message, &facts, fix)
}

/// The disk of a journal takes nothing.
pub fn journal_unwritable(task: &Task, what: &str) -> PyErr {
    let fix = "make room on the disk, or raise `journal_max`; it goes on by itself, and nothing is lost";
    make("journal_unwritable", format!("{}: {what}", who(task)), &[], fix)
}

/// The kernel dropped datagrams.
pub fn datagrams_lost(task: &Task, what: &str) -> PyErr {
    let fix = "raise `receive_buffer`, make the bolts faster, or send by TCP, whose senders wait";
    make("datagrams_lost", format!("{}: {what}", who(task)), &[], fix)
}

/// A worker is gone, and with it what was on its way there.
#[cold]
pub fn worker_lost(worker: u32) -> PyErr {
    make(
        "worker_lost",
        format!("worker {worker} was lost with tuples that were on their way"),
        &[],
        "nothing: it is replaced, and they are sent again without counting a try; the log says why it ended",
    )
}

/// Workers died again and again while a tuple was executed.
#[cold]
pub fn worker_killer(deaths: u8) -> PyErr {
    make(
        "worker_killed_by_tuple",
        format!("workers died {deaths} times while a tuple of this root was executed"),
        &[],
        "see what its values do to the code that ran (native code that crashes, memory, os._exit), and replay it",
    )
}
