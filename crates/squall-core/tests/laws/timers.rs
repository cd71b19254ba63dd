//! Timers against a sorted list.

use proptest::prelude::*;
use squall_core::timers::{TimerId, Timers};

#[derive(Clone, Debug)]
enum Step {
    At(u64),
    Cancel(usize),
    Pop(u64),
    Pull(u64, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u64..100).prop_map(Step::At),
        2 => any::<usize>().prop_map(Step::Cancel),
        3 => (0_u64..120).prop_map(Step::Pop),
        1 => (0_u64..100, 0_u32..3).prop_map(|(now, of)| Step::Pull(now, of)),
    ];
    proptest::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn timers_come_by_due_time_and_in_order_of_setting(steps in steps()) {
        let mut timers = Timers::new();
        // (due, id, item); ids grow, so the order of tuples is the order of coming due.
        let mut model: Vec<(u64, TimerId, u32)> = Vec::new();
        let mut every: Vec<TimerId> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::At(due) => {
                    let item = number as u32;
                    let id = timers.at(due, item);
                    prop_assert!(!every.contains(&id));
                    every.push(id);
                    model.push((due, id, item));
                }
                Step::Cancel(which) if !every.is_empty() => {
                    let id = every[which % every.len()];
                    let known = model.iter().position(|(_, known, _)| *known == id);
                    prop_assert_eq!(timers.cancel(id), known.map(|at| model.remove(at).2));
                }
                Step::Cancel(_) => {}
                Step::Pop(now) => {
                    model.sort_unstable();
                    let due = model.first().is_some_and(|(due, _, _)| *due <= now).then(|| model.remove(0));
                    prop_assert_eq!(timers.pop_due(now), due.map(|(_, id, item)| (id, item)));
                }
                Step::Pull(now, rest) => {
                    timers.pull_forward(now, |item| item % 3 == rest);
                    model.iter_mut().filter(|(_, _, item)| item % 3 == rest).for_each(|(due, _, _)| *due = now.min(*due));
                }
            }
            model.sort_unstable();
            prop_assert_eq!(timers.next_due(), model.first().map(|(due, _, _)| *due));
            prop_assert_eq!((timers.len(), timers.is_empty()), (model.len(), model.is_empty()));
        }
    }
}

#[test]
fn a_million_cancelled_timers_leave_nothing_behind() {
    let mut timers = Timers::new();
    let kept = timers.at(u64::MAX, ());
    for due in 0..1_000_000 {
        let id = timers.at(due, ());
        timers.cancel(id);
    }
    assert_eq!((timers.len(), timers.next_due()), (1, Some(u64::MAX)));
    assert!(timers.cancel(kept).is_some());
}
