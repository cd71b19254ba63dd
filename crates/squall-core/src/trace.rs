//! The form of a trace on disk: what one life of a worker did with trees and tuples, so that laws can be tried on it.
//!
//! A file is a head and blocks. A block holds the notes of one turn and is written before any frame of that turn leaves:
//! whatever others can know of a life is in its trace, however the life ends. A block that is not whole at the end of a
//! file was being written when the process died; nothing of it was seen. What a trace does not hold any more, as its
//! limit was reached or its disk was full, is said in the head, which needs no more room.
//!
//! Notes lie one after another without alignment, all numbers little-endian; text with its length before it.

use crate::ids::RootId;

/// How a trace begins. The line end shows a file that was changed as if it were text.
pub const MAGIC: [u8; 8] = *b"SQTRACE\n";
/// Of the form that is written. Others are not read.
pub const VERSION: u32 = 1;
/// Bytes before the first block: magic, version, whether it was cut off, worker, incarnation.
pub const HEAD_BYTES: usize = 24;
/// Where in the head stands whether, and why, the trace was cut off.
pub const CUT_AT: usize = 12;
/// Bytes of a block before its notes: their number, the time before the first and after the last.
pub const BLOCK_HEAD_BYTES: usize = 20;

/// Whether a trace holds all that its life did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Cut {
    /// As far as the life went.
    Whole = 0,
    /// It had become as long as it may be.
    Full = 1,
    /// It could not be written.
    Unwritable = 2,
}

/// The head of the trace of one life of a worker.
pub fn head(worker: u32, incarnation: u16) -> [u8; HEAD_BYTES] {
    let mut bytes = [0; HEAD_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    for (at, number) in [(8, VERSION), (12, Cut::Whole as u32), (16, worker), (20, u32::from(incarnation))] {
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Fills in the head of a block that lies in `block`, its notes behind the place for it.
pub fn finish_block(block: &mut [u8], began_ns: u64, ended_ns: u64) {
    let notes_bytes = (block.len() - BLOCK_HEAD_BYTES) as u32;
    block[..4].copy_from_slice(&notes_bytes.to_le_bytes());
    block[4..12].copy_from_slice(&began_ns.to_le_bytes());
    block[12..20].copy_from_slice(&ended_ns.to_le_bytes());
}

/// How a tree ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// Every tuple of it was acked.
    Acked = 0,
    /// It failed; its root is tried again.
    Failed = 1,
    /// It was given up.
    Dead = 2,
}

/// What a task does with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each says what its fields are
pub enum Step {
    /// Takes it out of its mailbox, for a call that works on so many.
    Taken { together: u32 },
    /// Acks it.
    Acked,
    /// Fails it.
    Failed,
}

/// In the flags of an opened root: it runs alone in its batches.
pub const SOLO: u8 = 1;
/// In the flags of an opened root: it is that of a dead letter.
pub const REPLAY: u8 = 2;
/// In the flags of an opened root: the order of its spout's outputs is kept, and its place says where it stands.
pub const ORDERED: u8 = 4;
/// In the flags of an opened root: its spout was asked for it, as there was room for it.
pub const ASKED: u8 = 8;

/// One thing that happened. Tasks and workers by their numbers.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // each says what its fields are
pub enum Note<'a> {
    /// The life has this task.
    Task { task: u32, is_spout: bool, component: &'a str },
    /// A spout begins: how many roots it may have open (0: any number), and the other workers that its trees may reach.
    Spout { task: u32, limit: u32, workers: &'a [u32] },
    /// A root was opened: which try it is, its place in the spout's order, how often workers died on it.
    Opened { root: RootId, task: u32, attempt: u32, place: u32, flags: u8, suspicions: u8 },
    /// A tuple was sent, in one of its trees.
    Sent { root: RootId, edge: u64, source: u32, stream: u16, target: u32 },
    /// What became of a tuple, in one of its trees.
    Input { root: RootId, edge: u64, task: u32, step: Step },
    /// A tree ended.
    Ended { root: RootId, end: End },
    /// A life of another worker is there from now on.
    Met { worker: u32, incarnation: u16 },
    /// A life of another worker, or the way to it, is lost.
    Lost { worker: u32, incarnation: u16 },
    /// So many outputs of a spout have ended such that all before them have.
    Prefix { task: u32, ended: u64 },
    /// The loop rests, and a spout has so many trees open.
    Rest { task: u32, open: u32 },
}

impl Note<'_> {
    /// Appends the note.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Note::Task { task, is_spout, component } => {
                out.push(1);
                put(out, [task]);
                out.push(u8::from(is_spout));
                out.extend_from_slice(&(component.len() as u16).to_le_bytes());
                out.extend_from_slice(component.as_bytes());
            }
            Note::Spout { task, limit, workers } => {
                out.push(2);
                put(out, [task, limit, workers.len() as u32]);
                workers.iter().for_each(|worker| put(out, [*worker]));
            }
            Note::Opened { root, task, attempt, place, flags, suspicions } => {
                out.push(3);
                out.extend_from_slice(&root.0.to_le_bytes());
                put(out, [task, attempt, place]);
                out.extend_from_slice(&[flags, suspicions]);
            }
            Note::Sent { root, edge, source, stream, target } => {
                out.push(4);
                put_edge(out, root, edge);
                put(out, [source, target]);
                out.extend_from_slice(&stream.to_le_bytes());
            }
            Note::Input { root, edge, task, step: Step::Taken { together } } => {
                out.push(5);
                put_edge(out, root, edge);
                put(out, [task, together]);
            }
            Note::Input { root, edge, task, step } => {
                out.push(if step == Step::Acked { 6 } else { 7 });
                put_edge(out, root, edge);
                put(out, [task]);
            }
            Note::Ended { root, end } => {
                out.push(8);
                out.extend_from_slice(&root.0.to_le_bytes());
                out.push(end as u8);
            }
            Note::Met { worker, incarnation } => {
                out.push(9);
                put(out, [worker, u32::from(incarnation)]);
            }
            Note::Lost { worker, incarnation } => {
                out.push(10);
                put(out, [worker, u32::from(incarnation)]);
            }
            Note::Prefix { task, ended } => {
                out.push(11);
                put(out, [task]);
                out.extend_from_slice(&ended.to_le_bytes());
            }
            Note::Rest { task, open } => {
                out.push(12);
                put(out, [task, open]);
            }
        }
    }
}

fn put<const N: usize>(out: &mut Vec<u8>, numbers: [u32; N]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

fn put_edge(out: &mut Vec<u8>, root: RootId, edge: u64) {
    out.extend_from_slice(&root.0.to_le_bytes());
    out.extend_from_slice(&edge.to_le_bytes());
}
