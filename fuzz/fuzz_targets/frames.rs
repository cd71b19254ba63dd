//! See `fuzz/laws/frames.rs`.

#![no_main]

#[path = "../laws/frames.rs"]
mod law;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| law::check_frame(bytes));
