//! See `fuzz/laws/values.rs`.

#![no_main]

#[path = "../laws/values.rs"]
mod law;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| law::check_values(bytes));
