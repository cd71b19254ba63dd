//! Gates: how two workers find each other, as the shipping one does it without its hand-shakes' bytes.
//!
//! Of two workers the one with the lower number calls. A call is let in if the called one seeks just this life in just
//! this session, whether it has a stream already or not.

use crate::host::{Event, Host};
use crate::network::StreamId;
use crate::plan::{MS, Place, US};
use squall_core::ids::Incarnation;
use std::collections::BTreeMap;

/// What a gate tells its run loop.
#[derive(Debug)]
pub enum News {
    /// The peer is at the other end of a new stream.
    Up {
        /// The worker.
        peer: Place,
        /// This life of it.
        life: Incarnation,
        /// In this session.
        session: u64,
        /// The stream.
        stream: StreamId,
        /// Which end of it is ours.
        way: usize,
    },
    /// The peer could not be had in the time that was given.
    GivenUp {
        /// The worker.
        peer: Place,
        /// This life of it.
        life: Incarnation,
        /// In this session.
        session: u64,
    },
}

#[derive(Clone, Copy)]
struct Sought {
    search: u64,
    life: Incarnation,
    session: u64,
    is_up: bool,
}

#[derive(Default)]
struct Gate {
    own: Option<Incarnation>,
    sought: BTreeMap<Place, Sought>,
    news: Vec<News>,
    is_paused: bool,
}

/// The gates of all workers.
pub struct Gates {
    gates: Vec<Gate>,
    searches: u64,
}

impl Gates {
    /// Nobody seeks anybody.
    pub fn new(places: usize) -> Gates {
        Gates { gates: (0..places).map(|_| Gate::default()).collect(), searches: 0 }
    }

    /// The worker at a place begins or ends; its gate with it.
    pub fn reset(&mut self, at: Place, own: Option<Incarnation>) {
        self.gates[at] = Gate { own, ..Gate::default() };
    }

    /// The process at a place stands still, or goes on.
    pub fn pause(&mut self, at: Place, is_paused: bool) {
        self.gates[at].is_paused = is_paused;
    }

    /// The life at a place.
    pub fn lives(&self, at: Place) -> Option<Incarnation> {
        self.gates[at].own
    }

    /// What the loop is to hear.
    pub fn take(&mut self, at: Place) -> Vec<News> {
        std::mem::take(&mut self.gates[at].news)
    }

    /// Seeks a peer no more.
    pub fn forget(&mut self, at: Place, peer: Place) {
        self.gates[at].sought.remove(&peer);
    }

    fn find(&self, at: Place, search: u64) -> Option<(Place, Sought)> {
        self.gates[at].sought.iter().find(|(_, one)| one.search == search).map(|(peer, one)| (*peer, *one))
    }
}

impl Host {
    /// Seeks a life of a peer, for so long, or as long as it takes.
    pub fn seek(&mut self, at: Place, peer: Place, life: Incarnation, session: u64, within_ns: Option<u64>) {
        self.gates.searches += 1;
        let search = self.gates.searches;
        self.gates.gates[at].sought.insert(peer, Sought { search, life, session, is_up: false });
        if at < peer {
            let delay_ns = self.chance.between(20 * US, 400 * US);
            self.after(delay_ns, Event::Call { at, search });
        }
        if let Some(within_ns) = within_ns {
            self.after(within_ns, Event::GiveUp { at, search });
        }
    }

    /// A gate calls.
    pub fn call(&mut self, at: Place, search: u64) {
        let Some((peer, sought)) = self.gates.find(at, search) else { return };
        if sought.is_up {
            return;
        }
        let own = self.gates.gates[at].own;
        let other = &self.gates.gates[peer];
        let lets_in = |theirs: &Sought| Some(theirs.life) == own && theirs.session == sought.session;
        let is_found = other.own == Some(sought.life) && !other.is_paused && other.sought.get(&at).is_some_and(lets_in);
        let is_unreachable = is_found && self.strikes(self.plan.faults.unreachable);
        if is_unreachable {
            self.hindrances.note(at, peer, self.now_ns);
        }
        let (Some(own), true) = (own, is_found && !is_unreachable) else {
            let pause_ns = self.chance.between(10 * MS, 200 * MS);
            return self.after(pause_ns, Event::Call { at, search });
        };
        let (session, stream) = (sought.session, self.connect((at, own), (peer, sought.life)));
        for (gate, of, life, way) in [(at, peer, sought.life, 0), (peer, at, own, 1)] {
            let gate_of = &mut self.gates.gates[gate];
            gate_of.sought.get_mut(&of).expect("it was found").is_up = true;
            gate_of.news.push(News::Up { peer: of, life, session, stream, way });
            let own = gate_of.own.expect("it lives");
            self.stir(gate, own);
        }
    }

    /// The time for a search is over.
    pub fn give_up(&mut self, at: Place, search: u64) {
        let Some((peer, Sought { life, session, is_up: false, .. })) = self.gates.find(at, search) else { return };
        self.gates.forget(at, peer);
        self.gates.gates[at].news.push(News::GivenUp { peer, life, session });
        if let Some(own) = self.gates.gates[at].own {
            self.stir(at, own);
        }
    }
}
