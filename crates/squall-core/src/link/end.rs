//! What becomes of one end of a link: when a stream is used, when another one is sought, when the link is given up.
//!
//! Pure, so that the loop and the simulator do the same: what happens comes in, what is to be done goes out. Streams, and
//! whoever finds them, belong to the caller.

use super::{Limits, LinkIn, LinkOut, Silence};
use crate::ids::Token;

/// How long a peer may say nothing of what it was sent before another stream is tried.
const SILENT_NS: u64 = 5_000_000_000;
/// How long a stream may be gone before the link is given up (semantics 20).
const RESUME_WITHIN_NS: u64 = 1_000_000_000;

/// What happens to an end.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A life of the peer was found at the other end of a new stream, in a session.
    Found {
        /// Which life.
        token: Token,
        /// Which session.
        session: u64,
    },
    /// The stream is of no more use.
    Broken,
    /// It was not found in the time that was given, and is sought no more.
    NotFound {
        /// Which life.
        token: Token,
        /// In which session.
        session: u64,
    },
    /// Nothing; some time has passed.
    Look,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing; a stream that was found is to be dropped.
    Nothing,
    /// The stream that was found carries the link from now on.
    Use,
    /// The stream, if there still is one, is to be dropped, and the peer to be found again within that time.
    Seek {
        /// For ever, if there is none.
        within_ns: Option<u64>,
    },
    /// The link is to be given up.
    GiveUp,
}

/// One end of the link to one life of a peer, in one session.
pub struct LinkEnd {
    peer: Token,
    session: u64,
    is_up: bool,
    silence: Silence,
    /// What goes to the peer.
    pub out: LinkOut,
    /// What comes from it.
    pub taken: LinkIn,
}

impl LinkEnd {
    /// The end of this life `own`; the peer is sought, for as long as it takes.
    pub fn new(own: Token, peer: Token, session: u64) -> LinkEnd {
        LinkEnd {
            peer,
            session,
            is_up: false,
            silence: Silence::default(),
            out: LinkOut::new(own, session, Limits::default()),
            taken: LinkIn::new(peer, session),
        }
    }

    /// The link's session.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Whether there is a stream.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Something has happened. What is to be done now.
    pub fn step(&mut self, event: Event, now_ns: u64) -> Action {
        match event {
            Event::Found { token, session } if (token, session) == (self.peer, self.session) => self.attach(),
            Event::NotFound { token, session } if (token, session) == (self.peer, self.session) => Action::GiveUp,
            Event::Found { .. } | Event::NotFound { .. } => Action::Nothing,
            Event::Broken => self.seek(),
            Event::Look if self.is_up && self.silence.for_ns(&self.out, now_ns) > SILENT_NS => self.seek(),
            Event::Look => Action::Nothing,
        }
    }

    fn attach(&mut self) -> Action {
        let expected = self.taken.attach();
        self.out.attach(expected);
        self.is_up = true;
        Action::Use
    }

    fn seek(&mut self) -> Action {
        self.out.detach();
        self.is_up = false;
        Action::Seek { within_ns: Some(RESUME_WITHIN_NS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Body;
    use crate::ids::Incarnation;

    const SECOND_NS: u64 = 1_000_000_000;
    const SESSION: u64 = 7;
    const PEER: Token = token(12);
    const FOUND: Event = Event::Found { token: PEER, session: SESSION };
    const NOT_FOUND: Event = Event::NotFound { token: PEER, session: SESSION };

    const fn token(incarnation: u16) -> Token {
        Token { epoch: 1, incarnation: Incarnation(incarnation) }
    }

    fn end() -> LinkEnd {
        LinkEnd::new(token(11), PEER, SESSION)
    }

    /// One with a stream, on which the peer owes a receipt for a frame.
    fn waiting() -> LinkEnd {
        let mut end = end();
        end.out.push(&Body::Command(b"")).expect("short");
        assert_eq!(end.step(FOUND, 0), Action::Use);
        end.out.receipt(0).expect("what every stream begins with");
        let unsent_bytes = end.out.unsent().map(<[u8]>::len).sum();
        end.out.sent(unsent_bytes);
        end
    }

    // semantics 20
    #[test]
    fn a_stream_that_was_found_is_used_and_one_that_broke_is_sought_again_for_a_second() {
        let mut end = end();
        assert_eq!((end.step(FOUND, 0), end.is_up(), end.out.streams()), (Action::Use, true, 1));
        assert_eq!(end.step(Event::Broken, 0), Action::Seek { within_ns: Some(SECOND_NS) });
        assert!(!end.is_up());
        assert_eq!((end.step(FOUND, 0), end.is_up(), end.out.streams()), (Action::Use, true, 2));
    }

    // semantics 21
    #[test]
    fn a_stream_of_another_life_or_session_changes_nothing() {
        let mut end = end();
        for other in [Event::Found { token: token(9), session: SESSION }, Event::Found { token: PEER, session: 8 }] {
            assert_eq!((end.step(other, 0), end.is_up()), (Action::Nothing, false));
        }
        let earlier = Event::NotFound { token: PEER, session: SESSION - 1 };
        assert_eq!(end.step(earlier, 0), Action::Nothing);
    }

    // semantics 20
    #[test]
    fn a_peer_that_is_not_found_in_time_is_given_up() {
        let mut end = waiting();
        end.step(Event::Broken, 0);
        assert_eq!(end.step(NOT_FOUND, 0), Action::GiveUp);
    }

    #[test]
    fn a_stream_on_which_nothing_is_receipted_for_five_seconds_is_given_up() {
        let mut end = waiting();
        assert_eq!(end.step(Event::Look, SECOND_NS), Action::Nothing);
        assert_eq!(end.step(Event::Look, 6 * SECOND_NS), Action::Nothing);
        assert!(matches!(end.step(Event::Look, 6 * SECOND_NS + 1), Action::Seek { .. }));
        assert!(!end.is_up());
        assert_eq!(end.step(Event::Look, 60 * SECOND_NS), Action::Nothing, "without a stream nobody is silent");
    }

    #[test]
    fn a_receipt_or_having_nothing_to_wait_for_ends_a_silence() {
        let mut end = waiting();
        end.step(Event::Look, 0);
        end.out.receipt(1).expect("it was sent");
        assert_eq!(end.step(Event::Look, 4 * SECOND_NS), Action::Nothing);
        assert_eq!(end.step(Event::Look, 60 * SECOND_NS), Action::Nothing);
    }
}
