//! The links to the other workers, served in the run loop between its tasks (semantics 20, 25, 27).
//!
//! Frames go out when enough waits for a peer, when it has waited for a while, or when the loop runs dry.

use crate::codec;
use crate::core::Core;
use crate::failures::Failure;
use crate::fault;
use crate::task::Task;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use squall_core::ack::AckFrame;
use squall_core::credit::{Credit, Inflow};
use squall_core::frame::{self, Body, Grant, Items, MAX_DETAIL_BYTES, Row};
use squall_core::ids::{Incarnation, RootId, Token};
use squall_core::link::{Came, LinkIn, LinkOut, Violation, Violations};
use squall_core::mailbox::Msg;
use squall_core::retry::{self, Action};
use squall_net::link::{Gate, LinkEvent, Socket};
use std::collections::HashMap;
use std::rc::Rc;

/// Tuples that a worker may send to a task of another one before that has taken any.
pub const WINDOW: u64 = 2048;
/// Rows for one task that are worth a frame of their own.
const FRAME_ROWS: usize = 128;
/// Acks that are worth a frame of their own.
const FRAME_ACKS: usize = 256;
/// What waits for longer goes out however little it is.
const FLUSH_NS: u64 = 200_000;

/// The links of one worker.
pub struct Links {
    pub gate: Gate,
    peers: Vec<Peer>,
    /// Where the last root of another worker was found.
    last: usize,
    pub violations: Violations,
    flushed_ns: u64,
    /// Rows sent and received since the worker began; over all workers they agree when none is on its way.
    pub sent: u64,
    pub received: u64,
}

/// What is known of another worker.
struct Peer {
    worker: u32,
    /// Its life, if there is one.
    life: Option<Life>,
    /// Acks and fails of its roots.
    acks: AckFrame,
}

/// The link to one life of another worker.
struct Life {
    incarnation: Incarnation,
    out: LinkOut,
    taken: LinkIn,
    socket: Option<Socket>,
    /// What came from it, by the task that it was for.
    inflows: HashMap<u32, Inflow>,
}

impl Links {
    fn peer_of(&mut self, incarnation: Incarnation) -> Option<&mut Peer> {
        let is_it = |peer: &Peer| peer.life.as_ref().is_some_and(|life| life.incarnation == incarnation);
        if !is_it(&self.peers[self.last]) {
            self.last = self.peers.iter().position(is_it)?;
        }
        Some(&mut self.peers[self.last])
    }
}

impl Core {
    /// Acks a root of another worker. Of a life that is over there is nobody to tell.
    #[inline(never)]
    pub fn ack_over(&self, root: RootId, xor: u64) {
        self.links.with(|links| {
            if let Some(peer) = links.as_mut().and_then(|links| links.peer_of(root.incarnation())) {
                peer.acks.ack(root, xor);
            }
        });
    }
}
