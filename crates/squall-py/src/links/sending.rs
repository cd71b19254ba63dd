//! What goes to other workers: frames of rows, acks, fails and grants.
//!
//! Frames go out when enough waits for a peer, when it has waited for a while, or when the loop runs dry.

use super::{Links, Peer, brings_work};
use crate::core::Core;
use crate::failures::Failure;
use pyo3::prelude::*;
use squall_core::frame::{Body, Grant, Item, Items, MAX_DETAIL_BYTES, write_items};
use squall_core::ids::RootId;
use squall_core::link::Event;
use squall_net::link::Broken;
use squall_net::wake::Waiter;
use std::collections::BTreeMap;
use std::os::fd::AsFd;

/// Rows for one task that are worth a frame: two calls of the system for these are little beside their encoding.
const FRAME_ROWS: usize = 512;
/// Rows, and their bytes, that one frame has at most (a single row may have more).
const FRAME_ROWS_MOST: usize = 2048;
const FRAME_BYTES_MOST: usize = 1 << 20;
/// Acks that are worth a frame.
const FRAME_ACKS: usize = 512;
/// Acks, grants or roots that one frame has at most.
const FRAME_ITEMS_MOST: usize = 1 << 16;
/// What waits for longer goes out however little it is.
const FLUSH_NS: u64 = 200_000;

impl Peer {
    /// Adds a frame to the link, if there is one. Those that could be too long were cut to fit.
    fn push(&self, body: &Body<'_>) {
        let pushed = self.with_end(|end| end.out.push(body).expect("cut to fit"));
        if pushed.is_some() && brings_work(body) {
            self.sent.set(self.sent.get() + 1);
        }
    }

    /// Adds frames with these items, written to `out`, as many as they need.
    fn push_items<'a, T: Item>(&self, out: &'a mut Vec<u8>, items: &[T], body: impl Fn(Items<'a, T>) -> Body<'a>) {
        out.clear();
        write_items(out, items);
        for part in out.chunks(FRAME_ITEMS_MOST * T::BYTES) {
            self.push(&body(Items::new(part).expect("whole items")));
        }
    }

    /// Writes what the link has, as far as the socket takes it. An error: the stream was dropped.
    #[inline(never)] // there is nothing to be written in most turns
    fn write(&self, waiter: &Waiter) -> Result<(), Broken> {
        let Some(mut socket) = self.socket.replace(None) else { return Ok(()) };
        let before = socket.wants_write();
        self.with_end(|end| socket.write(&mut end.out)).unwrap_or(Ok(()))?;
        if socket.wants_write() != before {
            // Of a socket that cannot be watched the loop hears at its next look, a millisecond later at most.
            let _ = waiter.watch(socket.as_fd(), u64::from(self.worker), socket.wants_write());
        }
        drop(self.socket.replace(Some(socket)));
        Ok(())
    }
}

impl Core {
    /// Acks a root of another worker. Of a life that is over there is nobody to tell.
    #[inline(never)]
    pub fn ack_over(&self, root: RootId, xor: u64) {
        if let Some(peer) = self.links().and_then(|links| links.peer_of(root.incarnation())) {
            peer.acks.with(|acks| acks.ack(root, xor));
        }
    }

    /// Fails roots of other workers: each of those gets what happened, and decides.
    #[cold]
    pub fn fail_over(&self, py: Python<'_>, roots: &[RootId], failure: &Failure) {
        let Some(links) = self.links() else { return };
        let mut by_worker: BTreeMap<u32, Vec<RootId>> = BTreeMap::new();
        for root in roots {
            if let Some(peer) = links.peer_of(root.incarnation()) {
                by_worker.entry(peer.worker).or_default().push(*root);
            }
        }
        let about = (failure.task.index, failure.error.bind(py), failure.input.as_ref(), MAX_DETAIL_BYTES);
        let detail = match self.hooks(py).call_method1("failure_told", about).and_then(|told| told.extract::<Vec<u8>>())
        {
            Ok(detail) => detail,
            Err(fault) => {
                fault.write_unraisable(py, None);
                Vec::new()
            }
        };
        for (worker, roots) in by_worker {
            let Some(peer) = links.peer(worker) else { continue };
            self.send_acks(links, peer); // an ack of the same root that came before goes before
            let mut bytes = Vec::new();
            peer.push_items(&mut bytes, &roots, |roots| Body::Fail {
                failure: failure.verdict,
                together: failure.together,
                task: failure.task.task_id as u32,
                detail: &detail,
                roots,
            });
        }
    }

    /// Whether acks wait to be sent.
    pub fn has_acks_to_send(&self) -> bool {
        let waits = |peer: &Peer| peer.acks.with(|acks| !acks.0.is_empty());
        self.links().is_some_and(|links| links.peers.iter().any(waits))
    }

    /// Sends what waits for other workers.
    ///
    /// `dry`: the loop has nothing else to do, so nothing more comes to fill frames with.
    pub fn send_over_links(&self, py: Python<'_>, dry: bool) {
        let Some(links) = self.links() else { return };
        let is_due = dry || self.now_ns.get() - links.flushed_ns.get() >= FLUSH_NS;
        if is_due {
            links.flushed_ns.set(self.now_ns.get());
        }
        for peer in &links.peers {
            self.send_rows(peer, is_due);
            if is_due || peer.acks.with(|acks| acks.0.len() >= FRAME_ACKS) {
                self.send_acks(links, peer);
            }
            if is_due {
                self.send_grants(links, peer);
                self.tell_received(peer);
            }
            self.write_over(py, links, peer);
            if is_due {
                self.step_link(py, links, peer, Event::Look);
            }
        }
    }

    pub(super) fn write_over(&self, py: Python<'_>, links: &Links, peer: &Peer) {
        if let Err(broken) = peer.write(&self.waiter) {
            self.broken(py, links, peer, &broken);
        }
    }

    fn tell_received(&self, peer: &Peer) {
        peer.with_end(|end| {
            if let Some(expected) = end.taken.receipt_due() {
                end.out.tell_received(expected);
            }
        });
    }

    fn send_rows(&self, peer: &Peer, is_due: bool) {
        for task in peer.tasks.get() {
            let Some(far) = task.far() else { continue };
            while far.waiting() >= if is_due { 1 } else { FRAME_ROWS } {
                let room = far.credit.with(|credit| credit.room()) as usize;
                let is_full = peer.with_end(|end| end.out.is_full()).unwrap_or(true);
                if room == 0 || is_full {
                    break;
                }
                far.rows.with(|rows| {
                    rows.take(room.min(FRAME_ROWS_MOST), FRAME_BYTES_MOST, |rows| {
                        far.credit.with(|credit| credit.spend(rows.len(), rows.as_bytes().len()));
                        peer.push(&Body::Data { target: task.task_id as u32, rows });
                    });
                });
            }
        }
    }

    fn send_acks(&self, links: &Links, peer: &Peer) {
        let acks = peer.acks.with(|acks| std::mem::take(&mut acks.0));
        links.scratch.with(|scratch| peer.push_items(scratch, &acks, Body::Ack));
    }

    fn send_grants(&self, links: &Links, peer: &Peer) {
        let mut grants: Vec<Grant> = Vec::new();
        peer.inflows.with(|inflows| {
            for (task, inflow) in inflows {
                let is_from = |channel| self.channel(channel).0.far().is_some_and(|far| far.worker == peer.worker);
                let aside = task.inbox.aside(is_from) as u64;
                if let Some(total) = inflow.grant_due(task.inbox.passed(), aside, task.inbox.is_empty()) {
                    grants.push(Grant { target: task.task_id as u32, total });
                }
            }
        });
        if peer.incarnation.get() != 0 {
            links.scratch.with(|scratch| peer.push_items(scratch, &grants, Body::Credit));
        }
    }
}
