//! A peer that is sought.

use super::super::handshake::{Callee, Hello};
use super::super::refusal::Refusal;
use super::{GateOptions, Peer};
use squall_core::redial::Redial;
use std::cmp::Ordering;
use std::time::{Duration, Instant};

/// A peer that is sought, and how far that is.
pub(super) struct Sought {
    pub peer: Peer,
    pub give_up_at: Option<Instant>,
    /// Of a peer that is called, and to be called again.
    pub call_at: Option<Instant>,
    /// The connection by which it is called.
    pub connection: Option<u64>,
    redial: Redial,
    up_at: Option<Instant>,
    /// The last of its calls that was let in.
    last_call: Option<u64>,
    /// Why it was refused, as the loop was told last.
    said: Option<Refusal>,
}

impl Sought {
    /// `before` is the same worker as it was sought until now.
    pub fn new(
        peer: Peer,
        within: Option<Duration>,
        options: &GateOptions,
        before: Option<Sought>,
        is_called: bool,
    ) -> Sought {
        let now = Instant::now();
        let before = before.filter(|before| before.peer.token == peer.token);
        let mut sought = Sought {
            give_up_at: within.map(|within| now + within),
            call_at: None,
            connection: None,
            redial: Redial::new(
                options.first_pause.as_nanos() as u64,
                options.longest_pause.as_nanos() as u64,
                u64::from(peer.worker) ^ u64::from(std::process::id()) << 32,
            ),
            up_at: None,
            last_call: None,
            said: None,
            peer,
        };
        let mut pause = Duration::ZERO;
        if let Some(before) = before {
            (sought.redial, sought.last_call) = (before.redial, before.last_call);
            // One whose streams break at once is not called in a circle.
            pause = before.up_at.map_or(Duration::ZERO, |up_at| sought.pause(now - up_at));
        }
        sought.call_at = (is_called && sought.peer.address.is_some()).then(|| now + pause);
        sought
    }

    fn pause(&mut self, lasted: Duration) -> Duration {
        Duration::from_nanos(self.redial.pause_ns(lasted.as_nanos() as u64))
    }

    /// A call failed. Whether the loop is to be told why.
    pub fn call_failed(&mut self, cause: Refusal) -> bool {
        self.connection = None;
        self.call_at = Some(Instant::now() + self.pause(Duration::ZERO));
        self.is_news(cause)
    }

    /// Whether the loop does not know the cause.
    pub fn is_news(&mut self, cause: Refusal) -> bool {
        self.said.replace(cause) != Some(cause)
    }

    /// The peer is at the other end.
    pub fn is_up(&mut self) {
        (self.give_up_at, self.call_at, self.connection, self.said) = (None, None, None, None);
        self.up_at = Some(Instant::now());
    }

    /// Whether the caller is the one that is sought, and means us.
    pub fn judge(&mut self, hello: &Hello, own: Callee) -> Result<(), Refusal> {
        match hello.token.cmp(&self.peer.token) {
            Ordering::Less => return Err(Refusal::OlderToken),
            Ordering::Greater => return Err(Refusal::OtherToken),
            Ordering::Equal => {}
        }
        if hello.peer_token < own.token {
            return Err(Refusal::OtherToken);
        }
        if hello.session != self.peer.session {
            return Err(Refusal::OtherSession);
        }
        if self.last_call.is_some_and(|last| hello.call <= last) {
            return Err(Refusal::Overtaken);
        }
        self.last_call = Some(hello.call);
        Ok(())
    }
}
