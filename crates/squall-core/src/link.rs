//! One link between two lives of workers: every frame once and in order, over streams that may break (semantics 20, 23).
//!
//! A link is a conversation between two tokens, with a session number; it outlives the streams that carry it. The
//! sender keeps each frame until it was receipted; on a new stream both ends first say, by a receipt, which frame they
//! expect next, and the other resumes there. A stream keeps the order, so a receiver that meets a gap has met a defect
//! or an enemy: the stream is given up, never the order. The alternative, keeping what came early as datagram protocols
//! do, would repair what a stream cannot do and hide what it must not.
//!
//! A receipt has no place in the sequence, or each would have to be receipted in turn; in its header stands the session
//! number, so a stream of an ended session is known by its first frame.

mod end;
mod incoming;
mod kept;
mod outgoing;
mod violation;

pub use end::{Action, Event, LinkEnd};
pub use incoming::{Came, LinkIn};
pub use outgoing::{Limits, LinkOut};
pub use violation::{Violation, Violations};

/// Notices that a peer says nothing about what it was sent: that a stream is open at one end only looks like this, and
/// like nothing else. A peer whose code does not return looks so, too; giving its stream up costs it nothing. As long as
/// the stream takes more of a frame, it is the way that is slow.
#[derive(Default)]
pub struct Silence {
    /// Streams, whether the peer has begun on the last, receipted frames, what was written of the frame on its way.
    seen: Option<(u64, bool, u64, usize)>,
    since_ns: u64,
}

impl Silence {
    /// For how long the peer has now been silent although something of the link waits for its word.
    pub fn for_ns(&mut self, link: &LinkOut, now_ns: u64) -> u64 {
        let seen = link.is_waiting().then(|| (link.streams(), link.is_open(), link.receipted(), link.begun_bytes()));
        if seen.is_none() || seen != self.seen {
            (self.seen, self.since_ns) = (seen, now_ns);
        }
        now_ns.saturating_sub(self.since_ns)
    }
}
