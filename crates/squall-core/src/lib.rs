//! The deciding half of squall: what happens to a tuple, and when a tree has ended.
//!
//! No sockets, files, threads, clocks or randomness of its own, and no Python: time and seeds come
//! in as arguments, so the simulator runs the very code that ships. Value types are generic over
//! the payload.

#[macro_use]
pub mod mutants;

pub mod ack;
pub mod alone;
pub mod cell;
pub mod codec;
pub mod credit;
pub mod flow;
pub mod frame;
pub mod framing;
pub mod held_up;
pub mod ids;
pub mod journal;
pub mod key;
pub mod link;
pub mod mailbox;
pub mod metrics;
pub mod redial;
pub mod retry;
pub mod route;
pub mod spin;
pub mod suspects;
pub mod tally;
pub mod tap;
pub mod timers;
pub mod trace;
pub mod tracker;
