"""Card fraud: each payment waits for its confirmation by the cardholder's phone; cards that go on without are blocked.

    $ squall run examples/card_fraud.py           # -p input=FILE -p wait=1s -p strikes=2
    approved  p01   6011    8.94
    REFUSED   p05   3782    899.0

Shows a join of two streams by hand: what waits is held unacked (`manual_ack`), so that no crash loses it, and its
time-out begins anew at each tick; a verdict is anchored to both halves; a timer ends the wait for a half that never
comes. Bound: holds what came within `wait`, and remembers the refused payments of each card.
"""

import csv
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

from squall import Bolt, Emit, Exhausted, Spout, Topology, Tuple
from squall.connectors.standard import Print

EVENTS = Path(__file__).parent / "data" / "payments.csv"


class Events(Spout):
    streams = {"payment": ("id", "card", "euros"), "confirmation": ("id", "card", "euros")}
    rate_per_s = 40  # the sample is replayed faster than it happened

    def __init__(self, input: Path) -> None:
        self.rows = csv.reader(input.open(newline=""))

    def next_tuple(self) -> Emit:
        for kind, payment, card, euros in self.rows:
            return Emit(payment, card, float(euros), stream=kind)
        raise Exhausted


class Decide(Bolt):
    outputs = ("verdict", "id", "card", "euros")
    manual_ack = True
    tick_every = 10

    def __init__(self, wait: timedelta, strikes: int) -> None:
        self.wait, self.strikes = wait, strikes
        self.held: dict[str, dict[str, Tuple]] = {}  # by id, the halves that came, by stream
        self.refused: defaultdict[str, set[str]] = defaultdict(set)  # ids by card: a replay counts once

    def process(self, id: str, card: str, tup: Tuple) -> None:
        if id not in self.held:
            self.held[id] = {}
            self.context.after(self.wait, self.give_up, id, self.held[id])
        self.held[id][tup.stream] = tup
        if tup.stream == "payment" and len(self.refused[card] - {id}) >= self.strikes:
            self.decide("BLOCKED", id)
        elif len(self.held[id]) == 2:
            self.decide("approved", id)

    def give_up(self, id: str, halves: dict[str, Tuple]) -> None:
        if self.held.get(id) is not halves:
            return  # decided in time
        if payment := halves.get("payment"):
            self.refused[payment["card"]].add(id)
        self.decide("REFUSED", id)

    def decide(self, verdict: str, id: str) -> None:
        halves = self.held.pop(id)
        if payment := halves.get("payment"):  # else a confirmation of nothing
            self.emit(verdict, *payment.values, anchors=list(halves.values()))
        self.ack(*halves.values())

    def tick(self) -> None:
        self.reset_timeout(*(tup for halves in self.held.values() for tup in halves.values()))


def build(input: Path = EVENTS, wait: timedelta = timedelta(seconds=1), strikes: int = 2) -> Topology:
    topology = Topology("card-fraud")
    events = topology.spout("events", lambda: Events(input))
    decide = topology.bolt("decide", lambda: Decide(wait, strikes), parallelism=2)
    decide.fields(events["payment"], "card").fields(events["confirmation"], "card")
    topology.bolt("print", Print).shuffle(decide)
    return topology
