//! What holds of any bytes as values; the fuzzer's target and the replay of its corpus share it.

use squall_core::codec::check;

/// Any bytes are values or a fault: no panic, and no count that the bytes could not hold.
pub fn check_values(bytes: &[u8]) {
    if let Ok(values) = check(bytes) {
        assert!(values <= bytes.len());
    }
}
