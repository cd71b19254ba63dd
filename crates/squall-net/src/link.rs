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

#[cfg(test)]
#[path = "../../../fuzz/laws/handshake.rs"]
mod law;
#[cfg(test)]
use super::script;

#[cfg(test)]
mod tests {
    // semantics 21
    #[test]
    fn the_fuzzers_corpus_of_hand_shakes_breaks_no_law() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/handshake");
        let inputs: Vec<_> = std::fs::read_dir(corpus).expect("the corpus").collect();
        assert!(inputs.len() > 30, "{} inputs", inputs.len());
        for input in inputs {
            super::law::check_handshake(&std::fs::read(input.expect("an entry").path()).expect("a file"));
        }
    }
}
