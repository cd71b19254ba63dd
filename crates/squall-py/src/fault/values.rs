//! Errors of values on their way between workers.

use super::{make, who};
use crate::codec::{Cause, Reason, Undecodable, Unencodable};
use crate::task::{OutStream, Task};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMemoryView, PyTuple, PyType};
use squall_core::codec::{MAX_BYTES, MAX_DEPTH, MAX_ITEMS};
use squall_core::frame::MAX_ROW_BYTES;

/// Steps of the way to a value that are told.
const TOLD_STEPS: usize = 8;
/// Fields of a dataclass that a fix names.
const TOLD_FIELDS: usize = 8;

/// A value that was emitted cannot be written for another worker.
#[cold]
pub fn unencodable(task: &Task, stream: &OutStream, trouble: Unencodable) -> PyErr {
    // SAFETY: the interpreter lock is held wherever tuples move.
    let py = unsafe { Python::assume_attached() };
    let field = stream.fields.get(trouble.field).map_or("?", String::as_str);
    let what = format!("{} emitted to stream \"{}\", field \"{field}\"", who(task), stream.name);
    not_written(py, &what, field, trouble)
}

/// As [`unencodable`], of a value that no task emitted.
#[cold]
pub fn unencodable_value(py: Python<'_>, trouble: Unencodable) -> PyErr {
    let what = format!("value {}", trouble.field);
    not_written(py, &what, &what, trouble)
}

/// What a tuple needs beside its values (its trees) makes it too long for a frame.
#[cold]
pub fn row_too_long(task: &Task, stream: &OutStream, bytes: usize) -> PyErr {
    make(
        "value_too_large",
        format!(
            "{} emitted to stream \"{}\" a tuple that takes {bytes} bytes with the trees it belongs to; {MAX_ROW_BYTES} go to \
             another worker",
            who(task),
            stream.name
        ),
        &[],
        "anchor an output to fewer inputs, or emit smaller values",
    )
}

fn not_written(py: Python<'_>, what: &str, root: &str, trouble: Unencodable) -> PyErr {
    let at = way_of(root, &trouble.path);
    let facts: Vec<(&str, String)> = at.map(|at| ("at", at)).into_iter().collect();
    match trouble.cause {
        Cause::Type(class) => {
            let class = class.bind(py);
            let text = format!("{what}: a value of type {} has no form between workers", name_of(class));
            make("value_not_encodable", text, &facts, &how_to_write(class))
        }
        Cause::TooLong => {
            let text = format!("{what}: the tuple takes more than {} MiB, the most between workers", MAX_BYTES >> 20);
            make("value_too_large", text, &facts, "emit a reference to it (a path, a key), or emit it in parts")
        }
        Cause::TooMany => {
            let text = format!("{what}: the tuple's values hold more than {MAX_ITEMS} others");
            make("value_too_large", text, &facts, "emit it in parts, or packed: as bytes or text")
        }
        Cause::TooDeep => {
            let text = format!("{what}: values lie in each other deeper than {MAX_DEPTH} levels");
            make("value_too_deep", text, &facts, "emit flatter values; does a list or dict hold itself?")
        }
        Cause::Changed => {
            let text = format!("{what}: a list, dict or set changed while it was written for another worker");
            make("value_changed", text, &facts, "emit a copy of what is still worked on, by a thread or by `encode`")
        }
        Cause::Encoder(name, error) => {
            let text = format!("{what}: writing a {name} raised {}", because(py, &error));
            let made = make("value_encoder_failed", text, &facts, "mend the `encode` that it was registered with");
            made.set_cause(py, Some(error));
            made
        }
        Cause::Itself(name) => {
            let text = format!("{what}: the `encode` of {name} returned the instance itself");
            make("value_encoder_failed", text, &facts, "return what the instance is made of, in plain values")
        }
        Cause::Raised(error) => error,
        Cause::NeedsPython => unreachable!("told only to who asked for it"),
    }
}

/// The way from the field's value to what cannot be written, the outer steps if there are many.
fn way_of(root: &str, path: &[String]) -> Option<String> {
    let (first, rest) = path.split_at(path.len().saturating_sub(TOLD_STEPS));
    if rest.is_empty() {
        return None;
    }
    let steps: String = rest.iter().rev().map(String::as_str).collect();
    Some(format!("{root}{steps}{}", if first.is_empty() { "" } else { "…" }))
}

fn name_of(class: &Bound<'_, PyType>) -> String {
    class.fully_qualified_name().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}

fn because(py: Python<'_>, error: &PyErr) -> String {
    let told = py.import("squall.errors").and_then(|errors| errors.getattr("because")?.call1((error.value(py),)));
    told.and_then(|told| told.extract()).unwrap_or_else(|_| "?".to_owned())
}

/// The line that would let instances of the class travel, as far as its kind tells.
fn how_to_write(class: &Bound<'_, PyType>) -> String {
    let name = class.name().map_or_else(|_| "cls".to_owned(), |name| name.to_string());
    let register =
        |encode: &str, decode: &str| format!("squall.register_type({name}, encode={encode}, decode={decode})");
    let py = class.py();
    if class.is(py.get_type::<PyMemoryView>()) {
        return "emit `bytes(view)`".to_owned();
    }
    if class.hasattr("__members__").unwrap_or(false) {
        return format!("emit its `.value`, or register it: {}", register("lambda x: x.value", &name));
    }
    if class.is_subclass_of::<PyTuple>().unwrap_or(false) && class.hasattr("_make").unwrap_or(false) {
        return format!("register it: {}", register("tuple", &format!("{name}._make")));
    }
    if let Some(fields) =
        class.getattr("__dataclass_fields__").ok().and_then(|fields| fields.cast_into::<PyDict>().ok())
    {
        let parts: Vec<String> = fields.keys().iter().take(TOLD_FIELDS).map(|field| format!("x.{field}")).collect();
        let more = if fields.len() > TOLD_FIELDS { ", ..." } else { "" };
        let encode = format!("lambda x: [{}{more}]", parts.join(", "));
        return format!("register it: {}", register(&encode, &format!("lambda v: {name}(*v)")));
    }
    if name_of(class) == "numpy.ndarray" {
        return "emit `array.tolist()`, or register it: squall.register_type(numpy.ndarray, encode=lambda a: [a.dtype.str, \
                a.shape, a.tobytes()], decode=lambda v: numpy.frombuffer(v[2], v[0]).reshape(v[1]))"
            .to_owned();
    }
    format!("emit plain values (numbers, text, lists, dicts, dates), or register the type: {}", register("...", "..."))
}

/// A tuple that came for `target` cannot be made.
#[cold]
pub fn undecodable(target: &Task, stream: &str, fields: &[String], trouble: Undecodable) -> PyErr {
    // SAFETY: as in `unencodable`.
    let py = unsafe { Python::assume_attached() };
    let field = fields.get(trouble.field).map_or("?", String::as_str);
    not_made(py, &format!("a tuple of stream \"{stream}\" for {}, field \"{field}\"", who(target)), trouble)
}

/// As [`undecodable`], of a value for no task.
#[cold]
pub fn undecodable_value(py: Python<'_>, trouble: Undecodable) -> PyErr {
    not_made(py, &format!("value {}", trouble.field), trouble)
}

fn not_made(py: Python<'_>, what: &str, trouble: Undecodable) -> PyErr {
    let (why, fix, cause) = match trouble.reason {
        Reason::Bytes(fault) => (fault.to_string(), "run the same release of squall in all workers", None),
        Reason::Fields => {
            let why = "the tuple has another number of values than its stream has fields".to_owned();
            (why, "run the same topology in all workers", None)
        }
        Reason::Unregistered(name) => {
            let why = format!("it is of type {name}, which is not registered in this worker");
            (why, "call `squall.register_type` where every worker runs it: at the top of the topology's file", None)
        }
        Reason::Decoder(name, error) => {
            let why = format!("making a {name} raised {}", because(py, &error));
            (why, "mend the `decode` that it was registered with: it gets what `encode` returned", Some(error))
        }
        Reason::Lied(name, given) => {
            let why = format!("the `decode` of {name} returned a {given}");
            (why, "return an instance of exactly the registered type", None)
        }
        Reason::Pickle => {
            let why = "it came as a pickle, and `topology.fall.back.on.pickle` is off here".to_owned();
            (why, "give all workers the same settings", None)
        }
        Reason::Value(error) => {
            let why = format!("making it raised {}", because(py, &error));
            (why, "see whether all workers have the same modules and time zones", Some(error))
        }
    };
    let error = make("value_not_decodable", format!("{what}: {why}"), &[], fix);
    error.set_cause(py, cause);
    error
}
