//! Defects that the laws must catch.

use crate::law::Law;

/// One defect in one place. Those marked "ledger" replace the shipping ledger by a naive one that has the defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Ledger: an init that is repeated is XORed again and cancels itself, as in Storm 1.2.1.
    InitNotIdempotent,
    /// Ledger: a zero sum ends the tree though the spout has not said what it sent. Over links that deliver once no
    /// sum is zero before the init, so here they repeat acks.
    EndWithoutInit,
    /// A link delivers acks again. The sum of such a tree never becomes zero: it stays open, but nothing is lost.
    AcksRepeated,
    /// Ledger and links: an ack is applied whichever life of the worker its root is of.
    IncarnationIgnored,
    /// Ledger: an ack is applied whichever use of the slot its root is of.
    ReuseIgnored,
    /// Ledger: a failed tree stays open.
    FailKeepsTree,
    /// Ledger: an init that is repeated after the end of its tree ends it again.
    EndsTwice,
    /// Ledger: the naive one without a defect. Nothing must catch it: what catches the others is their defects.
    NaiveLedger,
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
    /// Third workers are not told of the rows that went with a link.
    DroppedUntold,
    /// Spouts fail nothing when a worker is lost.
    LossIgnored,
    /// A spout fails only what it emitted before the loss happened, not before it heard of it.
    OnlyOlderThanLossFailed,
    /// The spouts of a new life begin before every worker knows it, so some drop its acks as those of a dead life.
    StartBeforeKnown,
    /// The loss of a worker counts as a failed try.
    LossCounts,
    /// The newest ended position is committed, whatever is still under way before it.
    CommitNewest,
    /// A spout emits beyond its limit.
    LimitIgnored,
    /// A failed root is not emitted again.
    RetryForgotten,
    /// A root may be tried for ever.
    NeverDead,
}

impl Mutant {
    /// Every defect, the law that it breaks, and the number of seeds within which that must show: some ten times as many
    /// as it takes on average.
    pub const ALL: [(Mutant, Law, u64); 25] = [
        (Mutant::InitNotIdempotent, Law::NothingUnprocessedIsAcked, 100),
        (Mutant::EndWithoutInit, Law::NothingUnprocessedIsAcked, 2_000),
        (Mutant::AcksRepeated, Law::EverythingEnds, 50),
        (Mutant::IncarnationIgnored, Law::EverythingEnds, 5_000),
        (Mutant::ReuseIgnored, Law::EverythingEnds, 100),
        (Mutant::FailKeepsTree, Law::NothingOutlivesItsTree, 50),
        (Mutant::EndsTwice, Law::TriesEndOnce, 1_000),
        (Mutant::FourBitIds, Law::NothingUnprocessedIsAcked, 50),
        (Mutant::SameSeedEverywhere, Law::EdgesAreUnique, 50),
        (Mutant::AckBeforeEmit, Law::NothingUnprocessedIsAcked, 50),
        (Mutant::ChildLeftOut, Law::NothingUnprocessedIsAcked, 50),
        (Mutant::BundleAcksFirstRootOnly, Law::EverythingEnds, 50),
        (Mutant::SharedRootOverwritten, Law::EverythingEnds, 100),
        (Mutant::FailureAcked, Law::NothingUnprocessedIsAcked, 50),
        (Mutant::HoldNeverTimesOut, Law::EverythingEnds, 500),
        (Mutant::RepeatsDelivered, Law::LinksDeliverOnce, 50),
        (Mutant::DroppedUntold, Law::EverythingEnds, 3_000),
        (Mutant::LossIgnored, Law::EverythingEnds, 2_000),
        (Mutant::OnlyOlderThanLossFailed, Law::EverythingEnds, 5_000),
        (Mutant::StartBeforeKnown, Law::EverythingEnds, 8_000),
        (Mutant::LossCounts, Law::OnlyFailuresCount, 100),
        (Mutant::CommitNewest, Law::NothingUnendedIsCommitted, 50),
        (Mutant::LimitIgnored, Law::LimitKept, 50),
        (Mutant::RetryForgotten, Law::EverythingEnds, 50),
        (Mutant::NeverDead, Law::OnlyFailuresCount, 100),
    ];
}
