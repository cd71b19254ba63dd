//! The hand-shake of a link: both ends prove that they know the run's secret, and say which life of which worker they
//! are.
//!
//! | from | message | bytes |
//! |---|---|---|
//! | caller | hello: version, both workers, both tokens, session, number of the call, nonce | 81 |
//! | callee | challenge: its version, worker, token and nonce, and a proof | 83 |
//! | caller | a proof | 32 |
//! | callee | verdict: welcome, or the cause of a refusal, and a proof | 33 |
//!
//! A proof is HMAC-SHA256 of all that was said before, under the secret, with a label of its own for each place, so none
//! fits elsewhere. Nonces of both ends make it good for this one time. The callee judges the hello only after the
//! caller's proof: who does not know the secret, and says a hello, learns which life of which worker it has called, and
//! nothing of whom that seeks. All lengths are fixed, so nothing is read beyond a message, and a wrong byte refuses the
//! connection before the next one came.

use super::refusal::Refusal;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use squall_core::ids::{Incarnation, Token};
use std::fmt;
use std::io;

const MAGIC: [u8; 4] = *b"sqlk";
/// The version that this code speaks.
const VERSION: u8 = 1;
const HELLO_BYTES: usize = 81;
const CHALLENGE_BYTES: usize = 83;
const PROOF_BYTES: usize = 32;
const VERDICT_BYTES: usize = 33;
const WELCOME: u8 = 0;

/// What the workers of one run know, and nobody else.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// The run's 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Secret {
        Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    fn context(&self, label: &str, said: &[u8]) -> hmac::Context {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(label.as_bytes());
        context.update(said);
        context
    }

    fn prove(&self, label: &str, said: &[u8]) -> [u8; PROOF_BYTES] {
        let tag = self.context(label, said).sign();
        tag.as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    fn check(&self, label: &str, said: &[u8], proof: &[u8]) -> Result<(), Refusal> {
        // In constant time. `verify` takes one slice, so the label and what was said are put together.
        let message = [label.as_bytes(), said].concat();
        hmac::verify(&self.0, &message, proof).map_err(|_| Refusal::Secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

const BY_CALLEE: &str = "squall link, callee";
const BY_CALLER: &str = "squall link, caller";
const OF_VERDICT: &str = "squall link, verdict";

/// What a caller says about itself and whom it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub from: u32,
    pub to: u32,
    pub token: Token,
    pub peer_token: Token,
    pub session: u64,
    /// The caller's calls are numbered, so that of two the later counts.
    pub call: u64,
}

/// Who we are, as callees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Callee {
    pub worker: u32,
    pub token: Token,
}

/// Where a hand-shake is.
enum State {
    /// The callee waits for a hello,
    Hello(Callee, Nonce),
    /// then for the proof.
    Proof(Hello),
    /// The caller waits for a challenge,
    Challenge(Hello),
    /// then for the verdict.
    Verdict,
}

/// What follows a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The other end is to say more.
    Wait,
    /// The caller has proved itself and is to be judged, by [`Handshake::judge`].
    Judge(Hello),
    /// The callee is the one that was called, and has let us in.
    Welcome,
    /// The callee is the one that was called, and has refused us.
    Refused(Refusal),
}

/// One end of one hand-shake; without a socket, a clock, or chance.
pub(super) struct Handshake {
    secret: Secret,
    state: State,
    said: Vec<u8>,
    /// What is to be sent.
    pub output: Vec<u8>,
}

/// What makes the proofs of a hand-shake good for this one time; each end brings one that it never brought before.
pub(super) type Nonce = [u8; 32];

/// A random one.
pub(super) fn nonce() -> io::Result<Nonce> {
    let mut nonce = [0; 32];
    SystemRandom::new().fill(&mut nonce).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(nonce)
}

fn put_token(out: &mut Vec<u8>, token: Token) {
    out.extend(token.epoch.to_le_bytes());
    out.extend(token.incarnation.0.to_le_bytes());
}

/// Reads what has a fixed length.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("a message has its length");
        self.0 = rest;
        *taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn token(&mut self) -> Token {
        Token { epoch: self.u64(), incarnation: Incarnation(u16::from_le_bytes(self.take())) }
    }
}

impl Hello {
    fn write(&self, out: &mut Vec<u8>, nonce: Nonce) {
        out.extend(MAGIC);
        out.push(VERSION);
        out.extend(self.from.to_le_bytes());
        out.extend(self.to.to_le_bytes());
        put_token(out, self.token);
        put_token(out, self.peer_token);
        out.extend(self.session.to_le_bytes());
        out.extend(self.call.to_le_bytes());
        out.extend(nonce);
        debug_assert_eq!(out.len(), HELLO_BYTES);
    }

    fn read(bytes: &[u8]) -> Hello {
        let mut fields = Fields(&bytes[MAGIC.len() + 1..]);
        Hello {
            from: fields.u32(),
            to: fields.u32(),
            token: fields.token(),
            peer_token: fields.token(),
            session: fields.u64(),
            call: fields.u64(),
        }
    }
}

/// Refuses what cannot become a message of ours, however little of it came.
fn check_beginning(came: &[u8]) -> Result<(), Refusal> {
    if came.iter().zip(MAGIC).any(|(byte, magic)| *byte != magic) {
        return Err(Refusal::Garbage);
    }
    match came.get(MAGIC.len()) {
        Some(version) if *version != VERSION => Err(Refusal::Version),
        _ => Ok(()),
    }
}

impl Handshake {
    /// The end that calls; its hello is in the output.
    pub fn call(secret: Secret, hello: Hello, nonce: Nonce) -> Handshake {
        let mut said = Vec::with_capacity(HELLO_BYTES + CHALLENGE_BYTES + PROOF_BYTES + VERDICT_BYTES);
        hello.write(&mut said, nonce);
        Handshake { secret, state: State::Challenge(hello), output: said.clone(), said }
    }

    /// The end that is called.
    pub fn answer(secret: Secret, own: Callee, nonce: Nonce) -> Handshake {
        Handshake { secret, state: State::Hello(own, nonce), said: Vec::new(), output: Vec::new() }
    }

    /// How long the next message of the other end is.
    pub fn wanted(&self) -> usize {
        match self.state {
            State::Hello(..) => HELLO_BYTES,
            State::Proof(_) => PROOF_BYTES,
            State::Challenge(_) => CHALLENGE_BYTES,
            State::Verdict => VERDICT_BYTES,
        }
    }

    /// Whether the other end has said nothing yet.
    pub fn is_silent(&self) -> bool {
        matches!(self.state, State::Hello(..))
    }

    /// Looks at what came: at most the next message, and perhaps only its beginning, which is then to come again with
    /// what follows.
    pub fn take(&mut self, came: &[u8]) -> Result<Step, Refusal> {
        if let State::Hello(..) | State::Challenge(_) = self.state {
            check_beginning(came)?;
        }
        if came.len() < self.wanted() {
            return Ok(Step::Wait);
        }
        match self.state {
            State::Hello(own, nonce) => {
                self.challenge(own, nonce, came);
                Ok(Step::Wait)
            }
            State::Proof(hello) => {
                self.secret.check(BY_CALLER, &self.said, came)?;
                self.said.extend(came);
                Ok(Step::Judge(hello))
            }
            State::Challenge(hello) => self.prove(hello, came),
            State::Verdict => self.hear(came),
        }
    }

    fn challenge(&mut self, own: Callee, nonce: Nonce, came: &[u8]) {
        self.said.extend(came);
        let before = self.said.len();
        self.said.extend(MAGIC);
        self.said.push(VERSION);
        self.said.extend(own.worker.to_le_bytes());
        put_token(&mut self.said, own.token);
        self.said.extend(nonce);
        let proof = self.secret.prove(BY_CALLEE, &self.said);
        self.said.extend(proof);
        self.output.extend(&self.said[before..]);
        self.state = State::Proof(Hello::read(came));
    }

    fn prove(&mut self, hello: Hello, came: &[u8]) -> Result<Step, Refusal> {
        let (challenge, proof) = came.split_at(CHALLENGE_BYTES - PROOF_BYTES);
        self.said.extend(challenge);
        self.secret.check(BY_CALLEE, &self.said, proof)?;
        self.said.extend(proof);
        let mut fields = Fields(&challenge[MAGIC.len() + 1..]);
        if fields.u32() != hello.to {
            return Err(Refusal::WrongWorker);
        }
        // Another life than the one that is called refuses us itself, so that it learns of the newer one.
        let proof = self.secret.prove(BY_CALLER, &self.said);
        self.said.extend(proof);
        self.output.extend(proof);
        self.state = State::Verdict;
        Ok(Step::Wait)
    }

    /// The callee's answer to [`Step::Judge`]; it is in the output then.
    pub fn judge(&mut self, verdict: Result<(), Refusal>) {
        let code = verdict.map_or_else(|refusal| refusal as u8 + 1, |()| WELCOME);
        self.said.push(code);
        self.output.push(code);
        self.output.extend(self.secret.prove(OF_VERDICT, &self.said));
    }

    fn hear(&mut self, came: &[u8]) -> Result<Step, Refusal> {
        let (code, proof) = (came[0], &came[1..]);
        self.said.push(code);
        self.secret.check(OF_VERDICT, &self.said, proof)?;
        match code.checked_sub(1) {
            None => Ok(Step::Welcome),
            Some(cause) => {
                let refusal = Refusal::ALL.get(usize::from(cause)).ok_or(Refusal::Garbage)?;
                Ok(Step::Refused(refusal.mirrored()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(incarnation: u16) -> Token {
        Token { epoch: 3, incarnation: Incarnation(incarnation) }
    }

    const OWN: Callee = Callee { worker: 9, token: Token { epoch: 3, incarnation: Incarnation(12) } };

    fn hello() -> Hello {
        Hello { from: 1, to: 9, token: token(11), peer_token: token(12), session: 4, call: 77 }
    }

    fn ends(caller: u8, callee: u8) -> (Handshake, Handshake) {
        let secret = |byte| Secret::new(&[byte; 32]);
        let (hers, his) = (nonce().unwrap(), nonce().unwrap());
        (Handshake::call(secret(caller), hello(), hers), Handshake::answer(secret(callee), OWN, his))
    }

    fn say(from: &mut Handshake) -> Vec<u8> {
        std::mem::take(&mut from.output)
    }

    // semantics 21
    #[test]
    fn ends_with_the_same_secret_know_each_other() {
        let (mut caller, mut callee) = ends(5, 5);
        assert_eq!(callee.take(&say(&mut caller)), Ok(Step::Wait));
        assert_eq!(caller.take(&say(&mut callee)), Ok(Step::Wait));
        assert_eq!(callee.take(&say(&mut caller)), Ok(Step::Judge(hello())));
        callee.judge(Ok(()));
        assert_eq!(caller.take(&say(&mut callee)), Ok(Step::Welcome));
    }

    // semantics 21
    #[test]
    fn a_refusal_comes_with_its_cause_as_the_caller_sees_it() {
        for (refusal, heard) in [
            (Refusal::OlderToken, Refusal::Superseded),
            (Refusal::Superseded, Refusal::OlderToken),
            (Refusal::OtherSession, Refusal::OtherSession),
        ] {
            let (mut caller, mut callee) = ends(5, 5);
            callee.take(&say(&mut caller)).unwrap();
            caller.take(&say(&mut callee)).unwrap();
            callee.take(&say(&mut caller)).unwrap();
            callee.judge(Err(refusal));
            assert_eq!(caller.take(&say(&mut callee)), Ok(Step::Refused(heard)));
        }
    }

    #[test]
    fn an_end_with_another_secret_is_refused_by_either() {
        let (mut caller, mut callee) = ends(5, 6);
        callee.take(&say(&mut caller)).unwrap();
        assert_eq!(caller.take(&say(&mut callee)), Err(Refusal::Secret));
        let (mut caller, mut callee) = ends(5, 6);
        callee.take(&say(&mut caller)).unwrap();
        assert_eq!(callee.take(&[0; PROOF_BYTES]), Err(Refusal::Secret));
    }

    #[test]
    fn a_flipped_bit_of_any_message_is_refused() {
        // Which message, and how long it is.
        for (flipped, length) in [HELLO_BYTES, CHALLENGE_BYTES, PROOF_BYTES, VERDICT_BYTES].into_iter().enumerate() {
            for bit in 0..length * 8 {
                let (mut caller, mut callee) = ends(5, 5);
                let mut is_refused = false;
                for message in 0..4 {
                    let (from, to) =
                        if message % 2 == 0 { (&mut caller, &mut callee) } else { (&mut callee, &mut caller) };
                    let mut bytes = say(from);
                    assert!(message != flipped || bytes.len() == length);
                    if message == flipped {
                        bytes[bit / 8] ^= 1 << (bit % 8);
                    }
                    match to.take(&bytes) {
                        Err(_) => is_refused = true,
                        Ok(Step::Judge(_)) => to.judge(Ok(())),
                        Ok(_) => {}
                    }
                    if is_refused {
                        break;
                    }
                }
                assert!(is_refused, "message {flipped}, bit {bit}");
            }
        }
    }

    #[test]
    fn what_a_caller_said_before_is_worth_nothing_the_next_time() {
        let (mut caller, mut callee) = ends(5, 5);
        let first = say(&mut caller);
        callee.take(&first).unwrap();
        caller.take(&say(&mut callee)).unwrap();
        let second = say(&mut caller);
        let (_, mut callee) = ends(5, 5);
        callee.take(&first).unwrap();
        assert_eq!(callee.take(&second), Err(Refusal::Secret));
    }

    #[test]
    fn a_callee_s_words_sent_back_to_it_prove_nothing() {
        let (mut caller, mut callee) = ends(5, 5);
        callee.take(&say(&mut caller)).unwrap();
        let challenge = say(&mut callee);
        assert_eq!(callee.take(&challenge[CHALLENGE_BYTES - PROOF_BYTES..]), Err(Refusal::Secret));
    }

    #[test]
    fn other_things_are_refused_at_their_first_wrong_byte() {
        let (mut caller, mut callee) = ends(5, 5);
        assert_eq!(callee.take(b"G"), Err(Refusal::Garbage)); // of an HTTP request
        assert_eq!(callee.take(&[0x16]), Err(Refusal::Garbage)); // of a TLS hello
        assert_eq!(callee.take(b"sql"), Ok(Step::Wait));
        assert_eq!(callee.take(b"sqll"), Err(Refusal::Garbage)); // a frame
        assert_eq!(callee.take(b"sqlk\x02"), Err(Refusal::Version));
        let hello = say(&mut caller);
        for length in 0..hello.len() {
            assert_eq!(callee.take(&hello[..length]), Ok(Step::Wait));
        }
        assert!(callee.is_silent() && callee.output.is_empty());
    }
}
