//! A mailbox with held channels, against one queue for each channel.

use proptest::prelude::*;
use squall_core::ids::RootId;
use squall_core::mailbox::{Channel, Mailbox, Msg};
use squall_core::route::Payload;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

const CHANNELS: u32 = 4;

/// A row that is never routed.
pub struct Row<T>(pub T);

impl<T: Clone> Payload for Row<T> {
    type Err = ();

    fn dup(&self) -> Self {
        Row(self.0.clone())
    }

    fn key(&self, _fields: &[u16]) -> Result<u64, ()> {
        Err(())
    }

    fn custom(&self, _which: u32) -> Result<Vec<u32>, ()> {
        Err(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(Channel),
    Pop,
    Look,
    Hold(Channel),
    Release(Channel),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..CHANNELS).prop_map(Step::Push),
        5 => Just(Step::Pop),
        1 => Just(Step::Look),
        1 => (0..CHANNELS).prop_map(Step::Hold),
        1 => (0..CHANNELS).prop_map(Step::Release),
    ];
    proptest::collection::vec(step, 0..400)
}

pub fn msg<T>(channel: Channel, row: T) -> Msg<Row<T>> {
    Msg { root: RootId(1), edge: 0, channel, row: Row(row) }
}

fn check_pop(
    popped: Option<Msg<Row<u32>>>,
    queues: &mut [VecDeque<u32>],
    held: &HashSet<Channel>,
) -> Result<(), TestCaseError> {
    match popped {
        None => {
            let waiting = (0..CHANNELS).find(|c| !held.contains(c) && !queues[*c as usize].is_empty());
            prop_assert_eq!(waiting, None, "a channel that is not held was starved");
        }
        Some(msg) => {
            prop_assert!(!held.contains(&msg.channel), "a tuple of a held channel came through");
            prop_assert_eq!(Some(msg.row.0), queues[msg.channel as usize].pop_front(), "a channel lost its order");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    // semantics 23
    #[test]
    fn channels_keep_their_order_and_only_held_ones_wait(steps in steps()) {
        let mailbox = Mailbox::default();
        let mut queues = vec![VecDeque::new(); CHANNELS as usize];
        let mut held = HashSet::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(channel) => {
                    mailbox.push(msg(channel, number as u32));
                    queues[channel as usize].push_back(number as u32);
                }
                Step::Pop => check_pop(mailbox.pop(), &mut queues, &held)?,
                Step::Look => {
                    let front = mailbox.front_channel();
                    prop_assert_eq!(mailbox.front_root().is_some(), front.is_some());
                    let popped = mailbox.pop();
                    prop_assert_eq!(front, popped.as_ref().map(|msg| msg.channel));
                    check_pop(popped, &mut queues, &held)?;
                }
                Step::Hold(channel) => {
                    mailbox.hold(channel);
                    held.insert(channel);
                }
                Step::Release(channel) => {
                    mailbox.release(channel);
                    held.remove(&channel);
                }
            }
            let waiting: usize = queues.iter().map(VecDeque::len).sum();
            prop_assert_eq!(mailbox.len(), waiting);
            prop_assert!(mailbox.ready() <= waiting);
        }
        (0..CHANNELS).for_each(|channel| mailbox.release(channel));
        while !mailbox.is_empty() {
            check_pop(mailbox.pop(), &mut queues, &HashSet::new())?;
        }
    }
}

#[test]
fn without_holds_tuples_come_in_the_order_of_arrival() {
    let mailbox = Mailbox::default();
    let (mut next_in, mut next_out) = (0_u32, 0_u32);
    for round in 0..200_u32 {
        (0..round % 17 * 5).for_each(|_| {
            mailbox.push(msg(next_in % 3, next_in));
            next_in += 1;
        });
        for _ in 0..round % 13 * 5 {
            let Some(popped) = mailbox.pop() else { break };
            assert_eq!(popped.row.0, next_out);
            next_out += 1;
        }
    }
    assert_eq!(mailbox.len() as u32, next_in - next_out);
}

proptest! {
    // Enough tuples to fill a good part of a ring, which is when it is handed over as it lies.
    #[test]
    fn a_mailbox_taken_whole_gives_everything_in_order_and_goes_on(rounds in proptest::collection::vec((0..600_u32, 0..40_usize, 0..600_usize), 1..12)) {
        let mailbox = Mailbox::default();
        let (mut next_in, mut next_out) = (0, 0);
        for (pushes, pops, most) in rounds {
            (0..pushes).for_each(|i| mailbox.push(msg(i % 3, next_in + i)));
            next_in += pushes;
            let popped = std::iter::from_fn(|| mailbox.pop()).take(pops);
            let mut given: Vec<_> = popped.collect();
            if let Some(whole) = mailbox.take_whole(most) {
                prop_assert!(whole.len() <= most && mailbox.is_empty());
                given.extend(whole);
            }
            for one in given {
                prop_assert_eq!(one.row.0, next_out);
                next_out += 1;
            }
            prop_assert_eq!(mailbox.len() as u32, next_in - next_out);
        }
    }
}

#[test]
fn a_mailbox_with_a_held_channel_is_not_taken_whole() {
    let mailbox = Mailbox::default();
    (0..200).for_each(|row| mailbox.push(msg(row % 2, row)));
    assert!(mailbox.take_whole(100).is_none());
    mailbox.hold(1);
    assert!(mailbox.take_whole(1000).is_none());
    mailbox.release(1);
    assert_eq!(mailbox.take_whole(1000).map(|all| all.len()), Some(200));
}

// A barrier of the next checkpoint may lie among the tuples that the release of the last one freed.
// semantics 23
#[test]
fn a_second_hold_parks_what_the_first_release_freed() {
    let mailbox = Mailbox::default();
    mailbox.hold(7);
    (0..4).for_each(|row| mailbox.push(msg(7, row)));
    assert!(mailbox.pop().is_none());
    mailbox.release(7);
    assert_eq!(mailbox.pop().map(|msg| msg.row.0), Some(0));
    mailbox.hold(7);
    assert!(mailbox.pop().is_none());
    mailbox.release(7);
    let rest: Vec<u32> = std::iter::from_fn(|| mailbox.pop().map(|msg| msg.row.0)).collect();
    assert_eq!(rest, [1, 2, 3]);
}

#[test]
fn a_mailbox_drops_what_it_still_holds() {
    let row = Rc::new(());
    let mailbox = Mailbox::default();
    (0..1000).for_each(|i| mailbox.push(msg(i % 2, Rc::clone(&row))));
    mailbox.hold(1);
    (0..100).for_each(|_| drop(mailbox.pop()));
    drop(mailbox);
    assert_eq!(Rc::strong_count(&row), 1);
}
