//! Runs the pages of `tests/scenarios`: orders, a line of dashes, what must be answered.

use squall_core::ack::Ledger;
use squall_core::ids::{Incarnation, RootId};
use squall_core::key;
use squall_core::route::{Grouping, PartialKey, Payload, Pick, Route, Turns};
use std::cell::Cell;
use std::collections::BTreeMap;

#[test]
fn ledger_scenarios() {
    let mut ledger = NamedLedger::default();
    play(include_str!("../scenarios/ledger.txt"), |order| ledger.obey(order));
}

#[test]
fn routing_scenarios() {
    let mut route = None;
    play(include_str!("../scenarios/routing.txt"), |order| obey_route(&mut route, order));
}

/// Gives each block's orders to `obey` and compares the answer to the last one.
fn play(page: &str, mut obey: impl FnMut(&[&str]) -> String) {
    let without_comments: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
    for block in without_comments.split(|line| line.is_empty()).filter(|block| !block.is_empty()) {
        let dashes = block.iter().position(|line| *line == "----").unwrap_or_else(|| panic!("no dashes: {block:?}"));
        let (orders, expected) = (&block[..dashes], block[dashes + 1..].join("\n"));
        let answers: Vec<String> =
            orders.iter().map(|order| obey(&order.split_whitespace().collect::<Vec<_>>())).collect();
        assert_eq!(answers.last(), Some(&expected), "after {}", orders.join(", "));
    }
}

/// A ledger whose trees have names; a name given again is a new tree.
struct NamedLedger {
    ledger: Ledger<String>,
    roots: BTreeMap<String, RootId>,
}

impl Default for NamedLedger {
    fn default() -> Self {
        NamedLedger { ledger: Ledger::new(Incarnation(1)), roots: BTreeMap::new() }
    }
}

impl NamedLedger {
    fn obey(&mut self, order: &[&str]) -> String {
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).expect(text);
        let stale = self.ledger.stale();
        let ended = match *order {
            ["open", name] => {
                let root = self.ledger.open(name.to_owned()).expect("a free slot");
                self.roots.insert(name.to_owned(), root);
                None
            }
            ["init", name, xor] => self.ledger.init(self.roots[name], number(xor)),
            ["ack", name, xor] => self.ledger.ack(self.roots[name], number(xor)),
            ["fail", name] => self.ledger.fail(self.roots[name]).map(|name| format!("{name} (failed)")),
            ["restart"] => {
                self.ledger = Ledger::new(Incarnation(2));
                None
            }
            _ => panic!("unknown order {order:?}"),
        };
        match ended {
            Some(name) => format!("ended: {name}"),
            None if self.ledger.stale() > stale => "stale".to_owned(),
            None => format!("open: {}", self.ledger.pending()),
        }
    }
}

/// A row that is one word.
struct Word<'a>(&'a str);

impl Payload for Word<'_> {
    type Err = String;

    fn dup(&self) -> Self {
        Word(self.0)
    }

    fn key(&self, _fields: &[u16]) -> Result<u64, String> {
        Ok(key::text(self.0.as_bytes()))
    }

    fn custom(&self, _which: u32) -> Result<Vec<u32>, String> {
        Ok((0..self.0.len() as u32).collect())
    }
}

fn obey_route(route: &mut Option<Route>, order: &[&str]) -> String {
    if let ["row", words @ ..] = order {
        let route = route.as_ref().expect("a grouping first");
        let targets = |word: &&str| match route.pick(&Word(word)).expect("a word has a key") {
            Pick::One(target) => target.to_string(),
            Pick::All => "all".to_owned(),
            Pick::Many(targets) => format!("{targets:?}"),
        };
        return words.iter().map(targets).collect::<Vec<_>>().join(" ");
    }
    let [name, "over", targets] = *order else { panic!("unknown order {order:?}") };
    let targets = targets.parse().expect("a number of targets");
    let grouping = match name {
        "shuffle" => Grouping::Shuffle(Turns::new(targets, 0)),
        "fields" => Grouping::Fields([0].into()),
        "partial-key" => Grouping::PartialKey(PartialKey::new([0].into(), targets)),
        "all" => Grouping::All,
        "global" => Grouping::Global,
        "any" => Grouping::Any(Cell::new(0)),
        "direct" => Grouping::Direct,
        "custom" => Grouping::Custom(0),
        _ => panic!("unknown grouping {name}"),
    };
    *route = Some(Route::new(grouping, targets));
    String::new()
}
