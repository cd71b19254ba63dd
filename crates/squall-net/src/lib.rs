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

#[cfg(test)]
#[path = "../../../fuzz/laws/script.rs"]
mod script;
#[cfg(test)]
#[path = "../../../fuzz/laws/stored.rs"]
mod stored;

#[cfg(test)]
mod tests {
    // semantics 33
    #[test]
    fn the_fuzzers_corpus_of_stored_journals_breaks_no_law() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/stored");
        let folder = std::env::temp_dir().join(format!("squall-stored-{}", std::process::id()));
        let inputs: Vec<_> = std::fs::read_dir(corpus).expect("the corpus").collect();
        assert!(inputs.len() > 30, "{} inputs", inputs.len());
        for input in inputs {
            super::stored::check_stored(&folder, &std::fs::read(input.expect("an entry").path()).expect("a file"));
        }
    }
}
