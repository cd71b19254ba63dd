//! The laws that must hold in every history.

/// One of them, by the name that reports use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Law {
    /// A1: a message is acked only when every tuple anchored to it was processed.
    NothingUnprocessedIsAcked,
    /// A2: what is committed, marked in a journal, or receipted as processed has ended.
    NothingUnendedIsCommitted,
    /// A3: each try ends once.
    TriesEndOnce,
    /// A4: no spout has more tries open than it may have.
    LimitKept,
    /// A5: a ledger, and each spout, has open what the truth has open.
    NothingOutlivesItsTree,
    /// A6: no two edges have the same id.
    EdgesAreUnique,
    /// A7: a message is given up after exactly its tries, and only failures of user code count.
    OnlyFailuresCount,
    /// A8: a link delivers each frame once, in order, as it was sent.
    LinksDeliverOnce,
    /// A9: when the faults are over, everything ends.
    EverythingEnds,
    /// B1: who waits for credit gets some when nothing of it waits for the task, and hears of it when all was taken.
    NobodyStarves,
    /// B2: of each worker no more waits in a mailbox than credit says, and no more frames than its link may keep.
    QueuesAreBounded,
    /// C7: tuples of a channel are taken in the order in which they were sent.
    ChannelsKeepOrder,
    /// S1: a task acts in one life at a time: nothing of an earlier one is taken in.
    OneLifeActs,
    /// L1: streams that break are resumed: a link between living workers is given up only when something has kept them
    /// apart for longer than they wait, and a stream only when it is closed, spoilt, or silent.
    LinksResume,
    /// L2: what was receipted as stored comes again from the journal, until it has ended.
    StoredIsThere,
    /// L3: when all has ended nothing is left over: no tree, tuple, frame, stream, or file.
    NothingIsLeftOver,
    /// I1: a journal gives only what was stored in it.
    NothingIsInvented,
    /// K1: a message on which workers died is given up when three deaths are known, not before and not later, and runs
    /// alone from the second on.
    KillersAreGivenUp,
}

impl Law {
    /// Every law.
    pub const ALL: [Law; 18] = [
        Law::NothingUnprocessedIsAcked,
        Law::NothingUnendedIsCommitted,
        Law::TriesEndOnce,
        Law::LimitKept,
        Law::NothingOutlivesItsTree,
        Law::EdgesAreUnique,
        Law::OnlyFailuresCount,
        Law::LinksDeliverOnce,
        Law::EverythingEnds,
        Law::NobodyStarves,
        Law::QueuesAreBounded,
        Law::ChannelsKeepOrder,
        Law::OneLifeActs,
        Law::LinksResume,
        Law::StoredIsThere,
        Law::NothingIsLeftOver,
        Law::NothingIsInvented,
        Law::KillersAreGivenUp,
    ];

    /// Its short name.
    pub fn number(self) -> &'static str {
        const NUMBERS: [&str; 18] = [
            "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "B1", "B2", "C7", "S1", "L1", "L2", "L3", "I1", "K1",
        ];
        NUMBERS[self as usize]
    }
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// By what.
    pub what: String,
}
