//! The links to the other workers, served in the run loop between its tasks (semantics 20, 25, 27).

mod door;
mod figures;
mod life;
mod receiving;
mod sending;

pub use door::Sought;

use crate::core::Core;
use crate::gil::Fixed;
use crate::task::Task;
use door::{Door, Told};
use squall_core::ack::Acks;
use squall_core::cell::Local;
use squall_core::credit::Inflow;
use squall_core::frame::Body;
use squall_core::ids::{Incarnation, RootId, Token};
use squall_core::link::{LinkEnd, Violation, Violations};
use squall_net::link::{self as net, Gate, GateOptions, Identity, Refusal, Secret, Socket};
use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

/// What a worker may send to a task of another one before that has taken any: so many tuples, or 16 MiB of them.
///
/// As much as a worker sends in some milliseconds, so that one whose processor was taken away for so long holds up nobody.
pub const WINDOW: u64 = 8192;
/// The assignment of an embedded run.
const EPOCH: u64 = 1;

/// What the parent has told of another worker, for the loop to act on.
pub enum News {
    /// A life of a worker takes tuples, in this session of its link.
    Peer { worker: u32, incarnation: u16, session: u64, path: PathBuf },
    /// A life of a worker is over, or the link to it; the component that it died in, and the roots of the call.
    Lost { worker: u32, incarnation: u16, ran: Option<String>, suspects: Vec<RootId> },
}

/// The links of one worker.
pub struct Links {
    number: u32,
    door: Door,
    peers: Vec<Peer>,
    /// Where the last root of another worker was found.
    last: Cell<usize>,
    violations: Local<Violations>,
    flushed_ns: Cell<u64>,
    scratch: Local<Vec<u8>>,
}

/// Another worker, as far as this one knows.
struct Peer {
    worker: u32,
    /// Which life it has; 0: none.
    incarnation: Cell<u16>,
    link: Local<Option<Link>>,
    /// Taken out while frames are read from it.
    socket: Local<Option<Socket>>,
    /// Why it could not be had, last.
    refusal: Cell<Option<Refusal>>,
    acks: Local<Acks>,
    /// Its tasks, once it was there.
    tasks: Fixed<Rc<Task>>,
    /// What came and will, by the task that it is for; over all lives, as it may wait for long.
    inflows: Local<Vec<(Rc<Task>, Inflow)>>,
    /// Frames that may bring work, in both directions.
    sent: Cell<u64>,
    received: Cell<u64>,
}

/// The link to one life of a peer.
struct Link {
    /// Whom the door is to seek.
    sought: net::Peer,
    end: LinkEnd,
}

impl Peer {
    fn new(worker: u32) -> Peer {
        Peer {
            worker,
            incarnation: Cell::new(0),
            link: Local::new(None),
            socket: Local::new(None),
            refusal: Cell::new(None),
            acks: Local::default(),
            tasks: Fixed::default(),
            inflows: Local::default(),
            sent: Cell::new(0),
            received: Cell::new(0),
        }
    }

    /// Lends this worker's end of the link to `f`, if there is a link.
    #[inline(always)]
    fn with_end<R>(&self, f: impl FnOnce(&mut LinkEnd) -> R) -> Option<R> {
        self.link.with(|link| link.as_mut().map(|link| f(&mut link.end)))
    }

    fn with_inflow(
        &self,
        task: &Rc<Task>,
        f: impl FnOnce(&mut Inflow) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        self.inflows.with(|inflows| {
            let inflow = inflows.iter_mut().find(|(target, _)| Rc::ptr_eq(target, task));
            inflow.map_or(Ok(()), |(_, inflow)| f(inflow))
        })
    }
}

/// Whether a frame may give its receiver something to do.
fn brings_work(body: &Body<'_>) -> bool {
    matches!(body, Body::Data { .. } | Body::Ack(_) | Body::Fail { .. } | Body::End(_))
}

impl Links {
    fn peer(&self, worker: u32) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.worker == worker)
    }

    fn peer_of(&self, incarnation: Incarnation) -> Option<&Peer> {
        let last = &self.peers[self.last.get()];
        if last.incarnation.get() == incarnation.0 {
            return Some(last);
        }
        let found = self.peers.iter().position(|peer| peer.incarnation.get() == incarnation.0)?;
        self.last.set(found);
        Some(&self.peers[found])
    }
}

impl Core {
    /// Whether there are no other workers.
    pub fn is_alone(&self) -> bool {
        self.links().is_none()
    }

    fn links(&self) -> Option<&Links> {
        // SAFETY: set once, before the first run, and dropped by `close`, which is not called from within one.
        self.links.with(|links| unsafe { (*(links as *const Option<Box<Links>>)).as_deref() })
    }

    /// Whether this life of another worker may not be over. Of one that is away it is not known which it has.
    pub fn may_live(&self, incarnation: Incarnation) -> bool {
        let may_be = |peer: &Peer| [0, incarnation.0].contains(&peer.incarnation.get());
        self.links().is_some_and(|links| links.peers.iter().any(may_be))
    }

    /// Begins to serve links: from a gate on this socket, or without one, from where [`Core::link_told`] is called.
    pub fn open_links(&self, number: u32, workers: u32, gate: Option<(OwnedFd, [u8; 32])>) -> io::Result<()> {
        let token = Token { epoch: EPOCH, incarnation: self.incarnation };
        let door = match gate {
            Some((listener, secret)) => {
                let identity = Identity { worker: number, token, secret: Secret::new(&secret) };
                Door::Gate(Gate::start(identity, Some(listener), GateOptions::default(), self.wake.clone())?)
            }
            None => Door::Told(Told::default()),
        };
        self.links.replace(Some(Box::new(Links {
            number,
            door,
            peers: (1..=workers).filter(|worker| *worker != number).map(Peer::new).collect(),
            last: Cell::new(0),
            violations: Local::default(),
            flushed_ns: Cell::new(0),
            scratch: Local::default(),
        })));
        Ok(())
    }

    /// Whether a task's inbox would be over its high-water mark without what other workers have sent: that is bounded by
    /// their credit, and fewer roots open here would not make it less.
    pub fn is_full_of_own(&self, task: &Rc<Task>) -> bool {
        let Some(links) = self.links() else { return true };
        let passed = task.inbox.passed();
        let of_peer = |peer: &Peer| {
            peer.inflows.with(|inflows| {
                let inflow = inflows.iter_mut().find(|(target, _)| Rc::ptr_eq(target, task));
                inflow.map_or(0, |(_, inflow)| inflow.waiting(passed))
            })
        };
        let of_others: u64 = links.peers.iter().map(of_peer).sum();
        task.bolt().is_over_high_water(task.inbox.len().saturating_sub(of_others as usize))
    }
}
