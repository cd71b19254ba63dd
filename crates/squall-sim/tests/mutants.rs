//! Every defect breaks a law, and `docs/reference/mutants.md` says which, and how soon.

use squall_core::mutants;
use squall_sim::mutant::{AROUND, CORE};
use squall_sim::{Defect, Law};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/mutants.md");

const HEAD: &str = "# Mutants

Defects that are put into the code one at a time, to see that the laws of the simulation find them. Those of a module of the
core are in the code that ships, behind a feature that only tests switch on; the others are in the simulation around it.
`make mutants` writes this page anew; a test compares it. A law is named as in `crates/squall-sim/src/law.rs`.

";

/// How many seeds it takes until the defect breaks the law, if so many are enough.
fn seeds_until(defect: Defect, law: Law, within: u64) -> Option<u64> {
    let breaks = |seed: &u64| defect.run(*seed).violation.is_some_and(|violation| violation.law == law);
    (0..within).find(breaks).map(|seed| seed + 1)
}

/// Of each defect how many seeds it took; all processors share the work.
fn all_caught() -> Vec<Option<u64>> {
    let defects = Defect::all();
    let (next, caught) = (Mutex::new(0..defects.len()), Mutex::new(vec![None; defects.len()]));
    let work = || {
        loop {
            let Some(at) = next.lock().expect("no panic").next() else { return };
            let (defect, law, within) = defects[at];
            let seeds = seeds_until(defect, law, within);
            println!("{}: {law:?} {seeds:?}", defect.name());
            caught.lock().expect("no panic")[at] = seeds;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    caught.into_inner().expect("no panic")
}

fn page(caught: &[Option<u64>]) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| Mutant | Where | What it does | Caught by | Seeds | Within |\n|---|---|---|---|---|---|\n");
    for ((defect, law, within), seeds) in Defect::all().into_iter().zip(caught) {
        let (part, what) = defect.about();
        let part = if matches!(defect, Defect::Core(_)) { format!("`{part}`") } else { part.to_owned() };
        let seeds = seeds.map_or_else(|| "survives".to_owned(), |seeds| seeds.to_string());
        let law = format!("{} {law:?}", law.number());
        writeln!(page, "| {} | {part} | {what} | {law} | {seeds} | {within} |", defect.name()).expect("memory");
    }
    page
}

// semantics 7, semantics 8, semantics 9, semantics 14, semantics 15, semantics 16, semantics 17, semantics 19
// semantics 20, semantics 21, semantics 23, semantics 25, semantics 31, semantics 32, semantics 33
#[test]
fn every_defect_is_caught_and_the_page_says_so() {
    let caught = all_caught();
    let survivors: Vec<String> = Defect::all()
        .into_iter()
        .zip(&caught)
        .filter(|(_, seeds)| seeds.is_none())
        .map(|((defect, law, within), _)| format!("{} did not break {law:?} in {within} seeds", defect.name()))
        .collect();
    if std::env::var_os("SQUALL_WRITE_MUTANTS").is_some() {
        std::fs::write(PAGE, page(&caught)).expect("it can be written");
    }
    assert_eq!(survivors, Vec::<String>::new());
    let said = std::fs::read_to_string(Path::new(PAGE)).expect("it can be read");
    assert!(said == page(&caught), "docs/reference/mutants.md says something else: run make mutants");
}

#[test]
fn no_defect_is_left_out() {
    let listed: Vec<mutants::Mutant> = CORE.iter().map(|(mutant, _, _)| *mutant).collect();
    assert_eq!(listed, mutants::Mutant::ALL);
    assert!(AROUND.len() >= 25 && CORE.len() >= 20);
}

#[test]
fn every_law_is_broken_by_some_defect() {
    let laws: BTreeSet<Law> = Defect::all().into_iter().map(|(_, law, _)| law).collect();
    assert_eq!(laws, BTreeSet::from(Law::ALL));
}
