//! What comes from other workers: tuples into mailboxes, acks and fails to the trees, grants to the far tasks.

use super::{Row, Worker, ends};
use crate::defect;
use crate::host::Host;
use crate::law::Law;
use crate::mutant::Mutant;
use crate::plan::{Place, TaskId};
use crate::truth::TupleId;
use squall_core::frame::{Body, Grant, Header, Kind, Rows, SUSPECT};
use squall_core::ids::RootId;
use squall_core::link::{Came, Violation};
use squall_core::mailbox::Msg;

impl Worker {
    /// Takes in what the parent and the gate have told, and what came from other workers.
    pub(super) fn receive(&mut self, host: &mut Host) {
        for order in std::mem::take(&mut self.orders) {
            self.hear(host, order);
        }
        // The gate is a thread of its own: what it finds may come just after the loop has looked.
        if host.strikes(host.plan.faults.late_news) {
            self.wake(host);
        } else {
            host.gates.take(self.place).into_iter().for_each(|news| self.link_event(host, news));
        }
        for peer in 0..self.peers.len() {
            let Some(mut socket) = self.peers[peer].socket.take() else { continue };
            let read = socket.read(host, |host, header, body, sum| self.take_frame(host, peer, header, body, sum));
            let (stream, way) = (socket.stream, socket.way);
            match read {
                Ok(()) => self.peers[peer].socket = Some(socket),
                Err(broken) => {
                    host.hang_up(stream, way);
                    if let (Some(violation), false) = (broken.0, host.network.is_spoilt(stream)) {
                        let own = self.place;
                        let what = || format!("worker {own} refuses what {peer} has written: {violation}");
                        host.truth.broken(Law::LinksResume, what);
                    }
                    self.broken(host, peer, &broken);
                }
            }
        }
    }

    fn take_frame(
        &mut self,
        host: &mut Host,
        peer: Place,
        header: &Header,
        body: &Body<'_>,
        sum: u64,
    ) -> Result<(), Violation> {
        let Some(link) = &mut self.peers[peer].link else { return Ok(()) };
        match link.taken.take(header, body)? {
            Came::Again => return Ok(()),
            Came::Receipt(sequence) => return link.out.receipt(sequence),
            Came::Next => {}
        }
        let (life, session) = (header.token.incarnation, link.session());
        if self.peers[peer].life != Some(life) {
            let own = self.place;
            host.truth.broken(Law::OneLifeActs, || format!("worker {own} took a frame of life {} of {peer}", life.0));
        }
        host.truth.frame_came(session, life, sum);
        if host.truth.violation().is_some() {
            return Ok(());
        }
        self.take_body(host, peer, body)?;
        let again = host.has(Mutant::RepeatsDelivered)
            || (host.has(Mutant::AcksRepeated) || host.has(Mutant::EndWithoutInit) || defect::ends_before_init())
                && header.kind == Kind::Ack;
        if again { self.take_body(host, peer, body) } else { Ok(()) }
    }

    fn take_body(&mut self, host: &mut Host, peer: Place, body: &Body<'_>) -> Result<(), Violation> {
        match *body {
            Body::Data { target, rows } => self.take_rows(host, peer, target as TaskId, rows)?,
            Body::Ack(acks) => acks.iter().for_each(|(root, xor)| self.ack_here(host, root, xor)),
            Body::Fail { failure, roots, .. } => roots.iter().for_each(|root| self.fail_here(host, root, failure)),
            Body::Credit(grants) => grants.iter().try_for_each(|grant| self.take_grant(grant))?,
            _ => {}
        }
        Ok(())
    }

    fn take_grant(&mut self, grant: Grant) -> Result<(), Violation> {
        self.fars.get_mut(&(grant.target as TaskId)).map_or(Ok(()), |far| far.credit.grant(grant.total).map(drop))
    }

    fn take_rows(&mut self, host: &mut Host, peer: Place, task: TaskId, rows: Rows<'_>) -> Result<(), Violation> {
        let (count, bytes) = (rows.len(), rows.as_bytes().len());
        let Some(inflow) = self.peers[peer].inflows.get_mut(&task) else { return Ok(()) };
        inflow.receive(count, bytes)?;
        for row in rows.iter() {
            let last = self.peers[peer].came.insert((row.place.source, task), row.place.sequence).unwrap_or(0);
            if row.place.sequence != last + 1 {
                let (own, source, came) = (self.place, row.place.source, row.place.sequence);
                let what = || format!("row {came} of task {source} came to worker {own} after its row {last}");
                host.truth.broken(Law::ChannelsKeepOrder, what);
            }
            let tuple = TupleId::from_le_bytes(row.values[..8].try_into().expect("8 bytes"));
            let pairs: Vec<(RootId, u64)> = row.trees.iter().collect();
            if row.flags.alone {
                for (root, _) in &pairs {
                    self.alone.note(*root, host.now_ns);
                    if row.extension == Some(SUSPECT) {
                        self.suspects.note(*root, host.now_ns);
                    }
                }
            }
            self.put(task, row.place.source, &pairs, Row { tuple, bytes: row.values.len() });
            let waiting = &mut self.bolts.get_mut(&task).expect("it has an inflow").waiting[peer];
            *waiting = (waiting.0 + 1, waiting.1 + row.values.len());
        }
        let pushed = self.bolts[&task].inbox.pushed();
        if let Some(inflow) = self.peers[peer].inflows.get_mut(&task) {
            inflow.pushed(count, bytes, pushed);
        }
        Ok(())
    }

    /// Puts a tuple into a mailbox of this worker.
    pub(super) fn put(&mut self, task: TaskId, source: u32, pairs: &[(RootId, u64)], row: Row) {
        let (root, edge) = match *pairs {
            [only] => only,
            _ => (self.bundles.put(pairs.into()), 0),
        };
        self.bolts[&task].inbox.push(Msg { root, edge, channel: source, row });
    }
}

/// As a failure of a far task comes over a link.
pub(super) fn failure(counts: bool) -> squall_core::retry::Failure {
    if counts { ends::BY_USER_CODE } else { ends::BY_LOSS }
}
