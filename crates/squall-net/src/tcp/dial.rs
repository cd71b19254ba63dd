//! Calling servers, and calling again those that were lost: a thread for each, as names are resolved by calls that block.
//!
//! A thread hands the socket that it made to the reader and sleeps until the reader has lost it. `redial` in the core
//! decides how long it then waits.

use super::news::News;
use super::queue::Queue;
use super::{CallOptions, Server, Status};
use crate::sys;
use squall_core::ids::mix;
use squall_core::redial::Redial;
use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Of the news of no connection.
const NOBODY: u64 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The thread has it.
    Calling,
    /// The reader has a socket; `is_up` when its hand-shake is done, too.
    Connected { is_up: bool },
    /// Nothing more is done.
    Stopped,
}

struct Line {
    server: Server,
    state: Mutex<State>,
    changed: Condvar,
    /// Why the server could not be reached, as it was said last.
    said: Mutex<Option<String>>,
}

struct Shared {
    lines: Vec<Line>,
    /// Sockets on their way to the reader.
    made: Mutex<Vec<(usize, OwnedFd)>>,
    options: CallOptions,
    queue: Arc<Queue>,
    status: Arc<Status>,
    command: Arc<OwnedFd>,
}

/// The servers of one source; dropping it ends the calls.
pub(super) struct Dialer(Arc<Shared>);

impl Dialer {
    pub fn start(
        options: CallOptions,
        queue: Arc<Queue>,
        status: Arc<Status>,
        command: Arc<OwnedFd>,
    ) -> io::Result<Dialer> {
        let line = |server: &Server| Line {
            server: server.clone(),
            state: Mutex::new(State::Calling),
            changed: Condvar::new(),
            said: Mutex::default(),
        };
        let lines = options.servers.iter().map(line).collect();
        let dialer = Dialer(Arc::new(Shared { lines, made: Mutex::default(), options, queue, status, command }));
        for index in 0..dialer.0.lines.len() {
            let shared = dialer.0.clone();
            std::thread::Builder::new().name("squall-dial".into()).spawn(move || shared.run(index))?;
        }
        Ok(dialer)
    }

    /// The sockets that were made since.
    pub fn take(&self) -> Vec<(usize, OwnedFd)> {
        std::mem::take(&mut *self.0.made.lock().expect("no thread panics while it holds the list"))
    }

    pub fn server(&self, index: usize) -> &Server {
        &self.0.lines[index].server
    }

    /// The connection is good: records may come.
    pub fn is_up(&self, index: usize) {
        let line = &self.0.lines[index];
        let mut state = line.lock();
        if let State::Connected { .. } = *state {
            *state = State::Connected { is_up: true };
        }
        drop(state);
        *line.said.lock().expect("as in `take`") = None;
        self.0.tell(News::Connected { server: line.server.to_string() });
    }

    /// The connection ended.
    pub fn lost(&self, index: usize, because: String) {
        let line = &self.0.lines[index];
        let mut state = line.lock();
        let was = *state;
        if was != State::Stopped {
            *state = State::Calling;
        }
        drop(state);
        line.changed.notify_all();
        match was {
            State::Connected { is_up: false } => self.0.unreachable(line, because),
            _ => self.0.tell(News::Lost { server: line.server.to_string(), because }),
        }
    }

    /// Calls nobody any more. The connections that there are stay.
    pub fn stop(&self) {
        for line in &self.0.lines {
            *line.lock() = State::Stopped;
            line.changed.notify_all();
        }
    }

    /// Whether all servers are done with: nothing is called any more, and no socket is on its way.
    pub fn is_done(&self) -> bool {
        self.0.lines.iter().all(|line| *line.lock() == State::Stopped)
            && self.0.made.lock().expect("as in `take`").is_empty()
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the state")
    }

    /// Sleeps while the reader has the connection. Whether to call again.
    fn wait_for_loss(&self) -> bool {
        let connected = |state: &mut State| matches!(state, State::Connected { .. });
        *self.changed.wait_while(self.lock(), connected).expect("as in `lock`") == State::Calling
    }

    /// Sleeps. Whether to call then.
    fn rest(&self, pause: Duration) -> bool {
        let calling = |state: &mut State| *state == State::Calling;
        let (state, _) = self.changed.wait_timeout_while(self.lock(), pause, calling).expect("as in `lock`");
        *state == State::Calling
    }
}

impl Shared {
    fn run(&self, index: usize) {
        let line = &self.lines[index];
        let seed = mix(index as u64 ^ std::process::id() as u64) ^ Arc::as_ptr(&self.queue) as u64;
        let mut redial = Redial::new(self.options.first_pause_ns, self.options.longest_pause_ns, seed);
        loop {
            let mut lasted_ns = 0;
            match call(&line.server, self.options.timeout) {
                Ok(socket) => {
                    let began = Instant::now();
                    if !self.hand_over(index, socket) || !line.wait_for_loss() {
                        return;
                    }
                    lasted_ns = began.elapsed().as_nanos() as u64;
                    if !self.options.reconnect {
                        *line.lock() = State::Stopped;
                        return sys::signal(self.command.as_raw_fd()); // the reader may be done
                    }
                }
                Err(error) => self.unreachable(line, error.to_string()),
            }
            if !line.rest(Duration::from_nanos(redial.pause_ns(lasted_ns))) {
                return;
            }
        }
    }

    /// Whether the reader still takes it.
    fn hand_over(&self, index: usize, socket: OwnedFd) -> bool {
        let mut state = self.lines[index].lock();
        if *state == State::Stopped {
            return false;
        }
        *state = State::Connected { is_up: false };
        self.made.lock().expect("as in `take`").push((index, socket));
        sys::signal(self.command.as_raw_fd());
        true
    }

    fn unreachable(&self, line: &Line, because: String) {
        self.status.counts.unreachable.fetch_add(1, Relaxed);
        let mut said = line.said.lock().expect("as in `take`");
        if said.as_ref() != Some(&because) {
            *said = Some(because.clone());
            self.tell(News::Unreachable { server: line.server.to_string(), because });
        }
    }

    fn tell(&self, news: News) {
        self.queue.push_news(NOBODY, news);
    }
}

/// Tries each address of a server's name, one after the other.
fn call(server: &Server, timeout: Duration) -> io::Result<OwnedFd> {
    let mut last = io::Error::new(ErrorKind::NotFound, "its name has no address");
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                return Ok(socket.into());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
