//! Any bytes are a frame or a fault, and the rows of a data frame are as many as they say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use squall_core::codec::check;
use squall_core::frame::{Rows, decode};

fuzz_target!(|bytes: &[u8]| {
    let _ = decode(bytes);
    // A checksum is more than a fuzzer guesses, so rows are looked at without their frame too.
    if let Ok(rows) = Rows::new(bytes) {
        for row in rows.iter() {
            let _ = check(row.values);
        }
    }
});
