//! The links to the other workers.

use super::Worker;
use super::socket::Socket;
use crate::host::Host;
use crate::plan::{Place, Plan, TaskId};
use squall_core::ack::Acks;
use squall_core::credit::Inflow;
use squall_core::frame::Body;
use squall_core::ids::{Incarnation, RootId};
use squall_core::link::LinkEnd;
use std::collections::BTreeMap;

/// The assignment of the history.
pub(super) const EPOCH: u64 = 1;

/// Another worker, as far as this one knows.
pub(super) struct Peer {
    /// Which life it has, if it has one.
    pub life: Option<Incarnation>,
    pub link: Option<LinkEnd>,
    pub socket: Option<Socket>,
    pub acks: Acks,
    /// Roots of its that failed here, and whether that counts.
    pub fails: Vec<(RootId, bool)>,
    /// What came and will, by the task that it is for; over all lives, as it may wait for long.
    pub inflows: BTreeMap<TaskId, Inflow>,
    /// In each channel from there, the number of the row that came last on this link.
    pub came: BTreeMap<(u32, TaskId), u64>,
}

impl Peer {
    pub fn new(tasks: &[TaskId], window: u64) -> Peer {
        Peer {
            life: None,
            link: None,
            socket: None,
            acks: Acks::default(),
            fails: Vec::new(),
            inflows: tasks.iter().map(|task| (*task, Inflow::new(window))).collect(),
            came: BTreeMap::new(),
        }
    }

    /// Whether acks or fails wait.
    pub fn has_ends(&self) -> bool {
        self.life.is_some() && (!self.acks.0.is_empty() || !self.fails.is_empty())
    }

    /// Whether something is to be seen when the link is looked at later.
    pub fn is_awaited(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_up() && link.out.is_waiting())
    }

    /// Adds a frame to the link, if there is one.
    pub fn push(&mut self, host: &mut Host, own: Incarnation, body: &Body<'_>) {
        if let Some(link) = &mut self.link {
            link.out.push(body).expect("a short frame");
            let frame = link.out.kept().last().expect("it was pushed");
            host.truth.frame_sent(link.session(), own, super::socket::sum(frame));
        }
    }
}

impl Worker {
    /// Where the ledger of a root is, if that life still is.
    pub(super) fn owner_of(&self, host: &Host, root: RootId) -> Option<Place> {
        let life = root.incarnation();
        if life == self.life {
            return Some(self.place);
        }
        if host.has(crate::mutant::Mutant::IncarnationIgnored) {
            return host.places.iter().find(|(known, _)| *known == life).map(|(_, place)| *place);
        }
        self.peers.iter().position(|peer| peer.life == Some(life))
    }

    /// What is left over, in words, when nothing should be.
    pub fn leftovers(&self) -> Option<String> {
        let inboxes: usize = self.bolts.values().map(|bolt| bolt.inbox.len()).sum();
        let joins: usize = self.bolts.values().map(|bolt| bolt.joined.len()).sum();
        let far: usize = self.fars.values().map(|far| far.rows.len()).sum();
        let kept: u64 =
            self.peers.iter().filter_map(|peer| peer.link.as_ref()).map(|link| link.out.unreceipted()).sum();
        let (trees, bundles, holds) = (self.pending() as usize, self.bundles.len(), self.holds.len());
        let counts = [trees, bundles, inboxes, joins, holds, far, kept as usize];
        let names = ["trees", "bundles", "waiting tuples", "tuples in joins", "held tuples", "rows", "kept frames"];
        let left: Vec<String> = names
            .iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        (!left.is_empty()).then(|| format!("worker {} has {} left", self.place, left.join(", ")))
    }

    /// A task of a worker that was sent all, and has sent all, for which rows wait without credit although none of this
    /// worker's waits there, or which has taken all without saying so: in words.
    // semantics 25
    pub fn starved(&self, plan: &Plan, there: &Worker) -> Option<String> {
        let of_there = self.fars.iter().filter(|(task, _)| plan.bolts[**task].1 == there.place);
        let starved = of_there.filter(|(task, _)| there.bolts[task].waiting[self.place].0 == 0).find(|(task, far)| {
            let waits = !far.rows.is_empty() && far.credit.room() == 0;
            waits || far.credit.under_way() > 0 && there.bolts[task].inbox.is_empty()
        });
        let (task, far) = starved.filter(|_| self.has_told(there) && there.has_told(self))?;
        let (place, rows, under_way) = (self.place, far.rows.len(), far.credit.under_way());
        Some(format!(
            "worker {place} has {rows} rows without credit for task {task}, which should have taken {under_way} more"
        ))
    }

    /// Whether all frames to the other one have come there.
    fn has_told(&self, other: &Worker) -> bool {
        let (Some(ours), Some(theirs)) = (&self.peers[other.place].link, &other.peers[self.place].link) else {
            return false;
        };
        let pushed = ours.out.receipted() + ours.out.unreceipted();
        ours.is_up() && theirs.is_up() && ours.session() == theirs.session() && pushed == theirs.taken.expected()
    }

    /// A queue that is longer than credit says, in words.
    // semantics 25
    pub fn overfull(&self, plan: &Plan) -> Option<String> {
        let window = plan.window;
        // A window of their bytes, and those of one frame.
        let frame_bytes = super::sending::FRAME_BYTES_MOST.max(plan.row_bytes as usize);
        // Rows that were set aside as their channel is held count as rows only.
        let is_exact = plan.faults.hold_channel == 0;
        let most_bytes =
            if !is_exact { usize::MAX } else { window as usize * squall_core::credit::ROW_BYTES + frame_bytes };
        self.bolts.iter().find_map(|(task, bolt)| {
            let over = bolt.waiting.iter().position(|(rows, bytes)| *rows > window || *bytes > most_bytes)?;
            let (rows, bytes) = bolt.waiting[over];
            Some(format!("{rows} rows of {bytes} bytes of worker {over} wait for task {task}, the window is {window}"))
        })
    }
}
