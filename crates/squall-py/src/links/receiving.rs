//! What comes from other workers: tuples into mailboxes, acks and fails to the trees, grants to the far tasks.

use super::{Peer, brings_work};
use crate::codec::{self, Around};
use crate::core::Core;
use crate::failures::Failure;
use crate::fault;
use crate::row::PyRow;
use crate::task::{OutStream, Task};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use squall_core::frame::{Body, Grant, Header, Row, RowPlace, Rows, SUSPECT};
use squall_core::ids::RootId;
use squall_core::link::{Came, Violation};
use squall_core::retry;
use squall_core::trace::Step;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::rc::Rc;

impl Core {
    /// Takes in what came from other workers. Whether anything did.
    pub fn receive(&self, py: Python<'_>) -> bool {
        let Some(links) = self.links() else { return false };
        let mut worked = false;
        for news in self.news.replace(Vec::new()) {
            worked = true;
            self.hear(py, links, news);
        }
        let events = links.door.take();
        let has_new = !events.is_empty();
        for event in events {
            worked = true;
            self.link_event(py, links, event);
        }
        for peer in &links.peers {
            let Some(mut socket) = peer.socket.replace(None) else { continue };
            let read = socket.read(|header, body| {
                worked = true;
                self.take_frame(py, peer, header, body)
            });
            match read {
                Ok(_) => drop(peer.socket.replace(Some(socket))),
                Err(broken) => {
                    drop(socket);
                    self.broken(py, links, peer, &broken);
                }
            }
        }
        if has_new {
            // At once: the turn may take longer than the peer waits for its first word on a stream.
            self.write_trace();
            links.peers.iter().for_each(|peer| self.write_over(py, links, peer));
        }
        worked
    }

    fn take_frame(&self, py: Python<'_>, peer: &Peer, header: &Header, body: &Body<'_>) -> Result<(), Violation> {
        match peer.with_end(|end| end.taken.take(header, body)).transpose()? {
            None | Some(Came::Again) => return Ok(()),
            Some(Came::Receipt(sequence)) => {
                return peer.with_end(|end| end.out.receipt(sequence)).unwrap_or(Ok(()));
            }
            Some(Came::Next) => {}
        }
        if brings_work(body) {
            peer.received.set(peer.received.get() + 1);
        }
        match *body {
            Body::Data { target, rows } => self.take_rows(py, peer, target, rows)?,
            Body::Ack(acks) => acks.iter().for_each(|(root, xor)| {
                if root.incarnation() == self.incarnation {
                    self.ack_root(root, xor);
                }
            }),
            Body::Fail { failure, together, task, detail, roots } => {
                let roots: Vec<RootId> = roots.iter().filter(|root| root.incarnation() == self.incarnation).collect();
                self.take_failure(py, failure, together, task, detail, &roots);
            }
            Body::Credit(grants) => grants.iter().try_for_each(|grant| self.take_grant(peer, grant))?,
            // Barriers, watermarks and ends come with the features that need them; commands by the parent's session.
            _ => {}
        }
        Ok(())
    }

    fn take_grant(&self, peer: &Peer, grant: Grant) -> Result<(), Violation> {
        let task = self.task_with_id(grant.target);
        match task.and_then(|task| task.far()).filter(|far| far.worker == peer.worker) {
            Some(far) => far.credit.with(|credit| credit.grant(grant.total)).map(drop),
            None => Ok(()),
        }
    }

    fn take_rows(&self, py: Python<'_>, peer: &Peer, target: u32, rows: Rows<'_>) -> Result<(), Violation> {
        let Some(task) = self.task_with_id(target) else { return Ok(()) };
        if task.far().is_some() || task.is_spout() {
            return Ok(()); // a peer of another topology would have been refused at the door
        }
        let (count, bytes) = (rows.len(), rows.as_bytes().len());
        peer.with_inflow(task, |inflow| inflow.receive(count, bytes))?;
        let mut from: Option<(RowPlace, &OutStream)> = None;
        rows.for_each(|row| {
            // Nearly all rows are of the same stream as the one before.
            let stream = match from {
                Some((place, stream)) if (place.source, place.stream) == (row.place.source, row.place.stream) => stream,
                _ => match self.stream_at(row.place).filter(|stream| task.bolt().takes(stream.channel)) {
                    Some(stream) => {
                        from = Some((row.place, stream));
                        stream
                    }
                    None => return, // a peer of another topology would have been refused at the door
                },
            };
            self.take_row(py, task, stream, &row);
        });
        let pushed = task.inbox.pushed();
        peer.with_inflow(task, |inflow| {
            inflow.pushed(count, bytes, pushed);
            Ok(())
        })
    }

    fn stream_at(&self, place: RowPlace) -> Option<&OutStream> {
        self.task_with_id(place.source)?.streams.get(place.stream as usize)
    }

    #[inline(always)]
    fn take_row(&self, py: Python<'_>, task: &Rc<Task>, stream: &OutStream, row: &Row<'_>) {
        let (root, edge) = match row.trees.len() {
            0 => (RootId::NONE, 0),
            1 => row.trees.iter().next().expect("one"),
            _ => self.entry_of(&row.trees.iter().collect::<Vec<_>>()),
        };
        if row.flags.alone {
            let (now_ns, is_suspect) = (self.now_ns.get(), row.extension == Some(SUSPECT));
            for (root, _) in row.trees.iter() {
                let more = self.alone.with(|alone| alone.note(root, now_ns));
                self.solo.set(self.solo.get().saturating_add_signed(more));
                if is_suspect {
                    self.suspects.with(|suspects| suspects.note(root, now_ns));
                }
            }
        }
        let mut values = ManuallyDrop::new(PyRow::empty());
        if !codec::decode_common_row(py, row.values, stream.fields.len(), &self.texts, &mut values) {
            return self.take_other_row(py, task, stream, row.values, (root, edge));
        }
        // SAFETY: the row is taken by the call.
        unsafe { task.inbox.push_from(root, edge, stream.channel, &raw const *values) };
    }

    /// A row with values that are not of the common kinds.
    #[inline(never)]
    fn take_other_row(
        &self,
        py: Python<'_>,
        task: &Rc<Task>,
        stream: &OutStream,
        values: &[u8],
        (root, edge): (RootId, u64),
    ) {
        // Of whoever reads its values by code of the user, a worker's death is that of a call.
        let outer = Cell::new(None);
        let users_code = || {
            if outer.get().is_none() {
                outer.set(Some(self.enter(task)));
                if !self.has_died() {
                    self.page_call();
                    self.page_root(root);
                }
            }
        };
        let around = Around { fallback: self.settings.fallback, texts: &self.texts, users_code: &users_code };
        let made = codec::decode_row(py, values, stream.fields.len(), &around);
        if let Some(outer) = outer.get() {
            self.leave(outer);
        }
        match made {
            Ok(values) => {
                let values = ManuallyDrop::new(values);
                // SAFETY: the row is taken by the call.
                unsafe { task.inbox.push_from(root, edge, stream.channel, &raw const *values) };
            }
            Err(trouble) => {
                let error = fault::undecodable(task, &stream.name, &stream.fields, *trouble);
                self.undecodable(py, task, root, edge, error);
            }
        }
    }

    /// A row that this worker cannot read fails like an input that its task could not take.
    #[cold]
    fn undecodable(&self, py: Python<'_>, task: &Rc<Task>, root: RootId, edge: u64, error: PyErr) {
        let pairs = self.pairs_of(root, edge);
        self.forget_bundle(root);
        self.note_pairs(task, &pairs, Step::Taken { together: 1 });
        let Some(verdict) = self.judge(py, task, &error, "decode", &pairs) else { return };
        if verdict.action == retry::Action::Drop {
            task.counts.dropped.set(task.counts.dropped.get() + 1);
            self.note_pairs(task, &pairs, Step::Acked);
            return pairs.iter().for_each(|(root, edge)| self.ack_root(*root, *edge));
        }
        self.note_pairs(task, &pairs, Step::Failed);
        task.counts.failed.set(task.counts.failed.get() + 1);
        let (number, error) = (self.next_failure(), error.into_value(py).into_any());
        let failure = Failure { number, task: task.clone(), error, verdict, input: None, together: false };
        self.fail_pairs(py, &pairs, &failure);
    }

    #[cold]
    fn take_failure(
        &self,
        py: Python<'_>,
        verdict: retry::Failure,
        together: bool,
        task: u32,
        detail: &[u8],
        roots: &[RootId],
    ) {
        let Some(task) = self.task_with_id(task).cloned() else { return };
        let told = self.hooks(py).call_method1("failure_heard", (PyBytes::new(py, detail),));
        let (error, input) = match told.and_then(|told| told.extract::<(Py<PyAny>, Option<Py<PyAny>>)>()) {
            Ok(told) => told,
            Err(fault) => (fault.into_value(py).into_any(), None),
        };
        let failure = Failure { number: self.next_failure(), task, error, verdict, input, together };
        for root in roots {
            self.fail_root(py, *root, &failure);
        }
    }
}
