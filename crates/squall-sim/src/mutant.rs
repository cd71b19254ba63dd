//! Defects that the laws must catch.

/// One defect in one place. Those marked "ledger" replace the shipping ledger by a naive one that has the defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Ledger: an init that is repeated is XORed again and cancels itself, as in Storm 1.2.1.
    InitNotIdempotent,
    /// Ledger: a zero sum ends the tree though the spout has not said what it sent.
    EndWithoutInit,
    /// Ledger and links: an ack is applied whichever life of the worker its root is of.
    IncarnationIgnored,
    /// Ledger: an ack is applied whichever use of the slot its root is of.
    ReuseIgnored,
    /// Ledger: a failed tree stays open.
    FailKeepsTree,
    /// Edge ids have 4 bits.
    FourBitIds,
    /// Every worker's generator has the same seed.
    SameSeedEverywhere,
    /// A bolt acks its input and then sends its children, in two acks.
    AckBeforeEmit,
    /// A bolt leaves one child out of its ack.
    ChildLeftOut,
    /// A join acks only the first root of each input.
    BundleAcksFirstRootOnly,
    /// A join whose inputs share a root keeps only the last edge for it, instead of the XOR.
    SharedRootOverwritten,
    /// A bolt that fails acks all the same.
    FailureAcked,
    /// A tuple in user hands never times out.
    HoldNeverTimesOut,
    /// A link delivers what it has delivered before.
    RepeatsDelivered,
    /// A link does not send again what was not receipted.
    NeverResent,
    /// A link delivers in the order of arrival, and takes what comes late for a repeat.
    GapsSkipped,
    /// Spouts fail nothing when a worker is lost.
    LossIgnored,
    /// A spout fails only what it emitted before the loss happened, not before it heard of it.
    OnlyOlderThanLossFailed,
    /// Spouts may emit to a new life before every worker has dropped its links to the old one.
    ReadyTooEarly,
    /// The loss of a worker counts as a failed try.
    LossCounts,
    /// The newest ended position is committed, whatever is still under way before it.
    CommitNewest,
    /// A failed root is not emitted again.
    RetryForgotten,
    /// A root may be tried for ever.
    NeverDead,
}

impl Mutant {
    /// All of them, each with the number of seeds within which it must be caught.
    pub const ALL: [(Mutant, u64); 23] = [
        (Mutant::InitNotIdempotent, 200),
        (Mutant::EndWithoutInit, 200),
        (Mutant::IncarnationIgnored, 2_000),
        (Mutant::ReuseIgnored, 500),
        (Mutant::FailKeepsTree, 100),
        (Mutant::FourBitIds, 100),
        (Mutant::SameSeedEverywhere, 100),
        (Mutant::AckBeforeEmit, 100),
        (Mutant::ChildLeftOut, 100),
        (Mutant::BundleAcksFirstRootOnly, 100),
        (Mutant::SharedRootOverwritten, 200),
        (Mutant::FailureAcked, 100),
        (Mutant::HoldNeverTimesOut, 100),
        (Mutant::RepeatsDelivered, 100),
        (Mutant::NeverResent, 100),
        (Mutant::GapsSkipped, 100),
        (Mutant::LossIgnored, 100),
        (Mutant::OnlyOlderThanLossFailed, 200),
        (Mutant::ReadyTooEarly, 500),
        (Mutant::LossCounts, 500),
        (Mutant::CommitNewest, 100),
        (Mutant::RetryForgotten, 100),
        (Mutant::NeverDead, 100),
    ];
}
