//! Journals on a real disk (semantics 33): what was appended comes back, damage is told, the lock is one process's.

use squall_net::journal::{Journal, JournalDefect, JournalOptions};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A directory that is gone at the end of its test.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("squall-journal-{}-{}", std::process::id(), MADE.fetch_add(1, Relaxed));
        Place(std::env::temp_dir().join(name))
    }

    fn open(&self, most_bytes: u64) -> Result<Journal, JournalDefect> {
        Journal::open(JournalOptions { dir: self.0.clone(), most_bytes })
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|suffix| suffix == "journal")).collect();
        segments.sort();
        segments
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LARGE: u64 = 1 << 30;
/// Of a journal with segments of 1 KiB.
const SMALL: u64 = 8 << 10;

fn append(journal: &mut Journal, records: &[&str], ended: u64) -> u64 {
    journal.append(records.iter().map(|record| record.as_bytes()), ended).unwrap()
}

fn replayed(journal: &mut Journal) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    while let Some(group) = journal.next_replayed().unwrap() {
        let texts = group.records.iter().map(|at| &group.data[at.start as usize..at.end as usize]);
        let texts = texts.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        all.extend((group.first..).zip(texts));
    }
    all
}

fn numbers(journal: &mut Journal) -> Vec<u64> {
    replayed(journal).into_iter().map(|(number, _)| number).collect()
}

fn corrupt(place: &Place) -> (PathBuf, usize, String) {
    match place.open(LARGE).err() {
        Some(JournalDefect::Corrupt { file, at, what }) => (file, at, what),
        other => panic!("{other:?}"),
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

// semantics 33
#[test]
fn what_had_not_ended_comes_back_in_its_order() {
    let place = Place::new();
    let mut journal = place.open(LARGE).unwrap();
    assert_eq!(append(&mut journal, &["a", "b"], 0), 0);
    assert_eq!(append(&mut journal, &["", "d", "e"], 1), 2);
    drop(journal);
    let mut journal = place.open(LARGE).unwrap();
    let texts = [(1, "b"), (2, ""), (3, "d"), (4, "e")].map(|(number, text)| (number, text.to_owned()));
    assert_eq!((journal.began(), replayed(&mut journal)), (1, texts.to_vec()));
    journal.mark(4).unwrap();
    assert_eq!(append(&mut journal, &["f"], 4), 5);
    drop(journal);
    let mut journal = place.open(LARGE).unwrap();
    assert_eq!(numbers(&mut journal), [4, 5]);
    journal.close(6);
    assert!(place.segments().is_empty());
    assert_eq!(place.open(LARGE).unwrap().next(), 0);
}

// semantics 33
#[test]
fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let place = Place::new();
    let mut journal = place.open(LARGE).unwrap();
    append(&mut journal, &["first"], 0);
    let whole = journal.bytes() as usize;
    append(&mut journal, &["second", "third"], 0);
    drop(journal);
    let path = place.segments().pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let mut journal = place.open(LARGE).unwrap();
        let expected: &[u64] = if length < whole { &[] } else { &[0] };
        assert_eq!(numbers(&mut journal), expected, "cut at {length}");
        let next = expected.len() as u64;
        assert_eq!(append(&mut journal, &["again"], 0), next);
        drop(journal);
        let mut journal = place.open(LARGE).unwrap();
        assert_eq!(numbers(&mut journal), (0..=next).collect::<Vec<u64>>());
        journal.close(next + 1);
    }
}

// semantics 33
#[test]
fn damage_in_the_middle_is_told_with_its_place_and_nothing_is_changed() {
    let place = Place::new();
    let mut journal = place.open(LARGE).unwrap();
    append(&mut journal, &["first"], 0);
    let at = journal.bytes() as usize;
    append(&mut journal, &["second"], 0);
    append(&mut journal, &["third"], 0);
    drop(journal);
    let path = place.segments().pop().unwrap();
    flip(&path, at + 40);
    let before = fs::read(&path).unwrap();
    assert_eq!(corrupt(&place), (path.clone(), at, "records follow something that is none".to_owned()));
    assert_eq!(fs::read(&path).unwrap(), before);
    flip(&path, at + 40);
    flip(&path, 3);
    assert_eq!(corrupt(&place).1, 0);
    flip(&path, 3);
    assert_eq!(numbers(&mut place.open(LARGE).unwrap()), [0, 1, 2]);
}

// semantics 33
#[test]
fn a_segment_that_is_missing_is_told_unless_all_of_it_had_ended() {
    let place = Place::new();
    let mut journal = place.open(SMALL).unwrap();
    let long = "x".repeat(1100);
    (0..4).for_each(|number| assert_eq!(append(&mut journal, &[&long], 0), number));
    drop(journal);
    let segments = place.segments();
    assert_eq!(segments.len(), 4);
    let kept = fs::read(&segments[1]).unwrap();
    fs::remove_file(&segments[1]).unwrap();
    let (file, _, what) = corrupt(&place);
    assert_eq!((file, what.as_str()), (segments[0].clone(), "1 records are missing behind it"));
    fs::write(&segments[1], kept).unwrap();
    place.open(SMALL).unwrap().mark(2).unwrap();
    fs::remove_file(&segments[1]).unwrap();
    assert_eq!(numbers(&mut place.open(SMALL).unwrap()), [2, 3]);
}

// semantics 33
#[test]
fn a_full_journal_takes_nothing_until_records_have_ended() {
    let place = Place::new();
    let mut journal = place.open(SMALL).unwrap();
    let long = "x".repeat(1100);
    let full = loop {
        if let Err(error) = journal.append([long.as_bytes()].into_iter(), 0) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert!(journal.bytes() < SMALL + 1200);
    let (segments, next) = (place.segments().len(), journal.next());
    journal.trim(1);
    assert_eq!(place.segments().len(), segments - 1);
    assert_eq!(append(&mut journal, &[&long], 1), next);
    journal.trim(next + 1);
    assert!(place.segments().is_empty(), "the one that is written was full, too");
    assert_eq!(append(&mut journal, &["short"], next + 1), next + 1);
    drop(journal);
    assert_eq!(numbers(&mut place.open(SMALL).unwrap()), [next + 1]);
}

#[test]
fn a_journal_is_one_writers() {
    let place = Place::new();
    let journal = place.open(LARGE).unwrap();
    match place.open(LARGE).err() {
        Some(JournalDefect::InUse { holder }) => assert_eq!(holder, format!("process {}", std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(journal);
    place.open(LARGE).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_told() {
    let place = Place::new();
    fs::write(&place.0, b"a file").unwrap();
    assert!(matches!(place.open(LARGE), Err(JournalDefect::Unusable(_))));
    fs::remove_file(&place.0).unwrap();
}

#[test]
fn files_of_others_are_left_alone() {
    let place = Place::new();
    let mut journal = place.open(LARGE).unwrap();
    append(&mut journal, &["a"], 0);
    for name in ["notes.txt", "7.journal", "copy.journal"] {
        OpenOptions::new().create_new(true).write(true).open(place.0.join(name)).unwrap().write_all(b"mine").unwrap();
    }
    drop(journal);
    let mut journal = place.open(LARGE).unwrap();
    assert_eq!(numbers(&mut journal), [0]);
    journal.close(1);
    assert_eq!(place.segments().len(), 2);
}
