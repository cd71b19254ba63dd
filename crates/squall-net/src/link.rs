//! Links between workers: who is at the other end, and frames over the stream to it.
//!
//! A native thread, the [`Gate`], takes and makes connections, and lets only those pass whose other end proves that it
//! knows the run's secret and is the life that is sought. What passed goes to the run loop, which reads and writes
//! frames there between batches, through a [`Socket`] (semantics 27). What is sent again and what is refused is decided
//! by `squall_core::link`.

mod gate;
mod handshake;
mod refusal;
mod socket;
mod stream;

pub use gate::{Address, Gate, GateOptions, Identity, LinkEvent, Peer};
pub use handshake::Secret;
pub use refusal::{Refusal, Refusals};
pub use socket::{Broken, Socket};
pub use stream::Stream;
