//! The journal's form: what was written comes back, whatever a crash cuts off, and damage is never taken for records.

use proptest::collection::vec;
use proptest::prelude::*;
use squall_core::journal::{Group, HEAD_BYTES, Head, HeadDefect, Scan, Tail, Trim, join, scan, trim, write_group};

type Records = Vec<Vec<u8>>;

const HEAD: Head = Head { first: 1_000, salt: 0x5eed };

fn segment(head: Head, groups: &[Records]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = head.to_bytes().to_vec();
    let (mut next, mut ends) = (head.first, vec![HEAD_BYTES]);
    for records in groups {
        next += write_group(&mut bytes, head.salt, next, next / 2, records.iter().map(Vec::as_slice));
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn read(bytes: &[u8], scan: &Scan) -> Vec<Records> {
    let of = |group: &Group| {
        let body = &bytes[group.body.clone()];
        Group::records(body).map(|at| body[at.start as usize..at.end as usize].to_vec()).collect()
    };
    scan.groups.iter().map(of).collect()
}

fn groups() -> impl Strategy<Value = Vec<Records>> {
    vec(vec(vec(any::<u8>(), 0..12), 0..4), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    // semantics 33
    #[test]
    fn what_was_written_comes_back(groups in groups()) {
        let (bytes, ends) = segment(HEAD, &groups);
        prop_assert_eq!(Head::of(&bytes), Ok(HEAD));
        let scan = scan(&bytes, HEAD);
        prop_assert_eq!(read(&bytes, &scan), groups.clone());
        prop_assert_eq!((scan.sound_bytes, scan.tail), (*ends.last().unwrap(), Tail::Clean));
        prop_assert_eq!(scan.next, HEAD.first + groups.iter().map(Vec::len).sum::<usize>() as u64);
    }

    // semantics 33
    #[test]
    fn every_truncation_leaves_the_commits_before_it(groups in groups()) {
        let (bytes, ends) = segment(HEAD, &groups);
        for length in HEAD_BYTES..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count() - 1;
            let scan = scan(&bytes[..length], HEAD);
            prop_assert_eq!(read(&bytes, &scan), &groups[..whole]);
            let tail = if ends[whole] == length { Tail::Clean } else { Tail::Torn };
            prop_assert_eq!((scan.sound_bytes, scan.tail), (ends[whole], tail));
        }
    }

    // semantics 33
    #[test]
    fn a_flipped_bit_in_the_middle_is_told_and_in_the_last_commit_is_a_torn_tail(
        groups in groups(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let (mut bytes, ends) = segment(HEAD, &groups);
        let at = HEAD_BYTES + at.index(bytes.len() - HEAD_BYTES);
        bytes[at] ^= 1_u8 << bit;
        let damaged = ends.iter().filter(|end| **end <= at).count() - 1;
        let scan = scan(&bytes, HEAD);
        prop_assert_eq!(read(&bytes, &scan), &groups[..damaged]);
        let tail = if damaged + 1 == groups.len() { Tail::Torn } else { Tail::Corrupt };
        prop_assert_eq!((scan.sound_bytes, scan.tail), (ends[damaged], tail));
    }

    #[test]
    fn a_flipped_bit_in_the_head_is_told_once_groups_follow(groups in groups(), at in 0..HEAD_BYTES, bit in 0_u8..8) {
        let (mut bytes, _) = segment(HEAD, &groups);
        bytes[at] ^= 1_u8 << bit;
        prop_assert_eq!(Head::of(&bytes), Err(HeadDefect::Corrupt));
        prop_assert_eq!(Head::of(&bytes[..HEAD_BYTES]), Err(HeadDefect::Torn));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Head::of(&bytes);
        let _ = scan(&bytes, HEAD);
        let _ = Group::records(&bytes).count();
    }

    // semantics 33
    #[test]
    fn groups_inside_records_are_records(groups in groups()) {
        let (inner, _) = segment(Head { salt: 1, ..HEAD }, &groups);
        let (mut bytes, ends) = segment(HEAD, &[vec![b"first".to_vec()], vec![inner]]);
        bytes.pop();
        let scan = scan(&bytes, HEAD);
        prop_assert_eq!((scan.groups.len(), scan.sound_bytes, scan.tail), (1, ends[1], Tail::Torn));
    }

    // semantics 33
    #[test]
    fn segments_join_unless_records_that_had_not_ended_are_missing(
        counts in vec((0_u64..5, 0_u64..3), 1..6), ended in 0_u64..20, lost in any::<prop::sample::Index>(),
    ) {
        let mut segments = Vec::new();
        let (mut first, mut reaches) = (7, Vec::new());
        for (i, (count, void)) in counts.iter().enumerate() {
            let is_last = i + 1 == counts.len();
            let ended = if is_last { ended.min(first) } else { 0 };
            let written = if is_last { *count } else { count + void };
            let scan = Scan { groups: Vec::new(), sound_bytes: 0, next: first + written, ended, tail: Tail::Torn };
            segments.push((Head { first, salt: 0 }, scan));
            first += count;
            reaches.push(first);
        }
        let ended = ended.min(segments.last().unwrap().0.first).max(7);
        let joined = join(&segments).unwrap();
        prop_assert_eq!((joined.next, joined.ended, joined.until), (first, ended, reaches));

        let lost = lost.index(segments.len());
        let is_last = lost + 1 == segments.len();
        let sound = segments.clone();
        segments[lost].1.tail = Tail::Corrupt;
        let has_ended = !is_last && segments[lost + 1].0.first <= ended;
        prop_assert_eq!(join(&segments).is_ok(), has_ended);

        let mut segments = sound;
        let (head, scan) = segments.remove(lost);
        let matters = lost > 0 && !is_last && scan.ended == 0
            && segments[lost].0.first > ended
            && segments[lost - 1].1.next < segments[lost].0.first;
        if lost > 0 && !is_last {
            prop_assert_eq!(join(&segments).is_err(), matters, "lost {:?}", head);
        }
    }
}

// semantics 33
#[test]
fn a_segment_is_gone_for_good_before_the_next_is_removed() {
    let removed = |until, may_come_back| trim(until, 10, may_come_back);
    assert_eq!(removed(Some(7), false), Some(Trim::RemoveOldest));
    assert_eq!(removed(Some(10), true), Some(Trim::SyncDirectory));
    assert_eq!([removed(Some(11), false), removed(Some(11), true), removed(None, true)], [None; 3]);
}
