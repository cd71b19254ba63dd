//! A disk for one journal: what was written is not what is there after a loss of power.

use crate::chance::Chance;
use std::collections::BTreeMap;

/// Pages of what was not synced reach the disk or not, each by itself.
const PAGE_BYTES: usize = 16;

#[derive(Clone, Default)]
struct File {
    data: Vec<u8>,
    /// So much of it is on the disk for sure, and how long it is.
    synced: Vec<u8>,
    is_listed: bool,
}

/// Files, by the numbers that are their names.
#[derive(Default)]
pub struct Disk {
    files: BTreeMap<u64, File>,
    /// Those that were removed since the directory was synced.
    removed: Vec<(u64, File)>,
}

impl Disk {
    /// A new, empty file; one of its name is gone.
    pub fn create(&mut self, name: u64) {
        self.files.insert(name, File::default());
    }

    /// Writes at a place; what lies behind it is gone.
    pub fn write_at(&mut self, name: u64, at: usize, bytes: &[u8]) {
        if let Some(file) = self.files.get_mut(&name) {
            file.data.resize(at, 0);
            file.data.extend_from_slice(bytes);
        }
    }

    /// Makes a file durable.
    pub fn sync(&mut self, name: u64) {
        if let Some(file) = self.files.get_mut(&name) {
            file.synced = file.data.clone();
        }
    }

    /// Makes durable which files there are.
    pub fn sync_directory(&mut self) {
        self.files.values_mut().for_each(|file| file.is_listed = true);
        self.removed.clear();
    }

    /// Removes a file.
    pub fn remove(&mut self, name: u64) {
        if let Some(file) = self.files.remove(&name) {
            self.removed.push((name, file));
        }
    }

    /// The names of all files, ascending.
    pub fn names(&self) -> Vec<u64> {
        self.files.keys().copied().collect()
    }

    /// What a file holds.
    pub fn read(&self, name: u64) -> &[u8] {
        self.files.get(&name).map_or(&[], |file| &file.data)
    }

    /// The power is lost. What was not synced is there in part, or not.
    pub fn lose_power(&mut self, chance: &Chance) {
        for (name, file) in std::mem::take(&mut self.removed) {
            if file.is_listed && !self.files.contains_key(&name) && chance.permille(500) {
                self.files.insert(name, file);
            }
        }
        self.files.retain(|_, file| file.is_listed || chance.permille(500));
        for file in self.files.values_mut() {
            file.is_listed = true;
            let durable = file.synced.len().min(file.data.len());
            if file.data[..durable] != file.synced[..] {
                file.data = file.synced.clone(); // it was cut after it was synced, and that is not durable
                continue;
            }
            let keeps_length = chance.permille(500);
            for page in file.data[durable..].chunks_mut(PAGE_BYTES) {
                if chance.permille(400) {
                    page.fill(0);
                }
            }
            if !keeps_length {
                let rest = file.data.len() - durable;
                file.data.truncate(durable + chance.below(rest as u64 + 1) as usize);
            }
            file.synced = file.data.clone();
        }
    }
}
