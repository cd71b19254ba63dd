//! Tasks of other workers: what is sent to them is encoded at once and waits for its link, as far as credit goes.
//!
//! A row is encoded when it is emitted, so what cannot be encoded fails there, and no reference is kept.

use crate::codec;
use crate::core::Core;
use crate::fault;
use crate::raised::Raised;
use crate::row::PyRow;
use crate::task::{Cur, OutStream, Task};
use squall_core::cell::Local;
use squall_core::credit::Credit;
use squall_core::flow::HighWater;
use squall_core::frame::{self, RowFlags};
use squall_core::ids::RootId;
use std::cell::Cell;

/// Rows for one task of another worker, encoded.
#[derive(Default)]
pub struct Waiting {
    pub bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    pub ends: Vec<u32>,
}

/// What this worker knows of a task of another one.
pub struct FarState {
    /// The other worker's number.
    pub worker: u32,
    pub waiting: Local<Waiting>,
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
            waiting: Local::default(),
            credit: Local::default(),
            high_water: Local::new(high_water),
            is_away: Cell::new(true),
            sequences: Local::default(),
        }
    }

    /// How many rows wait here.
    pub fn waiting(&self) -> usize {
        self.waiting.with(|waiting| waiting.ends.len())
    }

    /// Rows that its worker has not taken in yet.
    pub fn under_way(&self) -> usize {
        self.waiting() + self.credit.with(|credit| credit.under_way()) as usize
    }

    /// How many more rows may wait before it is over its high-water mark.
    pub fn room(&self) -> u64 {
        match self.is_away.get() {
            true => 0,
            false => self.high_water.with(|mark| mark.room(self.waiting())) as u64,
        }
    }

    /// Its worker is gone, and with it what was on its way.
    pub fn forget(&self) {
        self.is_away.set(true);
        self.waiting.replace(Waiting::default());
        self.credit.replace(Credit::default());
        self.sequences.replace(Vec::new());
    }

    /// The number of the next row in a channel.
    fn next_sequence(&self, channel: u32) -> u64 {
        self.sequences.with(|sequences| {
            if sequences.len() <= channel as usize {
                sequences.resize(channel as usize + 1, 0);
            }
            let sequence = &mut sequences[channel as usize];
            *sequence += 1;
            *sequence
        })
    }
}

impl Task {
    /// Sends a row to a task of another worker, anchored to `cur`.
    pub fn send_over(&self, stream: &OutStream, far: &FarState, row: &PyRow, cur: &Cur) -> Result<(), Raised> {
        let core = self.core();
        let root = cur.root.get();
        if !root.is_tracked() {
            return self.put_over(stream, far, row, &[]);
        }
        let edge = core.edges.next_id();
        match root.is_bundle() {
            false => self.put_over(stream, far, row, &[(root, edge)])?,
            true => {
                let pairs: Vec<_> = core.pairs_of(root, 0).iter().map(|(root, _)| (*root, edge)).collect();
                self.put_over(stream, far, row, &pairs)?;
            }
        }
        cur.xor.set(cur.xor.get() ^ edge);
        Ok(())
    }

    /// Puts an encoded row where it waits for its link.
    #[inline]
    pub fn put_over(
        &self,
        stream: &OutStream,
        far: &FarState,
        row: &PyRow,
        trees: &[(RootId, u64)],
    ) -> Result<(), Raised> {
        let core = self.core();
        let alone = core.solo.get() > 0 && trees.iter().any(|(root, _)| core.is_solo(*root));
        let flags = RowFlags { alone, ..RowFlags::default() };
        // Encoding may run user code, which may emit: the buffer is taken out meanwhile, and the row gets its number after.
        let mut bytes = core.encoding.replace(Vec::new());
        bytes.clear();
        let values_at = frame::begin_row(&mut bytes, self.task_id as u32, stream.number, flags, trees);
        let encoded = codec::encode_row(row, &mut bytes);
        let fits = encoded.map_err(|cause| fault::unencodable(self, stream, cause));
        if fits.is_ok() {
            frame::end_row(&mut bytes, values_at, far.next_sequence(stream.channel));
            far.waiting.with(|waiting| {
                waiting.bytes.extend_from_slice(&bytes);
                waiting.ends.push(waiting.bytes.len() as u32);
            });
            stream.transferred.set(stream.transferred.get() + 1);
        }
        core.encoding.replace(bytes);
        fits
    }
}

impl Core {
    /// The far tasks of a worker.
    pub fn tasks_of_worker(&self, worker: u32) -> impl Iterator<Item = (&Task, &FarState)> {
        let far = self.tasks.get().iter().filter_map(|task| task.far().map(|far| (&**task, far)));
        far.filter(move |(_, far)| far.worker == worker)
    }
}
