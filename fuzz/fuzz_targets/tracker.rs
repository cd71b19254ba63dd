//! See `fuzz/laws/tracker.rs`.

#![no_main]

#[path = "../laws/tracker.rs"]
mod law;
#[path = "../laws/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| law::check_tracker(bytes));
