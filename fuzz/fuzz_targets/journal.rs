//! See `fuzz/laws/journal.rs`.

#![no_main]

#[path = "../laws/journal.rs"]
mod law;
#[path = "../laws/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| law::check_journal(bytes));
