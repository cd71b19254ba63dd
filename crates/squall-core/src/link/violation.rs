//! What a peer must not do, and how often it did.

use crate::frame::Fault;
use crate::ids::Token;
use std::fmt;

/// Why a stream of a link is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The bytes are no frame.
    Frame(Fault),
    /// The frame is of a life that the peer's has replaced.
    OlderToken(Token),
    /// The frame is of another life, which this end has not been told of.
    OtherToken(Token),
    /// The stream belongs to another session.
    OtherSession(u64),
    /// A frame came before the receipt that begins a stream.
    Unannounced,
    /// Frames are missing before this one.
    Gap {
        /// The one that should have come.
        expected: u64,
        /// The one that came.
        came: u64,
    },
    /// A receipt for what was not sent.
    ReceiptAhead {
        /// What it says is expected next.
        expected: u64,
        /// What was sent of it.
        sent: u64,
    },
    /// The stream is to be resumed at frames that were receipted before, and are not there any more.
    ReceiptBehind {
        /// What the peer expects next.
        expected: u64,
        /// The oldest that is kept.
        kept: u64,
    },
    /// More tuples than were granted, or a grant of more than can have been asked for.
    Credit {
        /// How many were granted, or may be.
        most: u64,
        /// How many came, or were granted.
        came: u64,
    },
}

impl Violation {
    /// All names, in the order of [`Violation::index`].
    const NAMES: [&str; 15] = [
        "frame_magic",
        "frame_version",
        "frame_kind",
        "frame_too_long",
        "frame_checksum",
        "frame_short",
        "frame_malformed",
        "older_token",
        "other_token",
        "other_session",
        "unannounced",
        "gap",
        "receipt_ahead",
        "receipt_behind",
        "credit",
    ];

    fn index(&self) -> usize {
        match self {
            Violation::Frame(Fault::Magic) => 0,
            Violation::Frame(Fault::Version(_)) => 1,
            Violation::Frame(Fault::Kind(_)) => 2,
            Violation::Frame(Fault::TooLong(_)) => 3,
            Violation::Frame(Fault::Checksum) => 4,
            Violation::Frame(Fault::Short) => 5,
            Violation::Frame(Fault::Malformed) => 6,
            Violation::OlderToken(_) => 7,
            Violation::OtherToken(_) => 8,
            Violation::OtherSession(_) => 9,
            Violation::Unannounced => 10,
            Violation::Gap { .. } => 11,
            Violation::ReceiptAhead { .. } => 12,
            Violation::ReceiptBehind { .. } => 13,
            Violation::Credit { .. } => 14,
        }
    }

    /// Whether it would come again on every stream of the session: the peer, not the way, has done it.
    pub fn is_lasting(&self) -> bool {
        matches!(
            self,
            Violation::Frame(Fault::Malformed)
                | Violation::ReceiptAhead { .. }
                | Violation::ReceiptBehind { .. }
                | Violation::Credit { .. }
        )
    }

    /// The cause as counters name it.
    pub fn name(&self) -> &'static str {
        Violation::NAMES[self.index()]
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let life = |token: &Token| format!("epoch {} incarnation {}", token.epoch, token.incarnation.0);
        match self {
            Violation::Frame(fault) => fault.fmt(f),
            Violation::OlderToken(token) => write!(f, "a frame of a life that was replaced ({})", life(token)),
            Violation::OtherToken(token) => write!(f, "a frame of an unknown life ({})", life(token)),
            Violation::OtherSession(session) => write!(f, "a stream of session {session}, which is not this one"),
            Violation::Unannounced => write!(f, "a frame before the receipt that begins a stream"),
            Violation::Gap { expected, came } => write!(f, "frame {came} came where {expected} was expected"),
            Violation::ReceiptAhead { expected, sent } => {
                write!(f, "a receipt that expects frame {expected}, but only those below {sent} were sent")
            }
            Violation::ReceiptBehind { expected, kept } => {
                write!(f, "frame {expected} is asked for, but those below {kept} were receipted before")
            }
            Violation::Credit { most, came } => write!(f, "{came} tuples or credits where at most {most} may be"),
        }
    }
}

impl std::error::Error for Violation {}

impl From<Fault> for Violation {
    fn from(fault: Fault) -> Violation {
        Violation::Frame(fault)
    }
}

/// How many violations of each cause there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations([u64; Violation::NAMES.len()]);

impl Violations {
    /// One more.
    pub fn count(&mut self, violation: &Violation) {
        self.0[violation.index()] += 1;
    }

    /// All causes with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Violation::NAMES.into_iter().zip(self.0)
    }

    /// All causes together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_violation_is_counted_under_its_name() {
        let mut violations = Violations::default();
        let gap = Violation::Gap { expected: 3, came: 5 };
        violations.count(&gap);
        violations.count(&gap);
        violations.count(&Fault::Checksum.into());
        let counted: Vec<_> = violations.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("frame_checksum", 1), ("gap", 2)]);
        assert_eq!((gap.name(), gap.to_string().as_str()), ("gap", "frame 5 came where 3 was expected"));
        assert_eq!(violations.total(), 3);
    }
}
