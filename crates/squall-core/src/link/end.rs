//! What becomes of one end of a link: when a stream is used, when another one is sought, when the link is given up.
//!
//! Pure, so that the loop and the simulator do the same: what happens comes in, what is to be done goes out. Streams, and
//! whoever finds them, belong to the caller.

use super::{Limits, LinkIn, LinkOut, Silence, Violation};
use crate::ids::Token;

/// How long a peer may say nothing of what it was sent before another stream is tried: the first time, and twice as long
/// each time that it has not taken anything since. One whose code does not return for long can then take something of a
/// stream before the next one is tried; so can one over a network on which a frame takes long.
const SILENT_NS: u64 = 5_000_000_000;
/// How long a stream that broke may be gone before the link is given up (semantics 20).
const RESUME_WITHIN_NS: u64 = 1_000_000_000;
/// How long there may be none before somebody should hear of it.
const MISSED_NS: u64 = 10_000_000_000;

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
    /// The stream is of no more use: it is closed, or the peer has sent what it must not.
    Broken(Option<Violation>),
    /// The peer was not found in the time that was given, and is sought no more.
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
    Use {
        /// It is the first one of the session.
        is_first: bool,
    },
    /// The stream, if there still is one, is to be dropped, and the peer to be found again within that time.
    Seek {
        /// However long it takes, if there is none.
        within_ns: Option<u64>,
    },
    /// The stream stays; the peer is to be let in when it calls again.
    LetIn,
    /// There has been no stream for so long: somebody should hear of it. Nothing else.
    Miss {
        /// For how long.
        for_ns: u64,
    },
    /// The link is to be given up, and the peer sought no more.
    GiveUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// There is no stream.
    Sought { since_ns: u64, is_missed: bool },
    /// There is one.
    Up,
    /// The link is given up. A stream would go on behind what was refused.
    Over,
}

/// One end of the link to one life of a peer, in one session.
pub struct LinkEnd {
    peer: Token,
    session: u64,
    way: Way,
    silence: Silence,
    /// How long the peer may be silent now, and what it had receipted when it last was for too long.
    patience_ns: u64,
    receipted: u64,
    /// What goes to the peer.
    pub out: LinkOut,
    /// What comes from it.
    pub taken: LinkIn,
}

impl LinkEnd {
    /// The end of this life `own`; the peer is sought, for as long as it takes.
    pub fn new(own: Token, peer: Token, session: u64, now_ns: u64) -> LinkEnd {
        LinkEnd {
            peer,
            session,
            way: Way::Sought { since_ns: now_ns, is_missed: false },
            silence: Silence::default(),
            patience_ns: SILENT_NS,
            receipted: 0,
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
        self.way == Way::Up
    }

    /// Something has happened. What is to be done now.
    pub fn step(&mut self, event: Event, now_ns: u64) -> Action {
        match (event, self.way) {
            (_, Way::Over) => Action::Nothing,
            (Event::Found { token, session } | Event::NotFound { token, session }, _)
                if (token, session) != (self.peer, self.session) =>
            {
                Action::Nothing
            }
            (Event::Found { .. }, _) => self.attach(),
            // It was found before the time began that is over now, and that was only heard since.
            (Event::NotFound { .. }, Way::Up) if !mutant!(GivenUpWhileUp) => Action::LetIn,
            (Event::NotFound { .. }, _) => self.give_up(),
            (Event::Broken(_), _) if mutant!(BrokenIsFinal) => self.give_up(),
            (Event::Broken(Some(violation)), _) if violation.is_lasting() => self.give_up(),
            (Event::Broken(_), _) => self.seek(Some(RESUME_WITHIN_NS), now_ns),
            (Event::Look, Way::Up) => self.listen(now_ns),
            (Event::Look, Way::Sought { since_ns, is_missed: false }) if now_ns >= since_ns + MISSED_NS => {
                self.way = Way::Sought { since_ns, is_missed: true };
                Action::Miss { for_ns: now_ns - since_ns }
            }
            (Event::Look, Way::Sought { .. }) => Action::Nothing,
        }
    }

    fn attach(&mut self) -> Action {
        let expected = self.taken.attach();
        self.out.attach(expected);
        self.way = Way::Up;
        Action::Use { is_first: self.out.streams() == 1 }
    }

    fn seek(&mut self, within_ns: Option<u64>, now_ns: u64) -> Action {
        self.out.detach();
        self.way = Way::Sought { since_ns: now_ns, is_missed: false };
        Action::Seek { within_ns }
    }

    fn give_up(&mut self) -> Action {
        self.out.detach();
        self.way = Way::Over;
        Action::GiveUp
    }

    /// A peer that is silent is there, or its death will be told: it is sought until then.
    fn listen(&mut self, now_ns: u64) -> Action {
        if self.out.receipted() > self.receipted {
            self.patience_ns = SILENT_NS;
        }
        if self.silence.for_ns(&self.out, now_ns) <= self.patience_ns || mutant!(HalfOpenNeverFound) {
            return Action::Nothing;
        }
        self.receipted = self.out.receipted();
        self.patience_ns = self.patience_ns.saturating_mul(2);
        self.seek(None, now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Body, Fault};
    use crate::ids::Incarnation;

    const SECOND_NS: u64 = 1_000_000_000;
    const SESSION: u64 = 7;
    const PEER: Token = token(12);
    const FOUND: Event = Event::Found { token: PEER, session: SESSION };
    const NOT_FOUND: Event = Event::NotFound { token: PEER, session: SESSION };
    const BROKEN: Event = Event::Broken(None);
    const SEEK: Action = Action::Seek { within_ns: None };
    const AGAIN: Action = Action::Use { is_first: false };

    const fn token(incarnation: u16) -> Token {
        Token { epoch: 1, incarnation: Incarnation(incarnation) }
    }

    fn end() -> LinkEnd {
        LinkEnd::new(token(11), PEER, SESSION, 0)
    }

    fn write_all(end: &mut LinkEnd) {
        let unsent_bytes = end.out.unsent().map(<[u8]>::len).sum();
        end.out.sent(unsent_bytes);
    }

    /// One with a stream, on which the peer owes a receipt for two frames.
    fn waiting() -> LinkEnd {
        let mut end = end();
        for _ in 0..2 {
            end.out.push(&Body::Command(b"")).expect("short");
        }
        assert_eq!(end.step(FOUND, 0), Action::Use { is_first: true });
        end.out.receipt(0).expect("what every stream begins with");
        write_all(&mut end);
        assert_eq!(end.step(Event::Look, 0), Action::Nothing);
        end
    }

    // semantics 20
    #[test]
    fn a_stream_that_was_found_is_used_and_one_that_broke_is_sought_again_for_a_second() {
        let mut end = end();
        assert_eq!((end.step(FOUND, 0), end.is_up(), end.out.streams()), (Action::Use { is_first: true }, true, 1));
        assert_eq!(end.step(BROKEN, 0), Action::Seek { within_ns: Some(SECOND_NS) });
        assert!(!end.is_up());
        assert_eq!((end.step(FOUND, 0), end.is_up(), end.out.streams()), (AGAIN, true, 2));
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
    fn a_peer_that_is_not_found_in_time_is_given_up_and_a_stream_that_comes_later_is_not_used() {
        let mut end = waiting();
        end.step(BROKEN, 0);
        assert_eq!(end.step(NOT_FOUND, 0), Action::GiveUp);
        let later = [FOUND, NOT_FOUND, BROKEN, Event::Look].map(|event| end.step(event, 60 * SECOND_NS));
        assert_eq!(later, [Action::Nothing; 4]);
    }

    // It called while the loop had not heard yet that the stream before had broken.
    // semantics 20
    #[test]
    fn a_peer_that_was_found_is_not_given_up_when_the_time_of_an_earlier_search_is_over() {
        let mut end = waiting();
        end.step(BROKEN, 0);
        end.step(FOUND, 0);
        assert_eq!((end.step(NOT_FOUND, SECOND_NS), end.is_up()), (Action::LetIn, true));
    }

    // semantics 20
    #[test]
    fn what_would_be_refused_on_every_stream_ends_the_session_and_what_the_way_did_does_not() {
        let lasting = [Violation::Credit { most: 1, came: 2 }, Fault::Malformed.into()];
        assert_eq!(lasting.map(|violation| waiting().step(Event::Broken(Some(violation)), 0)), [Action::GiveUp; 2]);
        let of_the_way = [Violation::Gap { expected: 1, came: 2 }, Fault::Checksum.into(), Fault::Kind(77).into()];
        for violation in of_the_way {
            assert!(matches!(waiting().step(Event::Broken(Some(violation)), 0), Action::Seek { .. }));
        }
    }

    // A worker whose code does not return may not call for as long, and its death is told by others.
    // semantics 20
    #[test]
    fn a_peer_that_takes_nothing_for_five_seconds_is_sought_anew_however_long_that_takes() {
        let mut end = waiting();
        assert_eq!(end.step(Event::Look, 5 * SECOND_NS), Action::Nothing);
        assert_eq!(end.step(Event::Look, 5 * SECOND_NS + 1), SEEK);
        assert!(!end.is_up());
    }

    // Calls of 10 s without a pause: the peer looks at a stream when the call is over that began after the stream.
    // semantics 20
    #[test]
    fn a_peer_that_takes_nothing_on_one_stream_has_twice_as_long_on_the_next() {
        let mut end = waiting();
        let mut now_ns = 0;
        for patience_s in [5, 10, 20, 40] {
            end.step(Event::Look, now_ns);
            now_ns += patience_s * SECOND_NS;
            assert_eq!(end.step(Event::Look, now_ns), Action::Nothing);
            assert_eq!(end.step(Event::Look, now_ns + 1), SEEK);
            assert_eq!(end.step(FOUND, now_ns), AGAIN);
        }
        end.out.receipt(1).expect("it was sent");
        end.step(Event::Look, now_ns);
        assert_eq!(end.step(Event::Look, now_ns + 5 * SECOND_NS + 1), SEEK, "it took something");
    }

    // It looks at a stream first when a call of 4 s is over, and at what came on it when the next one is.
    // semantics 20
    #[test]
    fn a_peer_that_has_just_begun_on_a_stream_is_not_silent() {
        let mut end = end();
        end.out.push(&Body::Command(b"")).expect("short");
        end.step(FOUND, 0);
        end.step(Event::Look, 0);
        end.out.receipt(0).expect("what every stream begins with");
        write_all(&mut end);
        assert_eq!(end.step(Event::Look, 4 * SECOND_NS), Action::Nothing);
        assert_eq!(end.step(Event::Look, 8 * SECOND_NS), Action::Nothing);
        assert_eq!(end.step(Event::Look, 9 * SECOND_NS + 1), SEEK);
    }

    // semantics 20
    #[test]
    fn a_peer_that_takes_a_long_frame_slowly_is_not_silent() {
        let mut end = end();
        end.out.push(&Body::Command(&[0; 1000])).expect("short");
        end.step(FOUND, 0);
        write_all(&mut end);
        end.out.receipt(0).expect("what every stream begins with");
        for second in 0..900 {
            end.out.sent(1);
            assert_eq!(end.step(Event::Look, second * SECOND_NS), Action::Nothing);
        }
        assert_eq!(end.step(Event::Look, 905 * SECOND_NS), SEEK, "it takes nothing more");
    }

    #[test]
    fn having_nothing_to_wait_for_ends_a_silence() {
        let mut end = waiting();
        end.out.receipt(2).expect("they were sent");
        assert_eq!(end.step(Event::Look, SECOND_NS), Action::Nothing);
        assert_eq!(end.step(Event::Look, 60 * SECOND_NS), Action::Nothing);
    }

    #[test]
    fn a_link_without_a_stream_is_missed_once() {
        let mut end = end();
        assert_eq!(end.step(Event::Look, 9 * SECOND_NS), Action::Nothing);
        assert_eq!(end.step(Event::Look, 11 * SECOND_NS), Action::Miss { for_ns: 11 * SECOND_NS });
        assert_eq!(end.step(Event::Look, 60 * SECOND_NS), Action::Nothing);
        end.step(FOUND, 60 * SECOND_NS);
        end.step(BROKEN, 60 * SECOND_NS);
        assert_eq!(end.step(Event::Look, 69 * SECOND_NS), Action::Nothing);
        assert!(matches!(end.step(Event::Look, 70 * SECOND_NS), Action::Miss { .. }));
    }
}
