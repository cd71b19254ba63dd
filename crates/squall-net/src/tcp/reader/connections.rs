//! How connections begin: taken or made, encrypted, opened; and how they are closed.

use super::super::connection::{Connection, Phase};
use super::super::news::News;
use super::super::queue::{Beside, Buffer};
use super::{ACCEPT_PAUSE, Reader};
use crate::sys::{self, Interest};
use crate::tls::Step;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

impl Reader {
    pub(super) fn accept(&mut self, at_most: usize) {
        for _ in 0..at_most {
            let Some(listener) = &self.listener else { return };
            match sys::accept(listener.as_fd()) {
                Ok(socket) => self.welcome(socket, None),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(_) => {
                    // No descriptors or memory left: the kernel keeps the connections waiting meanwhile.
                    self.control.remove(listener.as_fd());
                    self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    pub(super) fn welcome(&mut self, socket: OwnedFd, server: Option<usize>) {
        if server.is_none() && self.connections.len() >= self.options.max_connections {
            self.status.counts.refused.fetch_add(1, Relaxed);
            return;
        }
        let host = server.and_then(|index| Some(self.dialer.as_ref()?.server(index).host.as_str())).unwrap_or("");
        let session = match self.options.tls.as_ref().map(|tls| tls.session(host)).transpose() {
            Ok(session) => session,
            Err(defect) => return self.not_welcome(server, &defect.to_string()),
        };
        let number = self.next;
        self.next += 1;
        let mut connection = Connection::new(socket, session, self.splitter.clone());
        connection.server = server;
        self.status.counts.accepted.fetch_add(1, Relaxed);
        self.status.counts.connections.fetch_add(1, Relaxed);
        let phase = connection.phase;
        self.connections.insert(number, connection);
        if phase == Phase::Handshake {
            self.shaking.push_back((Instant::now() + self.options.handshake, number));
            self.shake_hands(number);
        } else {
            self.open(number);
        }
    }

    fn not_welcome(&mut self, server: Option<usize>, because: &str) {
        if let (Some(index), Some(dialer)) = (server, &self.dialer) {
            dialer.lost(index, because.to_owned());
        }
    }

    /// From now on records may come.
    fn open(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.phase = Phase::Open;
        if self.data.add(connection.fd(), number).is_err() {
            return self.close(number, "no memory is left to wait for it");
        }
        if connection.has_more() {
            self.buffered.push(number);
        }
        if let (Some(index), Some(dialer)) = (connection.server, &self.dialer) {
            dialer.is_up(index);
        }
    }

    pub(super) fn shake_hands(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.handshake() {
            Ok(Step::Done) => {
                self.wait_for(number, None);
                self.open(number);
            }
            Ok(Step::WantsRead) => self.wait_for(number, Some(Interest::Read)),
            Ok(Step::WantsWrite) => self.wait_for(number, Some(Interest::Write)),
            Err(error) => self.handshake_failed(number, error.to_string()),
        }
    }

    /// Closes those that take too long.
    pub(super) fn end_late_handshakes(&mut self, now: Instant) {
        while let Some((until, number)) = self.shaking.front().copied()
            && now >= until
        {
            self.shaking.pop_front();
            if self.connections.get(&number).is_some_and(|one| one.phase == Phase::Handshake) {
                self.handshake_failed(number, format!("it took more than {:?}", self.options.handshake));
            }
        }
    }

    pub(super) fn wait_for(&mut self, number: u64, interest: Option<Interest>) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.wait_for(interest, &self.control, number).is_err() {
            self.close(number, "no memory is left to wait for it");
        }
    }

    fn handshake_failed(&mut self, number: u64, because: String) {
        self.status.counts.handshakes.fetch_add(1, Relaxed);
        let Some(connection) = self.connections.get(&number) else { return };
        if connection.server.is_none() {
            let peer = sys::peer(connection.fd()).unwrap_or_else(|| "a client".to_owned());
            self.queue.push_news(number, News::Handshake { peer, because: because.clone() });
        }
        self.close(number, &format!("the TLS hand-shake failed: {because}"));
    }

    pub(super) fn close(&mut self, number: u64, because: &str) {
        let Some(connection) = self.connections.remove(&number) else { return };
        self.rest_bytes -= connection.rest_memory_bytes();
        self.data.remove(connection.fd());
        self.control.remove(connection.fd());
        self.status.counts.connections.fetch_sub(1, Relaxed);
        if self.board.is_some() && connection.phase == Phase::Open {
            self.queue.push(number, Buffer::default(), Beside { is_last: true, ..Beside::default() });
        }
        if let (Some(index), Some(dialer), false) = (connection.server, &self.dialer, self.is_finishing) {
            dialer.lost(index, because.to_owned());
        }
    }
}
