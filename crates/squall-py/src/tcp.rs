//! The native TCP spout as the run loop sees it: records taken from the reader's chunks become roots.

use crate::fault;
use crate::row::PyRow;
use crate::task::Task;
use pyo3::exceptions::PyValueError;
use pyo3::ffi::*;
use pyo3::prelude::*;
use squall_core::framing::Framing;
use squall_net::tcp::{Chunk, ListenOptions, REST_BYTES, TcpListen};
use squall_net::wake::Wake;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::{null, null_mut};
use std::sync::{Arc, Mutex};

/// Bytes that may wait for the loop, over all connections of one source.
const QUEUE_BYTES: usize = 8 << 20;

/// How a record becomes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decode {
    Text,
    Bytes,
}

/// The native half of a listening TCP spout, before and after its start.
#[pyclass(frozen, module = "squall._core")]
pub struct TcpSource {
    start: Mutex<Option<(OwnedFd, ListenOptions)>>,
    listen: Mutex<Option<Arc<TcpListen>>>,
    decode: Decode,
}

#[pymethods]
impl TcpSource {
    #[new]
    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (fd, /, *, framing, delimiter = Vec::new(), size = 0, prefix_bytes = 4, big_endian = true,
        decode = "text", max_record, max_connections, client_buffer))]
    fn new(
        fd: i32,
        framing: &str,
        delimiter: Vec<u8>,
        size: usize,
        prefix_bytes: u8,
        big_endian: bool,
        decode: &str,
        max_record: usize,
        max_connections: usize,
        client_buffer: usize,
    ) -> PyResult<TcpSource> {
        let framing = match framing {
            "lines" => Framing::Lines,
            "delimiter" => Framing::Delimiter(delimiter),
            "fixed" => Framing::Fixed(size),
            "length_prefix" => Framing::LengthPrefix { bytes: prefix_bytes, big_endian },
            other => return Err(PyValueError::new_err(format!("unknown framing {other:?}"))),
        };
        let decode = if decode == "text" { Decode::Text } else { Decode::Bytes };
        let (queue_bytes, rest_bytes) = (QUEUE_BYTES, REST_BYTES);
        let options = ListenOptions { framing, max_record, max_connections, client_buffer, queue_bytes, rest_bytes };
        // SAFETY: the caller hands the descriptor over.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(TcpSource { start: Mutex::new(Some((fd, options))), listen: Mutex::new(None), decode })
    }

    /// Counters of the source, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, pyo3::types::PyDict>> {
        let stats = pyo3::types::PyDict::new(py);
        if let Some(listen) = self.listen.lock().expect("no panic holds it").as_ref() {
            for (name, value) in listen.stats().pairs() {
                stats.set_item(name, value)?;
            }
        }
        Ok(stats)
    }
}

impl TcpSource {
    /// Starts the reader's thread; the loop is woken when records come.
    pub fn open(&self, wake: Wake) -> PyResult<TcpReader> {
        let Some((fd, options)) = self.start.lock().expect("no panic holds it").take() else {
            return Err(PyValueError::new_err("the TCP source was started already"));
        };
        let listen = Arc::new(TcpListen::start(fd, options, wake)?);
        *self.listen.lock().expect("no panic holds it") = Some(listen.clone());
        Ok(TcpReader { listen, chunk: None, next: 0, decode: self.decode })
    }
}

/// The loop's end of a TCP source.
pub struct TcpReader {
    listen: Arc<TcpListen>,
    chunk: Option<Chunk>,
    next: usize,
    decode: Decode,
}

impl TcpReader {
    /// Opens up to `room` roots. Whether there were any.
    pub fn poll(&mut self, py: Python<'_>, task: &Task, room: u32) -> PyResult<bool> {
        let state = task.spout();
        while state.emitted_in_poll.get() < room {
            let Some(chunk) = self.chunk.as_ref() else {
                match self.listen.try_take() {
                    None => break,
                    Some(chunk) => {
                        self.report(py, task, &chunk);
                        (self.chunk, self.next) = (Some(chunk), 0);
                        continue;
                    }
                }
            };
            if self.next >= chunk.len() {
                self.chunk = None;
                continue;
            }
            let record = chunk.record(self.next);
            self.next += 1;
            state.emitted_in_poll.set(state.emitted_in_poll.get() + 1);
            emit_record(py, task, record, self.decode)?;
        }
        Ok(state.emitted_in_poll.get() > 0)
    }

    fn report(&self, py: Python<'_>, task: &Task, chunk: &Chunk) {
        for record_fault in chunk.faults() {
            let error = fault::record(task, &record_fault.to_string());
            task.core().report(py, &task.core().task(task.index), "read", error);
        }
    }

    /// No more connections; what the sockets hold is still taken.
    pub fn stop_accepting(&self) {
        self.listen.stop_accepting();
    }

    /// Whether everything was taken after `stop_accepting`.
    pub fn finished(&self) -> bool {
        self.chunk.is_none() && self.listen.finished()
    }

    /// Polls again as soon as the reader has something.
    pub fn listen_for_more(&self, task: &Task) {
        task.core().waits_for_tcp.set(true);
    }

    /// Whether a poll would find something.
    pub fn has_more(&self) -> bool {
        self.chunk.is_some() || self.listen.has_chunks()
    }
}

#[inline(always)]
fn emit_record(py: Python<'_>, task: &Task, record: &[u8], decode: Decode) -> PyResult<()> {
    // SAFETY: the slice is live; both constructors copy it.
    let value = unsafe {
        match decode {
            Decode::Text => PyUnicode_DecodeUTF8(record.as_ptr() as _, record.len() as Py_ssize_t, null()),
            Decode::Bytes => PyBytes_FromStringAndSize(record.as_ptr() as _, record.len() as Py_ssize_t),
        }
    };
    if value.is_null() {
        return bury_record(py, task, record);
    }
    let stream = task.default_stream().ok_or_else(|| fault::stream_unknown(task, "default"))?;
    // SAFETY: the row takes the reference over.
    unsafe { task.open_root(stream, PyRow::single(value), null_mut(), None) }.map_err(|error| error.take(py))
}

/// Bytes that are no UTF-8: no bolt could take them, so they go to the dead letters at once.
#[cold]
fn bury_record(py: Python<'_>, task: &Task, record: &[u8]) -> PyResult<()> {
    let error = PyErr::fetch(py);
    let value = pyo3::types::PyBytes::new(py, record);
    task.core().bury_unsent(py, task, PyRow::single(value.into_any().into_ptr()), error);
    Ok(())
}
