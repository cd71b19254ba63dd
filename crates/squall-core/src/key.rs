//! The stable hash of key fields, and what it is mapped to.

use crate::ids::mix;

/// How many key ranges a component has, whatever its number of tasks.
pub const KEY_RANGES: u32 = 1024;

/// The key range of a hash.
#[inline(always)]
pub fn range_of(hash: u64) -> u32 {
    ((hash as u128 * KEY_RANGES as u128) >> 64) as u32
}

/// The number of the task, of `tasks`, that owns the hash's key range.
#[inline(always)]
pub fn task_of(hash: u64, tasks: u32) -> u32 {
    range_of(hash) * tasks / KEY_RANGES
}

/// The second candidate's hash of a partial key.
#[inline(always)]
pub fn second(hash: u64) -> u64 {
    mix(hash ^ 0x5851_F42D_4C95_7F2D)
}
