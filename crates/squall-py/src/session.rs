//! The worker's end of the command session, as Python makes it.
//!
//! `stacks` is answered by the native thread without the interpreter lock; everything else is given to a
//! handler in Python, on a thread of its own, so that one who waits for the lock holds up nobody.
//!
//! Bound: 64 commands wait for the lock; further ones are refused.

use crate::worker::Worker;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use squall_net::session::{self, id_of, refusal};
use squall_net::watch::{Limits, Watch};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for faulthandler to write the stacks.
const DUMP_WAIT: Duration = Duration::from_secs(2);
/// The file counts as written when it has not grown for this long.
const DUMP_QUIET: Duration = Duration::from_millis(20);

/// Commands with an asker that wait for the interpreter lock at most.
const MOST_WAITING: usize = 64;

/// The worker's end of the command session.
#[pyclass(frozen, module = "squall._core")]
pub struct Session {
    sender: session::Sender,
    _watch: Mutex<Option<Watch>>,
}

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (worker, fd, handler, /, *, dump_fd, stuck_after, timeout))]
    fn new(
        worker: &Bound<'_, Worker>,
        fd: i32,
        handler: Py<PyAny>,
        dump_fd: i32,
        stuck_after: f64,
        timeout: f64,
    ) -> PyResult<Session> {
        // SAFETY: the caller hands both descriptors over.
        let (socket, dump) = unsafe { (OwnedFd::from_raw_fd(fd), File::from_raw_fd(dump_fd)) };
        let dump = Arc::new(Mutex::new(dump));
        let (sender, lines) = session::channel();
        let asked = ask_python(handler, sender.clone())?;
        let stacks = dump.clone();
        let answer: session::Handler = Box::new(move |line| match command_of(line).as_deref() {
            Some("stacks") => Some(stacks_answer(line, &read_stacks(&stacks))),
            _ => asked.put(line),
        });
        // SAFETY: ends the process at once, as the parent is gone.
        session::serve(socket, sender.clone(), lines, answer, || unsafe { libc::_exit(130) })?;
        let events = sender.clone();
        let limits =
            Limits { stuck_after: Duration::from_secs_f64(stuck_after), timeout: Duration::from_secs_f64(timeout) };
        let watch = worker.get().page().map(|page| {
            Watch::start(page, limits, move |stuck| {
                let stack = json_text(&read_stacks(&dump));
                let (component, running_s) = (stuck.component, stuck.running.as_secs_f64());
                let event = format!(
                    r#"{{"event":"stuck","component":{component},"running_s":{running_s:.1},"stack":{stack}}}"#
                );
                events.send(event.into_bytes());
            })
        });
        Ok(Session { sender, _watch: Mutex::new(watch.transpose()?) })
    }

    /// Whether every line is written.
    fn flushed(&self) -> bool {
        self.sender.is_flushed()
    }

    /// Sends a line that may be lost; whether it was taken.
    fn offer(&self, line: Vec<u8>) -> bool {
        self.sender.offer(line)
    }

    /// Sends one event line to the parent.
    fn send(&self, line: Vec<u8>) -> bool {
        self.sender.send(line)
    }
}

/// How a worker ends that cannot take commands for lack of memory (ENOMEM; `python/squall/cluster/causes.py` knows it).
const NO_MEMORY: i32 = 12;

/// Commands on their way to the Python handler.
struct Asked {
    queue: Sender<Vec<u8>>,
    /// Those that are not answered yet.
    waiting: Arc<AtomicUsize>,
}

impl Asked {
    /// Queues a command. The answer, if it is refused: only who waits for one is, as what the parent tells without
    /// asking (a tap's end, a stored position) is bounded by what it was told.
    fn put(&self, line: &[u8]) -> Option<Vec<u8>> {
        let id = id_of(line);
        if id.is_some() && self.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            return Some(refusal(id, &format!("{MOST_WAITING} commands wait for the worker already")));
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _ = self.queue.send(line.to_vec());
        None
    }
}

/// Starts the thread that asks the Python handler.
fn ask_python(handler: Py<PyAny>, sender: session::Sender) -> PyResult<Asked> {
    let (queue, requests) = channel::<Vec<u8>>();
    let waiting = Arc::new(AtomicUsize::new(0));
    let asked = Asked { queue, waiting: waiting.clone() };
    std::thread::Builder::new().name("squall-commands".into()).spawn(move || {
        while let Ok(request) = requests.recv() {
            let answer = Python::attach(|py| {
                let answer = handler.call1(py, (pyo3::types::PyBytes::new(py, &request),));
                match answer.and_then(|answer| answer.extract::<Option<Vec<u8>>>(py)) {
                    Ok(answer) => answer,
                    // What it cannot do, or even say, its parent would wait for; another life may have room.
                    // SAFETY: ends the process at once, as a kill would.
                    Err(error) if error.is_instance_of::<PyMemoryError>(py) => unsafe { libc::_exit(NO_MEMORY) },
                    Err(error) => {
                        error.write_unraisable(py, None);
                        None
                    }
                }
            });
            waiting.fetch_sub(1, Ordering::Relaxed);
            if let Some(answer) = answer {
                sender.send(answer);
            }
        }
    })?;
    Ok(asked)
}

/// The value of `"cmd"` in a request; the two commands answered here need no JSON parser.
fn command_of(line: &[u8]) -> Option<String> {
    text_after(line, "\"cmd\":")
}

fn text_after(line: &[u8], key: &str) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let value = text[text.find(key)? + key.len()..].trim_start().strip_prefix('"')?;
    Some(value[..value.find('"')?].to_owned())
}

fn stacks_answer(line: &[u8], stacks: &str) -> Vec<u8> {
    let id = id_of(line).map_or_else(|| "null".to_owned(), |id| id.to_string());
    format!(r#"{{"id":{id},"stacks":{}}}"#, json_text(stacks)).into_bytes()
}

/// Has faulthandler write the stacks of all threads, which needs no interpreter lock, and reads them.
fn read_stacks(dump: &Mutex<File>) -> String {
    let Ok(mut file) = dump.lock() else { return String::new() };
    let began = Instant::now();
    let _ = file.set_len(0);
    let _ = file.rewind();
    // SAFETY: the handler was registered before the session was made.
    unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) };
    let (mut size, mut quiet_since) = (0, Instant::now());
    while began.elapsed() < DUMP_WAIT && (size == 0 || quiet_since.elapsed() < DUMP_QUIET) {
        std::thread::sleep(Duration::from_millis(2));
        let now = file.metadata().map_or(0, |metadata| metadata.len());
        if now != size {
            (size, quiet_since) = (now, Instant::now());
        }
    }
    let mut text = Vec::new();
    let _ = file.rewind();
    let _ = file.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// `text` as a JSON string.
fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
