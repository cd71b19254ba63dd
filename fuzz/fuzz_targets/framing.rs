//! See `fuzz/laws/framing.rs`.

#![no_main]

#[path = "../laws/framing.rs"]
mod law;
#[path = "../laws/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| law::check_framing(bytes));
