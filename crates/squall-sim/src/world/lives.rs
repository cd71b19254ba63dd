//! Lives that end and begin, and what workers are told of it.

use super::{Seat, World};
use crate::host::{Due, Event, Word};
use crate::mutant::Mutant;
use crate::parent::Order;
use crate::plan::{MS, Place, US};
use crate::truth::Message;
use crate::worker::Worker;
use squall_core::ids::{Incarnation, RootId};
use std::collections::BTreeMap;

/// News of deaths and lives take up to this long, which is long beside a tuple's way through the topology.
const SLOWEST_NEWS_NS: u64 = 800 * US;

impl World {
    /// Hears what workers have to say.
    pub(super) fn listen(&mut self) {
        for word in std::mem::take(&mut self.host.words) {
            match word {
                Word::LinkLost { by, life, session } => {
                    self.parted += 1;
                    let orders = self.parent.link_lost(by, life, session);
                    self.tell(orders, &[]);
                }
                Word::Died { place, suspects } => self.crash(place, &suspects),
            }
        }
    }

    pub(super) fn crash(&mut self, place: Place, suspects: &[RootId]) {
        self.note_deaths(place, suspects);
        let Some(worker) = self.seats[place].worker.take() else { return };
        self.crashes += 1;
        let (now_ns, life) = (self.host.now_ns, worker.life);
        self.host.trace.note(now_ns, || format!("worker {place}.{} dies", life.0));
        self.host.truth.crashed(life);
        (self.seats[place].paused_until_ns, self.seats[place].missed) = (0, Vec::new());
        worker.die(&mut self.host);
        let orders = self.parent.lost(place, life);
        self.tell(orders, suspects);
        let boot_ns = self.host.chance.between(10 * US, 60 * MS);
        self.host.after(boot_ns, Event::Boot(place));
    }

    /// Of each open root on whose tuples a worker dies it is noted what it began with. A death is one, also of a record of
    /// which several outputs were there.
    fn note_deaths(&mut self, place: Place, suspects: &[RootId]) {
        let Some(life) = self.seats[place].worker.as_ref().map(|worker| worker.life) else { return };
        let origin = |root: &RootId| {
            let workers = self.seats.iter().filter_map(|seat| seat.worker.as_ref());
            let owner = workers.into_iter().find(|worker| worker.life == root.incarnation())?;
            owner.origin(*root).map(|origin| (owner.place, origin))
        };
        let mut known: Vec<(Place, Message)> = suspects.iter().filter_map(origin).collect();
        known.sort_unstable();
        if !self.host.has(Mutant::OutputsRepeated) {
            known.dedup();
        }
        for (owner, origin) in known {
            *self.seats[owner].deaths.entry(origin).or_default() += 1;
            self.host.truth.death_noted(origin, life);
        }
    }

    pub(super) fn boot(&mut self, place: Place) {
        let life = Incarnation(self.next_life);
        self.next_life += 1;
        let now_ns = self.host.now_ns;
        self.host.trace.note(now_ns, || format!("worker {place}.{} begins", life.0));
        self.host.places.push((life, place));
        let deaths = std::mem::take(&mut self.seats[place].deaths);
        let told = if self.host.has(Mutant::DeathsForgotten) { BTreeMap::new() } else { deaths.clone() };
        let mut worker = Worker::boot(&mut self.host, place, life, &told);
        worker.wake(&mut self.host);
        self.seats[place] = Seat { worker: Some(worker), deaths, ..Seat::default() };
        let orders = self.parent.ready(place, life);
        self.tell(orders, &[]);
    }

    fn tell(&mut self, orders: Vec<Order>, suspects: &[RootId]) {
        for order in orders {
            match order {
                Order::Meet { to, of, life, session } => self.order(to, Due::Meet { place: of, life, session }),
                Order::Part { to, of, life } => {
                    let (at_ns, suspects) = (self.host.now_ns, suspects.to_vec());
                    self.order(to, Due::Part { place: of, life, at_ns, suspects });
                }
            }
        }
    }

    fn order(&mut self, to: Place, what: Due) {
        let Some(life) = self.seats[to].worker.as_ref().map(|worker| worker.life) else { return };
        let arrives_ns = self.host.now_ns + self.host.chance.between(US, SLOWEST_NEWS_NS);
        let arrives_ns = arrives_ns.max(self.seats[to].last_order_ns);
        self.seats[to].last_order_ns = arrives_ns;
        self.host.timers.at(arrives_ns, Event::Worker { at: to, life, what });
    }
}
