//! What holds of records that end in any order: the tracker's count is that of a list which is looked through.

use super::script::Script;
use squall_core::tracker::{Position, Tracker};

/// The bytes say what begins and what ends, also what did before or never began.
pub fn check_tracker(bytes: &[u8]) {
    let mut script = Script(bytes);
    let (mut tracker, mut has_ended) = (Tracker::new(), Vec::new());
    let mut prefix = 0;
    while script.goes_on() {
        let choice = script.byte();
        match choice % 4 {
            0 => {
                for _ in 0..=choice / 4 {
                    assert_eq!(tracker.begin(), Position(has_ended.len() as u64));
                    has_ended.push(false);
                }
            }
            // Of the oldest that are under way, or anything.
            kind => {
                let at = if kind == 1 { prefix + script.below(256) } else { script.below(has_ended.len() + 2) };
                let is_news = has_ended.get(at).is_some_and(|has_ended| !has_ended);
                let told =
                    if kind == 3 && is_news { tracker.end_low(at as u32) } else { tracker.end(Position(at as u64)) };
                assert_eq!(told, is_news);
                if is_news {
                    has_ended[at] = true;
                }
            }
        }
        prefix += has_ended[prefix..].iter().take_while(|has_ended| **has_ended).count();
        assert_eq!(tracker.ended_prefix(), prefix as u64);
        assert_eq!(tracker.begun(), has_ended.len() as u64);
    }
    let outstanding = has_ended.iter().filter(|has_ended| !**has_ended).count();
    assert_eq!(tracker.outstanding(), outstanding as u64);
}
