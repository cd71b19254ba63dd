//! Defects that the laws must catch, around the core; those in it are `squall_core::mutants`.

use crate::law::Law;

macro_rules! mutants {
    ($($name:ident $part:literal $what:literal,)*) => {
        /// One defect in one place. Those of the naive ledger replace the shipping one by a naive one that has it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $what] $name,)*
        }

        impl Mutant {
            /// Where it is, and what it does there.
            pub fn about(self) -> (&'static str, &'static str) {
                match self {
                    $(Mutant::$name => ($part, $what),)*
                }
            }
        }
    };
}

mutants! {
    InitNotIdempotent "naive ledger" "an init that is repeated is XORed again and cancels itself, as in Storm 1.2.1",
    EndWithoutInit "naive ledger" "a zero sum ends the tree though the spout has not said what it sent. Over links that deliver once no sum is zero before the init, so here they repeat acks",
    AcksRepeated "links" "a link delivers acks again. The sum of such a tree never becomes zero: it stays open, but nothing is lost",
    IncarnationIgnored "naive ledger" "an ack is applied whichever life of the worker its root is of",
    ReuseIgnored "naive ledger" "an ack is applied whichever use of the slot its root is of",
    FailKeepsTree "naive ledger" "a failed tree stays open",
    EndsTwice "naive ledger" "an init that is repeated after the end of its tree ends it again",
    NaiveLedger "naive ledger" "the naive one without a defect. Nothing must catch it: what catches the others is their defects",
    FourBitIds "worker" "edge ids have 4 bits",
    SameSeedEverywhere "worker" "every worker's generator has the same seed",
    AckBeforeEmit "bolts" "a bolt acks its input and then sends its children, in two acks",
    ChildLeftOut "bolts" "a bolt leaves one child out of its ack",
    BundleAcksFirstRootOnly "bolts" "a join acks only the first root of each input",
    SharedRootOverwritten "bolts" "a join whose inputs share a root keeps only the last edge for it, instead of the XOR",
    FailureAcked "bolts" "a bolt that fails acks all the same",
    HoldNeverTimesOut "bolts" "a tuple in user hands never times out",
    RepeatsDelivered "links" "a link delivers what it has delivered before",
    DroppedUntold "links" "third workers are not told of the rows that went with a link",
    LossIgnored "links" "spouts fail nothing when a worker is lost",
    OnlyOlderThanLossFailed "links" "a spout fails only what it emitted before the loss happened, not before it heard of it",
    StartBeforeKnown "links" "the spouts of a new life begin before every worker knows it, so some drop its acks as those of a dead life",
    LossCounts "spouts" "the loss of a worker counts as a failed try",
    CommitNewest "spouts" "the newest ended position is committed, whatever is still under way before it",
    LimitIgnored "spouts" "a spout emits beyond its limit",
    LimitShared "spouts" "the spouts of a worker have a limit together, the sum of theirs",
    RetryForgotten "spouts" "a failed root is not emitted again",
    NeverDead "spouts" "a root may be tried for ever",
    ReceiptBeforeSync "storing" "receipts of stored records are sent when these are written, not when they are on disk",
    OutputsRepeated "parent" "a death counts once for each output of a record that was in the call",
    DeathsForgotten "parent" "the next life of a spout's worker does not know on what its last one died",
}

/// Every defect, the law that it breaks, and the number of seeds within which that must show.
pub const AROUND: &[(Mutant, Law, u64)] = &[
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
    (Mutant::RepeatsDelivered, Law::ChannelsKeepOrder, 50),
    (Mutant::DroppedUntold, Law::EverythingEnds, 3_000),
    (Mutant::LossIgnored, Law::EverythingEnds, 2_000),
    (Mutant::OnlyOlderThanLossFailed, Law::EverythingEnds, 5_000),
    (Mutant::StartBeforeKnown, Law::EverythingEnds, 6_000),
    (Mutant::LossCounts, Law::OnlyFailuresCount, 100),
    (Mutant::CommitNewest, Law::NothingUnendedIsCommitted, 50),
    (Mutant::LimitIgnored, Law::LimitKept, 50),
    (Mutant::LimitShared, Law::LimitKept, 50),
    (Mutant::RetryForgotten, Law::EverythingEnds, 50),
    (Mutant::NeverDead, Law::OnlyFailuresCount, 100),
    (Mutant::ReceiptBeforeSync, Law::StoredIsThere, 500),
    (Mutant::OutputsRepeated, Law::KillersAreGivenUp, 500),
    (Mutant::DeathsForgotten, Law::KillersAreGivenUp, 500),
];

/// The defects in the code that ships, in the same way.
#[cfg(feature = "mutants")]
pub const CORE: &[(squall_core::mutants::Mutant, Law, u64)] = {
    use squall_core::mutants::Mutant as Core;
    &[
        (Core::BrokenIsFinal, Law::LinksResume, 2_000),
        (Core::HalfOpenNeverFound, Law::EverythingEnds, 50),
        (Core::GivenUpWhileUp, Law::LinksResume, 500),
        (Core::OldLifeTaken, Law::OneLifeActs, 2_000),
        (Core::SessionUnchecked, Law::LinksDeliverOnce, 2_000),
        (Core::GapTaken, Law::LinksResume, 50),
        (Core::DuplicateTaken, Law::LinksDeliverOnce, 2_000),
        (Core::ReceiptNeverTold, Law::LinksResume, 2_000),
        (Core::AnnouncesNothing, Law::LinksResume, 100),
        (Core::ResumeSkips, Law::LinksResume, 50),
        (Core::ReceiptReleasesMore, Law::LinksResume, 2_000),
        (Core::PartialFrameKept, Law::LinksResume, 500),
        (Core::ReachedForgotten, Law::LinksResume, 2_000),
        (Core::ChecksumIgnored, Law::LinksDeliverOnce, 2_000),
        (Core::AloneNotCarried, Law::KillersAreGivenUp, 2_000),
        (Core::RowPlaceRepeated, Law::ChannelsKeepOrder, 2_000),
        (Core::GrantNotNoted, Law::LinksResume, 500),
        (Core::LastTakenUntold, Law::NobodyStarves, 500),
        (Core::GrantForgotten, Law::NobodyStarves, 2_000),
        (Core::GrantBeyondWindow, Law::LinksResume, 50),
        (Core::RowsNotSpent, Law::LinksResume, 200),
        (Core::BytesNotCounted, Law::QueuesAreBounded, 2_000),
        (Core::AsideNotCounted, Law::QueuesAreBounded, 2_000),
        (Core::WaitingNotCounted, Law::QueuesAreBounded, 2_000),
        (Core::BeginForgetsWaiting, Law::QueuesAreBounded, 2_000),
        (Core::SessionBeginsWithCredit, Law::LinksResume, 6_000),
        (Core::CreditUnchecked, Law::QueuesAreBounded, 2_000),
        (Core::TornTailAccepted, Law::NothingIsInvented, 6_000),
        (Core::VoidRecordsKept, Law::NothingIsInvented, 2_000),
        (Core::EndedOverstated, Law::StoredIsThere, 2_000),
        (Core::LastGroupLost, Law::StoredIsThere, 2_000),
        (Core::JoinSkipsOne, Law::StoredIsThere, 2_000),
        (Core::TrimmedAtOnce, Law::StoredIsThere, 9_000),
        (Core::TrimmedTooEarly, Law::StoredIsThere, 2_000),
        (Core::EndedCounted, Law::NothingUnendedIsCommitted, 2_000),
        (Core::FirstOutputEnds, Law::NothingUnendedIsCommitted, 2_000),
        (Core::SkippedUncounted, Law::EverythingEnds, 2_000),
        (Core::WholeNotEnded, Law::NothingIsLeftOver, 2_000),
        (Core::InitRepeated, Law::NothingUnprocessedIsAcked, 2_000),
        (Core::EndsBeforeInit, Law::NothingUnprocessedIsAcked, 100),
        (Core::ReuseStays, Law::EverythingEnds, 2_000),
        (Core::AcksOverwrite, Law::EverythingEnds, 2_000),
        (Core::AcksMergeOthers, Law::EverythingEnds, 2_000),
        (Core::BundleKept, Law::NothingIsLeftOver, 2_000),
        (Core::AttemptUncounted, Law::OnlyFailuresCount, 2_000),
        (Core::LossCounted, Law::OnlyFailuresCount, 2_000),
        (Core::DeadTooEarly, Law::OnlyFailuresCount, 2_000),
        (Core::SuspectsRepeated, Law::KillersAreGivenUp, 500),
        (Core::AloneForgotten, Law::KillersAreGivenUp, 2_000),
        (Core::ReleasedGoLast, Law::ChannelsKeepOrder, 2_000),
        (Core::PendingOneMore, Law::LimitKept, 2_000),
    ]
};
