//! Credit between some senders and one task's mailbox, against what is truly in the mailbox.

use crate::mailbox::{Row, msg};
use proptest::prelude::*;
use squall_core::credit::{Credit, Inflow, ROW_BYTES};
use squall_core::link::Violation;
use squall_core::mailbox::{Channel, Mailbox};
use std::collections::VecDeque;

const SENDERS: usize = 3;
/// Channels of each sender; those behind are of local tasks.
const CHANNELS: u32 = 2;
const LOCAL: Channel = SENDERS as u32 * CHANNELS;

#[derive(Clone, Debug)]
enum Step {
    Send(usize, u64, u32),
    Local(u64),
    Pop(usize),
    TakeWhole,
    Hold(Channel),
    Release(Channel),
    Session(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..SENDERS, 1..60_u64, 0..CHANNELS).prop_map(|(sender, most, channel)| Step::Send(sender, most, channel)),
        2 => (1..20_u64).prop_map(Step::Local),
        6 => (1..80_usize).prop_map(Step::Pop),
        1 => Just(Step::TakeWhole),
        1 => (0..LOCAL).prop_map(Step::Hold),
        1 => (0..LOCAL).prop_map(Step::Release),
        1 => (0..SENDERS).prop_map(Step::Session),
    ];
    proptest::collection::vec(step, 0..300)
}

fn sender_of(channel: Channel) -> usize {
    (channel / CHANNELS) as usize
}

struct World {
    window: u64,
    mailbox: Mailbox<Row<()>>,
    credits: [Credit; SENDERS],
    inflows: [Inflow; SENDERS],
    /// What of each sender is in the mailbox (the last: of local tasks), the naive way.
    inside: [u64; SENDERS + 1],
    /// Some of what is inside may be of a session before.
    has_begun_anew: bool,
}

impl World {
    fn new(window: u64) -> World {
        World {
            window,
            mailbox: Mailbox::default(),
            credits: [Credit::new(window); SENDERS],
            inflows: std::array::from_fn(|_| Inflow::new(window)),
            inside: [0; SENDERS + 1],
            has_begun_anew: false,
        }
    }

    fn send(&mut self, sender: usize, most: u64, channel: u32) -> Result<(), Violation> {
        let tuples = self.credits[sender].room().min(most) as usize;
        self.credits[sender].spend(tuples, 0);
        self.inflows[sender].receive(tuples, 0)?;
        (0..tuples).for_each(|_| self.mailbox.push(msg(sender as u32 * CHANNELS + channel, ())));
        self.inside[sender] += tuples as u64;
        self.inflows[sender].pushed(tuples, 0, self.mailbox.pushed());
        Ok(())
    }

    fn take_out(&mut self, channel: Channel) {
        self.inside[sender_of(channel)] -= 1;
    }

    fn grant(&mut self) -> Result<(), Violation> {
        for sender in 0..SENDERS {
            let aside = self.mailbox.aside(|channel| sender_of(channel) == sender) as u64;
            let is_empty = self.mailbox.is_empty();
            if let Some(total) = self.inflows[sender].grant_due(self.mailbox.passed(), aside, is_empty) {
                self.credits[sender].grant(total)?;
                assert!(!self.credits[sender].grant(total)?, "a repeated grant gives nothing");
            }
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Send(sender, most, channel) => self.send(sender, most, channel)?,
            Step::Local(tuples) => {
                (0..tuples).for_each(|_| self.mailbox.push(msg(LOCAL, ())));
                self.inside[SENDERS] += tuples;
            }
            Step::Pop(most) => {
                for _ in 0..most {
                    let Some(popped) = self.mailbox.pop() else { break };
                    self.take_out(popped.channel);
                }
            }
            Step::TakeWhole => {
                let whole = self.mailbox.take_whole(1000).unwrap_or_default();
                whole.iter().for_each(|msg| self.take_out(msg.channel));
            }
            Step::Hold(channel) => self.mailbox.hold(channel),
            Step::Release(channel) => self.mailbox.release(channel),
            Step::Session(sender) => {
                self.credits[sender] = Credit::new(self.window);
                self.inflows[sender].begin();
                self.has_begun_anew = true;
            }
        }
        self.grant()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    // semantics 25
    #[test]
    fn no_sender_has_more_than_its_window_in_a_mailbox_and_none_starves(window in 1_u64..200, steps in steps()) {
        let mut world = World::new(window);
        for step in steps {
            world.step(step)?;
            for sender in 0..SENDERS {
                let (room, inside) = (world.credits[sender].room(), world.inside[sender]);
                prop_assert!(inside + room <= window, "{inside} inside and room for {room}");
                prop_assert!(inside + room > window - (window / 4).max(1), "free room was not granted");
                let under_way = world.credits[sender].under_way();
                prop_assert!(under_way >= inside || world.has_begun_anew, "{under_way} under way of {inside} inside");
                prop_assert!(!world.mailbox.is_empty() || (room, under_way) == (window, 0), "the last ones are told");
            }
        }
    }

    // semantics 25
    #[test]
    fn large_rows_are_bounded_by_their_bytes_and_pass_however_small_the_window(
        window in 1_u64..100,
        steps in proptest::collection::vec((1_u64..20, 0_usize..300 * ROW_BYTES, 0_usize..10), 1..60),
    ) {
        let (mailbox, mut inside) = (Mailbox::<Row<()>>::default(), VecDeque::new());
        let (mut credit, mut inflow, mut largest) = (Credit::new(window), Inflow::new(window), 0);
        let grant = |mailbox: &Mailbox<Row<()>>, inflow: &mut Inflow, credit: &mut Credit| {
            inflow.grant_due(mailbox.passed(), 0, mailbox.is_empty()).map(|total| credit.grant(total))
        };
        grant(&mailbox, &mut inflow, &mut credit);
        for (most, row_bytes, pops) in steps {
            let rows = credit.room().min(most) as usize;
            let frame_bytes = rows * row_bytes;
            credit.spend(rows, frame_bytes);
            prop_assert_eq!(inflow.receive(rows, frame_bytes), Ok(()));
            (0..rows).for_each(|_| mailbox.push(msg(0, ())));
            inside.extend((0..rows).map(|_| row_bytes));
            inflow.pushed(rows, frame_bytes, mailbox.pushed());
            largest = largest.max(frame_bytes);
            // What lies below one row's worth in each frame is not counted.
            let uncounted = inside.len() * ROW_BYTES;
            prop_assert!(inside.iter().sum::<usize>() <= window as usize * ROW_BYTES + largest + uncounted);
            prop_assert!(inside.len() as u64 <= window);
            for _ in 0..pops {
                mailbox.pop();
                inside.pop_front();
            }
            grant(&mailbox, &mut inflow, &mut credit);
            prop_assert!(!mailbox.is_empty() || credit.room() == window, "an empty mailbox has room for all");
        }
    }

    // semantics 25
    #[test]
    fn more_than_was_granted_is_a_violation(window in 1_usize..200, beyond in 1_usize..50) {
        let mut inflow = Inflow::new(window as u64);
        prop_assert_eq!(inflow.receive(1, 0), Err(Violation::Credit { most: 0, came: 1 }));
        prop_assert_eq!(inflow.grant_due(0, 0, false), Some(window as u64));
        let (most, came) = (window as u64, (window + beyond) as u64);
        prop_assert_eq!(inflow.receive(window + beyond, 0), Err(Violation::Credit { most, came }));
        prop_assert_eq!(inflow.receive(window, 0), Ok(()));
        let mut credit = Credit::new(most);
        prop_assert_eq!(credit.grant(came), Err(Violation::Credit { most, came }));
        prop_assert_eq!((credit.room(), credit.grant(most)), (0, Ok(true)));
    }
}

// semantics 25
#[test]
fn credit_goes_on_when_a_mailbox_s_counts_wrap() {
    let mut inflow = Inflow::new(8);
    assert_eq!(inflow.grant_due(u32::MAX - 1, 0, false), Some(8));
    inflow.receive(6, 0).unwrap();
    inflow.pushed(6, 0, 4); // from MAX - 1 to 4
    assert_eq!(inflow.grant_due(u32::MAX, 0, false), None);
    assert_eq!(inflow.grant_due(1, 0, false), Some(11));
    assert_eq!(inflow.grant_due(4, 1, false), Some(13));
}
