//! Laws of the core, each against a naive model that is obviously right.

mod credit;
mod flow;
mod frames;
mod fuzzed;
mod ids;
mod journal;
mod keys;
mod ledger;
mod link;
mod literal;
mod mailbox;
mod metrics;
mod routing;
mod scenarios;
mod timers;
mod tracker;
mod values;
