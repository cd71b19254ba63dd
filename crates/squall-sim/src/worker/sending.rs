//! What goes to other workers: frames of rows, acks, fails and grants.

use super::Worker;
use super::receiving::failure;
use crate::host::Host;
use crate::plan::Place;
use squall_core::frame::{Body, Grant, Items, write_items};
use squall_core::ids::RootId;
use squall_core::link::Event;

/// Rows, and their bytes, that one frame has at most (a single row may have more).
const FRAME_ROWS_MOST: usize = 8;
const FRAME_BYTES_MOST: usize = 1_000;

impl Worker {
    /// Sends what waits for other workers. `is_due`: the loop has nothing else to do, or much time has passed.
    pub(super) fn send_over_links(&mut self, host: &mut Host, is_due: bool) {
        for peer in 0..self.peers.len() {
            if self.peers[peer].link.is_none() {
                continue;
            }
            self.send_rows(host, peer);
            if is_due {
                self.send_ends(host, peer);
                self.send_grants(host, peer);
                self.tell_received(peer);
            }
            self.write_over(host, peer);
            if is_due {
                self.step_link(host, peer, Event::Look);
            }
        }
    }

    fn tell_received(&mut self, peer: Place) {
        if let Some(link) = &mut self.peers[peer].link
            && let Some(expected) = link.taken.receipt_due()
        {
            link.out.tell_received(expected);
        }
    }

    fn write_over(&mut self, host: &mut Host, place: Place) {
        let peer = &mut self.peers[place];
        let (Some(mut socket), Some(link)) = (peer.socket.take(), &mut peer.link) else { return };
        let written = socket.write(host, &mut link.out);
        match written {
            Ok(()) => peer.socket = Some(socket),
            Err(broken) => {
                host.hang_up(socket.stream, socket.way);
                self.broken(host, place, &broken);
            }
        }
    }

    fn send_rows(&mut self, host: &mut Host, peer: Place) {
        for (task, far) in &mut self.fars {
            if host.plan.bolts[*task].1 != peer {
                continue;
            }
            while !far.rows.is_empty() {
                let room = far.credit.room() as usize;
                let is_full = self.peers[peer].link.as_ref().is_none_or(|link| link.out.is_full());
                if room == 0 || is_full {
                    break;
                }
                let (to, own, credit) = (&mut self.peers[peer], self.life, &mut far.credit);
                far.rows.take(room.min(FRAME_ROWS_MOST), FRAME_BYTES_MOST, |rows| {
                    credit.spend(rows.len(), rows.as_bytes().len());
                    to.push(host, own, &Body::Data { target: *task as u32, rows });
                });
            }
        }
    }

    fn send_ends(&mut self, host: &mut Host, peer: Place) {
        let to = &mut self.peers[peer];
        let (acks, fails) = (std::mem::take(&mut to.acks.0), std::mem::take(&mut to.fails));
        let (mut bytes, own) = (Vec::new(), self.life);
        if !acks.is_empty() {
            write_items(&mut bytes, &acks);
            self.peers[peer].push(host, own, &Body::Ack(Items::new(&bytes).expect("whole pairs")));
        }
        for counts in [true, false] {
            let roots: Vec<RootId> = fails.iter().filter(|(_, one)| *one == counts).map(|(root, _)| *root).collect();
            if roots.is_empty() {
                continue;
            }
            bytes.clear();
            write_items(&mut bytes, &roots);
            let (failure, roots) = (failure(counts), Items::new(&bytes).expect("whole roots"));
            let body = Body::Fail { failure, together: false, task: 0, detail: &[], roots };
            self.peers[peer].push(host, own, &body);
        }
    }

    fn send_grants(&mut self, host: &mut Host, peer: Place) {
        let mut grants: Vec<Grant> = Vec::new();
        let (plan, own) = (&host.plan, self.life);
        for (task, inflow) in &mut self.peers[peer].inflows {
            let inbox = &self.bolts[task].inbox;
            let is_from = |source: u32| plan.place_of_source(source) == peer;
            let aside = inbox.aside(is_from) as u64;
            if let Some(total) = inflow.grant_due(inbox.passed(), aside, inbox.is_empty()) {
                grants.push(Grant { target: *task as u32, total });
            }
        }
        if self.peers[peer].life.is_some() && !grants.is_empty() {
            let mut bytes = Vec::new();
            write_items(&mut bytes, &grants);
            self.peers[peer].push(host, own, &Body::Credit(Items::new(&bytes).expect("whole grants")));
        }
    }
}
