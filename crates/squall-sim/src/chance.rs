//! All randomness of a history.

use squall_core::ids::EdgeIds;

/// Draws from one seed.
pub struct Chance(EdgeIds);

impl Chance {
    /// The draws of `seed`.
    pub fn new(seed: u64) -> Self {
        Chance(EdgeIds::new(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x5851_F42D_4C95_7F2D))
    }

    /// 64 random bits.
    pub fn bits(&self) -> u64 {
        self.0.next_id()
    }

    /// A number below `n`, which is not 0.
    pub fn below(&self, n: u64) -> u64 {
        ((self.bits() as u128 * n as u128) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Whether something happens that does so `permille` times in a thousand.
    pub fn permille(&self, permille: u64) -> bool {
        self.below(1000) < permille
    }
}
