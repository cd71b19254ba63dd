//! Defects that the simulation switches on, to show that its laws find them.
//!
//! Each is one line at the place that it is about, under `mutant!(Name)`. Without the feature `mutants`, which only tests
//! ask for, that is the constant `false`, and nothing of a defect is compiled; below, the compiler proves it.

/// Whether one of these defects is on.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($($defect:ident),+) => {
        $($crate::mutants::is_on($crate::mutants::Mutant::$defect))||+
    };
}

/// Never.
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($($defect:ident),+) => {
        false
    };
}

#[cfg(not(feature = "mutants"))]
const _: () = assert!(!mutant!(AnyOfThem));

/// Whether defects can be switched on. What ships refuses to be built with it.
pub const HAS_MUTANTS: bool = cfg!(feature = "mutants");

#[cfg(feature = "mutants")]
pub use on::{Mutant, is_on, with};

#[cfg(feature = "mutants")]
mod on {
    use std::cell::Cell;

    macro_rules! mutants {
        ($($name:ident $part:literal $what:literal,)*) => {
            /// One defect.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum Mutant {
                $(#[doc = $what] $name,)*
            }

            impl Mutant {
                /// Every one.
                pub const ALL: &[Mutant] = &[$(Mutant::$name,)*];

                /// The module that it is in, and what it does there.
                pub fn about(self) -> (&'static str, &'static str) {
                    match self {
                        $(Mutant::$name => ($part, $what),)*
                    }
                }
            }
        };
    }

    mutants! {
        BrokenIsFinal "link" "a link is given up when its stream breaks",
        HalfOpenNeverFound "link" "a stream that is open at one end only is never given up",
        GivenUpWhileUp "link" "a link that has a stream is given up when the time of an earlier search is over",
        OldLifeTaken "link" "frames of an earlier life, and of its sessions, are taken",
        SessionUnchecked "link" "a stream of another session is taken for one of this",
        GapTaken "link" "a sender resumes one frame too late, and the receiver does not see the gap",
        DuplicateTaken "link" "a frame that came before is delivered again",
        ReceiptNeverTold "link" "nothing is receipted but at the beginning of a stream",
        AnnouncesNothing "link" "on each stream the first frame is asked for",
        ResumeSkips "link" "a sender resumes behind what it wrote, not at what came",
        ReceiptReleasesMore "link" "a receipt lets go of one frame more than came",
        PartialFrameKept "link" "a stream begins with the rest of the frame in which the one before it broke",
        ReachedForgotten "link" "what was written on an earlier stream is forgotten when another writes",
        ChecksumIgnored "frame" "a frame's checksum is not looked at",
        AloneNotCarried "frame" "a row that is to run alone is not marked so",
        RowPlaceRepeated "frame" "the first row of what is left of a queue has the number of the last one that left",
        GrantNotNoted "credit" "who grants does not note it, and takes nothing for it",
        LastTakenUntold "credit" "only when a quarter of the window is free again it is granted",
        GrantForgotten "credit" "grants after the first of a session are not noted",
        GrantBeyondWindow "credit" "more than the window is granted",
        RowsNotSpent "credit" "rows that were sent cost nothing",
        BytesNotCounted "credit" "large rows count as small ones do",
        AsideNotCounted "credit" "rows that were set aside take no room",
        WaitingNotCounted "credit" "rows that wait in the mailbox take no room",
        BeginForgetsWaiting "credit" "rows of an earlier session take no room",
        SessionBeginsWithCredit "credit" "a session begins with a window of credit",
        CreditUnchecked "credit" "neither the sender nor the receiver looks at the credit",
        TornTailAccepted "journal" "a group's records are not checked",
        VoidRecordsKept "journal" "records that a later segment has again count twice",
        EndedOverstated "journal" "a group says that all before it have ended",
        LastGroupLost "journal" "the last group of a segment is not read",
        JoinSkipsOne "journal" "the first record that had not ended is not read",
        TrimmedAtOnce "journal" "segments are removed without one being gone before the next",
        TrimmedTooEarly "journal" "a segment goes when its last record has not ended",
        EndedCounted "tracker" "the ended prefix is how many have ended",
        FirstOutputEnds "tally" "a record has ended with the first of its outputs",
        SkippedUncounted "tally" "a skipped record has no place in the order",
        WholeNotEnded "tally" "what ends is told to its connection, not to the journal",
        InitRepeated "ack" "an init that comes again is XORed again",
        EndsBeforeInit "ack" "a zero sum ends a tree before its spout has said what it sent",
        ReuseStays "ack" "a slot's next tree has the id of its last",
        AcksOverwrite "ack" "of neighbouring acks of one root the last counts",
        AcksMergeOthers "ack" "neighbouring acks of different roots are one",
        BundleKept "ack" "pairs that were taken stay where they are",
        AttemptUncounted "retry" "a failure of user code is not counted",
        LossCounted "retry" "a failure that does not count is counted",
        DeadTooEarly "retry" "a root is given up one try early",
        SuspectsRepeated "suspects" "a death counts once for each tuple that a root had in the call",
        AloneForgotten "alone" "which roots run alone is forgotten",
        ReleasedGoLast "mailbox" "what was parked comes behind what came since",
        PendingOneMore "flow" "one root more than the limit may be open",
    }

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether this defect is on, in this thread.
    #[inline]
    pub fn is_on(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }

    /// Runs `f` with the defect on in this thread.
    pub fn with<R>(mutant: Mutant, f: impl FnOnce() -> R) -> R {
        ON.set(Some(mutant));
        let ran = f();
        ON.set(None);
        ran
    }
}
