//! Tasks of other workers: rows for them wait here for their link, as far as credit goes.

use squall_core::credit::{self, Credit};
use squall_core::flow::HighWater;
use squall_core::frame::RowBuffer;
use std::collections::BTreeMap;

/// What this worker knows of a task of another one.
pub(super) struct Far {
    pub rows: RowBuffer,
    pub credit: Credit,
    high_water: HighWater,
    /// Its worker is not there: nothing that leads to it is begun.
    pub is_away: bool,
    window: u64,
    sequences: BTreeMap<u32, u64>,
}

impl Far {
    pub fn new(window: u64, high_water: HighWater) -> Far {
        let (rows, credit, sequences) = (RowBuffer::default(), Credit::new(window), BTreeMap::new());
        Far { rows, credit, high_water, is_away: true, window, sequences }
    }

    /// How many rows wait here, with large ones counted as several.
    fn weight(&self) -> usize {
        credit::weight(self.rows.len(), self.rows.bytes()) as usize
    }

    /// Whether no more should be sent here.
    pub fn is_full(&mut self) -> bool {
        self.is_away || self.high_water.room(self.weight()) == 0
    }

    /// Its worker is gone, and with it what was on its way: the rows that waited here.
    pub fn forget(&mut self) -> RowBuffer {
        self.is_away = true;
        self.sequences.clear();
        self.credit = Credit::new(self.window);
        std::mem::take(&mut self.rows)
    }

    /// The number of the next row in a channel.
    pub fn next_sequence(&mut self, source: u32) -> u64 {
        let next = self.sequences.entry(source).or_default();
        *next += 1;
        *next
    }
}
