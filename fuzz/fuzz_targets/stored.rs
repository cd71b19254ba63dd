//! See `fuzz/laws/stored.rs`. The crate of it is not built for this: it holds much more.

#![no_main]

#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/squall-net/src/journal.rs"]
mod journal;
#[path = "../laws/stored.rs"]
mod law;
#[path = "../laws/script.rs"]
mod script;

use std::path::Path;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let memory = Path::new("/dev/shm"); // where no sync waits for a disk
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    law::check_stored(&parent.join(format!("squall-fuzz-{}", std::process::id())), bytes);
});
