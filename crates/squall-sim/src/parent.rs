//! The parent's decisions, as the shipping one makes them (`python/squall/cluster/acquaintance.py`): who knows whom, in
//! which session of their link.
//!
//! Two lives get to know each other when both take tuples. A link that breaks for good between two living workers is
//! given up by both and begun anew.

use crate::plan::Place;
use squall_core::ids::Incarnation;
use std::collections::BTreeMap;

/// What a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Tell `to` that it can send tuples to this life, in this session.
    Meet {
        /// Who is told.
        to: Place,
        /// Of whom.
        of: Place,
        /// Which life.
        life: Incarnation,
        /// The session.
        session: u64,
    },
    /// Tell `to` that nothing more comes from this life.
    Part {
        /// Who is told.
        to: Place,
        /// Of whom.
        of: Place,
        /// Which life.
        life: Incarnation,
    },
}

/// Who takes tuples, and in which session each two of them talk.
#[derive(Default)]
pub struct Parent {
    ready: BTreeMap<Place, Incarnation>,
    sessions: BTreeMap<(Place, Place), u64>,
    last_session: u64,
}

impl Parent {
    /// A life takes tuples.
    pub fn ready(&mut self, place: Place, life: Incarnation) -> Vec<Order> {
        self.ready.insert(place, life);
        let others: Vec<Place> = self.ready.keys().copied().filter(|other| *other != place).collect();
        others.into_iter().flat_map(|other| self.meet(place, other)).collect()
    }

    /// A life has ended.
    pub fn lost(&mut self, place: Place, life: Incarnation) -> Vec<Order> {
        if self.ready.get(&place) != Some(&life) {
            return Vec::new();
        }
        self.ready.remove(&place);
        self.ready.keys().map(|to| Order::Part { to: *to, of: place, life }).collect()
    }

    /// A worker says that a session of its link to a life cannot go on; the other may say so, too.
    pub fn link_lost(&mut self, by: Place, life: Incarnation, session: u64) -> Vec<Order> {
        let other = self.ready.iter().find(|(_, one)| **one == life).map(|(place, _)| *place);
        let (Some(other), Some(own)) = (other, self.ready.get(&by).copied()) else { return Vec::new() };
        if session < self.sessions[&pair(by, other)] {
            return Vec::new();
        }
        let mut orders = vec![Order::Part { to: by, of: other, life }, Order::Part { to: other, of: by, life: own }];
        orders.extend(self.meet(by, other));
        orders
    }

    /// How many sessions there were.
    pub fn sessions(&self) -> usize {
        self.last_session as usize
    }

    fn meet(&mut self, one: Place, other: Place) -> [Order; 2] {
        self.last_session += 1;
        let session = self.last_session;
        self.sessions.insert(pair(one, other), session);
        let told = |to: Place, of: Place| Order::Meet { to, of, life: self.ready[&of], session };
        [told(one, other), told(other, one)]
    }
}

fn pair(one: Place, other: Place) -> (Place, Place) {
    (one.min(other), one.max(other))
}
