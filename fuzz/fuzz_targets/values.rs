//! Any bytes are values or a fault: no panic, and no count that the bytes could not hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use squall_core::codec::check;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(values) = check(bytes) {
        assert!(values <= bytes.len());
    }
});
