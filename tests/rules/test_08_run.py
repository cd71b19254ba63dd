"""Semantics §8: how a run ends, and what is counted; and the API page's "Life"."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest
from squall import Bolt, Spout, Topology, TopologyContext, Tuple
from squall.testing import LocalCluster, complete_topology
from topologies import Record, single, source


def test_a_run_ends_when_every_spout_is_exhausted_and_nothing_is_pending() -> None:
    """Semantics 35."""
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", lambda: iter("abc"), outputs=("x",)))
    with LocalCluster(topology) as cluster:
        cluster.inject("b", ValueError("once"))
        cluster.open()
        assert cluster.worker.run(until_idle=True) == "idle"
        cluster.advance(1)
        assert cluster.worker.run(until_idle=True) == "exhausted"


class Log(Bolt):
    """Writes down its life."""

    outputs = ("x",)
    tick_every = 1.0
    lines: list[str]

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name, self.lines = name, lines

    def open(self, context: TopologyContext) -> None:
        self.lines.append(f"{self.name} open")

    def process(self, x: str) -> str:
        self.lines.append(f"{self.name} process {x}")
        return x

    def tick(self) -> None:
        self.lines.append(f"{self.name} tick")

    def drain(self) -> str:
        self.lines.append(f"{self.name} drain")
        return f"rest of {self.name}"

    def close(self) -> None:
        self.lines.append(f"{self.name} close")


class LogSpout(Spout):
    outputs = ("x",)

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.left = ["a"]

    def open(self, context: TopologyContext) -> None:
        self.lines.append("s open")

    def activate(self) -> None:
        self.lines.append("s activate")

    def next_tuple(self) -> str | None:
        return self.left.pop() if self.left else None

    def deactivate(self) -> None:
        self.lines.append("s deactivate")

    def close(self) -> None:
        self.lines.append("s close")


def logged(lines: list[str]) -> Topology:
    topology = Topology("t")
    spout = topology.spout("s", lambda: LogSpout(lines))
    second = topology.bolt("second", lambda: Log("second", lines))
    first = topology.bolt("first", lambda: Log("first", lines)).shuffle(spout)
    second.shuffle(first)
    return topology


def test_life_goes_from_open_to_close_in_this_order() -> None:
    """Semantics 35, the API page, Life: all bolts are open before a spout starts; drain in topological order, once."""
    lines: list[str] = []
    with LocalCluster(logged(lines)) as cluster:
        cluster.run_until_idle()
        cluster.advance(1)
        cluster.drain()
    opened = lines.index("s open")
    assert {"first open", "second open"} == set(lines[:opened])
    assert lines[opened:] == [
        "s open",
        "s activate",
        "first process a",
        "second process a",
        "first tick",
        "second tick",
        "s deactivate",
        "first drain",
        "second process rest of first",
        "second drain",
        *[line for line in lines if line.endswith("close")],
    ]
    assert sorted(line for line in lines if line.endswith("close")) == ["first close", "s close", "second close"]


def test_drain_cuts_a_back_off_short_and_works_everything_off() -> None:
    """Semantics 35."""
    with LocalCluster(single(Record), mock_sources={"s": ["a", "b"]}) as cluster:
        cluster.inject("b", ValueError("no"), times=3)
        cluster.run_until_idle()
        cluster.drain()
        assert sorted(cluster.acked("s")) == ["a", "b"]
        assert len(cluster.failed("s")) == 3
        assert cluster.worker.monotonic() == 0


def test_drain_waits_for_async_calls() -> None:
    """Semantics 35."""

    async def slow(x: str) -> None:
        await asyncio.sleep(5)

    with LocalCluster(single(slow), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.acked("s") == []
        cluster.drain()
        assert cluster.acked("s") == ["a"]


def test_drain_sends_a_batch_that_still_waits() -> None:
    """Semantics 35: batch waits are cut short."""

    class Batched(Record):
        process = None
        batch_max, batch_wait = 100, 60.0

        def process_batch(self, x: list[str]) -> None:
            self.rows += [(one,) for one in x]

    with LocalCluster(single(Batched), mock_sources={"s": ["a", "b"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.task("b", Batched).rows == []
        cluster.drain()
        assert cluster.task("b", Batched).rows == [("a",), ("b",)]
        assert cluster.acked("s") == ["a", "b"]


def test_drain_lets_go_of_what_a_join_holds() -> None:
    """The API page, Life: `drain` is called once, after the last tuple from upstream; it may emit and ack."""

    class Window(Bolt):
        outputs = ("n",)
        manual_ack = True

        def __init__(self) -> None:
            self.held: list[Tuple] = []

        def process(self, tup: Tuple) -> None:
            self.held.append(tup)

        def drain(self) -> None:
            self.emit(len(self.held), anchors=self.held)
            self.ack(*self.held)

    topology = Topology("t")
    window = topology.bolt("window", Window).shuffle(source(topology))
    topology.bolt("sink", Record).shuffle(window)
    with LocalCluster(topology, mock_sources={"s": ["a", "b"]}) as cluster:
        cluster.run_until_idle()
        cluster.drain()
        assert cluster.task("sink", Record).rows == [(2,)]
        assert sorted(cluster.acked("s")) == ["a", "b"]


def test_drain_works_off_what_was_fed_right_before_it() -> None:
    """Semantics 35: what was fed has left its source."""
    with LocalCluster(single(Record), mock_sources={"s": ["a"]}) as cluster:
        cluster.feed("s", ["b"])
        cluster.drain()
        assert cluster.acked("s") == ["a", "b"]


def test_close_may_not_emit() -> None:
    """Semantics 35, the API page, Life: nothing runs any more that could take it."""

    class Late(Bolt):
        outputs = ("x",)

        def process(self, x: str) -> None: ...

        def close(self) -> None:
            self.emit("too late")

    topology = Topology("t")
    topology.bolt("sink", Record).shuffle(topology.bolt("b", Late).shuffle(source(topology)))
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.finish()
    assert cluster.emitted("b") == []
    assert [report.where for report in cluster.errors()] == ["close"]


def test_ticks_go_on_while_what_is_pending_ends() -> None:
    """The API page, Life: deactivate → pending ends, ticks go on → drain."""
    ticks: list[float] = []

    class Slow(Bolt):
        tick_every = 1.0

        async def process(self, x: str) -> None:
            await asyncio.sleep(10.5)

        async def tick(self) -> None:
            ticks.append(round(self.context.monotonic(), 3))

    with LocalCluster(single(Slow), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        cluster.drain()
        assert ticks == [float(second) for second in range(1, 11)]


def test_open_and_close_may_be_async() -> None:
    """The API page, Life. In simulated time the clock follows their sleeps."""
    lines: list[str] = []

    class Async(Bolt):
        async def open(self, context: TopologyContext) -> None:
            await asyncio.sleep(2)
            lines.append(f"open at {context.monotonic():.1f}")

        async def process(self, x: str) -> None:
            lines.append(x)

        async def close(self) -> None:
            await asyncio.sleep(1)
            lines.append("closed")

    class Sync(Async):
        def process(self, x: str) -> None:
            lines.append(x)

    class Blocking(Sync):
        blocking = True

    for kind in (Async, Sync, Blocking):
        lines.clear()
        with LocalCluster(single(kind), mock_sources={"s": ["a"]}) as cluster:
            cluster.run_until_idle()
        assert lines == ["open at 2.0", "a", "closed"]
        assert cluster.worker.monotonic() == 3.0


def test_emitted_is_acked_failed_and_pending_at_every_instant() -> None:
    """Semantics 36. Each try of a root is one emission."""
    checks = 0

    class Watching(Bolt):
        manual_ack = True

        def process(self, x: int, tup: Tuple) -> None:
            check()
            if x % 7 == 0 and tup.attempt < 3:
                raise ValueError(x)
            self.ack(tup)
            check()

    topology = Topology("t")
    middle = topology.bolt("middle", lambda x: [x] * (x % 4), outputs=("x",), parallelism=2).shuffle(source(topology))
    topology.bolt("b", Watching).shuffle(middle)
    cluster = LocalCluster(topology, mock_sources={"s": range(100)})

    def check() -> None:
        nonlocal checks
        metrics = cluster.metrics()["s"]
        assert metrics["emitted"] == metrics["acked"] + metrics["failed"] + metrics["pending"]
        checks += 1

    with cluster:
        for _ in range(100):
            cluster.advance(0.05)
            check()
        assert len(cluster.acked("s")) == 100
        assert checks > 300
        assert cluster.metrics()["s"]["emitted"] == len(cluster.emitted("s")) == 100 + len(cluster.failed("s"))


def test_counters_are_exact() -> None:
    """Semantics 37."""
    topology = Topology("t")
    split = topology.bolt("split", lambda line: line.split(), outputs=("word",)).shuffle(
        source(topology, fields=("line",))
    )
    topology.bolt("count", Record, parallelism=2).fields(split, "word")
    topology.bolt("copy", Record, parallelism=3).all(split)
    with LocalCluster(topology, mock_sources={"s": ["a b c"] * 1000}) as cluster:
        cluster.run_until_idle()
        metrics = cluster.metrics()
        assert (metrics["s"]["emitted"], metrics["s"]["transferred"], metrics["s"]["acked"]) == (1000, 1000, 1000)
        assert (metrics["split"]["executed"], metrics["split"]["acked"]) == (1000, 1000)
        assert (metrics["split"]["emitted"], metrics["split"]["transferred"]) == (3000, 4 * 3000)
        assert (metrics["count"]["executed"], metrics["copy"]["executed"]) == (3000, 9000)


@pytest.mark.parametrize(("rate", "low", "high"), [(1.0, 4000, 4000), (0.05, 3000, 5000), (0.0, 0, 0)])
def test_latencies_are_sampled_and_weighted(rate: float, low: int, high: int) -> None:
    """Semantics 37. `topology.stats.sample.rate`: each sample stands for as many as were left out."""
    settings = {"topology.stats.sample.rate": rate}
    with LocalCluster(single(Record), mock_sources={"s": range(4000)}, settings=settings) as cluster:
        cluster.run_until_idle()
        spout, bolt = cluster.worker.snapshot()
        assert low <= spout["complete_ms"]["count"] <= high
        assert low <= bolt["execute_ms"]["count"] <= high
        assert low <= bolt["process_ms"]["count"] <= high


def test_complete_latency_is_the_time_from_emission_to_the_last_ack() -> None:
    """Semantics 37; virtual in simulated time."""

    async def slow(x: str) -> None:
        await asyncio.sleep(0.25)

    settings = {"topology.stats.sample.rate": 1.0}
    with LocalCluster(single(slow), mock_sources={"s": ["a"]}, settings=settings) as cluster:
        cluster.advance(1)
        spout, bolt = cluster.worker.snapshot()
        assert spout["complete_ms"]["max"] == pytest.approx(250, rel=0.05)
        assert bolt["process_ms"]["max"] == pytest.approx(250, rel=0.05)


def test_recent_latencies_forget_what_is_older_than_20_s() -> None:
    """Semantics 37; those without `recent_` are since the start."""

    async def slow(x: float) -> None:
        await asyncio.sleep(x)

    settings = {"topology.stats.sample.rate": 1.0}
    with LocalCluster(single(slow), mock_sources={"s": [0.5]}, settings=settings) as cluster:
        cluster.advance(1)
        assert cluster.worker.snapshot()[0]["recent_complete_ms"]["max"] == pytest.approx(500, rel=0.05)
        for _ in range(25):
            cluster.advance(1)
            cluster.worker.snapshot()
        cluster.feed("s", [0.1])
        cluster.advance(1)
        spout, bolt = cluster.worker.snapshot()
        for key, figures in (("complete", spout), ("process", bolt)):
            assert figures[f"recent_{key}_ms"]["max"] == pytest.approx(100, rel=0.05)
            assert (figures[f"recent_{key}_ms"]["count"], figures[f"{key}_ms"]["count"]) == (1, 2)
            assert figures[f"{key}_ms"]["max"] == pytest.approx(500, rel=0.05)


def test_users_counters_are_exact_over_all_tasks() -> None:
    """The API page; semantics 37."""

    class Counted(Record):
        def process(self, x: int) -> None:
            self.context.counter("seen").add()
            self.context.counter("sum").add(x)
            self.context.histogram("size").record(x)

        def open(self, context: TopologyContext) -> None:
            context.gauge("answer", lambda: 42.0)

    topology = single(Counted, parallelism=3)
    with LocalCluster(topology, mock_sources={"s": range(100)}) as cluster:
        cluster.run_until_idle()
        user = cluster.metrics()["b"]["user"]
        assert (user["seen"], user["sum"], user["answer"]) == (100, 4950, 42.0)
        assert user["size"] == {"count": 100, "sum": 4950.0}


def test_complete_topology_gives_the_rows_of_every_stream() -> None:
    """Semantics 40, Storm's `complete-topology`."""
    from squall import Emit

    def parse(line: str) -> list[object]:
        return [word if word.isalpha() else Emit(word, stream="odd") for word in line.split()]

    topology = Topology("t")
    lines = source(topology, fields=("line",))
    words = topology.bolt("parse", parse, outputs=("word",), streams={"odd": ("word",)}).shuffle(lines)
    topology.bolt("sink", Record).shuffle(words)
    result = complete_topology(topology, {"s": ["a 1", "b"]})
    assert result == {"s": [("a 1",), ("b",)], "parse": [("a",), ("b",)], "parse/odd": [("1",)]}


def test_complete_topology_moves_time_by_itself() -> None:
    """Semantics 40: back-offs, sleeps, time-outs and waits pass at once; `drain` is called."""

    class Slow(Bolt):
        outputs = ("x",)
        hold_max = 1000

        async def process(self, x: str, tup: Tuple) -> str:
            await asyncio.sleep(100)
            if tup.attempt < 3:
                raise ValueError("not yet")
            return x

        async def drain(self) -> str:
            return "drained"

    assert complete_topology(single(Slow), {"s": ["a"]})["b"] == [("a",), ("drained",)]


def test_complete_topology_waits_for_spouts_that_are_not_mocked() -> None:
    """Semantics 40."""

    def later() -> Iterator[str | None]:
        yield "a"
        yield from [None] * 50
        yield "b"

    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", later, outputs=("x",)))
    assert complete_topology(topology, {}) == {"s": [("a",), ("b",)]}


def test_complete_topology_names_what_never_ends() -> None:
    """Semantics 40."""

    class Keeps(Bolt):
        manual_ack = True
        hold_max = 1e6

        def process(self, tup: Tuple) -> None:
            self.tup = tup

    with pytest.raises(TimeoutError) as caught:
        complete_topology(single(Keeps), {"s": ["a", "b"]})
    assert '2 roots of "s" pending' in str(caught.value)
    assert '"b" has 0 tuples queued and 2 in its hands' in str(caught.value)


def test_the_same_seed_gives_the_same_run_and_another_another() -> None:
    """Semantics 40. Everything that is random follows from the seed."""

    def pick(x: int, context: TopologyContext) -> float | None:
        return context.random.random() if context.random.random() < 0.5 else None

    topology = Topology("t")
    picked = topology.bolt("pick", pick, outputs=("y",), parallelism=3).none(source(topology))
    topology.bolt("b", Record, parallelism=2).none(picked)

    def run(seed: int) -> list[object]:
        random.seed()
        with LocalCluster(topology, mock_sources={"s": range(200)}, seed=seed) as cluster:
            cluster.inject("b", ValueError("no"), times=20, when=lambda tup: tup["y"] < 0.5)
            cluster.advance(60)
            rows = [cluster.task("b", Record, index).rows for index in range(2)]
            return [cluster.emitted("pick"), rows, cluster.acked("s"), cluster.failed("s")]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_call_for_a_batch_is_executed_once_whatever_it_holds() -> None:
    """Semantics 37: each tuple waits for the whole call, and has its share of the time that it takes."""

    class Together(Bolt):
        max_in_flight = 1

        async def process_batch(self, x: list[int]) -> None:
            await asyncio.sleep(1)

    settings = {"topology.stats.sample.rate": 1.0}
    with LocalCluster(single(Together), mock_sources={"s": range(100)}, settings=settings) as cluster:
        cluster.advance(100)
        _, bolt = cluster.worker.snapshot()
        assert bolt["acked"] == 100
        assert bolt["process_ms"]["max"] >= 1000
        assert bolt["execute_ms"]["sum"] <= 100_000
        assert bolt["capacity"] <= 1
