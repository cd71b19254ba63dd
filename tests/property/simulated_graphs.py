"""Random topologies over simulated workers, with a naive count of what must come out.

A row is `(number, path, stamp)`: which value of which source it comes from, the ways and copies that led here, and who
sent it as which of its rows. So each component's rows can be told beforehand, and order be seen where they arrive.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from squall import Bolt, Exhausted, Spout, Topology, TopologyContext, Tuple
from squall.testing import Faults, LocalCluster

KINDS = ("plain", "plain", "async", "blocking", "batch", "held", "ticking", "hoarding")
SOURCES = ("fed", "fed", "generator", "log")
GROUPINGS = ("shuffle", "fields", "all", "global_", "local_or_shuffle")
ROWS = 25
NO_STAMP = (0, 0)
"""Of rows of sources: those that failed come again behind others."""


@dataclass(frozen=True)
class Part:
    """A bolt: how it runs, its tasks, how many copies of each row it sends, and whose rows it takes by what grouping.

    `fails`: it raises at the first tries of one row in so many; 0: never. `dies`: twice for one value in eleven, which
    ends its worker.
    """

    name: str
    kind: str
    tasks: int
    copies: int
    fails: int
    dies: bool
    sources: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Graph:
    """`sources`: name, tasks, and kind."""

    sources: tuple[tuple[str, int, str], ...]
    parts: tuple[Part, ...]
    workers: int
    faults: Faults


@dataclass
class Watched:
    """What was seen. `disorder`: rows that came behind a later one of the same channel."""

    taken: dict[str, Counter[tuple[int, str]]] = field(default_factory=lambda: defaultdict(Counter))
    disorder: list[Any] = field(default_factory=list)
    tries: Counter[Any] = field(default_factory=Counter)
    lives: int = 0


def random_graph(random: Random) -> Graph:
    """Any graph of some components."""
    sources = tuple((f"s{i}", random.randint(1, 2), random.choice(SOURCES)) for i in range(random.randint(1, 2)))
    parts: list[Part] = []
    for number in range(random.randint(1, 4)):
        above = [*(name for name, _, _ in sources), *(part.name for part in parts if part.copies)]
        taken = random.sample(above, min(len(above), random.randint(1, 2)))
        inputs = tuple((name, random.choice(GROUPINGS)) for name in taken)
        kind, tasks, copies = random.choice(KINDS), random.randint(1, 3), random.randint(0, 2)
        dies = kind == "plain" and random.random() < 0.15 and not any(part.dies for part in parts)
        parts.append(Part(f"b{number}", kind, tasks, copies, random.choice((0, 0, 7)), dies, inputs))
    chances = {
        kind: random.choice((0.01, 0.05, 0.15))
        for kind in ("crash", "drop", "slow", "corrupt", "delay")
        if random.random() < 0.5
    }
    return Graph(sources, tuple(parts), random.randint(1, 4), Faults(**chances, most=random.randint(1, 12)))


def expected(graph: Graph) -> dict[str, set[tuple[int, str]]]:
    """The rows that each component takes, but for how often; a naive walk along the graph."""
    sent = {name: {(n, name) for n in numbers(place)} for place, (name, _, _) in enumerate(graph.sources)}
    taken: dict[str, set[tuple[int, str]]] = {}
    for part in graph.parts:
        taken[part.name] = set().union(*(sent[name] for name, _ in part.sources))
        sent[part.name] = {(n, sent_on(path, part, i)) for n, path in taken[part.name] for i in range(part.copies)}
    return taken


def numbers(place: int) -> range:
    """What a source gives."""
    return range(place * 1000, place * 1000 + ROWS)


def rows_of(name: str, place: int) -> list[tuple[Any, ...]]:
    """What a source gives, as rows."""
    return [(number, name, NO_STAMP) for number in numbers(place)]


def sent_on(path: str, part: Part, copy: int) -> str:
    """The path of a copy that a bolt sends."""
    return f"{path}>{part.name}.{copy}"


class Step(Bolt):
    """Sends copies of each row on."""

    outputs = ("number", "path", "stamp")
    part: Part
    watched: Watched

    def open(self, context: TopologyContext) -> None:
        self.watched.lives += 1
        self.life, self.count = self.watched.lives, 0
        self.newest: dict[int, int] = {}

    def take(self, number: int, path: str) -> list[tuple[Any, ...]]:
        """What comes of a row; raises at its first tries, if it is one of those."""
        if self.part.dies and number % 11 == 3 and self.watched.tries[number] < 2:
            self.watched.tries[number] += 1
            raise KeyError("deadly")
        key = (self.part.name, number, path)
        if self.part.fails and number % self.part.fails == 1 and self.watched.tries[key] < 2:
            self.watched.tries[key] += 1
            raise ValueError("not yet")
        self.watched.taken[self.part.name][number, path] += 1
        return [(number, sent_on(path, self.part, copy), self.stamp()) for copy in range(self.part.copies)]

    def note(self, stamp: tuple[int, int]) -> None:
        """A row has come; those of one sender come in the order in which they were sent."""
        life, place = stamp
        if life and place <= self.newest.get(life, 0):
            self.watched.disorder.append((self.part.name, stamp, self.newest[life]))
        self.newest[life] = place

    def stamp(self) -> tuple[int, int]:
        """Who sends, and which row it is."""
        self.count += 1
        return self.life, self.count


class Plain(Step):
    """In the loop."""

    def process(self, number: int, path: str, stamp: tuple[int, int]) -> list[tuple[Any, ...]]:
        self.note(stamp)
        return self.take(number, path)


class Blocking(Plain):
    """On a thread, which in simulated time is the loop's."""

    blocking = True


class Async(Step):
    """Sends when it has slept: what it sends keeps its order, as it is stamped then."""

    max_in_flight = 4

    async def process(self, number: int, path: str, stamp: tuple[int, int]) -> list[tuple[Any, ...]]:
        self.note(stamp)
        await asyncio.sleep(number % 5 / 100)
        return self.take(number, path)


class Batches(Step):
    """Takes several at once."""

    batch_max = 5
    batch_wait = 0.05

    def process_batch(self, rows: list[Tuple]) -> list[list[tuple[Any, ...]]]:
        self.newest.clear()  # rows that failed together come one by one
        for tup in rows:
            self.note(tup["stamp"])
        return [self.take(tup["number"], tup["path"]) for tup in rows]


class Held(Step):
    """Holds tuples, and lets go of them by a timer."""

    manual_ack = True

    def process(self, tup: Tuple) -> None:
        self.note(tup["stamp"])
        self.context.after(0.05, self.let_go, tup)

    def let_go(self, tup: Tuple) -> None:
        """Its time has come."""
        for row in self.take(tup["number"], tup["path"]):
            self.emit(*row, anchors=[tup])
        self.ack(tup)


class Hoarding(Held):
    """Holds tuples until it is drained."""

    def open(self, context: TopologyContext) -> None:
        super().open(context)
        self.held: list[Tuple] = []

    def process(self, tup: Tuple) -> None:
        self.note(tup["stamp"])
        self.held.append(tup)

    def drain(self) -> None:
        for tup in self.held:
            self.let_go(tup)
        self.held = []


class Ticking(Hoarding):
    """Sends what it has when a second is over; holds it until then."""

    tick_every = 1.0

    def tick(self) -> None:
        self.drain()


class Log(Spout):
    """Gives its rows, and goes on at its position; its tasks share them."""

    outputs = ("number", "path", "stamp")
    rows: list[tuple[Any, ...]]

    def open(self, context: TopologyContext) -> None:
        self.begins_at = self.next = 0
        self.own = self.rows[context.task_index :: context.task_count]

    def next_tuple(self) -> tuple[Any, ...]:
        if self.next == len(self.own):
            raise Exhausted
        self.next += 1
        return self.own[self.next - 1]

    def position(self) -> bytes:
        return str(self.begins_at + self.context.ended_prefix()).encode()

    def seek(self, position: bytes) -> None:
        self.begins_at = self.next = int(position)


CLASSES: dict[str, type[Step]] = {
    "plain": Plain,
    "async": Async,
    "blocking": Blocking,
    "batch": Batches,
    "held": Held,
    "ticking": Ticking,
    "hoarding": Hoarding,
}


def topology_of(graph: Graph, watched: Watched) -> Topology:
    """The graph with its bolts."""
    topology = Topology("simulated")
    made: dict[str, Any] = {}
    for place, (name, tasks, kind) in enumerate(graph.sources):
        rows = rows_of(name, place)
        outputs = ("number", "path", "stamp")
        if kind == "log":
            made[name] = topology.spout(name, type(name, (Log,), {"rows": rows}), parallelism=tasks)
        elif kind == "fed":
            made[name] = topology.spout(name, lambda: iter(()), outputs=outputs, parallelism=tasks)
        else:
            made[name] = topology.spout(name, lambda rows=tuple(rows): iter(rows), outputs=outputs)
    for part in graph.parts:
        fails = 0 if issubclass(CLASSES[part.kind], Held) else part.fails  # what a timer raises fails no tuple
        own = {"part": replace(part, fails=fails), "watched": watched}
        on_error = {KeyError: "die"} if part.dies else None
        cls = type(part.name, (CLASSES[part.kind],), own)
        bolt = topology.bolt(part.name, cls, parallelism=part.tasks, on_error=on_error)
        for name, grouping in part.sources:
            group = getattr(bolt, grouping)
            group(made[name], "number") if grouping == "fields" else group(made[name])
        made[part.name] = bolt
    return topology


def broken_laws(seed: int) -> Sequence[object]:
    """What does not hold in the history of this seed."""
    graph, watched = random_graph(Random(seed)), Watched()
    fed = {name: rows_of(name, place) for place, (name, _, kind) in enumerate(graph.sources) if kind == "fed"}
    with LocalCluster(
        topology_of(graph, watched),
        mock_sources=fed,
        workers=graph.workers,
        faults=graph.faults,
        seed=seed,
        settings={"topology.retries": 40},  # several bolts fail the same root
    ) as cluster:
        cluster.finish()
        broken: list[object] = []
        for name, rows in expected(graph).items():
            taken = set(watched.taken[name])
            if taken != rows:
                broken.append((name, "lost", sorted(rows - taken)[:5], "out of nothing", sorted(taken - rows)[:5]))
        if cluster.dead_letters():
            broken.append(("given up", [str(letter) for letter in cluster.dead_letters()[:3]]))
        for name, _, _ in graph.sources:
            figures = cluster.metrics()[name]
            if figures["emitted"] != figures["acked"] + figures["failed"]:
                broken.append((name, figures))
        if graph.faults == Faults(most=graph.faults.most) and not any(part.fails or part.dies for part in graph.parts):
            twice = [
                (name, row)
                for name, counts in watched.taken.items()
                for row, count in counts.items()
                if count > 1 and not any(grouping == "all" for part in graph.parts for _, grouping in part.sources)
            ]
            broken += twice[:5]
        broken += watched.disorder[:5]
        return broken
