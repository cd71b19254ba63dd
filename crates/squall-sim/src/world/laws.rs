//! The laws that concern several workers, or all.

use super::World;
use crate::law::Law;
use crate::worker::Worker;

impl World {
    /// Those that must hold after every event.
    pub(super) fn check(&mut self) {
        let truth = &mut self.host.truth;
        for worker in self.seats.iter().filter_map(|seat| seat.worker.as_ref()) {
            let mut all = 0;
            for (spout, open) in worker.spouts() {
                let truly_open = truth.open_of(worker.life, spout);
                all += truly_open;
                if open != truly_open {
                    let what = || format!("spout {spout} has {open} trees open, but {truly_open} are");
                    truth.broken(Law::NothingOutlivesItsTree, what);
                }
            }
            if worker.pending() != all {
                let what = || format!("worker {} has {} trees open, but {all} are", worker.place, worker.pending());
                truth.broken(Law::NothingOutlivesItsTree, what);
            }
            if let Some(overfull) = worker.overfull(&self.host.plan) {
                truth.broken(Law::QueuesAreBounded, || overfull);
            }
        }
    }

    /// Those of credit, which must hold after every turn between workers that have nothing more to do and to say.
    pub(super) fn check_credit(&mut self) {
        let at_rest = |worker: &&Worker| worker.is_at_rest() && !self.is_paused(worker.place);
        let resting: Vec<&Worker> = self.workers().filter(at_rest).collect();
        let starved = |one: &&Worker| resting.iter().find_map(|other| one.starved(&self.host.plan, other));
        if let Some(starved) = resting.iter().find_map(starved) {
            self.host.truth.broken(Law::NobodyStarves, || starved);
        }
    }

    fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.seats.iter().filter_map(|seat| seat.worker.as_ref())
    }

    /// Those that must hold when nothing more happens.
    pub(super) fn check_end(&mut self) {
        let nature = self.host.nature.clone();
        if let Some(message) = nature.messages().find(|message| !self.host.truth.has_ended(*message)) {
            self.host.truth.broken(Law::EverythingEnds, || format!("{message:?} never ended"));
        }
        let messages = self.host.plan.messages;
        for spout in 0..self.host.plan.spouts.len() {
            let is_done = match self.host.senders.has(spout) {
                true => self.host.senders.is_done(spout, messages),
                false => self.host.committed[spout] == messages,
            };
            if !is_done {
                self.host.truth.broken(Law::EverythingEnds, || format!("spout {spout} has not told its source"));
            }
        }
        if let Some(left) = self.left() {
            self.host.truth.broken(Law::NothingIsLeftOver, || left);
        }
    }

    /// What is left over, in words.
    fn left(&self) -> Option<String> {
        let of_workers: Vec<String> = self.workers().filter_map(Worker::leftovers).collect();
        if !of_workers.is_empty() {
            return Some(of_workers.join("; "));
        }
        let (streams, places) = (self.host.network.open(), self.seats.len());
        if streams > places * (places - 1) / 2 {
            return Some(format!("{streams} streams of {places} workers"));
        }
        let files = self.host.disks.iter().map(|disk| disk.names().len()).max().unwrap_or(0);
        (files > 2).then(|| format!("{files} files of a journal of ended records"))
    }
}
