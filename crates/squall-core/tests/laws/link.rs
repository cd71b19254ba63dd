//! Links over streams that break anywhere, against the list of what was sent.

use proptest::prelude::*;
use squall_core::frame::{Body, Header, decode, encode};
use squall_core::ids::{Incarnation, Token};
use squall_core::link::{Came, Limits, LinkIn, LinkOut, Silence, Violation};
use std::collections::VecDeque;

const LIMITS: Limits = Limits { bytes: 200_000, frames: 300 };

fn token(incarnation: u16) -> Token {
    Token { epoch: 1, incarnation: Incarnation(incarnation) }
}

/// One end, and what is on its way to it.
struct End {
    outgoing: LinkOut,
    incoming: LinkIn,
    pipe: VecDeque<u8>,
    buffer: Vec<u8>,
    sent: u32,
    delivered: Vec<u32>,
}

impl End {
    fn new(own: u16, peer: u16) -> End {
        End {
            outgoing: LinkOut::new(token(own), 7, LIMITS),
            incoming: LinkIn::new(token(peer), 7),
            pipe: VecDeque::new(),
            buffer: Vec::new(),
            sent: 0,
            delivered: Vec::new(),
        }
    }

    fn push(&mut self, bytes: usize) {
        if self.outgoing.is_full() {
            return;
        }
        let mut order = self.sent.to_le_bytes().to_vec();
        order.resize(4 + bytes, 0);
        assert_eq!(self.outgoing.push(&Body::Command(&order)), Ok(u64::from(self.sent)));
        self.sent += 1;
    }

    fn attach(&mut self) {
        self.pipe.clear();
        self.buffer.clear();
        let received = self.incoming.attach();
        self.outgoing.attach(received);
    }

    /// Puts up to so many bytes into the stream.
    fn write(&mut self, most: usize, to: &mut End) {
        let bytes: Vec<u8> = self.outgoing.unsent().flatten().copied().take(most).collect();
        self.outgoing.sent(bytes.len());
        to.pipe.extend(bytes);
    }

    /// Takes up to so many bytes out of the stream.
    fn read(&mut self, most: usize) -> Result<(), Violation> {
        let most = most.min(self.pipe.len());
        self.buffer.extend(self.pipe.drain(..most));
        let mut used = 0;
        while let Some((header, body, bytes)) = decode(&self.buffer[used..])? {
            used += bytes;
            match self.incoming.take(&header, &body)? {
                Came::Receipt(expected) => self.outgoing.receipt(expected)?,
                Came::Again => {}
                Came::Next => {
                    let Body::Command(order) = body else { panic!("nobody sends others") };
                    self.delivered.push(u32::from_le_bytes(order[..4].try_into().expect("4 bytes")));
                }
            }
        }
        self.buffer.drain(..used);
        if let Some(received) = self.incoming.receipt_due() {
            self.outgoing.tell_received(received);
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(bool, usize),
    Write(bool, usize),
    Read(bool, usize),
    Break,
    Mend,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = || prop_oneof![8 => 0_usize..100, 2 => 0_usize..5_000, 1 => 60_000_usize..70_000];
    let cut = || prop_oneof![4 => 0_usize..90, 2 => 0_usize..5_000, 1 => Just(usize::MAX)];
    let step = prop_oneof![
        6 => (any::<bool>(), size()).prop_map(|(end, bytes)| Step::Push(end, bytes)),
        6 => (any::<bool>(), cut()).prop_map(|(end, bytes)| Step::Write(end, bytes)),
        6 => (any::<bool>(), cut()).prop_map(|(end, bytes)| Step::Read(end, bytes)),
        1 => Just(Step::Break),
        2 => Just(Step::Mend),
    ];
    proptest::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    // semantics 20, semantics 23
    #[test]
    fn whatever_breaks_each_frame_is_delivered_once_and_in_order(steps in steps()) {
        let (mut a, mut b) = (End::new(1, 2), End::new(2, 1));
        let mut is_up = false;
        for step in steps.into_iter().chain([Step::Break, Step::Mend]) {
            match step {
                Step::Push(true, bytes) => a.push(bytes),
                Step::Push(false, bytes) => b.push(bytes),
                Step::Write(true, bytes) => a.write(bytes, &mut b),
                Step::Write(false, bytes) => b.write(bytes, &mut a),
                Step::Read(true, bytes) => a.read(bytes)?,
                Step::Read(false, bytes) => b.read(bytes)?,
                Step::Break => {
                    is_up = false;
                    for end in [&mut a, &mut b] {
                        end.outgoing.detach();
                        end.pipe.clear();
                        prop_assert!(!end.outgoing.has_unsent());
                    }
                }
                Step::Mend if is_up => {}
                Step::Mend => {
                    is_up = true;
                    a.attach();
                    b.attach();
                }
            }
            for end in [&a, &b] {
                prop_assert_eq!(end.outgoing.has_unsent(), end.outgoing.unsent().next().is_some());
                prop_assert!(end.outgoing.unreceipted() <= LIMITS.frames);
                prop_assert!(end.outgoing.kept_bytes() <= LIMITS.bytes + 70_100);
                prop_assert!(end.delivered.iter().copied().eq(0..end.delivered.len() as u32));
            }
        }
        while a.outgoing.has_unsent() || b.outgoing.has_unsent() || !a.pipe.is_empty() || !b.pipe.is_empty() {
            a.write(usize::MAX, &mut b);
            b.write(usize::MAX, &mut a);
            a.read(usize::MAX)?;
            b.read(usize::MAX)?;
        }
        prop_assert_eq!((a.delivered.len(), b.delivered.len()), (b.sent as usize, a.sent as usize));
        prop_assert_eq!((a.outgoing.unreceipted(), b.outgoing.unreceipted()), (0, 0));
        prop_assert_eq!((a.outgoing.kept_bytes(), b.outgoing.kept_bytes()), (0, 0));
    }
}

fn frame(token: Token, sequence: u64, body: &Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, token, sequence, body).expect("a short frame");
    bytes
}

fn take(incoming: &mut LinkIn, bytes: &[u8]) -> Result<Came, Violation> {
    let (header, body, _): (Header, _, _) = decode(bytes).expect("a good frame").expect("a whole frame");
    incoming.take(&header, &body)
}

/// A receiving half on a stream that has begun.
fn begun() -> LinkIn {
    let mut incoming = LinkIn::new(token(5), 7);
    incoming.attach();
    assert_eq!(take(&mut incoming, &frame(token(5), 7, &Body::Receipt { sequence: 0 })), Ok(Came::Receipt(0)));
    incoming
}

const ORDER: Body<'_> = Body::Command(b"order");

// semantics 20, semantics 23
#[test]
fn repeats_are_ignored_and_a_gap_is_a_violation() {
    let mut incoming = begun();
    let came: Vec<_> =
        [0, 0, 1, 0, 1, 2].map(|sequence| take(&mut incoming, &frame(token(5), sequence, &ORDER)).unwrap()).into();
    assert_eq!(came, [Came::Next, Came::Again, Came::Next, Came::Again, Came::Again, Came::Next]);
    let gap = take(&mut incoming, &frame(token(5), 4, &ORDER));
    assert_eq!(gap, Err(Violation::Gap { expected: 3, came: 4 }));
    assert_eq!(take(&mut incoming, &frame(token(5), 3, &ORDER)), Ok(Came::Next));
}

// semantics 21
#[test]
fn frames_of_other_lives_and_sessions_are_violations() {
    let mut incoming = begun();
    assert_eq!(take(&mut incoming, &frame(token(4), 0, &ORDER)), Err(Violation::OlderToken(token(4))));
    assert_eq!(take(&mut incoming, &frame(token(6), 0, &ORDER)), Err(Violation::OtherToken(token(6))));
    let newer = Token { epoch: 2, incarnation: Incarnation(1) };
    assert_eq!(take(&mut incoming, &frame(newer, 0, &ORDER)), Err(Violation::OtherToken(newer)));
    let receipt = frame(token(5), 6, &Body::Receipt { sequence: 0 });
    assert_eq!(take(&mut incoming, &receipt), Err(Violation::OtherSession(6)));
    assert_eq!(take(&mut incoming, &frame(token(5), 0, &ORDER)), Ok(Came::Next), "nothing of it has passed");
}

// semantics 20
#[test]
fn a_stream_begins_with_a_receipt() {
    let mut incoming = LinkIn::new(token(5), 7);
    incoming.attach();
    assert_eq!(take(&mut incoming, &frame(token(5), 0, &ORDER)), Err(Violation::Unannounced));
    let mut incoming = begun();
    incoming.attach();
    assert_eq!(take(&mut incoming, &frame(token(5), 0, &ORDER)), Err(Violation::Unannounced));
}

// semantics 20
#[test]
fn receipts_of_what_was_not_sent_or_is_gone_are_violations() {
    let mut outgoing = LinkOut::new(token(1), 7, LIMITS);
    (0..4).for_each(|_| assert!(outgoing.push(&ORDER).is_ok()));
    outgoing.attach(0);
    assert_eq!(outgoing.receipt(1), Err(Violation::ReceiptAhead { expected: 1, sent: 0 }));
    outgoing.receipt(0).unwrap();
    let frame_bytes = outgoing.kept_bytes() / 4;
    let receipt_bytes = outgoing.unsent().next().map_or(0, <[u8]>::len);
    outgoing.sent(receipt_bytes + 3 * frame_bytes - 1);
    assert_eq!(outgoing.receipt(3), Err(Violation::ReceiptAhead { expected: 3, sent: 2 }));
    outgoing.receipt(2).unwrap();
    outgoing.receipt(1).unwrap(); // an overtaken one: of no account
    assert_eq!((outgoing.receipted(), outgoing.unreceipted()), (2, 2));
    outgoing.detach();
    outgoing.attach(0);
    assert_eq!(outgoing.receipt(1), Err(Violation::ReceiptBehind { expected: 1, kept: 2 }));
    outgoing.receipt(2).unwrap();
}

// semantics 20
#[test]
fn what_is_kept_is_bounded_by_frames_and_by_bytes() {
    let mut outgoing = LinkOut::new(token(1), 7, Limits { bytes: 1 << 20, frames: 10 });
    let frames = std::iter::from_fn(|| (!outgoing.is_full()).then(|| outgoing.push(&ORDER).unwrap()));
    assert_eq!(frames.count(), 10);
    let mut outgoing = LinkOut::new(token(1), 7, Limits { bytes: 1 << 20, frames: 1 << 20 });
    while !outgoing.is_full() {
        outgoing.push(&Body::Command(&[0; 1000])).unwrap();
    }
    assert!((1 << 20..(1 << 20) + 1032).contains(&outgoing.kept_bytes()));
    assert!(outgoing.push(&ORDER).is_ok(), "what does not wait for credit is taken all the same");
}

// semantics 20
#[test]
fn a_receipt_is_due_when_anything_came_and_once() {
    let mut incoming = begun();
    assert_eq!(incoming.receipt_due(), None);
    for sequence in 0..3 {
        take(&mut incoming, &frame(token(5), sequence, &ORDER)).unwrap();
    }
    assert_eq!((incoming.receipt_due(), incoming.receipt_due()), (Some(3), None));
}

// semantics 20
#[test]
fn a_peer_that_does_not_read_costs_two_receipts() {
    let mut outgoing = LinkOut::new(token(1), 7, LIMITS);
    outgoing.attach(0);
    outgoing.receipt(0).unwrap();
    let receipt_bytes = outgoing.unsent().map(<[u8]>::len).sum::<usize>();
    outgoing.sent(1);
    (1..1_000).for_each(|received| outgoing.tell_received(received));
    let unsent: usize = outgoing.unsent().map(<[u8]>::len).sum();
    assert_eq!(unsent, receipt_bytes - 1);
    outgoing.sent(unsent);
    let last: Vec<u8> = outgoing.unsent().flatten().copied().collect();
    assert_eq!(last, frame(token(1), 7, &Body::Receipt { sequence: 999 }));
}

// semantics 20
#[test]
fn silence_lasts_while_something_waits_for_the_peer_s_word() {
    let (mut silence, mut outgoing) = (Silence::default(), LinkOut::new(token(1), 7, LIMITS));
    let mut heard = |outgoing: &LinkOut, now_ns| silence.for_ns(outgoing, now_ns);
    outgoing.push(&ORDER).unwrap();
    assert_eq!((heard(&outgoing, 1), heard(&outgoing, 9)), (0, 0), "without a stream nobody is silent");
    outgoing.attach(0);
    assert_eq!((heard(&outgoing, 10), heard(&outgoing, 15)), (0, 5));
    outgoing.attach(0);
    assert_eq!((heard(&outgoing, 20), heard(&outgoing, 25)), (0, 5), "a new stream, a new chance");
    outgoing.receipt(0).unwrap();
    outgoing.push(&ORDER).unwrap();
    let unsent: usize = outgoing.unsent().map(<[u8]>::len).sum();
    outgoing.sent(unsent);
    assert_eq!((heard(&outgoing, 30), heard(&outgoing, 35)), (0, 5), "the word that begins a stream is one");
    outgoing.receipt(1).unwrap();
    assert_eq!((heard(&outgoing, 40), heard(&outgoing, 45)), (0, 5));
    outgoing.receipt(2).unwrap();
    assert_eq!((heard(&outgoing, 50), heard(&outgoing, 90)), (0, 0));
}
