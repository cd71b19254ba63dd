//! What holds of one end of a link whatever its peer, its streams and the clock do: frames are taken once and in order, are
//! given out as they were made, from where the peer asks on, and only what is not receipted is kept.

use super::script::Script;
use squall_core::frame::{Body, Fault, HEADER_BYTES, Header, decode, encode};
use squall_core::ids::{Incarnation, Token};
use squall_core::link::{Action, Came, Event, LinkEnd, Violation};

const OWN: Token = token(3, 11);
const PEER: Token = token(3, 12);
const SESSION: u64 = 7;
const SECOND_NS: u64 = 1_000_000_000;
const RECEIPT_BYTES: usize = HEADER_BYTES + 8;

const fn token(epoch: u64, incarnation: u16) -> Token {
    Token { epoch, incarnation: Incarnation(incarnation) }
}

/// The bytes say what happens.
pub fn check_link(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut story = Story::new();
    while script.goes_on() {
        story.step(&mut script);
        story.check();
    }
    story.check_kept();
    story.check_stream();
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Sought { since_ns: u64, is_missed: bool },
    Up,
    Over,
}

/// The end, and what a naive one would be.
struct Story {
    end: LinkEnd,
    now_ns: u64,
    way: Way,
    /// Every frame that was made.
    made: Vec<Vec<u8>>,
    /// Those below it were receipted.
    receipted: usize,
    /// Those below it were written whole, on this stream or an earlier one.
    reached: usize,
    streams: u64,
    /// What was written to the stream, and where in it whole frames of the sequence end.
    stream: Vec<u8>,
    resumed_at: Option<usize>,
    next: usize,
    expected: u64,
    expected_at_first: u64,
    is_announced: bool,
    /// When the peer had last shown that it is there: by a stream, a receipt, or more of a long frame at a look.
    moved_at_ns: u64,
    begun_bytes: usize,
}

impl Story {
    fn new() -> Story {
        Story {
            end: LinkEnd::new(OWN, PEER, SESSION, 0),
            now_ns: 0,
            way: Way::Sought { since_ns: 0, is_missed: false },
            made: Vec::new(),
            receipted: 0,
            reached: 0,
            streams: 0,
            stream: Vec::new(),
            resumed_at: None,
            next: 0,
            expected: 0,
            expected_at_first: 0,
            is_announced: false,
            moved_at_ns: 0,
            begun_bytes: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(12) {
            0 | 1 if self.made.len() < 200 => self.make(script),
            2 => self.find(PEER, SESSION),
            3 => self.find(token(3, 10 + script.byte() as u16 % 5), SESSION + script.byte() as u64 % 2),
            4 => self.lose(violation(script.byte())),
            5 => self.not_found(SESSION + script.byte() as u64 % 2),
            6 => self.look(script.below(1 << 16) as u64 * SECOND_NS / 1000),
            7 | 8 => {
                let most = script.below(1 << 16);
                self.write(most);
            }
            _ => self.take(script),
        }
    }

    fn make(&mut self, script: &mut Script<'_>) {
        let length = match script.byte() {
            255 => 33_000, // two of them fill a piece of what is kept
            short => usize::from(short),
        };
        let mut order = vec![self.made.len() as u8; length];
        order.extend((self.made.len() as u64).to_le_bytes());
        let sequence = self.end.out.push(&Body::Command(&order)).expect("short");
        assert_eq!(sequence, self.made.len() as u64);
        let mut frame = Vec::new();
        encode(&mut frame, OWN, sequence, &Body::Command(&order)).expect("short");
        self.made.push(frame);
    }

    fn find(&mut self, token: Token, session: u64) {
        let action = self.end.step(Event::Found { token, session }, self.now_ns);
        if self.way == Way::Over || (token, session) != (PEER, SESSION) {
            return assert_eq!(action, Action::Nothing);
        }
        self.check_stream();
        self.streams += 1;
        assert_eq!(action, Action::Use { is_first: self.streams == 1 });
        self.way = Way::Up;
        self.resumed_at = None;
        self.is_announced = false;
        self.expected_at_first = self.expected;
        self.moved_at_ns = self.now_ns;
    }

    fn lose(&mut self, violation: Option<Violation>) {
        let action = self.end.step(Event::Broken(violation), self.now_ns);
        match (self.way, violation) {
            (Way::Over, _) => assert_eq!(action, Action::Nothing),
            (_, Some(violation)) if violation.is_lasting() => {
                assert_eq!(action, Action::GiveUp);
                self.part(Way::Over);
            }
            _ => {
                assert_eq!(action, Action::Seek { within_ns: Some(SECOND_NS) });
                self.part(Way::Sought { since_ns: self.now_ns, is_missed: false });
            }
        }
    }

    fn not_found(&mut self, session: u64) {
        let action = self.end.step(Event::NotFound { token: PEER, session }, self.now_ns);
        match self.way {
            Way::Over => assert_eq!(action, Action::Nothing),
            _ if session != SESSION => assert_eq!(action, Action::Nothing),
            Way::Up => assert_eq!(action, Action::LetIn),
            Way::Sought { .. } => {
                assert_eq!(action, Action::GiveUp);
                self.part(Way::Over);
            }
        }
    }

    fn look(&mut self, later_ns: u64) {
        self.now_ns += later_ns;
        if self.end.out.begun_bytes() != self.begun_bytes {
            (self.begun_bytes, self.moved_at_ns) = (self.end.out.begun_bytes(), self.now_ns);
        }
        let action = self.end.step(Event::Look, self.now_ns);
        match self.way {
            Way::Over => assert_eq!(action, Action::Nothing),
            Way::Sought { since_ns, is_missed } => {
                let for_ns = self.now_ns - since_ns;
                let is_due = !is_missed && for_ns >= 10 * SECOND_NS;
                assert_eq!(action, if is_due { Action::Miss { for_ns } } else { Action::Nothing });
                self.way = Way::Sought { since_ns, is_missed: is_missed || is_due };
            }
            Way::Up if action == Action::Nothing => {}
            Way::Up => {
                assert_eq!(action, Action::Seek { within_ns: None });
                assert!(self.now_ns - self.moved_at_ns > 5 * SECOND_NS, "it had time to say something");
                assert!(self.resumed_at.is_none() || self.receipted < self.made.len(), "it owes a word");
                self.part(Way::Sought { since_ns: self.now_ns, is_missed: false });
            }
        }
    }

    fn part(&mut self, way: Way) {
        self.check_stream();
        self.way = way;
        self.resumed_at = None;
        assert!(!self.end.out.has_unsent(), "nothing is given out without a stream");
    }

    fn write(&mut self, most: usize) {
        let mut unsent = Vec::new();
        for piece in self.end.out.unsent() {
            unsent.extend(&piece[..piece.len().min(most - unsent.len())]);
        }
        assert_eq!(self.end.out.has_unsent(), self.end.out.unsent().next().is_some());
        assert!(self.end.out.unsent().all(|piece| !piece.is_empty()));
        self.end.out.sent(unsent.len());
        self.stream.extend(&unsent);
        self.read_stream();
    }

    /// Reads whole frames off the stream, as a peer does: they begin with a receipt, and follow one another.
    fn read_stream(&mut self) {
        let mut read = 0;
        while let Some((header, body, bytes)) = decode(&self.stream[read..]).expect("frames, whole and in order") {
            assert_eq!(header.token, OWN);
            match body {
                Body::Receipt { sequence } => {
                    assert_eq!(header.sequence, SESSION);
                    assert!((self.expected_at_first..=self.expected).contains(&sequence), "what came, and no more");
                    self.expected_at_first = sequence;
                }
                _ => {
                    assert!(self.resumed_at.is_some(), "nothing is said before the peer's first word");
                    assert_eq!(header.sequence, self.next as u64);
                    assert_eq!(self.stream[read..read + bytes], self.made[self.next]);
                    self.next += 1;
                    self.reached = self.reached.max(self.next);
                }
            }
            read += bytes;
        }
        self.stream.drain(..read);
    }

    /// What is left of a stream that ends is the beginning of a frame of ours.
    fn check_stream(&mut self) {
        let left = std::mem::take(&mut self.stream);
        let is_begun = self.resumed_at.is_some() && self.made.get(self.next).is_some_and(|one| one.starts_with(&left));
        assert!(is_begun || left.len() < RECEIPT_BYTES);
    }

    fn take(&mut self, script: &mut Script<'_>) {
        let kind = script.byte();
        let token = if kind & 0x70 == 0 { token(3, 10 + u16::from(kind & 3)) } else { PEER };
        let distance = match script.byte() {
            near @ ..200 => [0, 0, 0, 1, -1][usize::from(near % 5)],
            far => i64::from(far) - 228,
        };
        let frame = if kind & 1 == 0 {
            let session = if kind & 0x0e == 0 { SESSION + 1 } else { SESSION };
            let sequence = (self.next as i64 + distance).max(0) as u64;
            written(token, session, &Body::Receipt { sequence })
        } else {
            written(token, self.expected.saturating_add_signed(distance), &Body::Command(b"order"))
        };
        let (header, body, _) = decode(&frame).expect("sound").expect("whole");
        if self.way != Way::Up {
            return; // nobody reads what is not there
        }
        let came = self.end.taken.take(&header, &body);
        assert_eq!(came, self.naively_taken(&header, &body));
        let refused = match came {
            Ok(Came::Receipt(expected)) => self.hear(expected).err(),
            Ok(_) => None,
            Err(violation) => Some(violation),
        };
        if let Some(received) = self.end.taken.receipt_due() {
            assert_eq!(received, self.expected);
            self.end.out.tell_received(received);
        }
        if refused.is_some() {
            self.lose(refused);
        }
    }

    fn naively_taken(&mut self, header: &Header, body: &Body<'_>) -> Result<Came, Violation> {
        if header.token != PEER {
            let is_older = header.token < PEER;
            return Err(if is_older { Violation::OlderToken } else { Violation::OtherToken }(header.token));
        }
        match body {
            Body::Receipt { .. } if header.sequence != SESSION => Err(Violation::OtherSession(header.sequence)),
            Body::Receipt { sequence } => {
                self.is_announced = true;
                Ok(Came::Receipt(*sequence))
            }
            _ if !self.is_announced => Err(Violation::Unannounced),
            _ if header.sequence == self.expected => {
                self.expected += 1;
                Ok(Came::Next)
            }
            _ if header.sequence < self.expected => Ok(Came::Again),
            _ => Err(Violation::Gap { expected: self.expected, came: header.sequence }),
        }
    }

    fn hear(&mut self, expected: u64) -> Result<(), Violation> {
        let heard = self.end.out.receipt(expected);
        let (at, is_new) = (expected as usize, self.resumed_at.is_none());
        let sent = if is_new { self.reached } else { self.next };
        if at > sent {
            assert_eq!(heard, Err(Violation::ReceiptAhead { expected, sent: sent as u64 }));
        } else if is_new && at < self.receipted {
            assert_eq!(heard, Err(Violation::ReceiptBehind { expected, kept: self.receipted as u64 }));
        } else {
            assert_eq!(heard, Ok(()));
            if is_new {
                (self.resumed_at, self.next) = (Some(at), at);
            }
            if is_new || at > self.receipted {
                self.moved_at_ns = self.now_ns;
            }
            self.receipted = self.receipted.max(at);
            self.check_kept();
        }
        heard
    }

    fn check(&self) {
        let (out, kept) = (&self.end.out, &self.made[self.receipted..]);
        assert_eq!(self.end.is_up(), self.way == Way::Up);
        assert_eq!(self.end.taken.expected(), self.expected);
        assert_eq!(out.receipted(), self.receipted as u64);
        assert_eq!(out.unreceipted(), kept.len() as u64);
        assert_eq!(out.kept_bytes(), kept.iter().map(Vec::len).sum::<usize>());
        assert_eq!(out.streams(), self.streams);
        assert!(out.unsent().map(<[u8]>::len).sum::<usize>() <= out.kept_bytes() + RECEIPT_BYTES);
    }

    fn check_kept(&self) {
        assert!(self.end.out.kept().eq(self.made[self.receipted..].iter().map(Vec::as_slice)));
    }
}

fn written(token: Token, sequence: u64, body: &Body<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(&mut frame, token, sequence, body).expect("a short frame");
    frame
}

/// Nothing, or what a peer did that this end does not find out itself.
fn violation(choice: u8) -> Option<Violation> {
    match choice % 6 {
        0 => Some(Violation::Credit { most: 1, came: 2 }),
        1 => Some(Fault::Checksum.into()),
        2 => Some(Fault::Kind(choice).into()),
        3 => Some(Fault::Malformed.into()),
        _ => None,
    }
}
