//! What the fuzzer found worth keeping, and all its beginnings; `fuzz/` has the targets.

#[path = "../../../../fuzz/laws/frames.rs"]
mod frames;
#[path = "../../../../fuzz/laws/values.rs"]
mod values;

fn replay(corpus: &str, law: impl Fn(&[u8])) {
    let folder = format!("{}/../../fuzz/corpus/{corpus}", env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        (0..=bytes.len()).for_each(|length| law(&bytes[..length]));
        seen += 1;
    }
    assert!(seen > 30, "{seen} files");
}

// semantics 24
#[test]
fn the_fuzzers_corpus_of_frames_does_no_harm() {
    replay("frames", frames::check_frame);
}

#[test]
fn the_fuzzers_corpus_of_values_does_no_harm() {
    replay("values", values::check_values);
}
