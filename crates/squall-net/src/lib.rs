//! Sockets and threads of a worker: carries out what the core decides.
//!
//! No thread of this crate takes the interpreter lock.

pub mod journal;
pub mod link;
pub mod page;
pub mod session;
mod sys;
pub mod tcp;
pub mod tls;
pub mod wake;
pub mod watch;
