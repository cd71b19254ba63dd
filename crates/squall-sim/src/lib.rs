//! Deterministic simulation of the core from one seed.
//!
//! Workers of the ack protocol live here without sockets, threads or clocks: the shipping [`squall_core`] types
//! (ledger, bundles, ack frames, edge ids, mailboxes, wire frames, timers, trackers, retry rules) are driven by a heap
//! of virtual-time events over links that drop, repeat, reorder and corrupt, while workers crash and come back as new
//! incarnations. [`truth`] watches from outside and knows the real trees, which the ledger never stores; after each
//! event its laws must hold. A history has two phases: faults, then calm, in which everything must end.
//!
//! A seed is a complete bug report: it draws the cluster, the topology, which faults happen at all, and when. That the
//! laws can fail is proved by [`Mutant`]: each is one defect, and must be caught within a stated number of seeds.

pub mod acker;
pub mod chance;
pub mod host;
pub mod link;
pub mod mutant;
pub mod plan;
pub mod truth;
pub mod worker;
pub mod world;

pub use mutant::Mutant;
pub use world::{History, run};
