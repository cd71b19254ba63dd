//! Laws of the core, each against a naive model that is obviously right.

mod flow;
mod frames;
mod keys;
mod ledger;
mod literal;
mod mailbox;
mod routing;
mod scenarios;
mod timers;
mod tracker;
