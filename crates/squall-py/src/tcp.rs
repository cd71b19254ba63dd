//! The native spout of sockets as the run loop sees it: records taken from the reader's chunks become roots.

use crate::decode::{Decode, Sent};
use crate::fault;
use crate::order::Order;
use crate::streams::StreamSettings;
use crate::task::Task;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use squall_net::journal::{Journal, JournalOptions};
use squall_net::tcp::{CallOptions, Chunk, DatagramOptions, News, Origin, Server, Source, StreamOptions};
use squall_net::wake::Wake;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes that may wait for the loop, over all connections of one source.
pub const QUEUE_BYTES: usize = 8 << 20;

/// How a source begins.
enum Start {
    Stream(Origin, StreamOptions, Option<JournalOptions>),
    Datagrams(OwnedFd, DatagramOptions),
}

/// The native half of a spout of sockets, before and after its start.
#[pyclass(frozen, module = "squall._core")]
pub struct SocketSource {
    start: Mutex<Option<(Start, Decode)>>,
    source: Mutex<Option<Arc<Source>>>,
}

#[pymethods]
impl SocketSource {
    /// Of a socket that listens already.
    #[staticmethod]
    #[pyo3(signature = (fd, stream, decode, /, *, journal = None))]
    fn listen(
        fd: i32,
        stream: &StreamSettings,
        decode: &Bound<'_, PyAny>,
        journal: Option<(PathBuf, u64)>,
    ) -> PyResult<SocketSource> {
        let journal = journal.map(|(dir, most_bytes)| JournalOptions { dir, most_bytes });
        SocketSource::new(Start::Stream(Origin::Listen(owned(fd)), stream.0.clone(), journal), decode)
    }

    /// Of connections that are made to servers.
    #[staticmethod]
    #[pyo3(signature = (servers, stream, decode, /, *, reconnect, first_pause, longest_pause, timeout))]
    fn connect(
        servers: Vec<(String, u16)>,
        stream: &StreamSettings,
        decode: &Bound<'_, PyAny>,
        reconnect: bool,
        first_pause: f64,
        longest_pause: f64,
        timeout: f64,
    ) -> PyResult<SocketSource> {
        let calls = CallOptions {
            servers: servers.into_iter().map(|(host, port)| Server { host, port }).collect(),
            reconnect,
            first_pause_ns: (first_pause * 1e9) as u64,
            longest_pause_ns: (longest_pause * 1e9) as u64,
            timeout: Duration::from_secs_f64(timeout),
        };
        SocketSource::new(Start::Stream(Origin::Call(calls), stream.0.clone(), None), decode)
    }

    /// Of a bound socket for datagrams.
    #[staticmethod]
    #[pyo3(signature = (fd, decode, /, *, max_record))]
    fn datagrams(fd: i32, decode: &Bound<'_, PyAny>, max_record: usize) -> PyResult<SocketSource> {
        let options = DatagramOptions { max_record, queue_bytes: QUEUE_BYTES };
        SocketSource::new(Start::Datagrams(owned(fd), options), decode)
    }

    /// Counters of the source, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = PyDict::new(py);
        for (name, value) in self.running().map(|source| source.stats()).unwrap_or_default().pairs() {
            stats.set_item(name, value)?;
        }
        Ok(stats)
    }

    /// Sends the last receipts and closes the connections.
    fn close(&self, py: Python<'_>) {
        if let Some(source) = self.running() {
            py.detach(|| source.close());
        }
    }
}

/// Takes over a descriptor that the caller hands over.
fn owned(fd: i32) -> OwnedFd {
    // SAFETY: it is the caller's, and nobody else's from now on.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

impl SocketSource {
    fn new(start: Start, decode: &Bound<'_, PyAny>) -> PyResult<SocketSource> {
        let start = Mutex::new(Some((start, Decode::of(decode)?)));
        Ok(SocketSource { start, source: Mutex::new(None) })
    }

    fn running(&self) -> Option<Arc<Source>> {
        self.source.lock().expect("no panic holds it").clone()
    }

    /// Opens the journal and starts the threads; the loop is woken when records come.
    pub fn open(&self, task: &Task, wake: Wake) -> PyResult<TcpReader> {
        let Some((start, decode)) = self.start.lock().expect("no panic holds it").take() else {
            return Err(PyValueError::new_err("the source was started already"));
        };
        let source = Arc::new(match start {
            Start::Stream(origin, options, journal) => {
                let journal = journal.map(|options| open_journal(task, options)).transpose()?;
                Source::start(origin, options, journal, wake)?
            }
            Start::Datagrams(fd, options) => Source::datagrams(fd, options, wake)?,
        });
        *self.source.lock().expect("no panic holds it") = Some(source.clone());
        Ok(TcpReader { source, chunk: None, next: 0, skipped: 0, slot: 0, decode, is_counted: false })
    }
}

fn open_journal(task: &Task, options: JournalOptions) -> PyResult<Journal> {
    let dir = options.dir.display().to_string();
    Journal::open(options).map_err(|defect| fault::journal(task, &dir, &defect))
}

/// The loop's end of a source of sockets.
pub struct TcpReader {
    source: Arc<Source>,
    chunk: Option<Chunk>,
    /// The next record of the chunk, and the next of those that were skipped between.
    next: usize,
    skipped: usize,
    /// Of the chunk's connection, if it is counted what has ended.
    slot: u32,
    decode: Decode,
    is_counted: bool,
}

impl TcpReader {
    /// What the loop counts the outputs by, if receipts are sent or a journal is kept.
    pub fn order(&mut self) -> Option<Order> {
        let ends = self.source.ends(self.decode.outputs())?;
        self.is_counted = true;
        Some(Order::Records(ends))
    }

    /// Whether each record is a call of user code.
    pub fn is_unknown_pace(&self) -> bool {
        self.decode.is_users()
    }

    /// Takes up to `room` records, and opens as many roots or a few more. Whether there were any.
    pub fn poll(&mut self, py: Python<'_>, task: &Task, room: u32) -> bool {
        let state = task.spout();
        let mut taken = 0;
        while taken < room && state.emitted_in_poll.get() < room {
            let Some(chunk) = self.chunk.as_ref() else {
                match self.source.try_take() {
                    None => break,
                    Some(chunk) => {
                        self.begin_chunk(py, task, chunk);
                        continue;
                    }
                }
            };
            if self.next >= chunk.len() {
                self.end_chunk(task);
                continue;
            }
            let at = self.next;
            self.next += 1;
            taken += 1;
            if self.is_counted {
                self.count_skipped(task, at);
                task.spout().begin_record(self.slot);
            }
            let chunk = self.chunk.as_ref().expect("looked at above");
            let origin = if self.decode.runs_python() { task.spout().current_origin() } else { None };
            let sent = match origin {
                Some(origin) => self.decode.send_known(py, task, chunk.record(at), origin),
                None => self.decode.send(py, task, chunk.record(at)),
            };
            if self.is_counted {
                task.spout().end_record();
            }
            match sent {
                Sent::Emitted => {}
                Sent::Dead => state.emitted_in_poll.set(state.emitted_in_poll.get() + 1),
                Sent::Ends => break, // the worker dies
            }
        }
        taken > 0
    }

    fn begin_chunk(&mut self, py: Python<'_>, task: &Task, chunk: Chunk) {
        for record_fault in chunk.faults() {
            let error = fault::record(task, &record_fault.to_string());
            task.core().report(py, &task.core().task(task.index), "read", error);
        }
        if let Some(news) = chunk.news() {
            tell(py, task, news);
        }
        if self.is_counted && (!chunk.is_empty() || !chunk.skipped().is_empty()) {
            self.slot = task.spout().slot_of(chunk.connection);
        }
        (self.chunk, self.next, self.skipped) = (Some(chunk), 0, 0);
    }

    fn end_chunk(&mut self, task: &Task) {
        self.count_skipped(task, self.next);
        let Some(chunk) = self.chunk.take() else { return };
        if self.is_counted && chunk.is_last() {
            task.spout().close_connection(chunk.connection);
        }
    }

    /// Counts the records that were skipped before the one at `before`.
    #[inline]
    fn count_skipped(&mut self, task: &Task, before: usize) {
        let Some(chunk) = self.chunk.as_ref().filter(|chunk| !chunk.skipped().is_empty() && self.is_counted) else {
            return;
        };
        while chunk.skipped().get(self.skipped).is_some_and(|at| *at as usize <= before) {
            self.skipped += 1;
            task.spout().skip_record(self.slot);
        }
    }

    /// No more connections; what the sockets hold is still taken.
    pub fn stop_accepting(&self) {
        self.source.stop_accepting();
    }

    /// Whether nothing more will come, and everything was taken.
    pub fn finished(&self) -> bool {
        self.chunk.is_none() && self.source.finished()
    }

    /// Polls again as soon as the reader has something.
    pub fn listen_for_more(&self, task: &Task) {
        task.core().waits_for_tcp.set(true);
    }

    /// Whether a poll would find something.
    pub fn has_more(&self) -> bool {
        self.chunk.is_some() || self.source.has_chunks() || self.source.finished()
    }
}

/// What is wrong is reported as an error; how it goes with servers is a line in the log for each change.
#[cold]
fn tell(py: Python<'_>, task: &Task, news: &News) {
    let core = task.core();
    let (error, is_good) = match news {
        News::Handshake { .. } => (Some(fault::handshake(task, &news.to_string())), false),
        News::Dropped { .. } => (Some(fault::datagrams_lost(task, &news.to_string())), false),
        News::Unstored { .. } => (Some(fault::journal_unwritable(task, &news.to_string())), false),
        News::Connected { .. } | News::StoresAgain { .. } => (None, true),
        News::Unreachable { .. } | News::Lost { .. } | News::Cut { .. } => (None, false),
    };
    if let Some(error) = error {
        return core.report(py, &core.task(task.index), "read", error);
    }
    if let Err(fault) = core.hooks(py).call_method1("notice", (task.index, news.to_string(), is_good)) {
        fault.write_unraisable(py, None);
    }
}
