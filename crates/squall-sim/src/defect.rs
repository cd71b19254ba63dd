//! All defects that can be put into a history: around the core, and in it.

use crate::law::Law;
use crate::mutant::{self, Mutant};
use crate::world::{History, run};
#[cfg(feature = "mutants")]
use squall_core::mutants;

/// One defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// In the simulation's adapters, its parent, or its own ledger.
    Around(Mutant),
    /// In the code that ships.
    #[cfg(feature = "mutants")]
    Core(mutants::Mutant),
}

impl Defect {
    /// Every defect, the law that catches it, and the number of seeds within which it must.
    pub fn all() -> Vec<(Defect, Law, u64)> {
        let around = mutant::AROUND.iter().map(|(mutant, law, within)| (Defect::Around(*mutant), *law, *within));
        #[cfg(feature = "mutants")]
        let around =
            around.chain(mutant::CORE.iter().map(|(mutant, law, within)| (Defect::Core(*mutant), *law, *within)));
        around.collect()
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Defect> {
        Defect::all().into_iter().map(|(defect, _, _)| defect).find(|defect| defect.name() == name)
    }

    /// Its name.
    pub fn name(self) -> String {
        match self {
            Defect::Around(mutant) => format!("{mutant:?}"),
            #[cfg(feature = "mutants")]
            Defect::Core(mutant) => format!("{mutant:?}"),
        }
    }

    /// Where it is, and what it does there.
    pub fn about(self) -> (&'static str, &'static str) {
        match self {
            Defect::Around(mutant) => mutant.about(),
            #[cfg(feature = "mutants")]
            Defect::Core(mutant) => mutant.about(),
        }
    }

    /// Lives through the history of `seed` with it.
    pub fn run(self, seed: u64) -> History {
        match self {
            Defect::Around(mutant) => run(seed, Some(mutant)),
            #[cfg(feature = "mutants")]
            Defect::Core(mutant) => mutants::with(mutant, || run(seed, None)),
        }
    }
}

/// Whether the core ends trees before their init. Over links that deliver once no sum is zero before that: here they
/// repeat acks.
pub fn ends_before_init() -> bool {
    #[cfg(feature = "mutants")]
    return mutants::is_on(mutants::Mutant::EndsBeforeInit);
    #[cfg(not(feature = "mutants"))]
    false
}
