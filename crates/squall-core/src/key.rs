//! The stable hash of key fields, and what it is mapped to (semantics 29 and 30).
//!
//! Equal keys must meet in one task in every process, on every machine and in every release, so nothing here may
//! follow the interpreter's own randomised hash. The pieces are pure; which piece a Python value is made of is told by
//! the caller. Text and bytes go through rapidhash's frozen third version; golden vectors keep all of it in place.

use crate::ids::mix;

/// How many key ranges a component has, whatever its number of tasks.
pub const KEY_RANGES: u32 = 1024;

/// The modulus of Python's numeric hash: the Mersenne prime 2^61 − 1.
const MODULUS: u64 = (1 << 61) - 1;

/// What kind of value a composed hash is of. The numbers are part of the hash: none is ever given another meaning.
pub type Tag = u64;
/// Tuples and lists alike, and named tuples.
pub const TAG_SEQUENCE: Tag = 1;
/// Sets and frozen sets.
pub const TAG_SET: Tag = 2;
/// Dictionaries; each item is a sequence of two.
pub const TAG_DICT: Tag = 3;
/// Aware datetimes, by their instant.
pub const TAG_INSTANT: Tag = 16;
/// Naive datetimes, by their fields.
pub const TAG_DATETIME: Tag = 17;
/// Dates.
pub const TAG_DATE: Tag = 18;
/// Times of day.
pub const TAG_TIME: Tag = 19;
/// Durations.
pub const TAG_DURATION: Tag = 20;
/// UUIDs.
pub const TAG_UUID: Tag = 21;
/// Dataclasses, by their fields.
pub const TAG_DATACLASS: Tag = 22;
/// Registered types, by the key that was registered for them.
pub const TAG_REGISTERED: Tag = 23;

/// Every tag by its name, for those who name values in another language.
pub const TAGS: [(&str, Tag); 11] = [
    ("TAG_SEQUENCE", TAG_SEQUENCE),
    ("TAG_SET", TAG_SET),
    ("TAG_DICT", TAG_DICT),
    ("TAG_INSTANT", TAG_INSTANT),
    ("TAG_DATETIME", TAG_DATETIME),
    ("TAG_DATE", TAG_DATE),
    ("TAG_TIME", TAG_TIME),
    ("TAG_DURATION", TAG_DURATION),
    ("TAG_UUID", TAG_UUID),
    ("TAG_DATACLASS", TAG_DATACLASS),
    ("TAG_REGISTERED", TAG_REGISTERED),
];

const BYTES_SEED: u64 = 0x6279_7465;
const NUMBER_SALT: u64 = 0x006e_756d_6265_7200;

/// The hash of None.
pub const NONE: u64 = 0x3b0d_c51e_1f6b_9a47;
/// The hash of every NaN.
pub const NAN: u64 = 0xd7a4_90f2_5c38_e16b;

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

/// A number by its value modulo 2^61 − 1 with its sign, which is Python's `hash` of it.
#[inline(always)]
pub fn number(modular: i64) -> u64 {
    // Python says -2 for -1, since -1 is its error value.
    let modular = if modular == -1 { -2 } else { modular };
    mix(modular as u64 ^ NUMBER_SALT)
}

/// An integer; the same as [`number`] of its residue.
#[inline(always)]
pub fn int(value: i64) -> u64 {
    let magnitude = value.unsigned_abs() % MODULUS;
    number(if value < 0 { -(magnitude as i64) } else { magnitude as i64 })
}

/// A float; equal to the integer that equals it.
pub fn float(value: f64) -> u64 {
    if value.is_nan() {
        return NAN;
    }
    if value.is_infinite() {
        return number(if value > 0.0 { 314_159 } else { -314_159 });
    }
    // value = mantissa · 2^exponent exactly, and 2^61 ≡ 1, so the power is a rotation of 61 bits.
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let biased = (bits >> 52 & 0x7ff) as i32;
    let (mantissa, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
    let turn = exponent.rem_euclid(61) as u32;
    let residue = ((mantissa as u128) << turn) % MODULUS as u128;
    number(if value < 0.0 { -(residue as i64) } else { residue as i64 })
}

/// Text by its code points, given as UTF-8 (with lone surrogates encoded alike).
#[inline(always)]
pub fn text(utf8: &[u8]) -> u64 {
    rapidhash::v3::rapidhash_v3(utf8) // its own last step spreads every bit
}

/// Bytes.
#[inline(always)]
pub fn bytes(value: &[u8]) -> u64 {
    mix(rapidhash::v3::rapidhash_v3(value) ^ BYTES_SEED)
}

/// Mixes hashes in their order.
pub struct Sequence {
    state: u64,
    length: u64,
}

impl Sequence {
    /// Nothing yet.
    pub fn new(tag: Tag) -> Self {
        Sequence { state: mix(tag), length: 0 }
    }

    /// The next element.
    pub fn push(&mut self, hash: u64) {
        self.state = mix(self.state.rotate_left(23) ^ hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.length += 1;
    }

    /// The hash of the whole.
    pub fn finish(self) -> u64 {
        mix(self.state ^ self.length)
    }
}

/// Mixes hashes free of order.
pub fn unordered(tag: Tag, hashes: impl Iterator<Item = u64>) -> u64 {
    let (mut sum, mut xor, mut length) = (0_u64, 0_u64, 0_u64);
    for hash in hashes {
        let spread = mix(hash ^ tag);
        sum = sum.wrapping_add(spread);
        xor ^= spread.rotate_left(17);
        length += 1;
    }
    mix(mix(sum ^ mix(tag)) ^ xor ^ length)
}

#[cfg(test)]
mod tests {
    use super::*;

    // semantics 29
    #[test]
    fn equal_numbers_agree_whatever_their_type() {
        for value in [0_i64, 1, -1, 2, -2, 1 << 40, -(1 << 52), (1 << 53) - 1] {
            assert_eq!(int(value), float(value as f64), "{value}");
        }
        assert_eq!(float(-0.0), int(0));
        assert_eq!(int((1 << 61) - 1), int(0));
        assert_eq!(float(2f64.powi(61)), int(1));
        assert_eq!(float(0.5), number(1 << 60));
        assert_eq!(float(f64::NAN), float(-f64::NAN));
    }

    // semantics 29
    #[test]
    fn text_and_bytes_differ() {
        assert_ne!(text(b"a"), bytes(b"a"));
    }

    // semantics 29
    #[test]
    fn sets_forget_the_order_and_sequences_keep_it() {
        let forwards = [int(1), int(2), int(3)];
        let backwards = [int(3), int(2), int(1)];
        assert_eq!(unordered(TAG_SET, forwards.into_iter()), unordered(TAG_SET, backwards.into_iter()));
        let sequence = |hashes: [u64; 3]| {
            let mut mixer = Sequence::new(TAG_SEQUENCE);
            hashes.into_iter().for_each(|hash| mixer.push(hash));
            mixer.finish()
        };
        assert_ne!(sequence(forwards), sequence(backwards));
    }

    // semantics 30
    #[test]
    fn ranges_are_split_evenly_and_in_order() {
        for tasks in [1, 2, 3, 7, 100, 1024] {
            let owner = |range: u64| task_of(range << 54, tasks);
            let owned: Vec<u32> = (0..1024).map(owner).collect();
            assert!(owned.is_sorted() && owned[0] == 0 && owned[1023] == tasks - 1);
        }
    }
}
