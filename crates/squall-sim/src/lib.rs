//! Deterministic simulation of the core from one seed.
//!
//! Workers live here without sockets, threads or clocks: the shipping [`squall_core`] types (ledger, bundles, links,
//! frames, credit, mailboxes, timers, trackers, tallies, journals, retry rules) are driven by a heap of virtual-time
//! events. Streams between them are late, break in the midst of a frame, swallow, and change bits; disks refuse and
//! forget; workers crash, stand still, and come back as new lives. [`truth`] watches from outside and knows the real
//! trees, which the ledger never stores; after each event the laws of [`law`] must hold. A history has two phases:
//! faults, then calm, in which everything must end.
//!
//! A seed is a complete bug report: it draws the cluster, the topology, which faults happen at all, and when. That the
//! laws can fail is proved by [`Mutant`]: each is one defect, and must be caught within a stated number of seeds.

pub mod acker;
pub mod chance;
pub mod defect;
pub mod disk;
pub mod faults;
pub mod gate;
pub mod hindrance;
pub mod host;
pub mod law;
pub mod mutant;
pub mod nature;
pub mod network;
pub mod parent;
pub mod plan;
pub mod sender;
pub mod trace;
pub mod truth;
pub mod worker;
pub mod world;

pub use defect::Defect;
pub use law::{Law, Violation};
pub use mutant::Mutant;
pub use world::{History, run, traced};
