//! A history: the workers, their parent, and time.
//!
//! The parent is reliable, as the shipping one is to its workers. It notices a death, tells the living and starts the
//! next life when the last one is reaped. What it tells a worker arrives in order, and at each worker at another time.

mod laws;
mod lives;

use crate::defect::Defect;
use crate::host::{Due, Event, Host};
use crate::law::{Law, Violation};
use crate::mutant::Mutant;
use crate::parent::Parent;
use crate::plan::{MS, Place};
use crate::trace::Trace;
use crate::truth::Message;
use crate::worker::{FIRST_LIFE, Worker};
use std::collections::BTreeMap;

/// No history of ours needs so many events.
const MOST_EVENTS: u64 = 600_000;

/// What came of a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The seed, which is all that is needed to see it again.
    pub seed: u64,
    /// How many events there were.
    pub events: u64,
    /// How long it took in virtual time.
    pub end_ns: u64,
    /// How many times a message was emitted.
    pub tries: usize,
    /// How many messages ended acked.
    pub acked: usize,
    /// How many messages ended as dead letters.
    pub dead: usize,
    /// How many workers crashed.
    pub crashes: u64,
    /// How many times a worker stood still.
    pub pauses: u64,
    /// How many streams there were beyond the first of each session.
    pub resumed: u64,
    /// How many links were given up between living workers.
    pub parted: u64,
    /// The first law that was broken.
    pub violation: Option<Violation>,
}

/// Lives through the history of `seed`.
pub fn run(seed: u64, mutant: Option<Mutant>) -> History {
    live(seed, mutant, Trace::off()).0
}

/// Lives through the history of `seed`, and tells it: all of it, or the end.
pub fn traced(seed: u64, defect: Option<Defect>, whole: bool) -> (History, Vec<String>) {
    let trace = if whole { Trace::whole() } else { Trace::last() };
    let (history, trace) = match defect {
        None => live(seed, None, trace),
        Some(Defect::Around(mutant)) => live(seed, Some(mutant), trace),
        #[cfg(feature = "mutants")]
        Some(Defect::Core(mutant)) => squall_core::mutants::with(mutant, || live(seed, None, trace)),
    };
    (history, trace.lines().map(str::to_owned).collect())
}

fn live(seed: u64, mutant: Option<Mutant>, trace: Trace) -> (History, Trace) {
    let mut world = World::new(seed, mutant, trace);
    while let Some(due_ns) = world.host.timers.next_due() {
        let Some((_, event)) = world.host.timers.pop_due(due_ns) else { break };
        world.host.now_ns = due_ns;
        world.events += 1;
        let is_turn = matches!(event, Event::Worker { what: Due::Turn, .. });
        world.handle(event);
        world.check();
        if is_turn {
            world.check_credit();
        }
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
    /// Until when it stands still.
    paused_until_ns: u64,
    /// What came due while it stood still.
    missed: Vec<Event>,
    /// When the last order to the worker arrives; orders do not overtake each other.
    last_order_ns: u64,
    /// How often workers died on messages of its spouts, as its next life is to know (`python/squall/cluster/legacy.py`).
    deaths: BTreeMap<Message, u8>,
}

struct World {
    host: Host,
    parent: Parent,
    seats: Vec<Seat>,
    next_life: u16,
    events: u64,
    crashes: u64,
    pauses: u64,
    parted: u64,
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>, trace: Trace) -> World {
        let host = Host::new(seed, mutant, trace);
        let seats = (0..host.plan.places).map(|_| Seat::default()).collect();
        let mut world = World {
            host,
            parent: Parent::default(),
            seats,
            next_life: FIRST_LIFE,
            events: 0,
            crashes: 0,
            pauses: 0,
            parted: 0,
        };
        (0..world.seats.len()).for_each(|place| world.boot(place));
        world.draw_faults();
        world
    }

    fn draw_faults(&mut self) {
        let host = &mut self.host;
        let (calm_at_ns, places) = (host.plan.calm_at_ns, host.plan.places as u64);
        for _ in 0..host.plan.faults.crashes {
            let (at_ns, place) = (host.chance.below(calm_at_ns), host.chance.below(places) as Place);
            let in_call = host.chance.permille(host.plan.faults.mid_call);
            host.after(at_ns, if in_call { Event::Doom(place) } else { Event::Crash(place) });
        }
        for _ in 0..host.plan.faults.pauses {
            let (at_ns, place) = (host.chance.below(calm_at_ns), host.chance.below(places) as Place);
            let most_ns = [5 * MS, 3_000 * MS, 30_000 * MS][host.chance.below(3) as usize];
            let for_ns = host.chance.between(MS, most_ns);
            host.after(at_ns, Event::Pause { place, for_ns });
        }
        for _ in 0..host.plan.faults.jumps {
            let (at_ns, for_ns) = (host.chance.below(calm_at_ns), host.chance.between(100 * MS, 100_000 * MS));
            for place in 0..places as Place {
                host.after(at_ns, Event::Pause { place, for_ns });
            }
        }
        host.after(calm_at_ns, Event::Calm);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive { stream, way, bytes } => self.host.arrive(stream, way, &bytes),
            Event::Closed { stream, way } => self.host.closed(stream, way),
            Event::Call { at, .. } | Event::GiveUp { at, .. } | Event::Worker { at, .. } if self.is_paused(at) => {
                self.seats[at].missed.push(event);
            }
            Event::Call { at, search } => self.host.call(at, search),
            Event::GiveUp { at, search } => self.host.give_up(at, search),
            Event::Worker { at, life, what } => {
                let now_ns = self.host.now_ns;
                if let Some(worker) = self.seats[at].worker.as_mut().filter(|worker| worker.life == life) {
                    if !matches!(what, Due::Stir | Due::Turn) {
                        self.host.trace.note(now_ns, || format!("worker {at}.{}: {what:?}", life.0));
                    }
                    worker.act(&mut self.host, what);
                }
                self.listen();
            }
            Event::Send(spout) => self.send(spout),
            Event::Crash(place) => self.crash(place, &[]),
            Event::Doom(place) => {
                if let Some(worker) = &mut self.seats[place].worker {
                    worker.doom();
                }
            }
            Event::Boot(place) => self.boot(place),
            Event::Pause { place, for_ns } => self.pause(place, for_ns),
            Event::Wake(place) => self.go_on(place),
            Event::Calm => {
                let now_ns = self.host.now_ns;
                self.host.trace.note(now_ns, || "the faults are over".to_owned());
                self.host.calm = true;
            }
        }
    }

    fn is_paused(&self, place: Place) -> bool {
        self.seats[place].paused_until_ns > self.host.now_ns
    }

    fn pause(&mut self, place: Place, for_ns: u64) {
        if self.seats[place].worker.is_none() {
            return;
        }
        self.pauses += 1;
        let (now_ns, seat) = (self.host.now_ns, &mut self.seats[place]);
        seat.paused_until_ns = seat.paused_until_ns.max(now_ns + for_ns);
        let until_ns = seat.paused_until_ns;
        (0..self.seats.len()).for_each(|other| self.host.hindrances.note(place, other, until_ns));
        self.host.trace.note(now_ns, || format!("worker {place} stands still for {} ms", for_ns / MS));
        self.host.gates.pause(place, true);
        self.host.timers.at(until_ns, Event::Wake(place));
    }

    fn go_on(&mut self, place: Place) {
        if self.is_paused(place) {
            return; // it was stopped again
        }
        self.host.gates.pause(place, false);
        for event in std::mem::take(&mut self.seats[place].missed) {
            self.host.after(0, event);
        }
    }

    /// Senders write to a spout, if its worker listens.
    fn send(&mut self, spout: usize) {
        let place = self.host.plan.spouts[spout].place;
        let is_paused = self.is_paused(place);
        let Some(worker) = &mut self.seats[place].worker else { return };
        if is_paused || !worker.may_be_sent(spout) {
            return self.host.after(MS, Event::Send(spout));
        }
        let chunks = self.host.sent_to(spout);
        worker.take_chunks(&mut self.host, spout, chunks);
    }

    fn finish(mut self, seed: u64) -> (History, Trace) {
        if self.host.truth.violation().is_none() {
            self.check_end();
        }
        let (acked, dead) = self.host.truth.ends();
        let history = History {
            seed,
            events: self.events,
            end_ns: self.host.now_ns,
            tries: self.host.truth.tries(),
            acked,
            dead,
            crashes: self.crashes,
            pauses: self.pauses,
            resumed: self.host.network.made().saturating_sub(self.parent.sessions()) as u64,
            parted: self.parted,
            violation: self.host.truth.violation().cloned(),
        };
        (history, self.host.trace)
    }
}
