//! See `fuzz/laws/handshake.rs`. No other crate sees the hand-shake, so it is compiled in here.

#![no_main]

#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/squall-net/src/link/handshake.rs"]
mod handshake;
#[path = "../laws/handshake.rs"]
mod law;
#[allow(dead_code)]
#[path = "../../crates/squall-net/src/link/refusal.rs"]
mod refusal;
#[path = "../laws/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| law::check_handshake(bytes));
