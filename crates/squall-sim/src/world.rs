//! A history: the workers, their parent, and time.
//!
//! The parent is reliable, as the shipping one is to its workers. It notices a death, tells the living and starts the
//! next life. Then it waits twice:
//! - It says that the new life is ready when every worker has dropped its links to the old one. Earlier, a tuple of a
//!   new tree could still be sent to the dead life by a worker that does not know, after the tree's spout had heard of
//!   the loss: nobody would fail it.
//! - It lets the spouts of the new life begin when every worker knows the new life. Earlier, a tuple of a new tree could
//!   reach, through a third worker, one that takes the root for that of a dead life and drops the ack.

use crate::host::{Due, Event, Host};
use crate::mutant::Mutant;
use crate::plan::Place;
use crate::truth::{Law, Message, Violation};
use crate::worker::{FIRST_LIFE, Worker};
use squall_core::ids::Incarnation;
use std::collections::BTreeSet;

/// No history of ours needs so many events.
const MOST_EVENTS: u64 = 300_000;
/// News of deaths and lives take up to this long, which is long beside a tuple's way through the topology.
const SLOWEST_NEWS_US: u64 = 800;

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The seed, which is all that is needed to see it again.
    pub seed: u64,
    /// How many events there were.
    pub events: u64,
    /// How long it took in virtual time.
    pub end_us: u64,
    /// How many times a message was emitted.
    pub tries: usize,
    /// How many messages ended acked.
    pub acked: usize,
    /// How many messages ended as dead letters.
    pub dead: usize,
    /// How many workers crashed.
    pub crashes: u64,
    /// The first law that was broken.
    pub violation: Option<Violation>,
}

/// Lives through the history of `seed`.
pub fn run(seed: u64, mutant: Option<Mutant>) -> History {
    let mut world = World::new(seed, mutant);
    while let Some(due_us) = world.host.timers.next_due() {
        let Some((_, event)) = world.host.timers.pop_due(due_us) else { break };
        world.host.now_us = due_us;
        world.events += 1;
        world.handle(event);
        world.check();
        if world.host.truth.violation().is_some() {
            break;
        }
        if world.events > MOST_EVENTS {
            world.host.truth.broken(Law::EverythingEnds, || format!("{MOST_EVENTS} events and no end"));
            break;
        }
    }
    world.finish(seed)
}

/// What the parent knows of a place.
#[derive(Default)]
struct Seat {
    worker: Option<Worker>,
    /// The life that others may send to.
    announced: Option<Incarnation>,
    /// Who has not yet heard of the last death here.
    unaware: BTreeSet<Place>,
    /// Who does not know the life that was announced.
    unlinked: BTreeSet<Place>,
    /// When the last order to the worker arrives; orders do not overtake each other.
    last_order_us: u64,
}

struct World {
    host: Host,
    seats: Vec<Seat>,
    next_life: u16,
    events: u64,
    crashes: u64,
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>) -> World {
        let mut host = Host::new(seed, mutant);
        let lives: Vec<Option<Incarnation>> =
            (0..host.plan.places).map(|place| Some(Incarnation(FIRST_LIFE + place as u16))).collect();
        let mut seats: Vec<Seat> = Vec::new();
        for (place, life) in lives.iter().enumerate() {
            let life = life.expect("all live at first");
            host.places.push((life, place));
            let worker = Some(Worker::boot(&mut host, place, life, &lives));
            seats.push(Seat { worker, announced: Some(life), ..Seat::default() });
            host.after(1, Event::Worker { at: place, life, what: Due::Start });
        }
        let calm_at_us = host.plan.calm_at_us;
        for _ in 0..host.plan.faults.crashes {
            let (at_us, place) = (host.chance.below(calm_at_us), host.chance.below(lives.len() as u64));
            host.after(at_us, Event::Crash(place as Place));
        }
        host.after(calm_at_us, Event::Calm);
        let next_life = FIRST_LIFE + lives.len() as u16;
        World { host, seats, next_life, events: 0, crashes: 0 }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, life, bytes } => {
                if let Some(worker) = living(&mut self.seats, to, life) {
                    worker.receive(&mut self.host, from, &bytes);
                }
            }
            Event::Worker { at, life, what } => {
                let Some(worker) = living(&mut self.seats, at, life) else { return };
                let about = match what {
                    Due::Lost { place, .. } | Due::Ready { place, .. } => Some(place),
                    _ => None,
                };
                let ready = matches!(what, Due::Ready { .. });
                worker.act(&mut self.host, what);
                if let Some(place) = about {
                    self.confirm(at, place, ready);
                }
            }
            Event::Crash(place) => self.crash(place),
            Event::Boot(place) => self.boot(place),
            Event::Calm => self.host.calm = true,
        }
    }

    fn crash(&mut self, place: Place) {
        let Some(worker) = self.seats[place].worker.take() else { return };
        self.crashes += 1;
        self.host.truth.crashed(worker.life);
        self.seats[place].unlinked.clear();
        // Nobody could send to a life that was never announced: its death is no news, and those who have not heard of
        // the death before it still have to.
        if self.seats[place].announced.take().is_some() {
            let living: BTreeSet<Place> = (0..self.seats.len()).filter(|at| self.seats[*at].worker.is_some()).collect();
            let at_us = self.host.now_us;
            for to in &living {
                self.order(*to, SLOWEST_NEWS_US, Due::Lost { place, at_us });
            }
            self.seats[place].unaware = living;
        }
        let boot_us = self.host.chance.between(10, 800);
        self.host.after(boot_us, Event::Boot(place));
        // The dead hear nothing more, and need not.
        for other in 0..self.seats.len() {
            self.confirm(place, other, false);
            self.confirm(place, other, true);
        }
    }

    /// `by` has heard of the death at `place`, or that the new life there is ready.
    fn confirm(&mut self, by: Place, place: Place, ready: bool) {
        let seat = &mut self.seats[place];
        if !ready && seat.unaware.remove(&by) {
            self.announce(place);
        } else if ready && seat.unlinked.remove(&by) && seat.unlinked.is_empty() {
            self.order(place, 100, Due::Start);
        }
    }

    fn boot(&mut self, place: Place) {
        let life = Incarnation(self.next_life);
        self.next_life += 1;
        self.host.places.push((life, place));
        let peers: Vec<Option<Incarnation>> = self.seats.iter().map(|seat| seat.announced).collect();
        self.seats[place].worker = Some(Worker::boot(&mut self.host, place, life, &peers));
        self.announce(place);
    }

    /// Tells everybody that the life at `place` may be sent to, if it may.
    fn announce(&mut self, place: Place) {
        let seat = &self.seats[place];
        let Some(life) = seat.worker.as_ref().map(|worker| worker.life) else { return };
        let aware = seat.unaware.is_empty() || self.host.has(Mutant::ReadyTooEarly);
        if !aware || seat.announced == Some(life) {
            return;
        }
        let others: BTreeSet<Place> =
            (0..self.seats.len()).filter(|to| *to != place && self.seats[*to].worker.is_some()).collect();
        self.seats[place].announced = Some(life);
        self.seats[place].unlinked = others.clone();
        for to in &others {
            self.order(*to, SLOWEST_NEWS_US, Due::Ready { place, life });
        }
        if others.is_empty() {
            self.order(place, 100, Due::Start);
        }
    }

    fn order(&mut self, to: Place, most_us: u64, what: Due) {
        let Some(life) = self.seats[to].worker.as_ref().map(|worker| worker.life) else { return };
        let arrives_us = self.host.now_us + self.host.chance.between(1, most_us);
        let arrives_us = arrives_us.max(self.seats[to].last_order_us);
        self.seats[to].last_order_us = arrives_us;
        self.host.after(arrives_us - self.host.now_us, Event::Worker { at: to, life, what });
    }

    /// The laws that must hold after every event.
    fn check(&mut self) {
        for worker in self.seats.iter().filter_map(|seat| seat.worker.as_ref()) {
            let (open, truly_open) = (worker.pending(), self.host.truth.open_of(worker.life));
            if open != truly_open {
                self.host.truth.broken(Law::NothingOutlivesItsTree, || {
                    format!("worker {} has {open} trees open, but {truly_open} are", worker.place)
                });
            }
            let most = self.host.plan.max_pending * worker.spouts();
            if open > most {
                self.host.truth.broken(Law::LimitKept, || format!("{open} trees are open, {most} may be"));
            }
        }
    }

    fn finish(mut self, seed: u64) -> History {
        let sources = 0..self.host.plan.spouts.len();
        let unended = sources
            .flat_map(|spout| (0..self.host.plan.messages).map(move |position| Message { spout, position }))
            .find(|message| !self.host.truth.has_ended(*message));
        if let Some(message) = unended {
            self.host.truth.broken(Law::EverythingEnds, || format!("{message:?} never ended"));
        }
        if self.host.committed.iter().any(|committed| *committed != self.host.plan.messages) {
            let committed = format!("committed {:?}", self.host.committed);
            self.host.truth.broken(Law::EverythingEnds, || committed);
        }
        for seat in &self.seats {
            if let Some(left) = seat.worker.as_ref().and_then(Worker::leftovers) {
                self.host.truth.broken(Law::NothingOutlivesItsTree, || left);
            }
        }
        let (acked, dead) = self.host.truth.ends();
        History {
            seed,
            events: self.events,
            end_us: self.host.now_us,
            tries: self.host.truth.tries(),
            acked,
            dead,
            crashes: self.crashes,
            violation: self.host.truth.violation().cloned(),
        }
    }
}

fn living(seats: &mut [Seat], place: Place, life: Incarnation) -> Option<&mut Worker> {
    seats[place].worker.as_mut().filter(|worker| worker.life == life)
}
