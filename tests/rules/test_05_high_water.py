"""Semantics §5, §3: how far a mailbox may overshoot, how fast a spout may give, what may be pending."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from squall import Bolt, Spout, SpoutDeclarer, Topology, TopologyContext
from squall.testing import LocalCluster
from topologies import Record, source

SMALL = {"topology.executor.receive.buffer.size": 100}
"""Mailboxes that are over their high-water mark from 90 tuples on, until they have sunk to 40."""
HIGH = 90


class Slow(Record):
    """Takes one tuple each second."""

    def process(self, x: object) -> None:
        self.rows.append((x,))
        self.context.pause(1)


class Thousand(Bolt):
    """A call gives 1,000 outputs."""

    outputs = ("x",)

    def process(self, x: int) -> list[int]:
        return [x] * 1000


class ThousandBlocking(Thousand):
    blocking = True


class ThousandAsync(Thousand):
    max_in_flight = 1

    async def process(self, x: int) -> list[int]:
        return [x] * 1000


class ThousandEmitted(Thousand):
    def process(self, x: int) -> None:
        for _ in range(1000):
            self.emit(x)


THOUSANDS = [Thousand, ThousandEmitted, ThousandBlocking, ThousandAsync]


def endless(topology: Topology) -> SpoutDeclarer:
    return topology.spout("s", lambda: iter(range(10**9)), outputs=("x",))


@pytest.mark.parametrize("kind", THOUSANDS)
def test_a_mailbox_overshoots_by_the_outputs_of_one_call(kind: type[Bolt]) -> None:
    """Semantics 25. However many a call gives, the next one waits until the task below has room again."""
    topology = Topology("t", settings=SMALL)
    topology.bolt("slow", Slow).shuffle(topology.bolt("b", kind).shuffle(endless(topology)))
    with LocalCluster(topology) as cluster:
        longest = 0
        for _ in range(1200):
            cluster.advance(1)
            longest = max(longest, cluster.metrics()["slow"]["queue"])
        assert 1000 - 1 <= longest < HIGH + 1000
        assert len(cluster.task("slow", Slow).rows) >= 1200


@pytest.mark.parametrize("kind", THOUSANDS)
def test_a_bolt_takes_nothing_while_the_one_below_is_full(kind: type[Bolt]) -> None:
    """Semantics 25. It looks before its first input, not after."""

    class Late(kind):
        def open(self, context: TopologyContext) -> None:
            context.pause(1)

    class Stopped(Record):
        def open(self, context: TopologyContext) -> None:
            context.pause(100)

    topology = Topology("t", settings=SMALL)
    numbers = topology.spout("s", lambda: iter(range(200)), outputs=("x",))
    late = topology.bolt("late", Late).shuffle(numbers)
    topology.bolt("slow", Stopped).shuffle(numbers).shuffle(late)
    with LocalCluster(topology) as cluster:
        cluster.advance(50)
        assert cluster.metrics()["slow"]["queue"] >= HIGH
        assert cluster.metrics()["late"]["executed"] == 0
        cluster.advance(60)
        assert cluster.metrics()["late"]["executed"] == 200


class Ticking(Bolt):
    """Emits ten rows at each tick."""

    outputs = ("x",)
    tick_every = 0.01
    ticks = 0

    def process(self, x: int) -> None: ...

    def tick(self) -> list[int]:
        self.ticks += 1
        return [self.ticks] * 10


class TickingBlocking(Ticking):
    blocking = True


class TickingAsync(Ticking):
    async def process(self, x: int) -> None: ...

    async def tick(self) -> list[int]:
        return super().tick()


class Timing(Ticking):
    """By a timer of its own."""

    tick_every = None
    tick = None

    def open(self, context: TopologyContext) -> None:
        context.every(0.01, super().tick)


class TickingSpout(Spout):
    outputs = ("x",)
    tick_every = 0.01
    ticks = 0

    def next_tuple(self) -> None: ...

    tick = Ticking.tick


@pytest.mark.parametrize("kind", [Ticking, TickingBlocking, TickingAsync, Timing, TickingSpout])
def test_a_tick_that_emits_waits_while_the_task_below_is_full(kind: type[Any]) -> None:
    """Semantics 25. It is called again when there is room."""
    topology = Topology("t", settings=SMALL)
    if issubclass(kind, Spout):
        ticking: Any = topology.spout("ticking", kind)
    else:
        ticking = topology.bolt("ticking", kind).shuffle(source(topology))
    topology.bolt("slow", Slow).shuffle(ticking)
    with LocalCluster(topology, mock_sources={} if issubclass(kind, Spout) else {"s": []}) as cluster:
        for _ in range(200):
            cluster.advance(1)
            assert cluster.metrics()["slow"]["queue"] < HIGH + 10
        assert 20 <= cluster.task("ticking", kind).ticks <= 20 + HIGH / 10 + 1


@pytest.mark.parametrize("blocking", [False, True])
def test_a_tick_that_emits_nothing_goes_on_while_the_task_below_is_full(blocking: bool) -> None:
    """Semantics 5, 25: it fills nothing."""

    class Watching(Bolt):
        outputs = ("x",)
        tick_every = 1.0
        ticks = 0

        def process(self, x: int) -> int:
            return x

        def tick(self) -> None:
            self.ticks += 1

    Watching.blocking = blocking
    topology = Topology("t", settings=SMALL)
    watching = topology.bolt("watching", Watching).shuffle(endless(topology))
    topology.bolt("slow", Slow).shuffle(watching)
    with LocalCluster(topology) as cluster:
        cluster.advance(30)
        assert cluster.metrics()["slow"]["queue"] >= 60
        assert cluster.task("watching", Watching).ticks == 30


def generating(taken: list[int]) -> Callable[[str], Iterator[int]]:
    def numbers(x: str) -> Iterator[int]:
        for number in range(500):
            taken.append(number)
            yield number

    return numbers


@pytest.mark.parametrize("place", ["blocking", "async"])
def test_a_generator_returned_elsewhere_is_paused_while_the_task_below_is_full(place: str) -> None:
    """Semantics 25. Some outputs are taken at a time where the call ran; its input is acked at the end."""
    taken: list[int] = []
    numbers = generating(taken)

    async def returned(x: str) -> Iterator[int]:
        return numbers(x)

    topology = Topology("t", settings=SMALL)
    component = returned if place == "async" else numbers
    many = topology.bolt("many", component, outputs=("x",), blocking=place == "blocking").shuffle(source(topology))
    topology.bolt("slow", Slow).shuffle(many)
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        for second in range(10, 300, 10):
            cluster.advance(10)
            assert len(taken) <= second + HIGH + 32 + 1
            assert cluster.acked("s") == []
        cluster.advance(300)
        assert [row[0] for row in cluster.task("slow", Slow).rows] == list(range(500))
        assert cluster.acked("s") == ["a"]


class Rated(Spout):
    """Gives rows in lists, faster than it may."""

    outputs = ("x",)
    rate_per_s = 10
    polls = 0

    def may(self) -> bool:
        self.polls += 1
        return self.polls <= 2000


def next_tuple(give: Callable[[Any], object], **attributes: object) -> type[Spout]:
    return type("Rated", (Rated,), {"next_tuple": lambda self: give(self) if self.may() else None, **attributes})


def next_batch(**attributes: object) -> type[Spout]:
    return type(
        "Rated", (Rated,), {"next_batch": lambda self, limit: [1] * limit if self.may() else None, **attributes}
    )


def emits_seven(spout: Spout) -> None:
    for _ in range(7):
        spout.emit(1)


RATED: list[tuple[str, Any]] = [
    ("one", next_tuple(lambda spout: 1)),
    ("list", next_tuple(lambda spout: [1] * 100)),
    ("emits", next_tuple(emits_seven)),
    ("blocking", next_tuple(lambda spout: 1, blocking=True)),
    ("blocking list", next_tuple(lambda spout: [1] * 100, blocking=True)),
    ("blocking emits", next_tuple(emits_seven, blocking=True)),
    ("batch", next_batch()),
    ("blocking batch", next_batch(blocking=True)),
]


@pytest.mark.parametrize("component", [spout for _, spout in RATED], ids=[name for name, _ in RATED])
def test_rate_per_s_holds_on_average_in_every_form(component: Any) -> None:
    """The API page, Spouts: what a poll gave beyond its rate is made up for by a longer pause."""
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", component))
    with LocalCluster(topology) as cluster:
        cluster.advance(100)
        assert 1000 <= len(cluster.emitted("s")) <= 1000 + 100 + 10


@pytest.mark.parametrize(
    "value",
    [
        b"x" * 100_000,
        [b"x" * 100_000],
        {"a": b"x" * 100_000},
        {b"x" * 100_000: None},
        ([(b"x" * 50_000,), {"a": [b"x" * 50_000]}],),
        {b"x" * 100_000},
        frozenset({b"x" * 100_000}),
        [bytes(1000) for _ in range(100)],
    ],
    ids=["bytes", "list", "dict", "key", "nested", "set", "frozenset", "long list"],
)
def test_pending_bytes_are_those_that_containers_hold(value: object) -> None:
    """Semantics 17. `topology.max.pending.bytes`: at 10 MB there is no room for 100 rows of 100 kB in any container."""

    class Holds(Bolt):
        manual_ack = True

        def process(self, x: object) -> None: ...

    def rows() -> Iterable[tuple[object]]:
        return ((value,) for _ in range(1000))

    topology = Topology("t", settings={"topology.max.pending.bytes": 10_000_000})
    topology.bolt("b", Holds).shuffle(topology.spout("s", rows, outputs=("x",)))
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        assert 50 <= cluster.metrics()["s"]["pending"] <= 100


@pytest.mark.parametrize("form", ["next_tuple", "generator"])
def test_a_pause_that_a_spout_asks_for_ends_its_poll(form: str) -> None:
    """The API page, Life. `context.pause`: the next row comes when the pause is over."""

    class Pausing(Spout):
        outputs = ("at",)

        def next_tuple(self) -> float:
            self.context.pause(1.0)
            return self.context.monotonic()

    def generator(context: TopologyContext) -> Iterator[float]:
        while True:
            context.pause(1.0)
            yield context.monotonic()

    topology = Topology("t")
    component = Pausing if form == "next_tuple" else generator
    topology.bolt("b", Record).shuffle(topology.spout("s", component, outputs=("at",)))
    with LocalCluster(topology) as cluster:
        cluster.advance(3.5)
        assert cluster.emitted("s") == [(0.0,), (1.0,), (2.0,), (3.0,)]


class Batches(Record):
    """Waits a minute for large batches."""

    process = None
    batch_max, batch_wait = 50_000, 60.0

    def process_batch(self, x: list[object]) -> None:
        self.rows.append((len(x),))


def batches(topology: Topology, rows: int) -> LocalCluster:
    topology.bolt("b", Batches).shuffle(source(topology))
    cluster = LocalCluster(topology, mock_sources={"s": list(range(rows))})
    cluster.run_until_idle()
    return cluster


def test_a_batch_does_not_wait_for_rows_that_the_high_water_mark_keeps_away() -> None:
    """Semantics 25. A mailbox over its mark gets nothing more, so its batch is as large as it will be."""
    with batches(Topology("t", settings=SMALL), 300) as cluster:
        taken = [size for (size,) in cluster.task("b", Batches).rows]
        assert len(taken) >= 2
        assert all(size >= HIGH for size in taken)
        assert 300 - sum(taken) < HIGH


def test_the_limit_of_what_is_pending_grows_while_a_batch_waits_for_its_rows() -> None:
    """Semantics 17. As for a join: what waits for its next input would wait for ever, or for its whole time."""
    roomy = {"topology.executor.receive.buffer.size": 100_000}
    with batches(Topology("t", settings=roomy), 60_000) as cluster:
        assert cluster.task("b", Batches).rows == [(50_000,)]
