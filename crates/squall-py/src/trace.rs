//! The trace of a worker's life: what it did with trees and tuples, in a file, for laws to be tried on (off by default).
//!
//! Nothing in a hot loop asks for a trace. A worker that writes one takes the ways that are there for what is unusual:
//! outputs are routed one by one ([`Fast::Noted`](crate::task::Fast::Noted)), inputs go by `run_peculiar`, roots by
//! `look_closer`, ends by `tell_of_end`. What goes over links, and the ledger, are as ever.

use crate::core::Core;
use crate::roots::Pending;
use crate::task::{Cur, OutStream, Task};
use pyo3::prelude::*;
use squall_core::cell::Local;
use squall_core::ids::RootId;
use squall_core::suspects::ALONE_FROM;
use squall_core::trace::{
    ASKED, BLOCK_HEAD_BYTES, CUT_AT, Cut, HEAD_BYTES, Note, ORDERED, REPLAY, SOLO, Step, finish_block, head,
};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};

/// The trace of this life.
pub struct Trace(Local<Writing>);

struct Writing {
    file: File,
    mark: CutMark,
    /// What is not written yet: room for a block's head, and its notes.
    block: Vec<u8>,
    /// When its first note was made.
    began_ns: u64,
    written_bytes: u64,
    most_bytes: u64,
    cut: Cut,
    /// The ended prefix of each spout, as it was noted last.
    prefixes: HashMap<u32, u64>,
}

impl Trace {
    /// Begins a trace in a file that is empty. Bound: `most_bytes`, then nothing more is noted.
    pub fn begin(file: OwnedFd, most_bytes: u64, worker: u32, incarnation: u16) -> io::Result<Trace> {
        let mut file = File::from(file);
        file.write_all(&head(worker, incarnation))?;
        Ok(Trace(Local::new(Writing {
            mark: CutMark::of(&file)?,
            file,
            block: vec![0; BLOCK_HEAD_BYTES],
            began_ns: 0,
            written_bytes: HEAD_BYTES as u64,
            most_bytes,
            cut: Cut::Whole,
            prefixes: HashMap::new(),
        })))
    }
}

impl Writing {
    fn note(&mut self, now_ns: impl FnOnce() -> u64, note: &Note<'_>) {
        if self.cut != Cut::Whole {
            return;
        }
        if self.block.len() == BLOCK_HEAD_BYTES {
            self.began_ns = now_ns();
        }
        note.write(&mut self.block);
    }

    /// Writes what was noted. An error, once: nothing is noted from then on.
    fn write(&mut self, now_ns: u64) -> io::Result<()> {
        if self.block.len() == BLOCK_HEAD_BYTES {
            return Ok(());
        }
        if self.written_bytes + self.block.len() as u64 > self.most_bytes {
            self.cut(Cut::Full);
            return Ok(());
        }
        finish_block(&mut self.block, self.began_ns, now_ns);
        if let Err(error) = self.file.write_all(&self.block) {
            self.cut(Cut::Unwritable);
            return Err(error);
        }
        self.written_bytes += self.block.len() as u64;
        self.block.truncate(BLOCK_HEAD_BYTES);
        Ok(())
    }

    fn cut(&mut self, cut: Cut) {
        self.cut = cut;
        self.block = vec![0; BLOCK_HEAD_BYTES];
        self.mark.set(cut);
    }
}

/// The head of a trace in memory: that it was cut off can be said also where the process may write nothing any more.
struct CutMark(*mut libc::c_void);

impl CutMark {
    /// That of a file which has a head.
    fn of(file: &File) -> io::Result<CutMark> {
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
        // SAFETY: a new mapping of an open descriptor.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), HEAD_BYTES, access, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(CutMark(at)) }
    }

    fn set(&self, cut: Cut) {
        // SAFETY: the mapping has the head, and the number in it is aligned.
        unsafe { self.0.byte_add(CUT_AT).cast::<u32>().write_volatile((cut as u32).to_le()) };
    }
}

impl Drop for CutMark {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this size, and nothing else knows it.
        unsafe { libc::munmap(self.0, HEAD_BYTES) };
    }
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is that of a local value.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Core {
    /// Notes that something happened, if there is a trace.
    #[inline(always)]
    pub fn note(&self, note: impl FnOnce() -> Note<'static>) {
        if self.trace.is_some() {
            self.note_now(&note());
        }
    }

    /// The time that traces of several workers have in common. (That of the loop may run ahead by what another process
    /// took of the processor between two looks at clocks.)
    fn traced_ns(&self) -> u64 {
        if self.is_virtual() { self.now_ns.get() } else { monotonic_ns() }
    }

    #[cold]
    #[inline(never)]
    fn note_now(&self, note: &Note<'_>) {
        if let Some(trace) = &self.trace {
            trace.0.with(|writing| writing.note(|| self.traced_ns(), note));
        }
    }

    /// Notes what became of an input of a task, in each of its trees. The input still has its bundle.
    #[inline(always)]
    pub fn note_input(&self, task: &Task, root: RootId, edge: u64, step: Step) {
        if self.trace.is_some() {
            self.note_pairs(task, &self.pairs_of(root, edge), step);
        }
    }

    /// The same of an input by its trees.
    #[inline(always)]
    pub fn note_pairs(&self, task: &Task, pairs: &[(RootId, u64)], step: Step) {
        if self.trace.is_some() {
            for (root, edge) in pairs {
                self.note_now(&Note::Input { root: *root, edge: *edge, task: task.task_id as u32, step });
            }
        }
    }

    /// Notes a task that the worker has.
    pub fn note_task(&self, task: &Task) {
        let component = self.component_name(task.component);
        self.note_now(&Note::Task { task: task.task_id as u32, is_spout: task.is_spout(), component });
    }

    /// Notes how each spout begins.
    pub fn note_spouts(&self) {
        if self.trace.is_none() {
            return;
        }
        for task in self.tasks.get().iter().filter(|task| task.is_spout()) {
            let state = task.spout();
            let far = state.workers.with(|tasks| tasks.clone());
            let workers: Vec<u32> = far.iter().filter_map(|task| task.far().map(|far| far.worker)).collect();
            let limit = state.limit.with(|limit| limit.fixed()).unwrap_or(0);
            self.note_now(&Note::Spout { task: task.task_id as u32, limit, workers: &workers });
        }
    }

    /// Notes how far each spout's outputs have ended, and writes what was noted: before any frame of the turn leaves.
    #[cold]
    #[inline(never)]
    pub fn write_trace(&self) {
        let Some(trace) = &self.trace else { return };
        for task in self.tasks.get().iter().filter(|task| task.is_spout()) {
            let Some(ended) = task.spout().ended_prefix() else { continue };
            let is_new = |writing: &mut Writing| writing.prefixes.insert(task.index, ended) != Some(ended);
            if trace.0.with(is_new) {
                self.note_now(&Note::Prefix { task: task.task_id as u32, ended });
            }
        }
        let now_ns = self.traced_ns();
        if let Err(error) = trace.0.with(|writing| writing.write(now_ns)) {
            // SAFETY: the interpreter lock is held wherever tuples move.
            let py = unsafe { Python::assume_attached() };
            PyErr::from(error).write_unraisable(py, None);
        }
    }

    /// Notes how many trees are open while the loop rests.
    pub fn note_rest(&self) {
        if self.trace.is_none() {
            return;
        }
        for task in self.tasks.get().iter().filter(|task| task.is_spout()) {
            self.note_now(&Note::Rest { task: task.task_id as u32, open: task.spout().pending.get() });
        }
        self.write_trace();
    }
}

impl Task {
    /// Notes a tuple that was sent by this task, in each of its trees.
    #[inline]
    pub fn note_sent(&self, stream: &OutStream, target: &Task, pairs: &[(RootId, u64)]) {
        for (root, edge) in pairs {
            self.core().note_now(&Note::Sent {
                root: *root,
                edge: *edge,
                source: self.task_id as u32,
                stream: stream.number,
                target: target.task_id as u32,
            });
        }
    }

    /// Notes a tuple that was sent while `cur` was worked on; `before` is the XOR of the edges that hung on that before.
    pub fn note_sent_of(&self, stream: &OutStream, target: &Task, cur: &Cur, before: u64) {
        let edge = before ^ cur.xor.get();
        let pairs: Vec<_> = self.core().pairs_of(cur.root.get(), 0).iter().map(|(root, _)| (*root, edge)).collect();
        self.note_sent(stream, target, &pairs);
    }

    /// Notes a root that is opened again, by the engine.
    pub fn note_launched(&self, root: RootId) {
        if self.core().trace.is_none() {
            return;
        }
        let of = |pending: &Pending| {
            let flags = if pending.replay == 0 { 0 } else { REPLAY };
            (pending.attempt, pending.place, pending.solo, flags, pending.suspicions)
        };
        let opened = self.core().ledger.with(|ledger| ledger.entry(root).map(of));
        if let Some((attempt, place, solo, flags, suspicions)) = opened {
            self.note_root(root, attempt, place, solo, flags, suspicions);
        }
    }

    /// Notes a root that the spout opens.
    pub fn note_opened(&self, root: RootId, attempt: u32, place: u32, solo: bool, suspicions: u8) {
        let flags = if self.spout().was_asked() { ASKED } else { 0 };
        self.note_root(root, attempt, place, solo, flags, suspicions);
    }

    fn note_root(&self, root: RootId, attempt: u32, place: u32, solo: bool, flags: u8, suspicions: u8) {
        let is_ordered = self.spout().ordered.get() && flags & REPLAY == 0;
        let ordered = if is_ordered { ORDERED } else { 0 };
        let solo = if solo || suspicions >= ALONE_FROM { SOLO } else { 0 };
        let (task, flags) = (self.task_id as u32, flags | ordered | solo);
        self.core().note(|| Note::Opened { root, task, attempt, place, flags, suspicions });
    }
}
