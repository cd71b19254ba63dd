//! What holds of a journal's segments: of any bytes, what is read as a commit is one; and after a crash or damage no record
//! is read that was not written, and none is missing that was committed before the place of the damage, unless that is said.

use super::script::Script;
use squall_core::journal::{Broken, Group, HEAD_BYTES, Head, HeadDefect, Joined, Scan, Tail, join, scan, write_group};

const GROUP_HEAD_BYTES: usize = 32;

/// The bytes are a segment behind a sound head, or tell how a journal is written and damaged.
pub fn check_journal(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 3 {
        0 => check_segment(&[&Head { first: 5, salt: 1 }.to_bytes()[..], rest].concat()),
        1 => check_segment(&sealed(&mut Script(rest))),
        _ => Story::default().play(&mut Script(rest)),
    }
}

/// What is read as groups would be written as it stands there, and is all that is there up to the first byte that is not.
fn check_segment(segment: &[u8]) {
    let head = Head::of(segment).expect("a sound head");
    assert_eq!(head.to_bytes(), segment[..HEAD_BYTES]);
    let scan = scan(segment, head);
    let mut again = head.to_bytes().to_vec();
    let mut next = head.first;
    for group in &scan.groups {
        assert_eq!(group.first, next);
        assert!(group.ended <= group.first && group.ended <= scan.ended);
        let count = write_group(&mut again, head.salt, group.first, group.ended, records_of(segment, group));
        assert_eq!(count, group.count);
        next += count;
    }
    assert_eq!(again, segment[..scan.sound_bytes]);
    assert_eq!(scan.next, next);
    assert_eq!(scan.tail == Tail::Clean, scan.sound_bytes == segment.len());
    let (next, ended, tail) = (scan.next, scan.ended, scan.tail);
    match join(&[(head, scan)]) {
        Ok(joined) => assert!(joined.ended == ended.max(head.first) && joined.next == next.max(joined.ended)),
        Err(broken) => assert!(tail == Tail::Corrupt && broken.missing == 0),
    }
}

fn records_of<'a>(segment: &'a [u8], group: &Group) -> impl Iterator<Item = &'a [u8]> {
    let body = &segment[group.body.clone()];
    Group::records(body).map(|at| &body[at.start as usize..at.end as usize])
}

/// Groups that say anything of themselves under checksums that are right: those are more than a fuzzer guesses.
fn sealed(script: &mut Script<'_>) -> Vec<u8> {
    let head = Head { first: script.byte().into(), salt: script.byte().into() };
    let mut segment = head.to_bytes().to_vec();
    while script.goes_on() {
        let length = script.below(64);
        let body = script.bytes(length);
        let mut group = ((body.len() + script.below(2)) as u32).to_le_bytes().to_vec();
        group.extend(u32::from(script.byte()).to_le_bytes());
        group.extend(u64::from(script.byte()).to_le_bytes());
        group.extend(u64::from(script.byte()).to_le_bytes());
        group.extend(crc32c::crc32c_append(head.salt, body).to_le_bytes());
        let of_head = crc32c::crc32c_append(head.salt, &group);
        group.extend(of_head.to_le_bytes());
        assert_eq!(group.len(), GROUP_HEAD_BYTES);
        segment.extend(group);
        segment.extend(body);
    }
    segment
}

/// A commit that was confirmed: where it ends, the number of the record that came next, and how many had ended.
struct Commit {
    end: usize,
    next: u64,
    ended: u64,
}

/// A segment as it was written.
struct Segment {
    head: Head,
    bytes: Vec<u8>,
    commits: Vec<Commit>,
}

/// A journal in memory, written as one on a disk is.
#[derive(Default)]
struct Story {
    segments: Vec<Segment>,
    has_active: bool,
    /// Every confirmed record; numbers are places.
    records: Vec<Vec<u8>>,
    ended: u64,
}

impl Story {
    fn play(mut self, script: &mut Script<'_>) {
        let damage = (script.byte(), script.below(1 << 16), script.byte());
        while script.goes_on() {
            match script.below(6) {
                0 | 1 => self.commit(script, true),
                2 => self.commit(script, false),
                3 => self.ended = (self.ended + script.byte() as u64 % 8).min(self.records.len() as u64),
                4 => self.has_active = false,
                _ => self.trim(),
            }
        }
        let (segments, joined) = self.opened();
        let joined = joined.expect("nobody has damaged it");
        let marked = self.segments.iter().flat_map(|one| &one.commits).map(|commit| commit.ended).max();
        assert!((marked.unwrap_or(0)..=self.ended).contains(&joined.ended));
        self.check_records(&segments, &joined, self.records.len() as u64);
        self.damage(damage);
    }

    fn commit(&mut self, script: &mut Script<'_>, is_confirmed: bool) {
        if !self.has_active {
            self.begin_segment();
        }
        let lengths: Vec<usize> = (0..script.below(4)).map(|_| script.below(12)).collect();
        let records: Vec<Vec<u8>> = lengths.iter().map(|length| script.bytes(*length).to_vec()).collect();
        let (first, left) = (self.records.len() as u64, script.byte());
        let segment = self.segments.last_mut().expect("begun above");
        let before = segment.bytes.len();
        let all = records.iter().map(Vec::as_slice);
        let count = write_group(&mut segment.bytes, segment.head.salt, first, self.ended, all);
        if is_confirmed {
            segment.commits.push(Commit { end: segment.bytes.len(), next: first + count, ended: self.ended });
            self.records.extend(records);
        } else {
            // Its sync has failed, and more or less of it is on disk; the next commit goes elsewhere.
            let written = segment.bytes.len() - before;
            segment.bytes.truncate(before + written.min(usize::from(left)));
            self.has_active = false;
        }
    }

    /// One without a record has the name of the next one, which is written over it.
    fn begin_segment(&mut self) {
        let first = self.records.len() as u64;
        if self.segments.last().is_some_and(|last| last.head.first == first) {
            self.segments.pop();
        }
        let head = Head { first, salt: 1 + self.segments.len() as u32 };
        self.segments.push(Segment { head, bytes: head.to_bytes().to_vec(), commits: Vec::new() });
        self.has_active = true;
    }

    fn trim(&mut self) {
        while self.segments.get(1).is_some_and(|second| second.head.first <= self.ended) {
            self.segments.remove(0);
        }
    }

    /// What is read is what was written. A commit that was never confirmed may follow: a crash leaves it, or not.
    fn check_records(&self, segments: &[(Head, Scan)], joined: &Joined, least: u64) {
        assert!(joined.next >= least, "{} of {least} records", joined.next);
        let mut expected = joined.ended;
        for (i, ((_, scan), until)) in segments.iter().zip(&joined.until).enumerate() {
            for group in &scan.groups {
                for (number, record) in (group.first..).zip(records_of(&self.segments[i].bytes, group)) {
                    if number >= *until || number < joined.ended {
                        continue;
                    }
                    assert_eq!(number, expected, "in order and without a gap");
                    expected += 1;
                    if let Some(written) = self.records.get(number as usize) {
                        assert_eq!(record, written);
                    }
                }
            }
        }
        assert_eq!(expected, joined.next);
    }

    /// A segment is cut off, or bits of a byte flip.
    fn damage(mut self, (which, at, bits): (u8, usize, u8)) {
        let Some(last) = self.segments.len().checked_sub(1) else { return };
        let which = usize::from(which) % self.segments.len();
        let segment = &mut self.segments[which];
        let at = at % segment.bytes.len();
        if bits == 0 {
            segment.bytes.truncate(at);
        } else {
            segment.bytes[at] ^= bits;
        }
        let later = segment.commits.iter().filter(|commit| commit.end > at).count();
        let sound = segment.commits.len() - later;
        let before = sound.checked_sub(1).map_or(segment.head.first, |place| segment.commits[place].next);
        let (segments, joined) = self.opened();
        match joined {
            // Nobody knows of what was behind the end of the last one, or of its last commit.
            Ok(joined) => {
                assert!(which < last || bits == 0 || later <= 1, "what was committed later shows the damage");
                let least = if which == last { before } else { self.records.len() as u64 };
                self.check_records(&segments, &joined, least);
            }
            Err(broken) => {
                assert!(which < last || bits != 0, "a crash cuts the last segment off, and is no damage");
                assert_eq!(broken.segment, which);
            }
        }
    }

    /// As a journal is opened; the name of a segment says what is first in it.
    fn opened(&self) -> (Vec<(Head, Scan)>, Result<Joined, Broken>) {
        let read = |one: &Segment| {
            let first = one.head.first;
            let unread = |tail| {
                let scan = Scan { groups: Vec::new(), sound_bytes: 0, next: first, ended: 0, tail };
                (Head { first, salt: 0 }, scan)
            };
            match Head::of(&one.bytes) {
                Ok(head) => (head, scan(&one.bytes, head)),
                Err(HeadDefect::Torn) => unread(Tail::Torn),
                Err(_) => unread(Tail::Corrupt),
            }
        };
        let segments: Vec<_> = self.segments.iter().map(read).collect();
        let joined = join(&segments);
        (segments, joined)
    }
}
