"""Webhooks come more than once: of those with one id within the horizon, the first goes on and the rest are dropped.

    $ squall run examples/deduplication.py        # -p input=FILE -p output=FILE -p horizon=10m -p limit=100000
    invoice.paid in_1001
    invoice.paid in_1002

Shows state that is bounded twice, by time and by number; `DropTuple`, which acks an input and counts it as dropped; own
counters; and a sink that a parameter chooses (`-p output=` appends to a file). A replay is no duplicate: when something
below fails, the engine emits the same root again, and it must pass again. So each event has its place in the input, and
an id is remembered with the place of its first event.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from squall import Bolt, DropTuple, Topology, TopologyContext
from squall.connectors.files import FileSink
from squall.connectors.standard import Print

WEBHOOKS = Path(__file__).parent / "data" / "webhooks.jsonl"


class Event(NamedTuple):
    id: str
    place: int
    text: str


def events(input: Path) -> Iterator[Event]:
    with input.open(encoding="utf-8") as lines:
        for place, line in enumerate(lines):
            event = json.loads(line)
            yield Event(event["id"], place, f"{event['type']} {event['invoice']}")


class Deduplicate(Bolt):
    """Drops events whose id was seen. Bound: `limit` ids a task; beyond it the oldest is forgotten before its time."""

    outputs = ("text",)

    def __init__(self, horizon: timedelta, limit: int) -> None:
        self.horizon_s, self.limit = horizon.total_seconds(), limit
        self.seen: dict[str, tuple[float, int]] = {}  # by id, when and where it came first; the oldest stands first

    def open(self, context: TopologyContext) -> None:
        self.forgotten = context.counter("forgotten early")
        context.gauge("ids", lambda: len(self.seen))

    def process(self, id: str, place: int, text: str) -> str:
        now = self.context.monotonic()
        while self.seen and now - self.seen[oldest := next(iter(self.seen))][0] >= self.horizon_s:
            del self.seen[oldest]
        if self.seen.get(id, (now, place))[1] != place:
            raise DropTuple(f"{id} came before")
        self.seen.setdefault(id, (now, place))
        if len(self.seen) > self.limit:
            del self.seen[next(iter(self.seen))]
            self.forgotten.add()
        return text


def build(
    input: Path = WEBHOOKS,
    output: Path | None = None,
    horizon: timedelta = timedelta(minutes=10),
    limit: int = 100_000,
) -> Topology:
    topology = Topology("deduplication")
    webhooks = topology.spout("webhooks", lambda: events(input), outputs=Event)
    unique = topology.bolt("unique", lambda: Deduplicate(horizon, limit), parallelism=2).fields(webhooks, "id")
    topology.bolt("sink", (lambda: FileSink(output)) if output else Print).shuffle(unique)
    return topology
