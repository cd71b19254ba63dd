//! See `fuzz/laws/tally.rs`.

#![no_main]

#[path = "../laws/tally.rs"]
mod law;
#[path = "../laws/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| law::check_tally(bytes));
