//! See `fuzz/laws/link.rs`.

#![no_main]

#[path = "../laws/link.rs"]
mod law;
#[path = "../laws/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| law::check_link(bytes));
