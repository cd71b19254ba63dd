//! The form of a journal on disk: records that a source has taken, until they have ended (semantics 33).
//!
//! A journal is a row of segments, files of a [`Head`] and groups. A group is what one commit writes: it is durable, or
//! the next is not begun. So a group that cannot be read is the torn tail of a crash if nothing sound follows it, and
//! damage if something does; no guess is needed, as it would be with a checksum for each record: the pages of a commit
//! that was cut off by a loss of power may be on disk in any order. Each group also says how many records had ended
//! when it was written; one without records says only that.
//!
//! Checksums begin with a random salt of the segment. Without it a sender could write what looks like a group into its
//! records, and blocks that an older file has left behind could be taken for groups of this one.

use crc32c::crc32c_append;
use std::ops::Range;

/// How a segment begins. The line end shows a file that was changed as if it were text.
const MAGIC: [u8; 8] = *b"SQJRNL\r\n";
/// Of the form that is written. Others are not read.
pub const VERSION: u32 = 1;
/// Bytes before the first group: magic, version, salt, first number, checksum.
pub const HEAD_BYTES: usize = 28;
/// Bytes of a group before its records: their bytes and number, the first number, how many had ended, two checksums.
const GROUP_HEAD_BYTES: usize = 32;
/// Bytes of a record before it: its length.
const LENGTH_BYTES: usize = 4;

/// How a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the first record that may be in it.
    pub first: u64,
    /// Random.
    pub salt: u32,
}

/// Why a segment's head cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadDefect {
    /// It was never finished, so nothing was stored behind it.
    Torn,
    /// It is no segment, or was damaged.
    Corrupt,
    /// It is of a form that a newer program writes.
    Version(u32),
}

impl Head {
    /// As a segment begins with it.
    pub fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        let checksum = crc32c_append(0, &bytes[..24]);
        bytes[24..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Of a segment's bytes. It is durable before a group follows, so a file that is longer has, or had, a sound one.
    pub fn of(segment: &[u8]) -> Result<Head, HeadDefect> {
        let defect = if segment.len() > HEAD_BYTES { HeadDefect::Corrupt } else { HeadDefect::Torn };
        let bytes = segment.get(..HEAD_BYTES).ok_or(defect)?;
        if bytes[..8] != MAGIC || crc32c_append(0, &bytes[..24]) != u32_at(bytes, 24) {
            return Err(defect);
        }
        match u32_at(bytes, 8) {
            VERSION => Ok(Head { first: u64_at(bytes, 16), salt: u32_at(bytes, 12) }),
            other => Err(HeadDefect::Version(other)),
        }
    }
}

/// Appends a group of records to `out`. How many there were.
///
/// Bound: the caller gives fewer than 2^32 bytes, lengths included.
pub fn write_group<'a>(
    out: &mut Vec<u8>,
    salt: u32,
    first: u64,
    ended: u64,
    records: impl Iterator<Item = &'a [u8]>,
) -> u64 {
    let head = out.len();
    let start = head + GROUP_HEAD_BYTES;
    out.resize(start, 0);
    let mut count = 0_u32;
    for record in records {
        out.extend_from_slice(&(record.len() as u32).to_le_bytes());
        out.extend_from_slice(record);
        count += 1;
    }
    let bytes = u32::try_from(out.len() - start).expect("the caller bounds a group");
    let of_records = crc32c_append(salt, &out[start..]);
    out[head..head + 4].copy_from_slice(&bytes.to_le_bytes());
    out[head + 4..head + 8].copy_from_slice(&count.to_le_bytes());
    out[head + 8..head + 16].copy_from_slice(&first.to_le_bytes());
    let ended = if mutant!(EndedOverstated) { first } else { ended };
    out[head + 16..head + 24].copy_from_slice(&ended.to_le_bytes());
    out[head + 24..head + 28].copy_from_slice(&of_records.to_le_bytes());
    let of_head = crc32c_append(salt, &out[head..head + 28]);
    out[head + 28..start].copy_from_slice(&of_head.to_le_bytes());
    u64::from(count)
}

/// A group that was found sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Number of its first record.
    pub first: u64,
    /// How many records it has.
    pub count: u64,
    /// How many records of the journal had ended when it was written.
    pub ended: u64,
    /// Where its records are, with their lengths, in the segment.
    pub body: Range<usize>,
}

impl Group {
    /// Where the records lie in the group's body.
    pub fn records(body: &[u8]) -> impl Iterator<Item = Range<u32>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let length = u32::from_le_bytes(*body.get(at..)?.first_chunk()?) as usize;
            let start = at + LENGTH_BYTES;
            at = start.checked_add(length).filter(|end| *end <= body.len())?;
            Some(start as u32..at as u32)
        })
    }
}

/// What lies behind a segment's last sound group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Clean,
    /// What a crash has left of a commit, which was never confirmed.
    Torn,
    /// Damage: something that was committed later follows it.
    Corrupt,
}

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Its sound groups, from the first on.
    pub groups: Vec<Group>,
    /// Where they end.
    pub sound_bytes: usize,
    /// Number of the record that would come next.
    pub next: u64,
    /// The most that its groups say has ended.
    pub ended: u64,
    /// What follows them.
    pub tail: Tail,
}

/// Reads a segment whose name says the number of its first record.
///
/// Errors: the version, if a newer program has written it.
pub fn read(segment: &[u8], first: u64) -> Result<(Head, Scan), u32> {
    let tail = match Head::of(segment) {
        Ok(head) if head.first == first => return Ok((head, scan(segment, head))),
        Err(HeadDefect::Version(version)) => return Err(version),
        Ok(_) | Err(HeadDefect::Corrupt) => Tail::Corrupt,
        Err(HeadDefect::Torn) => Tail::Torn,
    };
    Ok((Head { first, salt: 0 }, Scan { groups: Vec::new(), sound_bytes: 0, next: first, ended: 0, tail }))
}

/// Reads all groups of a segment, whatever its bytes are.
///
/// Cost: one pass; behind damage one look at each byte more.
pub fn scan(segment: &[u8], head: Head) -> Scan {
    let mut scan = Scan { groups: Vec::new(), sound_bytes: HEAD_BYTES, next: head.first, ended: 0, tail: Tail::Clean };
    while let Some(group) = sound_group(segment, scan.sound_bytes, head.salt).filter(|group| group.first == scan.next) {
        scan.sound_bytes = group.body.end;
        scan.next += group.count;
        scan.ended = scan.ended.max(group.ended);
        scan.groups.push(group);
    }
    if mutant!(LastGroupLost)
        && scan.groups.len() > 1
        && let Some(last) = scan.groups.pop()
    {
        scan.next = last.first;
    }
    if scan.sound_bytes < segment.len() {
        let later = scan.sound_bytes + 1..segment.len();
        let follows = |at| group_head(segment, at, head.salt).is_some_and(|group| group.first >= scan.next);
        scan.tail = if later.into_iter().any(follows) { Tail::Corrupt } else { Tail::Torn };
    }
    scan
}

/// The head of a group at a place, if its checksum is right.
fn group_head(segment: &[u8], at: usize, salt: u32) -> Option<Group> {
    let head = segment.get(at..at.checked_add(GROUP_HEAD_BYTES)?)?;
    if crc32c_append(salt, &head[..28]) != u32_at(head, 28) {
        return None;
    }
    let start = at + GROUP_HEAD_BYTES;
    let (first, ended, count) = (u64_at(head, 8), u64_at(head, 16), u64::from(u32_at(head, 4)));
    let is_possible = first.checked_add(count).is_some() && ended <= first;
    is_possible.then(|| Group { first, count, ended, body: start..start.saturating_add(u32_at(head, 0) as usize) })
}

fn sound_group(segment: &[u8], at: usize, salt: u32) -> Option<Group> {
    let group = group_head(segment, at, salt)?;
    let body = segment.get(group.body.clone())?;
    let is_sound = (crc32c_append(salt, body) == u32_at(segment, at + 24) || mutant!(TornTailAccepted))
        && Group::records(body).count() as u64 == group.count
        && Group::records(body).last().map_or(0, |record| record.end as usize) == body.len();
    is_sound.then_some(group)
}

/// What the segments of a journal are together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Number of the record that comes next.
    pub next: u64,
    /// How many records have ended for sure.
    pub ended: u64,
    /// For each segment, the number from which on its records are void, as the next segment has them.
    pub until: Vec<u64>,
    /// The newest segment is without a record and has the name of the one that comes next: it goes before that is made.
    pub newest_is_empty: bool,
}

/// What is wrong with a segment that holds records which have not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which segment.
    pub segment: usize,
    /// Where in it.
    pub at: usize,
    /// Records that should be there.
    pub missing: u64,
}

/// Joins segments, oldest first. Of those whose records have all ended nothing is asked.
///
/// A commit that failed is written again into a new segment, and what is left of it in the old one is void.
pub fn join(segments: &[(Head, Scan)]) -> Result<Joined, Broken> {
    let Some((oldest, _)) = segments.first() else {
        return Ok(Joined { next: 0, ended: 0, until: Vec::new(), newest_is_empty: false });
    };
    let ended = segments.iter().map(|(_, scan)| scan.ended).fold(oldest.first, u64::max);
    let ended = ended + u64::from(mutant!(JoinSkipsOne) && segments.iter().any(|(_, scan)| scan.next > ended));
    let mut next = ended;
    let mut untils = Vec::with_capacity(segments.len());
    for (i, (_, scan)) in segments.iter().enumerate() {
        let follower = segments.get(i + 1).map(|(head, _)| head.first);
        let until = match follower {
            Some(first) if !mutant!(VoidRecordsKept) => first.min(scan.next),
            _ => scan.next,
        };
        untils.push(until);
        next = next.max(until);
        if follower.is_some_and(|first| first <= ended) {
            continue;
        }
        let missing = follower.map_or(0, |first| first.saturating_sub(until));
        if missing > 0 || scan.tail == Tail::Corrupt {
            return Err(Broken { segment: i, at: scan.sound_bytes, missing });
        }
    }
    let newest_is_empty = segments.last().is_some_and(|(head, scan)| (head.first, scan.next) == (next, next));
    Ok(Joined { next, ended, until: untils, newest_is_empty })
}

/// What a trim does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// Makes durable which segments there are.
    SyncDirectory,
    /// Removes the oldest segment.
    RemoveOldest,
}

/// What is to be done so that segments whose records have all ended go; `None`: nothing more.
///
/// One goes for good before the next: if it came back after a loss of power, and a younger one did not, records would
/// seem to be missing between.
///
/// Args: `oldest_until` is the number from which on records are not in the oldest segment, if there is one; `ended` how
/// many records have ended; `may_come_back`: a segment was removed since the directory was synced.
pub fn trim(oldest_until: Option<u64>, ended: u64, may_come_back: bool) -> Option<Trim> {
    let next = if may_come_back && !mutant!(TrimmedAtOnce) { Trim::SyncDirectory } else { Trim::RemoveOldest };
    oldest_until.is_some_and(|until| until <= ended + u64::from(mutant!(TrimmedTooEarly))).then_some(next)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
