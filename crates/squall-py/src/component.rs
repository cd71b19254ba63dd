//! The bases of `squall.Spout` and `squall.Bolt`, and their emit slots.
//!
//! `emit` is a raw slot of CPython's fast calling convention: no argument parsing, no borrow flag, no guard. The
//! descriptor that CPython makes checks the type of `self`.

use crate::call::Call;
use crate::emit::{Anchor, unanchored};
use crate::fault;
use crate::gil::Gil;
use crate::row::PyRow;
use crate::task::Task;
use crate::tuple::{self, Standing, Tuple};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::*;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use squall_core::cell::Local;
use std::ffi::CStr;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What a user's spout or bolt is to the core; its state is made in `__new__`.
#[pyclass(frozen, subclass, module = "squall._core")]
pub struct Component(pub Gil<Local<Option<Rc<Task>>>>);

#[pymethods]
impl Component {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Component {
        Component(Gil(Local::new(None)))
    }

    /// The task's context.
    #[getter]
    fn context(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let context = self.0.with(|task| {
            task.as_ref().and_then(|task| task.context.with(|context| context.as_ref().map(|c| c.clone_ref(py))))
        });
        context.ok_or_else(|| PyRuntimeError::new_err("the component has no context before `open`"))
    }
}

impl Component {
    fn task(&self) -> Option<Rc<Task>> {
        self.0.with(|task| task.clone())
    }
}

/// Base of `squall.Bolt`.
#[pyclass(frozen, subclass, extends = Component, module = "squall._core")]
pub struct BoltBase;

#[pymethods]
impl BoltBase {
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<BoltBase> {
        PyClassInitializer::from(Component::new(args, kwargs)).add_subclass(BoltBase)
    }

    /// Ends each tuple's part in its trees well.
    #[pyo3(signature = (*tuples))]
    fn ack(slf: &Bound<'_, Self>, tuples: &Bound<'_, PyTuple>) -> PyResult<()> {
        let task = bound_task(slf.as_super())?;
        let mut tuples = held(tuples, "ack")?;
        if let Some(call) = own_call(slf.py(), &task) {
            tuples.retain(|tuple| !call.get().inner().ack_later(tuple));
        }
        tuple::ack_all(&task, &tuples);
        task.core().wake_from_elsewhere();
        Ok(())
    }

    /// Fails each tuple's roots: they are tried again, or given up after the last try.
    #[pyo3(signature = (*tuples, error = None))]
    fn fail(slf: &Bound<'_, Self>, tuples: &Bound<'_, PyTuple>, error: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let task = bound_task(slf.as_super())?;
        for tuple in held(tuples, "fail")? {
            let inner = tuple.get().inner();
            if inner.standing.get() == Standing::Live {
                tuple::settle(inner, Standing::Failed);
                let error = error.clone().map_or_else(|| fault::failed_by_user(&task), PyErr::from_value);
                let holder = inner.task.clone();
                task.core().fail_tuple(py, &holder, tuple.unbind(), error);
            }
        }
        task.core().wake_from_elsewhere();
        Ok(())
    }

    /// Starts each tuple's hold time-out anew.
    #[pyo3(signature = (*tuples))]
    fn reset_timeout(slf: &Bound<'_, Self>, tuples: &Bound<'_, PyTuple>) -> PyResult<()> {
        let py = slf.py();
        let task = bound_task(slf.as_super())?;
        for tuple in tuple::extract_all(tuples.as_any())? {
            if !tuple::let_go(tuple.get().inner()) {
                hold_call_anew(&task, &tuple);
                continue;
            }
            let holder = tuple.get().inner().task.clone();
            task.core().hold(py, &holder, &tuple.unbind(), holder.bolt().hold_ns.get());
        }
        task.core().wake_from_elsewhere();
        Ok(())
    }
}

/// Base of `squall.Spout`.
#[pyclass(frozen, subclass, extends = Component, module = "squall._core")]
pub struct SpoutBase;

#[pymethods]
impl SpoutBase {
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<SpoutBase> {
        PyClassInitializer::from(Component::new(args, kwargs)).add_subclass(SpoutBase)
    }
}

/// The tuples that a bolt with `manual_ack` may end; another bolt's end when its call returns.
fn held<'py>(tuples: &Bound<'py, PyTuple>, what: &str) -> PyResult<Vec<Bound<'py, Tuple>>> {
    let tuples = tuple::extract_all(tuples.as_any())?;
    match tuples.iter().map(|tuple| &tuple.get().inner().task).find(|task| !task.bolt().manual_ack.get()) {
        Some(task) => Err(fault::not_manual(task, what)),
        None => Ok(tuples),
    }
}

/// Without `manual_ack` it is the call that is timed, if it runs elsewhere.
fn hold_call_anew(task: &Task, tuple: &Bound<'_, Tuple>) {
    if let Some(call) = own_call(tuple.py(), task)
        && call.get().inner().has(tuple)
    {
        task.core().hold_call(tuple.py(), &call.unbind());
    }
}

fn bound_task(component: &Bound<'_, Component>) -> PyResult<Rc<Task>> {
    component.get().task().ok_or_else(fault::not_bound)
}

/// Gives a component to its task.
pub fn bind(component: &Bound<'_, Component>, task: &Rc<Task>) {
    component.get().0.replace(Some(task.clone()));
}

/// Takes a component from its task.
pub fn unbind(component: &Bound<'_, Component>) {
    drop(component.get().0.replace(None));
}

/// The task of the component that CPython has checked `slf` to be.
#[inline(always)]
unsafe fn task_of<'a>(slf: *mut PyObject) -> Option<&'a Task> {
    unsafe {
        let py = Python::assume_attached();
        let component = Bound::ref_from_ptr(py, &slf).cast_unchecked::<Component>();
        // The task lives as long as the component is bound to it, which is longer than this call.
        component.get().0.with(|task| task.as_ref().map(|task| &*Rc::as_ptr(task)))
    }
}

unsafe fn none() -> *mut PyObject {
    unsafe {
        let none = Py_None();
        Py_INCREF(none);
        none
    }
}

unsafe extern "C" fn bolt_emit(
    slf: *mut PyObject,
    values: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    unsafe {
        if names.is_null()
            && let Some(task) = task_of(slf)
            && let Some(stream) = task.default_stream()
        {
            let here = PyThreadState_Get() == task.thread.get();
            if here && stream.fields.len() == count as usize && !stream.direct {
                let sent =
                    PyRow::from_borrowed(values, count as usize).and_then(|row| task.send(stream, row, &task.cur));
                return if sent.is_ok() { none() } else { null_mut() };
            }
        }
        answer(guarded(|py| emit_from_bolt(py, slf, values, count as usize, names)))
    }
}

unsafe extern "C" fn spout_emit(
    slf: *mut PyObject,
    values: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    unsafe {
        if let (Some(task), Some(id)) = (task_of(slf), only_id(values, count, names))
            && let Some(stream) = task.default_stream()
        {
            let here = PyThreadState_Get() == task.thread.get();
            if here && stream.fields.len() == count as usize && !stream.direct {
                if task.count_root().is_err() {
                    return null_mut();
                }
                let sent =
                    PyRow::from_borrowed(values, count as usize).and_then(|row| task.open_root(stream, row, id, None));
                return if sent.is_ok() { none() } else { null_mut() };
            }
        }
        answer(guarded(|py| emit_from_spout(py, slf, values, count as usize, names)))
    }
}

/// The id of an emit that names nothing else: null without one. None if other keywords are named.
#[inline(always)]
unsafe fn only_id(values: *const *mut PyObject, count: Py_ssize_t, names: *mut PyObject) -> Option<*mut PyObject> {
    unsafe {
        if names.is_null() {
            return Some(null_mut());
        }
        // Keyword names are interned, so the same name is the same object.
        if PyTuple_GET_SIZE(names) != 1 || PyTuple_GET_ITEM(names, 0) != ID_NAME.load(Ordering::Relaxed) {
            return None;
        }
        let id = *values.add(count as usize);
        Some(if id == Py_None() { null_mut() } else { id })
    }
}

static ID_NAME: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

/// A panic must not cross into the interpreter.
unsafe fn guarded(body: impl FnOnce(Python<'_>) -> PyResult<()>) -> PyResult<()> {
    let py = unsafe { Python::assume_attached() };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(py))) {
        Ok(result) => result,
        Err(_) => Err(pyo3::panic::PanicException::new_err("the core panicked in `emit`")),
    }
}

unsafe fn answer(result: PyResult<()>) -> *mut PyObject {
    match result {
        Ok(()) => unsafe { none() },
        Err(error) => {
            error.restore(unsafe { Python::assume_attached() });
            null_mut()
        }
    }
}

/// The keyword arguments of an emit.
#[derive(Default)]
struct Options<'py> {
    stream: Option<String>,
    task: Option<i64>,
    anchors: Option<Bound<'py, PyAny>>,
    id: Option<Bound<'py, PyAny>>,
}

unsafe fn options<'py>(
    py: Python<'py>,
    values: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
    allowed: &[&str],
) -> PyResult<Options<'py>> {
    let mut options = Options::default();
    if names.is_null() {
        return Ok(options);
    }
    let names = unsafe { Bound::from_borrowed_ptr(py, names).cast_into_unchecked::<PyTuple>() };
    for (i, name) in names.iter().enumerate() {
        let name: String = name.extract()?;
        if !allowed.contains(&name.as_str()) {
            return Err(PyTypeError::new_err(format!("emit() got an unexpected keyword argument '{name}'")));
        }
        let value = unsafe { Bound::from_borrowed_ptr(py, *values.add(count + i)) };
        if value.is_none() {
            continue;
        }
        match name.as_str() {
            "stream" => options.stream = Some(value.extract()?),
            "task" => options.task = Some(value.extract()?),
            "anchors" => options.anchors = Some(value),
            _ => options.id = Some(value),
        }
    }
    Ok(options)
}

#[cold]
#[inline(never)]
unsafe fn emit_from_bolt(
    py: Python<'_>,
    slf: *mut PyObject,
    values: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> PyResult<()> {
    let options = unsafe { options(py, values, count, names, &["stream", "task", "anchors"])? };
    let task = unsafe { task_of(slf) }.ok_or_else(fault::not_bound)?;
    if task.core().closing.get() {
        return Err(fault::closing(task));
    }
    let name = options.stream.as_deref().unwrap_or("default");
    let stream = task.stream(name).ok_or_else(|| fault::stream_unknown(task, name))?;
    let row = unsafe { PyRow::from_borrowed(values, count) }.map_err(|error| error.take(py))?;
    if own_call(py, task).is_some_and(|call| call.get().inner().has_timed_out()) {
        return Ok(()); // its inputs have failed, and their next try will emit this again
    }
    let send = |anchor: Anchor<'_>| task.send_with(stream, row, anchor, options.task);
    match options.anchors {
        Some(anchors) => send(Anchor::Tuples(&tuple::extract_all(&anchors)?))?,
        None => send_from_current_input(py, task, send)?,
    }
    task.core().wake_from_elsewhere();
    Ok(())
}

/// Anchors to what an emit belongs to: the input of the loop's call, of the current coroutine or thread, or none.
fn send_from_current_input(py: Python<'_>, task: &Task, send: impl FnOnce(Anchor<'_>) -> PyResult<()>) -> PyResult<()> {
    // SAFETY: the interpreter lock is held.
    let thread = unsafe { PyThreadState_Get() };
    if thread == task.thread.get() {
        return send(Anchor::Cur(&task.cur));
    }
    let on_loop = thread == task.core().loop_thread.get() && !task.is_offloaded();
    // SAFETY: the pointer is set for the time of the call that owns the rows.
    if let (true, Some(rows)) = (on_loop, unsafe { task.bolt().batch.get().as_ref() }) {
        return task.send_for_rows(py, rows, send);
    }
    match own_call(py, task) {
        Some(call) => call.get().inner().send(py, send),
        None => send(Anchor::Cur(&unanchored())),
    }
}

/// The call of this task that the current coroutine or thread runs.
fn own_call<'py>(py: Python<'py>, task: &Task) -> Option<Bound<'py, Call>> {
    let call = current_call(py)?.cast_into::<Call>().ok()?;
    (call.get().inner().task.index == task.index).then_some(call)
}

#[cold]
#[inline(never)]
unsafe fn emit_from_spout(
    py: Python<'_>,
    slf: *mut PyObject,
    values: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> PyResult<()> {
    let options = unsafe { options(py, values, count, names, &["stream", "task", "id"])? };
    let task = unsafe { task_of(slf) }.ok_or_else(fault::not_bound)?;
    if task.core().closing.get() {
        return Err(fault::closing(task));
    }
    let name = options.stream.as_deref().unwrap_or("default");
    let stream = task.stream(name).ok_or_else(|| fault::stream_unknown(task, name))?;
    let row = unsafe { PyRow::from_borrowed(values, count) }.map_err(|error| error.take(py))?;
    task.count_root().map_err(|error| error.take(py))?;
    task.emit_root(py, stream, row, options.id.as_ref(), options.task)?;
    task.core().wake_from_elsewhere();
    Ok(())
}

static CURRENT_CALL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The context variable `current_call`, made once.
pub fn current_call_variable(py: Python<'_>) -> PyResult<&Py<PyAny>> {
    CURRENT_CALL.get_or_try_init(py, || {
        // SAFETY: the name is a literal; a null default means none.
        unsafe {
            let variable = PyContextVar_New(c"squall_current_call".as_ptr(), null_mut());
            Ok(Bound::from_owned_ptr_or_err(py, variable)?.unbind())
        }
    })
}

fn current_call<'py>(py: Python<'py>) -> Option<Bound<'py, PyAny>> {
    let variable = current_call_variable(py).ok()?;
    let mut value = null_mut();
    // SAFETY: the variable is live; `value` gets an owned reference or null.
    unsafe {
        if PyContextVar_Get(variable.as_ptr(), null_mut(), &mut value) != 0 {
            PyErr_Clear();
            return None;
        }
        Bound::from_owned_ptr_or_opt(py, value)
    }
}

/// Puts the raw emit slots on the two bases.
pub fn install_slots(py: Python<'_>) -> PyResult<()> {
    // Kept for ever, so that the pointer stays the name's.
    ID_NAME.store(pyo3::types::PyString::intern(py, "id").into_ptr(), Ordering::Relaxed);
    let bolt = c"emit(*values, stream='default', task=None, anchors=None)\n--\n\nSends one row, anchored to the current input.";
    let spout = c"emit(*values, id=None, stream='default', task=None)\n--\n\nSends one row as a new root.";
    install(&py.get_type::<BoltBase>(), bolt_emit, bolt)?;
    install(&py.get_type::<SpoutBase>(), spout_emit, spout)
}

type FastWithNames =
    unsafe extern "C" fn(*mut PyObject, *const *mut PyObject, Py_ssize_t, *mut PyObject) -> *mut PyObject;

fn install(class: &Bound<'_, PyType>, function: FastWithNames, doc: &'static CStr) -> PyResult<()> {
    let definition = Box::leak(Box::new(PyMethodDef {
        ml_name: c"emit".as_ptr(),
        ml_meth: PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: METH_FASTCALL | METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }));
    // SAFETY: the definition is leaked, so it outlives the type.
    let descriptor =
        unsafe { Bound::from_owned_ptr_or_err(class.py(), PyDescr_NewMethod(class.as_type_ptr(), definition))? };
    class.setattr("emit", descriptor)
}
