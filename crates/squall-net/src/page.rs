//! Memory that a worker shares with its parent: whose code is running on which tuples, how many calls were
//! made, and what became of the roots.
//!
//! When the worker is gone without a word (a crash, `os._exit`), the parent reads here which component ran on what, and
//! how far the run and each spout had come.

use crate::sys;
use squall_core::ids::RootId;
use squall_core::suspects;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What both sides write small things on.
const PAGE_BYTES: usize = 4096;
/// Behind it a number for each slot of the ledger: which output of which spout the newest tree in it began with. Only what
/// was used takes memory.
const SLOTS: usize = 1 << 20;
/// Behind those how many outputs of each spout's task have ended; more tasks than any worker has.
const SPOUTS: usize = 1 << 16;
const NUMBERS: usize = SLOTS + SPOUTS;
/// And what calls work on that run away from the loop, and behind those with which outputs that began: such a call may
/// take so long that its tree has failed, and its slot has another one.
const AWAY_AT: usize = PAGE_BYTES + NUMBERS * size_of::<u64>();
const SIZE: usize = AWAY_AT + 2 * AWAY * size_of::<u64>();
/// Roots of one call that are noted.
pub const SUSPECTS: usize = 64;
/// Roots that are noted of all calls which run away from the loop.
pub const AWAY: usize = 1024;

#[repr(C)]
struct Layout {
    component: AtomicU32,
    reserved: AtomicU32,
    calls: AtomicU64,
    overdue: AtomicU64,
    emitted: AtomicU64,
    acked: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
    suspects: [AtomicU64; SUSPECTS],
    reading: AtomicU64,
}

// What lies behind is the marks' (python/squall/runtime/marks.py).
const _: () = assert!(size_of::<Layout>() <= 1024);

/// The number of a spout's task, and the place of its output.
pub type Origin = (u32, u32);

/// An origin in a number, with the root's reuse of its slot, by which the number of a later tree is known. A task whose
/// number is too large has none.
#[inline(always)]
fn packed(root: RootId, (spout, place): Origin) -> u64 {
    u64::from(spout as u16).wrapping_add(1) << 48 | u64::from(root.reuse() as u16) << 32 | u64::from(place)
}

/// The origin in a number, if it is this root's.
fn unpacked(root: RootId, number: u64) -> Option<Origin> {
    let spout = ((number >> 48) as u32).checked_sub(1)?;
    ((number >> 32) as u16 == root.reuse() as u16).then_some((spout, number as u32))
}

/// What became of the roots of all spouts so far; the rest of those emitted is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tries begun.
    pub emitted: u64,
    /// Tries that ended well.
    pub acked: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Roots that were given up.
    pub dead: u64,
}

struct Mapping(*mut Layout);

// SAFETY: the layout consists of atomics.
unsafe impl Send for Mapping {}
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this size and nothing points into it any more.
        unsafe { libc::munmap(self.0.cast(), SIZE) };
    }
}

/// One mapping of a shared page; cheap to clone.
#[derive(Clone)]
pub struct Page(Arc<Mapping>);

impl Page {
    /// A new page of zeros and the descriptor that others open it by.
    pub fn create() -> io::Result<(Page, OwnedFd)> {
        // SAFETY: the name is a literal.
        let fd = sys::own(unsafe { libc::memfd_create(c"squall-page".as_ptr(), libc::MFD_CLOEXEC) })?;
        // SAFETY: no pointers.
        sys::check(unsafe { libc::ftruncate(fd.as_raw_fd(), SIZE as libc::off_t) })?;
        Ok((Page::map(&fd)?, fd))
    }

    /// The page behind a descriptor; an error of the kind `InvalidInput` says that it is too short to be one.
    pub fn open(fd: OwnedFd) -> io::Result<Page> {
        // SAFETY: a struct of numbers, which the call fills.
        let mut status: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: writes to a local.
        sys::check(unsafe { libc::fstat(fd.as_raw_fd(), &mut status) })?;
        if (status.st_size as usize) < SIZE {
            // Reading behind the end of a file ends the process.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the file is shorter than a page"));
        }
        Page::map(&fd)
    }

    fn map(fd: &OwnedFd) -> io::Result<Page> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of an open descriptor.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Page(Arc::new(Mapping(at.cast()))))
    }

    #[inline(always)]
    fn layout(&self) -> &Layout {
        // SAFETY: the mapping is as long as the layout and lives as long as `self`.
        unsafe { &*self.0.0 }
    }

    /// Code of this component runs from now on; 0: none.
    #[inline(always)]
    pub fn enter(&self, component: u32) {
        self.layout().component.store(component, Ordering::Relaxed);
    }

    /// The `calls`-th call of user code begins.
    #[inline(always)]
    pub fn call(&self, calls: u64) {
        self.layout().calls.store(calls, Ordering::Relaxed);
    }

    /// The call that begins works on a tuple of this root.
    #[inline(always)]
    pub fn suspect(&self, root: u64) {
        self.layout().suspects[0].store(root, Ordering::Relaxed);
        self.layout().suspects[1].store(0, Ordering::Relaxed);
    }

    /// The call that begins works on tuples of these roots, of which [`SUSPECTS`] are noted.
    pub fn suspect_all(&self, roots: impl Iterator<Item = u64>) {
        let suspects = &self.layout().suspects;
        let noted = suspects.iter().zip(roots).map(|(place, root)| place.store(root, Ordering::Relaxed)).count();
        if let Some(end) = suspects.get(noted) {
            end.store(0, Ordering::Relaxed);
        }
    }

    /// The roots of the tuples that the last call worked on, each once.
    pub fn suspects(&self) -> Vec<u64> {
        let roots = self.layout().suspects.iter().map(|root| root.load(Ordering::Relaxed));
        suspects::each_once(roots.take_while(|root| *root != 0))
    }

    /// User code reads a record from which outputs of this origin will come, by spout's task and place; None: it has.
    pub fn reads(&self, origin: Option<Origin>) {
        let number = origin.map_or(0, |(spout, place)| (u64::from(spout) + 1) << 32 | u64::from(place));
        self.layout().reading.store(number, Ordering::Relaxed);
    }

    /// The origin of the record that user code reads.
    pub fn reading(&self) -> Option<Origin> {
        let number = self.layout().reading.load(Ordering::Relaxed);
        Some(((number >> 32).checked_sub(1)? as u32, number as u32))
    }

    /// What calls away from the loop work on, and with which outputs it began.
    fn away(&self) -> (&[AtomicU64], &[AtomicU64]) {
        // SAFETY: the mapping has so many places there, all zero at first, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.0.0.cast::<u8>().add(AWAY_AT).cast::<AtomicU64>(), 2 * AWAY) }
            .split_at(AWAY)
    }

    /// A call away from the loop works on a tuple of this root, which has a place, less than [`AWAY`]; none: no more.
    pub fn work_away(&self, place: usize, root: RootId) {
        let (roots, origins) = self.away();
        origins[place].store(self.origin(root.slot()).load(Ordering::Relaxed), Ordering::Relaxed);
        roots[place].store(root.0, Ordering::Relaxed);
    }

    /// The roots that calls work on away from the loop, each once, and with which outputs they began if they are of the
    /// worker's own spouts.
    pub fn suspects_away(&self) -> Vec<(RootId, Option<Origin>)> {
        let (roots, origins) = self.away();
        let roots: Vec<u64> = roots.iter().map(|place| place.load(Ordering::Relaxed)).collect();
        let with_origin = |root: u64| {
            let at = roots.iter().position(|other| *other == root).expect("it is there");
            (RootId(root), unpacked(RootId(root), origins[at].load(Ordering::Relaxed)))
        };
        suspects::each_once(roots.iter().copied().filter(|root| *root != 0)).into_iter().map(with_origin).collect()
    }

    #[inline(always)]
    fn origin(&self, slot: u32) -> &AtomicU64 {
        self.number(slot as usize & (SLOTS - 1))
    }

    #[inline(always)]
    fn prefix(&self, spout: usize) -> &AtomicU64 {
        self.number(SLOTS + (spout & (SPOUTS - 1)))
    }

    /// The number at a place, below [`NUMBERS`], behind the first page.
    #[inline(always)]
    fn number(&self, at: usize) -> &AtomicU64 {
        // SAFETY: the mapping has so many numbers behind its first page, and lives as long as `self`.
        unsafe { &*self.0.0.cast::<u8>().add(PAGE_BYTES).cast::<AtomicU64>().add(at) }
    }

    /// The tree of this root begins with this output; none: with one that has no place.
    #[inline(always)]
    pub fn set_origin(&self, root: RootId, origin: Option<Origin>) {
        let number = origin.map_or(0, |origin| packed(root, origin));
        self.origin(root.slot()).store(number, Ordering::Relaxed);
    }

    /// Which output the tree of a root of the worker's own spouts begins with, or began with before it ended; none: its
    /// slot has another tree since.
    pub fn origin_of(&self, root: RootId) -> Option<Origin> {
        unpacked(root, self.origin(root.slot()).load(Ordering::Relaxed))
    }

    /// So many outputs of a spout's task have ended with all before them.
    #[inline]
    pub fn set_prefix(&self, spout: usize, ended: u64) {
        self.prefix(spout).store(ended, Ordering::Relaxed);
    }

    /// How many outputs of each of the first `spouts` tasks of spouts have ended with all before them.
    pub fn prefixes(&self, spouts: usize) -> Vec<u64> {
        (0..spouts).map(|spout| self.prefix(spout).load(Ordering::Relaxed)).collect()
    }

    /// Whose code runs; 0: nobody's.
    pub fn component(&self) -> u32 {
        self.layout().component.load(Ordering::Relaxed)
    }

    /// How many calls were begun.
    pub fn calls(&self) -> u64 {
        self.layout().calls.load(Ordering::Relaxed)
    }

    /// The number of the call that took longer than the message time-out; 0: none.
    #[inline(always)]
    pub fn overdue(&self) -> u64 {
        self.layout().overdue.load(Ordering::Relaxed)
    }

    /// Writes down what became of the roots so far.
    pub fn set_totals(&self, totals: Totals) {
        self.layout().emitted.store(totals.emitted, Ordering::Relaxed);
        self.layout().acked.store(totals.acked, Ordering::Relaxed);
        self.layout().failed.store(totals.failed, Ordering::Relaxed);
        self.layout().dead.store(totals.dead, Ordering::Relaxed);
    }

    /// What was written down last.
    pub fn totals(&self) -> Totals {
        Totals {
            emitted: self.layout().emitted.load(Ordering::Relaxed),
            acked: self.layout().acked.load(Ordering::Relaxed),
            failed: self.layout().failed.load(Ordering::Relaxed),
            dead: self.layout().dead.load(Ordering::Relaxed),
        }
    }

    /// Marks a call as overdue.
    pub fn set_overdue(&self, call: u64) {
        self.layout().overdue.store(call, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_core::ids::Incarnation;

    #[test]
    fn what_one_mapping_writes_the_other_reads() {
        let (ours, fd) = Page::create().unwrap();
        let theirs = Page::open(fd).unwrap();
        theirs.enter(3);
        theirs.call(17);
        assert_eq!((ours.component(), ours.calls()), (3, 17));
        ours.set_overdue(17);
        assert_eq!(theirs.overdue(), 17);
        let totals = Totals { emitted: 9, acked: 5, failed: 2, dead: 1 };
        theirs.set_totals(totals);
        assert_eq!(ours.totals(), totals);
    }

    #[test]
    fn suspects_are_those_of_the_last_call() {
        let (page, _fd) = Page::create().unwrap();
        assert_eq!(page.suspects(), []);
        page.suspect_all(1..=100);
        assert!(page.suspects().into_iter().eq(1..=SUSPECTS as u64));
        page.suspect_all([8, 7, 8].into_iter());
        assert_eq!(page.suspects(), [7, 8]);
        page.suspect(9);
        assert_eq!(page.suspects(), [9]);
    }

    #[test]
    fn what_is_worked_on_away_from_the_loop_is_noted_until_it_ends() {
        let (page, fd) = Page::create().unwrap();
        let theirs = Page::open(fd).unwrap();
        let (one, later) = (RootId::new(Incarnation(1), 1, 7), RootId::new(Incarnation(1), 2, 7));
        theirs.set_origin(one, Some((0, 9)));
        theirs.work_away(0, one);
        theirs.work_away(1, one);
        theirs.set_origin(later, Some((0, 10)));
        theirs.work_away(AWAY - 1, later);
        let (one, later) = ((one, Some((0, 9))), (later, Some((0, 10))));
        assert_eq!(page.suspects_away(), [one, later], "with what the slot had when the call began");
        (0..2).for_each(|place| theirs.work_away(place, RootId::NONE));
        assert_eq!(page.suspects_away(), [later]);
        assert_eq!(page.origin_of(RootId::new(Incarnation(1), 0, SLOTS as u32 - 1)), None);
    }

    #[test]
    fn a_record_is_noted_while_it_is_read() {
        let (page, _fd) = Page::create().unwrap();
        assert_eq!(page.reading(), None);
        page.reads(Some((0, u32::MAX)));
        assert_eq!(page.reading(), Some((0, u32::MAX)));
        page.reads(None);
        assert_eq!(page.reading(), None);
    }

    // semantics 9
    #[test]
    fn an_origin_is_of_the_newest_tree_in_its_slot() {
        let (page, fd) = Page::create().unwrap();
        let theirs = Page::open(fd).unwrap();
        let [root, next] = [4, 5].map(|reuse| RootId::new(Incarnation(1), reuse, SLOTS as u32 - 1));
        theirs.set_origin(root, Some((u32::from(u16::MAX) - 1, u32::MAX)));
        let origins = (page.origin_of(root), page.origin_of(next));
        assert_eq!(origins, (Some((u32::from(u16::MAX) - 1, u32::MAX)), None));
        theirs.set_origin(next, Some((0, 0)));
        assert_eq!((page.origin_of(root), page.origin_of(next)), (None, Some((0, 0))));
        theirs.set_origin(root, None);
        assert_eq!(page.origin_of(root), None);
    }

    #[test]
    fn prefixes_are_by_spout_however_many_there_are() {
        let (page, fd) = Page::create().unwrap();
        let theirs = Page::open(fd).unwrap();
        theirs.set_origin(RootId::new(Incarnation(1), 7, SLOTS as u32 - 1), Some((7, 7)));
        (0..1000).for_each(|spout| theirs.set_prefix(spout, spout as u64 + 1));
        assert_eq!(page.prefixes(1002), (1..=1000).chain([0, 0]).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_is_too_short_is_refused() {
        let (_page, fd) = Page::create().unwrap();
        // SAFETY: no pointers.
        sys::check(unsafe { libc::ftruncate(fd.as_raw_fd(), 100) }).unwrap();
        assert_eq!(Page::open(fd).err().map(|error| error.kind()), Some(io::ErrorKind::InvalidInput));
    }
}
