//! Groupings: who gets what, and how evenly.

use proptest::prelude::*;
use squall_core::key;
use squall_core::route::{Grouping, PartialKey, Payload, Pick, Route, Turns};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

struct Word(u64);

impl Payload for Word {
    type Err = &'static str;

    fn dup(&self) -> Self {
        Word(self.0)
    }

    fn key(&self, fields: &[u16]) -> Result<u64, Self::Err> {
        if fields == [0] { Ok(key::int(self.0 as i64)) } else { Err("no such field") }
    }

    fn custom(&self, which: u32) -> Result<Vec<u32>, Self::Err> {
        if which == 4 { Ok(vec![1, 1, 0]) } else { Err("no such grouping") }
    }
}

fn one(pick: Result<Pick, &'static str>) -> u32 {
    match pick {
        Ok(Pick::One(target)) => target,
        other => panic!("one target, not {other:?}"),
    }
}

fn counts(route: &Route, words: impl Iterator<Item = u64>) -> Vec<u32> {
    let mut counts = vec![0; route.targets as usize];
    words.for_each(|word| counts[one(route.pick(&Word(word))) as usize] += 1);
    counts
}

fn fields() -> Grouping {
    Grouping::Fields([0].into())
}

fn partial(targets: u32) -> Route {
    Route::new(Grouping::PartialKey(PartialKey::new([0].into(), targets)), targets)
}

proptest! {
    // semantics 30
    #[test]
    fn equal_keys_meet_in_one_task(word in any::<u64>(), targets in 1_u32..=1024) {
        let (here, there) = (Route::new(fields(), targets), Route::new(fields(), targets));
        let target = one(here.pick(&Word(word)));
        prop_assert_eq!(target, one(there.pick(&Word(word))));
        prop_assert_eq!(target, key::task_of(key::int(word as i64), targets));
    }

    // semantics 30
    #[test]
    fn a_partial_key_alternates_between_two_tasks(word in any::<u64>(), targets in 2_u32..200) {
        let seen: Vec<u32> = {
            let route = partial(targets);
            (0..10).map(|_| one(route.pick(&Word(word)))).collect()
        };
        prop_assert_eq!(seen[0], key::task_of(key::int(word as i64), targets), "the first choice is the key's own task");
        prop_assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 2);
        prop_assert_eq!(seen.iter().filter(|target| **target == seen[0]).count(), 5);
    }

    #[test]
    fn every_turn_of_a_shuffle_serves_each_target_once(targets in 1_u32..50, seed in any::<u64>(), rounds in 1_usize..5) {
        let route = Route::new(Grouping::Shuffle(Turns::new(targets, seed)), targets);
        for _ in 0..rounds {
            let served = counts(&route, 0..targets as u64);
            prop_assert!(served.iter().all(|count| *count == 1));
        }
    }

    #[test]
    fn a_round_of_weighted_turns_follows_the_loads(loads in proptest::collection::vec(0.0_f64..=1.0, 1..10), seed in any::<u64>()) {
        let weights: Vec<u32> = loads.iter().map(|load| (101.0 - load * 100.0) as u32).collect();
        prop_assume!(weights.iter().any(|weight| *weight != weights[0]));
        let turns = Turns::new(loads.len() as u32, seed);
        turns.reweigh(&loads, seed);
        let route = Route::new(Grouping::Shuffle(turns), loads.len() as u32);
        prop_assert_eq!(counts(&route, 0..weights.iter().sum::<u32>() as u64), weights);
    }
}

// Source: rules of Storm 1.2.1 `LoadAwareShuffleGrouping`: loads 0.5 and 0.0 share 100,000 tuples by 33 and 66 %.
#[test]
fn an_idle_target_gets_twice_what_a_half_loaded_one_gets() {
    let turns = Turns::new(2, 1);
    turns.reweigh(&[0.5, 0.0], 1);
    let served = counts(&Route::new(Grouping::Shuffle(turns), 2), 0..100_000);
    assert!((33_000..34_500).contains(&served[0]), "{served:?}");
}

#[test]
fn an_unknown_load_still_gets_a_turn() {
    let turns = Turns::new(2, 1);
    turns.reweigh(&[f64::NAN, 0.0], 1);
    assert_eq!(counts(&Route::new(Grouping::Shuffle(turns), 2), 0..102), [1, 101]);
}

#[test]
fn long_runs_of_one_target_are_rare_in_weighted_turns() {
    let turns = Turns::new(2, 9);
    turns.reweigh(&[0.5, 0.0], 9);
    let order: Vec<u32> = (0..152).map(|_| turns.next_target()).collect();
    let longest = order.chunk_by(|a, b| a == b).map(<[u32]>::len).max().expect("turns");
    assert!(longest < 20, "{longest}");
}

// semantics 30
#[test]
fn fields_spread_evenly_and_stay_put() {
    for targets in [2, 3, 8, 31] {
        let served = counts(&Route::new(fields(), targets), 0..100_000);
        let mean = 100_000.0 / targets as f64;
        assert!(served.iter().all(|count| (*count as f64 / mean - 1.0).abs() < 0.1), "{targets}: {served:?}");
    }
}

// One word in four is the same: by fields its task gets a quarter of all, by partial key the two share it.
// semantics 30
#[test]
fn a_partial_key_halves_a_hot_key() {
    let words = |i: u64| if i.is_multiple_of(4) { 7 } else { i };
    let hottest = |route: &Route| counts(route, (0..80_000).map(words)).into_iter().max().expect("targets");
    let (by_fields, by_partial) = (hottest(&Route::new(fields(), 8)), hottest(&partial(8)));
    assert!(by_fields > 26_000 && by_partial < 14_000, "{by_fields} {by_partial}");
}

// semantics 30
#[test]
fn a_partial_key_never_has_more_than_two_tasks() {
    let route = partial(16);
    let mut tasks: HashMap<u64, HashSet<u32>> = HashMap::new();
    (0..50_000_u64).for_each(|i| {
        tasks.entry(i % 500).or_default().insert(one(route.pick(&Word(i % 500))));
    });
    assert!(tasks.values().all(|tasks| tasks.len() <= 2));
    assert_eq!(one(partial(1).pick(&Word(5))), 0);
}

#[test]
fn any_is_random_and_even() {
    let served = counts(&Route::new(Grouping::Any(Cell::new(5)), 4), 0..40_000);
    assert!(served.iter().all(|count| (9_500..10_500).contains(count)), "{served:?}");
}

#[test]
fn the_simple_groupings_do_what_they_are_called() {
    let pick = |grouping| Route::new(grouping, 3).pick(&Word(1));
    assert_eq!(pick(Grouping::All), Ok(Pick::All));
    assert_eq!(pick(Grouping::Global), Ok(Pick::One(0)));
    assert_eq!(pick(Grouping::Direct), Ok(Pick::Many(vec![])));
    assert_eq!(pick(Grouping::Custom(4)), Ok(Pick::Many(vec![1, 1, 0])));
    assert_eq!(pick(Grouping::Custom(5)), Err("no such grouping"));
    assert_eq!(pick(Grouping::Fields([3].into())), Err("no such field"));
}
