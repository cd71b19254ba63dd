//! Where streams to other workers come from: a gate, which is a thread, or whoever runs several virtual workers.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use squall_core::cell::Local;
use squall_core::ids::{Incarnation, Token};
use squall_net::link::{Gate, LinkEvent, Peer, Stream};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::EPOCH;
use crate::core::Core;

/// (worker, incarnation, session, within so many seconds); incarnation 0: it is sought no more.
pub type Sought = (u32, u16, u64, Option<f64>);

/// Who finds the lives that are sought.
pub(super) enum Door {
    /// Real workers.
    Gate(Gate),
    /// Virtual ones.
    Told(Told),
}

/// What is sought, and what was found.
#[derive(Default)]
pub(super) struct Told {
    sought: Local<Vec<Sought>>,
    found: Local<VecDeque<LinkEvent>>,
}

impl Door {
    /// See [`Gate::seek`].
    pub fn seek(&self, peer: Peer, within: Option<Duration>) {
        match self {
            Door::Gate(gate) => gate.seek(peer, within),
            Door::Told(told) => {
                let within_s = within.map(|within| within.as_secs_f64());
                let sought = (peer.worker, peer.token.incarnation.0, peer.session, within_s);
                told.sought.with(|all| all.push(sought));
            }
        }
    }

    /// See [`Gate::forget`].
    pub fn forget(&self, worker: u32) {
        match self {
            Door::Gate(gate) => gate.forget(worker),
            Door::Told(told) => told.sought.with(|all| all.push((worker, 0, 0, None))),
        }
    }

    /// See [`Gate::take`].
    #[inline]
    pub fn take(&self) -> VecDeque<LinkEvent> {
        match self {
            Door::Gate(gate) => gate.take(),
            Door::Told(told) => told.found.replace(VecDeque::new()),
        }
    }

    /// How often connections were refused, by cause.
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        match self {
            Door::Gate(gate) => gate.refusals().iter().collect(),
            Door::Told(_) => Vec::new(),
        }
    }
}

impl Core {
    fn told(&self) -> PyResult<&Told> {
        match self.links().map(|links| &links.door) {
            Some(Door::Told(told)) => Ok(told),
            _ => Err(PyRuntimeError::new_err("only links without a gate are told of streams")),
        }
    }

    /// What was sought since the last call, the oldest first.
    pub fn links_sought(&self) -> PyResult<Vec<Sought>> {
        Ok(self.told()?.sought.replace(Vec::new()))
    }

    /// The life of a peer is at the other end of this stream, or (None) was not found in time.
    pub fn link_told(&self, peer: u32, incarnation: u16, session: u64, stream: Option<OwnedFd>) -> PyResult<()> {
        let token = Token { epoch: EPOCH, incarnation: Incarnation(incarnation) };
        let event = match stream {
            Some(socket) => LinkEvent::Up { peer, token, session, stream: Stream::plain(socket)? },
            None => LinkEvent::GivenUp { peer, token, session },
        };
        self.told()?.found.with(|found| found.push_back(event));
        Ok(())
    }
}
