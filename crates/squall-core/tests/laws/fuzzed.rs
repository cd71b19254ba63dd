//! What the fuzzer found worth keeping, and all its beginnings; `fuzz/` has the targets.

#[path = "../../../../fuzz/laws/frames.rs"]
mod frames;
#[path = "../../../../fuzz/laws/framing.rs"]
mod framing;
#[path = "../../../../fuzz/laws/journal.rs"]
mod journal;
#[path = "../../../../fuzz/laws/link.rs"]
mod link;
#[path = "../../../../fuzz/laws/script.rs"]
mod script;
#[path = "../../../../fuzz/laws/tally.rs"]
mod tally;
#[path = "../../../../fuzz/laws/tracker.rs"]
mod tracker;
#[path = "../../../../fuzz/laws/values.rs"]
mod values;

/// Every input, and how it begins, each `step` bytes.
fn replay(corpus: &str, step: usize, law: impl Fn(&[u8])) {
    let folder = format!("{}/../../fuzz/corpus/{corpus}", env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        law(&bytes);
        (0..bytes.len()).step_by(step).for_each(|length| law(&bytes[..length]));
        seen += 1;
    }
    assert!(seen > 30, "{seen} files");
}

// semantics 24
#[test]
fn the_fuzzers_corpus_of_frames_does_no_harm() {
    replay("frames", 1, frames::check_frame);
}

#[test]
fn the_fuzzers_corpus_of_values_does_no_harm() {
    replay("values", 1, values::check_values);
}

#[test]
fn the_fuzzers_corpus_of_streams_of_records_breaks_no_law() {
    replay("framing", 16, framing::check_framing);
}

// semantics 33
#[test]
fn the_fuzzers_corpus_of_journals_breaks_no_law() {
    replay("journal", 16, journal::check_journal);
}

// semantics 20, semantics 23
#[test]
fn the_fuzzers_corpus_of_links_breaks_no_law() {
    replay("link", 64, link::check_link);
}

// semantics 31
#[test]
fn the_fuzzers_corpus_of_ended_records_breaks_no_law() {
    replay("tracker", 64, tracker::check_tracker);
}

// semantics 32
#[test]
fn the_fuzzers_corpus_of_connections_breaks_no_law() {
    replay("tally", 64, tally::check_tally);
}
