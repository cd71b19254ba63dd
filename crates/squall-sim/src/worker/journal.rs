//! A journal on a simulated disk, with the steps of the shipping one (`squall-net`'s `journal.rs`): a commit is written,
//! and counts when it is synced; one that fails is written anew into another segment.

use crate::disk::Disk;
use crate::host::Host;
use squall_core::journal::{Broken, Group, HEAD_BYTES, Head, Scan, Tail, Trim, join, read, trim, write_group};
use std::collections::VecDeque;

/// A segment that is not written any more.
struct Old {
    name: u64,
    bytes: usize,
    until: u64,
}

/// The segment that is written.
struct Active {
    name: u64,
    salt: u32,
    bytes: usize,
}

/// The disk refused.
pub(super) struct Refused;

/// A commit that waits for the disk.
struct Begun {
    bytes: usize,
    count: u64,
    ended: u64,
}

pub(super) struct Journal {
    spout: usize,
    segment_bytes: usize,
    most_bytes: usize,
    old: VecDeque<Old>,
    active: Option<Active>,
    /// A segment that was removed may still come back.
    may_come_back: bool,
    pub next: u64,
    pub began: u64,
    pub marked: u64,
    /// The number and bytes of each record that had not ended.
    pub replay: Vec<(u64, Vec<u8>)>,
    begun: Option<Begun>,
}

impl Journal {
    /// Reads what the segments hold. A torn tail is cut.
    pub fn open(host: &mut Host, spout: usize) -> Result<Journal, Broken> {
        let most_bytes = host.plan.journal_bytes;
        let disk = &mut host.disks[spout];
        let mut names = disk.names();
        let mut segments: Vec<(Head, Scan)> = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let (head, found) = read(disk.read(*name), *name).expect("no newer program writes here");
            if i + 1 == names.len() && found.tail == Tail::Torn {
                disk.write_at(*name, found.sound_bytes, &[]);
                disk.sync(*name);
            }
            segments.push((head, found));
        }
        let joined = join(&segments)?;
        let mut marked = joined.ended;
        if let Some(name) = names.last().copied() {
            if joined.newest_is_empty {
                disk.remove(name);
                marked = 0;
                segments.pop();
                names.pop();
            } else {
                disk.sync(name);
            }
        }
        let mut replay = Vec::new();
        for ((name, (_, found)), until) in names.iter().zip(&segments).zip(&joined.until) {
            let bytes = disk.read(*name);
            for group in &found.groups {
                let body = &bytes[group.body.clone()];
                let numbered = Group::records(body).zip(group.first..);
                let wanted = numbered.filter(|(_, number)| (joined.ended..*until).contains(number));
                replay.extend(wanted.map(|(at, number)| (number, body[at.start as usize..at.end as usize].to_vec())));
            }
        }
        let sizes = segments.iter().map(|(_, found)| found.sound_bytes);
        let old =
            names.into_iter().zip(sizes).zip(joined.until).map(|((name, bytes), until)| Old { name, bytes, until });
        Ok(Journal {
            spout,
            segment_bytes: most_bytes / 8,
            most_bytes,
            old: old.collect(),
            active: None,
            may_come_back: true, // what the life before removed
            next: joined.next,
            began: joined.ended,
            marked,
            replay,
            begun: None,
        })
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> usize {
        self.old.iter().map(|one| one.bytes).sum::<usize>() + self.active.as_ref().map_or(0, |active| active.bytes)
    }

    /// Writes records, and how many have ended by now; [`Journal::synced`] says whether they are there.
    pub fn begin<'a>(
        &mut self,
        host: &mut Host,
        records: impl Iterator<Item = &'a [u8]>,
        ended: u64,
        is_mark: bool,
    ) -> Result<(), Refused> {
        if !is_mark && self.bytes() >= self.most_bytes {
            return Err(Refused);
        }
        if self.active.as_ref().is_some_and(|active| active.bytes >= self.segment_bytes) {
            self.retire(&mut host.disks[self.spout]);
        }
        if self.active.is_none() {
            self.active = Some(self.begin_segment(host)?);
        }
        let active = self.active.as_mut().expect("made above");
        let mut bytes = Vec::new();
        let count = write_group(&mut bytes, active.salt, self.next, ended, records);
        host.disks[self.spout].write_at(active.name, active.bytes, &bytes);
        self.begun = Some(Begun { bytes: bytes.len(), count, ended });
        Ok(())
    }

    /// The disk has done its part, or not. Number of the first record, and how many there are.
    pub fn synced(&mut self, host: &mut Host) -> Result<(u64, u64), Refused> {
        let (Some(begun), Some(active)) = (self.begun.take(), self.active.as_mut()) else { return Err(Refused) };
        if host.strikes(host.plan.faults.disk) {
            if host.chance.permille(500) {
                host.disks[self.spout].write_at(active.name, active.bytes, &[]); // cut
            }
            self.retire(&mut host.disks[self.spout]);
            return Err(Refused);
        }
        host.disks[self.spout].sync(active.name);
        active.bytes += begun.bytes;
        self.marked = self.marked.max(begun.ended);
        let first = self.next;
        self.next += begun.count;
        Ok((first, begun.count))
    }

    /// Removes segments of which every record has ended; of a journal in which all have, every full one.
    pub fn trim(&mut self, disk: &mut Disk, ended: u64) {
        let is_full = self.active.as_ref().is_some_and(|active| active.bytes >= self.segment_bytes);
        if ended == self.next && is_full && self.begun.is_none() {
            self.retire(disk);
        }
        loop {
            match trim(self.old.front().map(|oldest| oldest.until), ended, self.may_come_back) {
                Some(Trim::SyncDirectory) => {
                    disk.sync_directory();
                    self.may_come_back = false;
                }
                Some(Trim::RemoveOldest) => {
                    let oldest = self.old.pop_front().expect("it was asked about");
                    disk.remove(oldest.name);
                    self.may_come_back = true;
                }
                None => return,
            }
        }
    }

    fn begin_segment(&self, host: &mut Host) -> Result<Active, Refused> {
        let head = Head { first: self.next, salt: host.chance.bits() as u32 };
        let fails = host.strikes(host.plan.faults.disk);
        let disk = &mut host.disks[self.spout];
        disk.create(self.next);
        if fails {
            disk.remove(self.next);
            return Err(Refused);
        }
        disk.write_at(self.next, 0, &head.to_bytes());
        disk.sync(self.next);
        disk.sync_directory();
        Ok(Active { name: self.next, salt: head.salt, bytes: HEAD_BYTES })
    }

    /// Writes no more into the active segment.
    fn retire(&mut self, disk: &mut Disk) {
        let Some(Active { name, bytes, .. }) = self.active.take() else { return };
        if name == self.next {
            disk.remove(name); // without a record
        } else {
            self.old.push_back(Old { name, bytes, until: self.next });
        }
    }
}
