//! What holds of a journal on disk, whatever is stored, ends, crashes and is damaged: what had not ended comes back, in its
//! order and as it was, and nothing else does.

use super::journal::{Journal, JournalDefect, JournalOptions};
use super::script::Script;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// So little that segments are begun and removed all the time.
const MOST_BYTES: u64 = 4096;

/// The bytes say what happens to the journal in this folder, which is emptied first.
pub fn check_stored(folder: &Path, bytes: &[u8]) {
    let _ = fs::remove_dir_all(folder);
    let mut script = Script(bytes);
    let damage = (script.byte(), script.below(1 << 16), script.byte());
    let mut story = Story { folder, journal: Some(open(folder).expect("a new one")), ..Story::default() };
    for _ in 0..40 {
        if !script.goes_on() {
            break;
        }
        story.step(&mut script);
    }
    story.damage(damage);
    let _ = fs::remove_dir_all(folder);
}

fn open(folder: &Path) -> Result<Journal, JournalDefect> {
    Journal::open(JournalOptions { dir: folder.to_owned(), most_bytes: MOST_BYTES })
}

struct Story<'a> {
    folder: &'a Path,
    journal: Option<Journal>,
    /// What was stored; numbers are places.
    records: Vec<Vec<u8>>,
    ended: u64,
    /// What had ended by the last commit that had records.
    marked: u64,
}

impl Default for Story<'_> {
    fn default() -> Self {
        Story { folder: Path::new(""), journal: None, records: Vec::new(), ended: 0, marked: 0 }
    }
}

impl Story<'_> {
    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("it is open between two steps")
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let ended = self.ended;
        match script.below(7) {
            0 | 1 => self.append(script),
            2 => self.ended = (ended + script.below(8) as u64).min(self.records.len() as u64),
            3 => self.journal().mark(ended).expect("there is room for a mark"),
            4 => self.journal().trim(ended),
            5 => {
                drop(self.journal.take());
                let length = script.below(40);
                self.reopen(script.bytes(length));
            }
            _ => {
                self.journal.take().expect("it is open").close(ended);
                self.reopen(b"");
            }
        }
    }

    fn append(&mut self, script: &mut Script<'_>) {
        let lengths: Vec<usize> = (0..script.below(4)).map(|_| script.below(200)).collect();
        let records: Vec<Vec<u8>> = lengths.iter().map(|length| script.bytes(*length).to_vec()).collect();
        let ended = self.ended;
        match self.journal().append(records.iter().map(Vec::as_slice), ended) {
            Ok(first) => {
                assert_eq!(first, self.records.len() as u64);
                self.marked = if records.is_empty() { self.marked } else { ended };
                self.records.extend(records);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull);
                assert!(self.journal().bytes() >= MOST_BYTES);
            }
        }
    }

    /// After a crash, which has left this much of a commit.
    fn reopen(&mut self, torn: &[u8]) {
        let newest = segments(self.folder).pop();
        if let Some(newest) = &newest {
            OpenOptions::new().append(true).open(newest).and_then(|mut file| file.write_all(torn)).expect("a tail");
        }
        let mut journal = open(self.folder).expect("nobody has damaged it");
        assert_eq!(journal.cut_bytes(), newest.map_or(0, |_| torn.len() as u64));
        if journal.next() != self.records.len() as u64 {
            assert_eq!(
                (journal.next(), self.ended),
                (0, self.records.len() as u64),
                "all had ended, and nothing is left"
            );
            (self.records, self.ended, self.marked) = (Vec::new(), 0, 0);
        }
        assert!((self.marked..=self.ended).contains(&journal.began()));
        let back = replayed(&mut journal);
        assert!(back == self.records[journal.began() as usize..], "what had not ended comes back");
        self.journal = Some(journal);
    }

    /// A file is cut off, or bits of it flip: what is read then was written, or it is told.
    fn damage(mut self, (which, at, bits): (u8, usize, u8)) {
        drop(self.journal.take());
        let segments = segments(self.folder);
        let Some(path) = segments.get(usize::from(which) % segments.len().max(1)) else { return };
        let mut bytes = fs::read(path).expect("a segment");
        let at = at % bytes.len();
        if bits == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= bits;
        }
        fs::write(path, bytes).expect("it was there");
        match open(self.folder) {
            Ok(mut journal) => {
                let (began, back) = (journal.began() as usize, replayed(&mut journal));
                assert!(self.records.get(began..began + back.len()) == Some(&back), "what is read was written");
                let is_newest = segments.last() == Some(path);
                assert!(is_newest || began + back.len() == self.records.len(), "what is missing is told");
            }
            Err(JournalDefect::Corrupt { file, .. }) => assert!(segments.contains(&file)),
            Err(other) => panic!("{other}"),
        }
    }
}

/// The oldest first.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut segments: Vec<_> = paths.filter(|path| path.extension().is_some()).collect();
    segments.sort();
    segments
}

fn replayed(journal: &mut Journal) -> Vec<Vec<u8>> {
    let (mut next, mut records) = (journal.began(), Vec::new());
    while let Some(part) = journal.next_replayed().expect("it can be read") {
        assert_eq!(part.first, next);
        records.extend(part.records.iter().map(|at| part.data[at.start as usize..at.end as usize].to_vec()));
        next += part.records.len() as u64;
    }
    assert_eq!(next, journal.next());
    records
}
