//! What holds of hand-shakes when whoever does not know the secret has the wires: an end believes another only if that one
//! said, byte for byte, what this one heard, and heard what this one said.
//!
//! That is the definition of matching conversations. It says all at once: no forged, changed, repeated, reflected or mixed
//! message passes, and what an end believes of the other is what that end said of itself.

use super::handshake::{Callee, Handshake, Hello, Secret, Step};
use super::refusal::Refusal;
use super::script::Script;
use squall_core::ids::{Incarnation, Token};

/// An end, what it was given and what it said.
struct End {
    handshake: Handshake,
    /// Of a caller, whom it calls; of a callee, who it is.
    hello: Option<Hello>,
    worker: u32,
    input: Vec<u8>,
    heard: Vec<u8>,
    said: Vec<u8>,
    /// How much of what it said has been passed on.
    passed: usize,
    verdict: Option<Result<(), Refusal>>,
    is_over: bool,
}

/// The bytes say who calls whom, and what becomes of each message.
pub fn check_handshake(bytes: &[u8]) {
    let mut script = Script(bytes);
    let knows_secret = script.byte();
    let mut ends: Vec<End> = (0..4).map(|number| End::new(number, knows_secret, &mut script)).collect();
    let honest = ends[0].hello.expect("a caller");
    while script.goes_on() {
        step(&mut ends, &mut script);
    }
    let is_twice = ends[2].verdict.is_some() && ends[3].verdict.is_some() && ends[2].heard == ends[3].heard;
    assert!(!is_twice, "a caller proves itself to one callee");
    undisturbed(honest, bytes);
}

impl End {
    /// Ends 0 and 1 call, 2 and 3 are called.
    fn new(number: u8, knows_secret: u8, script: &mut Script<'_>) -> End {
        let secret = Secret::new(&[if knows_secret >> number & 1 == 0 { 7 } else { 8 }; 32]);
        let nonce = [number; 32];
        let worker = script.byte() as u32 % 3;
        let token = token(script);
        if number < 2 {
            let (to, peer_token) = (script.byte() as u32 % 3, self::token(script));
            let (session, call) = (script.byte().into(), script.byte().into());
            let hello = Hello { from: worker, to, token, peer_token, session, call };
            return End::with(Handshake::call(secret, hello, nonce), Some(hello), worker);
        }
        End::with(Handshake::answer(secret, Callee { worker, token }, nonce), None, worker)
    }

    fn with(mut handshake: Handshake, hello: Option<Hello>, worker: u32) -> End {
        let said = std::mem::take(&mut handshake.output);
        let (input, heard) = (Vec::new(), Vec::new());
        End { handshake, hello, worker, input, heard, said, passed: 0, verdict: None, is_over: false }
    }

    /// Takes what came as far as it can, as a connection does.
    fn take(&mut self, came: &[u8], verdict: Result<(), Refusal>) -> Option<Step> {
        self.input.extend(came);
        let mut told = None;
        while !self.is_over && told.is_none() {
            let wanted = self.handshake.wanted();
            let bytes = wanted.min(self.input.len());
            // However little of it came, it is refused or awaited; and what is refused then would be in the end.
            let early = self.handshake.take(&self.input[..bytes / 2]);
            let step = if early.is_ok() { self.handshake.take(&self.input[..bytes]) } else { early };
            match step {
                Err(_) => self.is_over = true,
                Ok(step) => {
                    if bytes == wanted {
                        self.heard.extend(self.input.drain(..wanted));
                    }
                    if let Step::Judge(_) = step {
                        self.handshake.judge(verdict);
                        self.verdict = Some(verdict);
                    }
                    self.is_over = !matches!(step, Step::Wait);
                    told = self.is_over.then_some(step);
                    if bytes < wanted {
                        break;
                    }
                }
            }
            self.said.append(&mut self.handshake.output);
        }
        self.said.append(&mut self.handshake.output);
        assert!(self.said.len() <= 116, "it says no more than its two messages");
        told
    }
}

fn token(script: &mut Script<'_>) -> Token {
    Token { epoch: u64::from(script.byte() % 3), incarnation: Incarnation(u16::from(script.byte())) }
}

/// Gives an end something that another said, as it was or not, or anything.
fn step(ends: &mut [End], script: &mut Script<'_>) {
    let choice = script.byte();
    let (from, to) = (usize::from(choice >> 2 & 3), usize::from(choice & 3));
    let unsaid = &ends[from].said[ends[from].passed..];
    let came = match choice >> 4 {
        0..8 => {
            let came = unsaid.to_vec();
            ends[from].passed += came.len();
            came
        }
        8 | 9 => {
            let came = unsaid[..script.below(unsaid.len() + 1)].to_vec();
            ends[from].passed += came.len();
            came
        }
        10 | 11 => {
            let mut came = unsaid.to_vec();
            ends[from].passed += came.len();
            let length = came.len().max(1);
            if let Some(byte) = came.get_mut(script.below(length)) {
                *byte ^= script.byte();
            }
            came
        }
        12 | 13 => {
            let said = &ends[from].said;
            let begin = script.below(said.len() + 1);
            said[begin..begin + script.below(said.len() - begin + 1)].to_vec()
        }
        _ => {
            let most = script.below(120);
            script.bytes(most).to_vec()
        }
    };
    let verdict = Refusal::ALL.get(script.byte() as usize).map_or(Ok(()), |refusal| Err(*refusal));
    let told = ends[to].take(&came, verdict);
    let end = &ends[to];
    match told {
        None | Some(Step::Wait) => {}
        Some(Step::Judge(hello)) => {
            let challenge = &end.said[..83];
            let mut callers = ends.iter().filter(|one| one.said == end.heard && one.heard == challenge);
            let caller = callers.next().expect("who proves himself said all that was heard");
            assert_eq!(caller.hello, Some(hello));
            assert_eq!(hello.to, end.worker, "who calls another does not prove himself");
            assert_eq!(hello.from, caller.worker);
        }
        Some(Step::Welcome) => {
            let callee = ends.iter().find(|one| one.said == end.heard).expect("somebody said all that was heard");
            assert!(callee.heard == end.said && callee.verdict == Some(Ok(())));
        }
        Some(Step::Refused(refusal)) => {
            let callee = ends.iter().find(|one| one.said == end.heard).expect("somebody said all that was heard");
            assert!(callee.heard == end.said && callee.verdict == Some(Err(refusal.mirrored())));
        }
    }
}

/// Ends that nobody disturbs know each other, however their messages are cut.
fn undisturbed(hello: Hello, bytes: &[u8]) {
    let secret = || Secret::new(&[7; 32]);
    let own = Callee { worker: hello.to, token: hello.peer_token };
    let mut caller = End::with(Handshake::call(secret(), hello, [1; 32]), Some(hello), hello.from);
    let mut callee = End::with(Handshake::answer(secret(), own, [2; 32]), None, hello.to);
    let cuts = |said: &[u8]| said.len().min(bytes.len() % 40);
    let mut told = Vec::new();
    for _ in 0..2 {
        for (from, to) in [(0, 1), (1, 0)] {
            let pair = [&mut caller, &mut callee];
            let said = pair[from].said[pair[from].passed..].to_vec();
            pair[from].passed += said.len();
            let (begin, rest) = said.split_at(cuts(&said));
            told.extend([begin, rest].into_iter().filter_map(|part| pair[to].take(part, Ok(()))));
        }
    }
    assert_eq!(told, [Step::Judge(hello), Step::Welcome]);
}
