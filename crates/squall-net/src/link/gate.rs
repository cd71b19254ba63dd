//! The thread at which links begin: it takes and makes connections, shakes hands, and gives to the run loop what passed.
//!
//! Of two workers the one with the lower number calls, so two calls can never cross. The gate seeks a life of a peer in
//! a session of the link, no other: one that comes before the loop was told of it is refused, and calls again.
//!
//! What it costs whoever does not know the secret is bounded: so many hand-shakes at once, and a short time for each. When
//! there are more, the one goes that has come least far: a worker says its hello at once, so it is not this one.

mod connection;
mod keeper;
mod sought;

use super::handshake::Secret;
use super::refusal::{Refusal, Refusals};
use super::stream::Stream;
use crate::sys;
use crate::tls::Tls;
use crate::wake::Wake;
use keeper::Keeper;
use squall_core::ids::Token;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where a worker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On this host.
    Unix(PathBuf),
    /// Anywhere.
    Tcp(SocketAddr),
}

/// Who we are.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The worker's number in the run.
    pub worker: u32,
    /// This life of it.
    pub token: Token,
    /// What all workers of the run know.
    pub secret: Secret,
}

/// Who is sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The worker's number in the run; not our own.
    pub worker: u32,
    /// The life of it.
    pub token: Token,
    /// The link's session; both ends are told the same.
    pub session: u64,
    /// Where a worker with a higher number than ours listens. Those with lower numbers call us.
    pub address: Option<Address>,
}

/// How long and how much a gate bears.
#[derive(Clone, Debug)]
pub struct GateOptions {
    /// Hand-shakes with callers at once.
    pub max_handshakes: usize,
    /// The longest time for one.
    pub handshake: Duration,
    /// Pauses between calls that failed: the first, which doubles up to the longest.
    pub first_pause: Duration,
    /// See `first_pause`.
    pub longest_pause: Duration,
    /// Of connections by TCP: how to be called, and how to call. Without it there are none with other hosts.
    pub tls: Option<(Tls, Tls)>,
}

impl Default for GateOptions {
    fn default() -> GateOptions {
        GateOptions {
            max_handshakes: 64,
            handshake: Duration::from_secs(2),
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_millis(200),
            tls: None,
        }
    }
}

/// What the run loop is told.
#[derive(Debug)]
pub enum LinkEvent {
    /// The peer that was sought is at the other end of this stream. One that it had before is over.
    Up {
        /// The worker,
        peer: u32,
        /// this life of it,
        token: Token,
        /// in this session.
        session: u64,
        /// Nothing was read of it yet.
        stream: Stream,
    },
    /// A connection was refused or failed. Of those with one peer each new cause is told, and that of strangers once
    /// until it is taken: [`Refusals`] has the counts. Calls of a peer go on.
    Refused {
        /// The peer, if it proved to be it or was called.
        peer: Option<u32>,
        /// Why.
        cause: Refusal,
    },
    /// The peer could not be had within the time that was given, and is sought no more.
    GivenUp {
        /// The worker,
        peer: u32,
        /// this life of it,
        token: Token,
        /// in this session.
        session: u64,
    },
}

enum Command {
    Seek(Peer, Option<Duration>),
    Forget(u32),
}

struct Shared {
    commands: Mutex<Vec<Command>>,
    command: OwnedFd,
    is_over: AtomicBool,
    events: Mutex<VecDeque<LinkEvent>>,
    has_events: AtomicBool,
    wake: Wake,
    refusals: Refusals,
}

impl Shared {
    fn commands(&self) -> MutexGuard<'_, Vec<Command>> {
        self.commands.lock().expect("no thread panics while it holds the commands")
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<LinkEvent>> {
        self.events.lock().expect("no thread panics while it holds the events")
    }

    /// Bound: for each peer one stream; strangers and peers have as many waiting refusals as there are causes.
    fn tell(&self, event: LinkEvent) {
        let mut events = self.events();
        match &event {
            LinkEvent::Up { peer: new, .. } => {
                events.retain(|event| !matches!(event, LinkEvent::Up { peer, .. } if peer == new));
            }
            LinkEvent::Refused { peer: new, cause: why } => {
                if events
                    .iter()
                    .any(|event| matches!(event, LinkEvent::Refused { peer, cause } if (peer, cause) == (new, why)))
                {
                    return;
                }
            }
            LinkEvent::GivenUp { .. } => {}
        }
        events.push_back(event);
        self.has_events.store(true, Ordering::Release);
        drop(events);
        self.wake.wake();
    }
}

/// The thread; it ends when this is dropped.
pub struct Gate {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Gate {
    /// Serves the listening socket (one that others can call must be there if a worker with a lower number is sought),
    /// and wakes the loop when there is an event.
    pub fn start(identity: Identity, listener: Option<OwnedFd>, options: GateOptions, wake: Wake) -> io::Result<Gate> {
        let shared = Arc::new(Shared {
            commands: Mutex::default(),
            command: sys::eventfd()?,
            is_over: AtomicBool::new(false),
            events: Mutex::default(),
            has_events: AtomicBool::new(false),
            wake,
            refusals: Refusals::default(),
        });
        let keeper = Keeper::new(identity, listener, options, shared.clone())?;
        let thread = std::thread::Builder::new().name("squall-gate".into()).spawn(move || keeper.run())?;
        Ok(Gate { shared, thread: Some(thread) })
    }

    /// Seeks this life of a peer from now on, instead of any other: calls it, or lets it in when it calls.
    ///
    /// After [`LinkEvent::Up`] it is not called again; when the loop has lost the stream it says so by seeking the peer
    /// anew. A peer that calls is let in as long as it is sought: it may know better that a stream is lost.
    /// If it cannot be had `within` that time, there comes [`LinkEvent::GivenUp`].
    pub fn seek(&self, peer: Peer, within: Option<Duration>) {
        self.command(Command::Seek(peer, within));
    }

    /// The worker is sought no more.
    pub fn forget(&self, worker: u32) {
        self.command(Command::Forget(worker));
    }

    fn command(&self, command: Command) {
        self.shared.commands().push(command);
        sys::signal(self.shared.command.as_raw_fd());
    }

    /// What happened since, the oldest first. Nothing, as nearly always, costs one look.
    pub fn take(&self) -> VecDeque<LinkEvent> {
        if !self.shared.has_events.load(Ordering::Acquire) {
            return VecDeque::new();
        }
        let mut events = self.shared.events();
        self.shared.has_events.store(false, Ordering::Relaxed); // they change together, under the lock
        std::mem::take(&mut *events)
    }

    /// How often connections were refused.
    pub fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        sys::signal(self.shared.command.as_raw_fd());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
