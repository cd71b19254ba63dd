//! Why a connection got no further than the gate, and how often.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a connection was refused, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// What came is no hand-shake of a link.
    Garbage,
    /// A hand-shake of another version.
    Version,
    /// The other end does not know the secret, or repeats what another said.
    Secret,
    /// The hand-shake took too long.
    Late,
    /// The other end hung up during the hand-shake.
    HungUp,
    /// Too many hand-shakes at once, and this one was the least far.
    Crowded,
    /// It is for another worker, or from one that must not call this one.
    WrongWorker,
    /// Nobody seeks this worker.
    NotSought,
    /// The other end is a life that was replaced.
    OlderToken,
    /// The other end is a life that this end has not been told of.
    OtherToken,
    /// The other end knows a newer life of this worker: it is this end that was replaced (semantics 21).
    Superseded,
    /// The other end means another session of the link.
    OtherSession,
    /// A later call of the same worker was answered before.
    Overtaken,
    /// Nobody answers at the address.
    Unreachable,
    /// This process or system has no descriptors left.
    NoDescriptors,
    /// The other end is on another host, and there is no TLS: whoever can change what goes by could forge frames.
    Unsecured,
}

impl Refusal {
    /// Every cause.
    pub const ALL: [Refusal; 16] = [
        Refusal::Garbage,
        Refusal::Version,
        Refusal::Secret,
        Refusal::Late,
        Refusal::HungUp,
        Refusal::Crowded,
        Refusal::WrongWorker,
        Refusal::NotSought,
        Refusal::OlderToken,
        Refusal::OtherToken,
        Refusal::Superseded,
        Refusal::OtherSession,
        Refusal::Overtaken,
        Refusal::Unreachable,
        Refusal::NoDescriptors,
        Refusal::Unsecured,
    ];

    /// The cause as counters name it.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Garbage => "garbage",
            Refusal::Version => "version",
            Refusal::Secret => "secret",
            Refusal::Late => "late",
            Refusal::HungUp => "hung_up",
            Refusal::Crowded => "crowded",
            Refusal::WrongWorker => "wrong_worker",
            Refusal::NotSought => "not_sought",
            Refusal::OlderToken => "older_token",
            Refusal::OtherToken => "other_token",
            Refusal::Superseded => "superseded",
            Refusal::OtherSession => "other_session",
            Refusal::Overtaken => "overtaken",
            Refusal::Unreachable => "unreachable",
            Refusal::NoDescriptors => "no_descriptors",
            Refusal::Unsecured => "unsecured",
        }
    }

    /// The same thing as the other end sees it.
    pub(super) fn mirrored(self) -> Refusal {
        match self {
            Refusal::OlderToken => Refusal::Superseded,
            Refusal::Superseded => Refusal::OlderToken,
            other => other,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Garbage => "what came is no hand-shake of a worker",
            Refusal::Version => "the other end speaks another version of the hand-shake",
            Refusal::Secret => "the other end does not know the secret of this run",
            Refusal::Late => "the hand-shake took too long",
            Refusal::HungUp => "the other end hung up during the hand-shake",
            Refusal::Crowded => "too many hand-shakes at once",
            Refusal::WrongWorker => "it is for another worker, or from one that must not call this one",
            Refusal::NotSought => "nobody seeks this worker",
            Refusal::OlderToken => "the other end is a life that was replaced",
            Refusal::OtherToken => "the other end is a life that this worker has not been told of",
            Refusal::Superseded => "this worker was replaced by a newer life",
            Refusal::OtherSession => "the other end means another session of the link",
            Refusal::Overtaken => "a later call of the same worker was answered before",
            Refusal::Unreachable => "nobody answers at the address",
            Refusal::NoDescriptors => "no file descriptors are left",
            Refusal::Unsecured => "the other end is on another host, and there is no TLS",
        })
    }
}

/// How many refusals of each cause there were. Any thread may look.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    pub(super) fn count(&self, refusal: Refusal) {
        self.0[refusal as usize].fetch_add(1, Relaxed);
    }

    /// Those of one cause.
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize].load(Relaxed)
    }

    /// All causes with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL.into_iter().map(|refusal| (refusal.name(), self.of(refusal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_place_of_its_own() {
        let refusals = Refusals::default();
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, place);
            assert!(refusal.mirrored().mirrored() == refusal && !refusal.to_string().is_empty());
            (0..=place).for_each(|_| refusals.count(refusal));
        }
        assert!(refusals.iter().map(|(_, count)| count).eq(1..=Refusal::ALL.len() as u64));
    }
}
