//! Keys: equal values agree, unequal ones spread, and no release ever moves one.

use crate::literal;
use proptest::prelude::*;
use squall_core::key::{self, KEY_RANGES, Sequence, TAG_SEQUENCE, TAG_SET};
use std::collections::HashSet;

const GOLDEN: &str = include_str!("../golden_keys.txt");

fn golden() -> impl Iterator<Item = (&'static str, u64)> {
    GOLDEN.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let (literal, hash) = line.split_once('\t').expect("a literal, a tab, a hash");
        (literal, u64::from_str_radix(hash, 16).expect("16 hex digits"))
    })
}

// semantics 29
#[test]
fn keys_hash_as_they_always_did() {
    let moved: Vec<String> = golden()
        .map(|(literal, expected)| (literal, expected, literal::hash(literal).expect(literal)))
        .filter(|(_, expected, found)| expected != found)
        .map(|(literal, _, found)| format!("{literal}\t{found:016x}"))
        .collect();
    assert!(moved.is_empty(), "stored state and running topologies would lose these keys:\n{}", moved.join("\n"));
}

// semantics 29
#[test]
fn every_tag_has_its_own_number_for_ever() {
    let numbers: Vec<u64> = key::TAGS.iter().map(|(_, tag)| *tag).collect();
    assert_eq!(numbers, [1, 2, 3, 16, 17, 18, 19, 20, 21, 22, 23]);
}

// semantics 29
#[test]
fn kinds_of_values_that_look_alike_differ() {
    let values = ["0", "''", "b''", "()", "{}", "frozenset({0})", "(0,)", "None", "'0'", "float('nan')", "((),)"];
    let hashes: HashSet<u64> = values.iter().map(|value| literal::hash(value).expect(value)).collect();
    assert_eq!(hashes.len(), values.len());
}

// semantics 30
#[test]
fn common_keys_spread_over_the_ranges() {
    let keys = 200_000;
    type Hash = fn(u64) -> u64;
    let kinds: [(&str, Hash); 4] = [
        ("int", |i| key::int(i as i64)),
        ("text", |i| key::text(format!("user-{i}").as_bytes())),
        ("float", |i| key::float(i as f64 / 4.0)),
        ("pair", |i| {
            let mut pair = Sequence::new(TAG_SEQUENCE);
            pair.push(key::int((i / 100) as i64));
            pair.push(key::int((i % 100) as i64));
            pair.finish()
        }),
    ];
    for (kind, hash) in kinds {
        let mut counts = vec![0_f64; KEY_RANGES as usize];
        (0..keys).for_each(|i| counts[key::range_of(hash(i)) as usize] += 1.0);
        let mean = keys as f64 / KEY_RANGES as f64;
        let chi_square: f64 = counts.iter().map(|count| (count - mean).powi(2) / mean).sum();
        // 1,023 degrees of freedom: mean 1,023, deviation 45; six deviations to either side.
        assert!((750.0..1300.0).contains(&chi_square), "{kind}: {chi_square}");
    }
}

proptest! {
    // semantics 29
    #[test]
    fn an_integer_agrees_with_its_residue(value in any::<i64>()) {
        let residue = (value as i128 % ((1 << 61) - 1)) as i64;
        prop_assert_eq!(key::int(value), key::number(residue));
    }

    // semantics 29
    #[test]
    fn a_float_agrees_with_the_integer_that_equals_it(value in any::<i64>()) {
        let float = value as f64;
        prop_assume!(float.abs() < 9.2e18);
        prop_assert_eq!(key::float(float), key::int(float as i64));
    }

    // semantics 29
    #[test]
    fn a_float_agrees_with_the_fraction_it_is(numerator in -(1_i64 << 52)..1 << 52, halvings in 0_u32..200) {
        let exact = numerator as f64 / 2_f64.powi(halvings as i32);
        // 2^-1 is 2^60 modulo 2^61 - 1.
        let modulus = (1_i128 << 61) - 1;
        let residue = (0..halvings).fold(numerator as i128 % modulus, |value, _| value * (1 << 60) % modulus);
        prop_assert_eq!(key::float(exact), key::number(residue as i64));
    }

    // semantics 29
    #[test]
    fn sets_are_free_of_order_and_sequences_are_not(hashes in proptest::collection::vec(any::<u64>(), 2..20), turn in 1_usize..19) {
        let turned: Vec<u64> = hashes.iter().cycle().skip(turn % hashes.len()).take(hashes.len()).copied().collect();
        prop_assert_eq!(
            key::unordered(TAG_SET, hashes.iter().copied()),
            key::unordered(TAG_SET, turned.iter().copied())
        );
        let ordered = |hashes: &[u64]| {
            let mut mixer = Sequence::new(TAG_SEQUENCE);
            hashes.iter().for_each(|hash| mixer.push(*hash));
            mixer.finish()
        };
        prop_assert_eq!(ordered(&hashes) == ordered(&turned), hashes == turned);
    }

    // semantics 30
    #[test]
    fn a_task_owns_a_contiguous_share_of_the_ranges(hash in any::<u64>(), tasks in 1_u32..=1024) {
        let task = key::task_of(hash, tasks);
        prop_assert!(task < tasks);
        prop_assert_eq!(task, key::range_of(hash) * tasks / KEY_RANGES);
    }
}
