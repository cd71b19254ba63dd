//! A journal in a directory of its own: records are on disk when [`Journal::append`] returns (semantics 33).
//!
//! Segments are only ever appended to and removed whole, and each opening begins a new one: so nothing that was committed
//! is written again, and a commit that fails spoils nothing before it. After a failed sync the kernel may take pages for
//! written that are not; the records of that commit are therefore written anew, into another file.

use ring::rand::{SecureRandom, SystemRandom};
use squall_core::journal::{Group, HEAD_BYTES, Head, Tail, Trim, join, read, scan, trim, write_group};
use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a segment at which the next is begun, unless the journal is so small that an eighth of it is less.
const SEGMENT_BYTES: u64 = 16 << 20;
const SUFFIX: &str = "journal";
const LOCK: &str = "lock";

/// Where a journal is, and how large it gets.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The directory of this journal alone; it is made.
    pub dir: PathBuf,
    /// Bytes on disk at which nothing more is appended until records have ended.
    ///
    /// Bound: one commit more.
    pub most_bytes: u64,
}

/// Why a journal cannot be opened.
#[derive(Debug)]
pub enum JournalDefect {
    /// Somebody else has it.
    InUse {
        /// What he wrote of himself.
        holder: String,
    },
    /// Records that had not ended are damaged or missing.
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where in it.
        at: usize,
        /// What was found.
        what: String,
    },
    /// The system refuses.
    Unusable(io::Error),
}

impl From<io::Error> for JournalDefect {
    fn from(error: io::Error) -> Self {
        JournalDefect::Unusable(error)
    }
}

impl fmt::Display for JournalDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalDefect::InUse { holder } => write!(f, "it is in use by {holder}"),
            JournalDefect::Corrupt { file, at, what } => write!(f, "{}, byte {at}: {what}", file.display()),
            JournalDefect::Unusable(error) => write!(f, "{error}"),
        }
    }
}

/// A segment that is not written any more.
struct Old {
    path: PathBuf,
    bytes: u64,
    /// Records from this number on are not in it, or void.
    until: u64,
}

/// The segment that is written.
struct Active {
    file: File,
    path: PathBuf,
    salt: u32,
    /// What is durable of it.
    bytes: u64,
}

/// Records of one commit, as they are replayed.
pub struct Replayed {
    /// Number of the first.
    pub first: u64,
    /// The bytes in which they lie.
    pub data: Vec<u8>,
    /// Where.
    pub records: Vec<Range<u32>>,
}

/// What is left to be replayed.
struct Replay {
    segments: VecDeque<(PathBuf, u64)>,
    from: u64,
    /// The segment that was read, and its groups that are left.
    bytes: Vec<u8>,
    groups: VecDeque<Group>,
    until: u64,
}

/// An open journal; it is one writer's, by a lock that ends with the process.
pub struct Journal {
    options: JournalOptions,
    segment_bytes: u64,
    directory: File,
    _lock: File,
    old: VecDeque<Old>,
    active: Option<Active>,
    /// A segment that was removed may still come back.
    may_come_back: bool,
    next: u64,
    /// How many had ended when it was opened.
    began: u64,
    /// The most that a commit has told.
    marked: u64,
    replay: Replay,
    /// Bytes of torn commits that were cut off when it was opened.
    cut_bytes: u64,
    scratch: Vec<u8>,
}

impl Journal {
    /// Takes the lock and reads what the segments hold. A torn tail is cut.
    pub fn open(options: JournalOptions) -> Result<Journal, JournalDefect> {
        DirBuilder::new().recursive(true).mode(0o700).create(&options.dir)?;
        let lock = take_lock(&options.dir)?;
        let directory = File::open(&options.dir)?;
        let (mut paths, mut segments, mut cut_bytes) = (Vec::new(), Vec::new(), 0);
        let firsts = listed(&options.dir)?;
        for (i, first) in firsts.iter().enumerate() {
            let path = path_of(&options.dir, *first);
            let bytes = fs::read(&path)?;
            let (head, found) = read(&bytes, *first).map_err(|version| JournalDefect::Corrupt {
                file: path.clone(),
                at: 8,
                what: format!("it is of version {version}, which a newer squall writes"),
            })?;
            if i + 1 == firsts.len() && found.tail == Tail::Torn {
                cut_bytes = (bytes.len() - found.sound_bytes) as u64;
                cut(&path, found.sound_bytes as u64)?;
            }
            segments.push((head, found));
            paths.push(path);
        }
        let joined = join(&segments).map_err(|broken| {
            let what = match broken.missing {
                0 => "records follow something that is none".to_owned(),
                missing => format!("{missing} records are missing behind it"),
            };
            JournalDefect::Corrupt { file: paths[broken.segment].clone(), at: broken.at, what }
        })?;
        let mut marked = joined.ended;
        if let Some(path) = paths.last() {
            if joined.newest_is_empty {
                fs::remove_file(path)?;
                marked = 0;
                segments.pop();
                paths.pop();
            } else {
                File::open(path)?.sync_all()?; // what is read now must not vanish once others are written behind it
            }
        }
        let sizes = segments.iter().map(|(_, found)| found.sound_bytes as u64);
        let old = paths.into_iter().zip(sizes).zip(joined.until);
        let old: VecDeque<Old> = old.map(|((path, bytes), until)| Old { path, bytes, until }).collect();
        let replay = Replay {
            segments: old.iter().map(|one| (one.path.clone(), one.until)).collect(),
            from: joined.ended,
            bytes: Vec::new(),
            groups: VecDeque::new(),
            until: 0,
        };
        Ok(Journal {
            segment_bytes: SEGMENT_BYTES.min(options.most_bytes / 8),
            options,
            directory,
            _lock: lock,
            old,
            active: None,
            may_come_back: true, // what the life before removed
            next: joined.next,
            began: joined.ended,
            marked,
            replay,
            cut_bytes,
            scratch: Vec::new(),
        })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Number of the record that comes next: how many there were.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many records had ended when it was opened; those that follow are replayed.
    pub fn began(&self) -> u64 {
        self.began
    }

    /// How many have ended by what is on disk.
    pub fn marked(&self) -> u64 {
        self.marked
    }

    /// Bytes of a torn commit that were cut off when it was opened.
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// Its bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.old.iter().map(|one| one.bytes).sum::<u64>() + self.active.as_ref().map_or(0, |active| active.bytes)
    }

    /// The next records that were stored before it was opened and had not ended, in their order.
    ///
    /// Bound: one segment in memory.
    pub fn next_replayed(&mut self) -> io::Result<Option<Replayed>> {
        let replay = &mut self.replay;
        loop {
            let Some(group) = replay.groups.pop_front() else {
                let Some((path, until)) = replay.segments.front().cloned() else {
                    replay.bytes = Vec::new();
                    return Ok(None);
                };
                if until > replay.from {
                    replay.bytes = fs::read(&path)?;
                    let head = Head::of(&replay.bytes).map_err(|_| changed(&path))?;
                    replay.groups = scan(&replay.bytes, head).groups.into();
                    replay.until = until;
                    if replay.groups.back().is_none_or(|last| last.first + last.count < until) {
                        return Err(changed(&path));
                    }
                }
                replay.segments.pop_front();
                continue;
            };
            let skipped = replay.from.saturating_sub(group.first);
            let wanted = replay.until.min(group.first + group.count).saturating_sub(group.first);
            if skipped >= wanted {
                continue;
            }
            let data = replay.bytes[group.body].to_vec();
            let records = Group::records(&data).take(wanted as usize).skip(skipped as usize).collect();
            return Ok(Some(Replayed { first: group.first + skipped, data, records }));
        }
    }

    /// Makes records durable, with how many have ended by now. Number of the first of them.
    ///
    /// After an error nothing of it counts, and it may be tried again.
    pub fn append<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>, ended: u64) -> io::Result<u64> {
        let bytes = self.bytes();
        if bytes >= self.options.most_bytes {
            let most = self.options.most_bytes;
            return Err(io::Error::new(ErrorKind::StorageFull, format!("it holds {bytes} of at most {most} bytes")));
        }
        let first = self.next;
        self.next += self.commit(records, ended)?;
        Ok(first)
    }

    /// Makes durable how many have ended, so that a replay begins there.
    pub fn mark(&mut self, ended: u64) -> io::Result<()> {
        self.commit(std::iter::empty(), ended).map(drop)
    }

    /// Removes segments of which every record has ended; of a journal in which all have, every full one.
    pub fn trim(&mut self, ended: u64) {
        if ended == self.next && self.active.as_ref().is_some_and(|active| active.bytes >= self.segment_bytes) {
            self.retire();
        }
        loop {
            match trim(self.old.front().map(|oldest| oldest.until), ended, self.may_come_back) {
                Some(Trim::SyncDirectory) if self.directory.sync_all().is_ok() => self.may_come_back = false,
                Some(Trim::RemoveOldest) if self.remove_oldest().is_ok() => self.may_come_back = true,
                _ => return,
            }
        }
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.old.front() else { return Ok(()) };
        fs::remove_file(&oldest.path)?;
        self.old.pop_front();
        Ok(())
    }

    /// Says the last of what has ended; if all have, nothing is left on disk but the lock.
    pub fn close(mut self, ended: u64) {
        if ended == self.next {
            self.retire();
            self.trim(ended);
        } else if ended > self.marked {
            let _ = self.mark(ended); // without it more comes again
        }
    }

    fn commit<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>, ended: u64) -> io::Result<u64> {
        if self.active.as_ref().is_some_and(|active| active.bytes >= self.segment_bytes) {
            self.retire();
        }
        if self.active.is_none() {
            self.active = Some(self.begin_segment()?);
        }
        let active = self.active.as_mut().expect("made above");
        self.scratch.clear();
        let count = write_group(&mut self.scratch, active.salt, self.next, ended, records);
        let written = active.file.write_all_at(&self.scratch, active.bytes).and_then(|()| active.file.sync_data());
        let length = self.scratch.len() as u64;
        self.scratch.shrink_to(SEGMENT_BYTES as usize);
        if let Err(error) = written {
            let _ = active.file.set_len(active.bytes); // if not, the next segment says that it is void
            self.retire();
            return Err(error);
        }
        active.bytes += length;
        self.marked = self.marked.max(ended);
        Ok(count)
    }

    fn begin_segment(&self) -> io::Result<Active> {
        let mut salt = [0; 4];
        SystemRandom::new().fill(&mut salt).map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let head = Head { first: self.next, salt: u32::from_le_bytes(salt) };
        let path = path_of(&self.options.dir, self.next);
        // A file of this name has no record: it is what an attempt that failed has left.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let made = file.write_all_at(&head.to_bytes(), 0).and_then(|()| file.sync_all());
        if let Err(error) = made.and_then(|()| self.directory.sync_all()) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Active { file, path, salt: head.salt, bytes: HEAD_BYTES as u64 })
    }

    /// Writes no more into the active segment.
    fn retire(&mut self) {
        let Some(Active { path, bytes, .. }) = self.active.take() else { return };
        if path == path_of(&self.options.dir, self.next) {
            let _ = fs::remove_file(&path); // without a record; if it stays, the next is written over it
        } else {
            self.old.push_back(Old { path, bytes, until: self.next });
        }
    }
}

fn take_lock(dir: &Path) -> Result<File, JournalDefect> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = (&file).take(200).read_to_string(&mut holder);
            let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
            return Err(JournalDefect::InUse { holder });
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    // For those who come later. A full disk does not keep anybody from reading what is there.
    let _ = file.set_len(0);
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| write!(file, "process {}", std::process::id()));
    Ok(file)
}

fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.{SUFFIX}"))
}

/// First numbers of the segments, ascending.
fn listed(dir: &Path) -> io::Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == SUFFIX) {
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            firsts.extend(number.filter(|first| path == path_of(dir, *first)));
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Cuts a torn tail off.
fn cut(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(bytes)?;
    file.sync_all()
}

fn changed(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{} has changed since it was opened", path.display()))
}
