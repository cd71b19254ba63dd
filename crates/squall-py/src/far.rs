//! Tasks of other workers: what is sent to them is encoded at once and waits for its link, as far as credit goes.
//!
//! A row is encoded when it is emitted, so what cannot be encoded fails there, and no reference is kept.

use crate::codec;
use crate::core::Core;
use crate::fault;
use crate::links::WINDOW;
use crate::raised::{Raised, raised};
use crate::row::PyRow;
use crate::task::{Cur, OutStream, Task};
use pyo3::prelude::*;
use squall_core::cell::Local;
use squall_core::credit::{self, Credit};
use squall_core::flow::HighWater;
use squall_core::frame::{NotPushed, RowBuffer, RowFlags, RowPlace, SUSPECT};
use squall_core::ids::RootId;
use std::cell::Cell;
use std::convert::Infallible;

/// A row of so many bytes makes whoever sends look whether there still is room.
const LARGE_BYTES: usize = 16 << 10;

/// What a row says before its trees and values: place, flags, extension.
type Head = (RowPlace, RowFlags, Option<&'static [u8]>);

/// What this worker knows of a task of another one.
pub struct FarState {
    /// The other worker's number.
    pub worker: u32,
    /// Rows that wait for the end of the turn, or for credit.
    pub rows: Local<RowBuffer>,
    pub credit: Local<Credit>,
    high_water: Local<HighWater>,
    /// Its worker is not there: nothing that leads to it is begun.
    pub is_away: Cell<bool>,
    /// Rows sent in each channel of this worker's tasks, by the channel's number.
    sequences: Local<Vec<u64>>,
}

impl FarState {
    /// A task whose worker has not come yet.
    pub fn new(worker: u32, high_water: HighWater) -> FarState {
        FarState {
            worker,
            rows: Local::default(),
            credit: Local::new(Credit::new(WINDOW)),
            high_water: Local::new(high_water),
            is_away: Cell::new(true),
            sequences: Local::default(),
        }
    }

    /// How many rows wait here.
    pub fn waiting(&self) -> usize {
        self.rows.with(|rows| rows.len())
    }

    /// The same, with large ones counted as several, as credit does.
    fn weight(&self) -> usize {
        self.rows.with(|rows| credit::weight(rows.len(), rows.bytes())) as usize
    }

    /// Rows that the task has not taken out of its mailbox yet, as far as is known; large ones count as several.
    pub fn under_way(&self) -> usize {
        self.weight() + self.credit.with(|credit| credit.under_way()) as usize
    }

    /// Whether the task will have nothing to do before it can hear from here again, if nobody else sends to it.
    pub fn is_soon_taken(&self) -> bool {
        self.under_way() < (WINDOW / 4) as usize
    }

    /// How many more rows may wait before it is over its high-water mark, if they are not large.
    pub fn room(&self) -> u64 {
        match self.is_away.get() {
            true => 0,
            false => self.high_water.with(|mark| mark.room(self.weight())) as u64,
        }
    }

    /// Its worker is gone, and with it what was on its way: the rows that waited here.
    pub fn forget(&self) -> RowBuffer {
        self.is_away.set(true);
        self.sequences.replace(Vec::new());
        self.credit.replace(Credit::new(WINDOW));
        self.rows.replace(RowBuffer::default())
    }

    /// The number of the next row in a channel.
    #[inline]
    fn next_sequence(&self, channel: u32) -> u64 {
        self.sequences.with(|sequences| match sequences.get_mut(channel as usize) {
            Some(sequence) => {
                *sequence += 1;
                *sequence
            }
            None => first_sequence(sequences, channel),
        })
    }
}

#[cold]
fn first_sequence(sequences: &mut Vec<u64>, channel: u32) -> u64 {
    sequences.resize(channel as usize + 1, 0);
    sequences[channel as usize] = 1;
    1
}

impl Task {
    /// Sends a row to a task of another worker, anchored to `cur`.
    #[inline(always)]
    pub fn send_over(&self, stream: &OutStream, far: &FarState, row: &PyRow, cur: &Cur) -> Result<(), Raised> {
        let root = cur.root.get();
        if !root.is_tracked() || root.is_bundle() {
            return self.send_other_over(stream, far, row, cur);
        }
        let edge = self.core().edges.next_id();
        self.put_over(stream, far, row, &[(root, edge)])?;
        cur.xor.set(cur.xor.get() ^ edge);
        Ok(())
    }

    /// A row of no tree, or of several.
    #[inline(never)]
    fn send_other_over(&self, stream: &OutStream, far: &FarState, row: &PyRow, cur: &Cur) -> Result<(), Raised> {
        let root = cur.root.get();
        if !root.is_tracked() {
            return self.put_over(stream, far, row, &[]);
        }
        let edge = self.core().edges.next_id();
        let pairs: Vec<_> = self.core().pairs_of(root, 0).iter().map(|(root, _)| (*root, edge)).collect();
        self.put_over(stream, far, row, &pairs)?;
        cur.xor.set(cur.xor.get() ^ edge);
        Ok(())
    }

    /// Puts a row, encoded, where it waits for its link.
    #[inline(always)]
    pub fn put_over(
        &self,
        stream: &OutStream,
        far: &FarState,
        row: &PyRow,
        trees: &[(RootId, u64)],
    ) -> Result<(), Raised> {
        let core = self.core();
        // SAFETY: the interpreter lock is held wherever tuples move.
        let py = unsafe { Python::assume_attached() };
        let alone = core.solo.get() > 0 && trees.iter().any(|(root, _)| core.is_solo(*root));
        let is_suspect = alone && trees.iter().any(|(root, _)| core.is_suspect(*root));
        let sequence = far.next_sequence(stream.channel);
        let pushed = far.rows.with(|rows| {
            // Made only here: what is put together outside and copied in makes the copy wait for its parts.
            let (place, flags, extension) = self.head(stream, sequence, alone, is_suspect);
            // In place: only types that run no Python are encoded, so nobody else comes here meanwhile.
            rows.push(place, flags, trees, extension, |out| codec::encode_plain_row(row, out))
        });
        match pushed {
            Ok(bytes) => {
                self.count_sent(stream, bytes);
                Ok(())
            }
            Err(_) => {
                let head = self.head(stream, sequence, alone, is_suspect);
                self.put_other_over(py, stream, far, row, trees, head)
            }
        }
    }

    /// What a row says before its trees and values.
    #[inline(always)]
    fn head(&self, stream: &OutStream, sequence: u64, alone: bool, is_suspect: bool) -> Head {
        let place = RowPlace { source: self.task_id as u32, stream: stream.number, sequence };
        (place, RowFlags { alone, ..RowFlags::default() }, is_suspect.then_some(SUSPECT))
    }

    /// A row with so many bytes waits for its link.
    #[inline(always)]
    fn count_sent(&self, stream: &OutStream, bytes: usize) {
        stream.transferred.set(stream.transferred.get() + 1);
        if bytes >= LARGE_BYTES {
            self.full_at.set(0); // there may be less room than was found
        }
    }

    /// A row with values that only Python can encode, or that are too large.
    #[cold]
    fn put_other_over(
        &self,
        py: Python<'_>,
        stream: &OutStream,
        far: &FarState,
        row: &PyRow,
        trees: &[(RootId, u64)],
        (place, flags, extension): Head,
    ) -> Result<(), Raised> {
        let mut values = Vec::new();
        let encoded = codec::encode_row(py, row, self.core().settings.fallback, &mut values);
        encoded.map_err(|trouble| raised(py, fault::unencodable(self, stream, *trouble)))?;
        let pushed = far.rows.with(|rows| {
            rows.push(place, flags, trees, extension, |out| {
                out.extend_from_slice(&values);
                Ok::<(), Infallible>(())
            })
        });
        match pushed {
            Ok(bytes) => {
                self.count_sent(stream, bytes);
                Ok(())
            }
            Err(NotPushed::Values(never)) => match never {},
            Err(NotPushed::TooLong(bytes)) => Err(raised(py, fault::row_too_long(self, stream, bytes))),
        }
    }
}

impl Core {
    /// The tasks that another worker has.
    pub fn tasks_of_worker(&self, worker: u32) -> impl Iterator<Item = (&Task, &FarState)> {
        let far = self.tasks.get().iter().filter_map(|task| task.far().map(|far| (&**task, far)));
        far.filter(move |(_, far)| far.worker == worker)
    }
}
