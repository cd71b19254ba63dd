//! Tuples that kill their workers: which roots a death is held against, and what follows (semantics 9).
//!
//! Nobody can say which tuple of a call it was, so a death is held against the roots of all of them.

/// Deaths from which a root is tried alone.
pub const ALONE_FROM: u8 = 2;
/// Deaths from which it is given up.
pub const DEAD_FROM: u8 = 3;

/// The roots that the last call of a worker that died worked on, each once: of one death, however many tuples of a root
/// were there.
pub fn each_once(roots: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut roots: Vec<u64> = roots.collect();
    roots.sort_unstable();
    if !mutant!(SuspectsRepeated) {
        roots.dedup();
    }
    roots
}
