"""Semantics §5: nothing grows without bound, nothing waits for ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from squall import Bolt, Emit, Spout, Topology, TopologyContext
from squall.testing import LocalCluster
from topologies import Record, source

SMALL = {"topology.executor.receive.buffer.size": 100}
"""Mailboxes that are over their high-water mark from 90 tuples on."""


class Slow(Record):
    """Takes one tuple each second."""

    def open(self, context: TopologyContext) -> None:
        context.pause(1)

    def process(self, x: object) -> None:
        self.rows.append((x,))
        self.context.pause(1)


class Numbers(Spout):
    outputs = ("x",)

    def __init__(self) -> None:
        self.next = 0

    def next_tuple(self) -> None:
        self.next += 1
        self.emit(self.next)


@pytest.mark.parametrize("acking", [True, False])
def test_a_slow_sink_stops_the_spout(acking: bool) -> None:
    """Semantics 25, 17. High-water marks hold without ackers too; the overshoot is one poll."""
    topology = Topology("t", settings=SMALL if acking else {**SMALL, "topology.acker.executors": 0})
    middle = topology.bolt("middle", lambda x: x, outputs=("x",)).shuffle(topology.spout("s", Numbers))
    topology.bolt("slow", Slow).shuffle(middle)
    with LocalCluster(topology) as cluster:
        for _ in range(20):
            cluster.advance(1)
            metrics = cluster.metrics()
            assert metrics["middle"]["queue"] + metrics["slow"]["queue"] <= 90 + 2 * 64
        assert len(cluster.task("slow", Slow).rows) == pytest.approx(20, abs=1)
        assert cluster.task("s", Numbers).next <= 20 + 90 + 2 * 64


def test_a_returned_generator_is_paused_while_the_tasks_below_are_full() -> None:
    """Semantics 25. It is asked for more when they have room again, and its input is acked at its end."""
    taken: list[int] = []

    def many(x: str) -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    topology = Topology("t", settings=SMALL)
    topology.bolt("slow", Slow).shuffle(topology.bolt("many", many, outputs=("x",)).shuffle(source(topology)))
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        for second in (10, 100, 500):
            cluster.advance(second - cluster.worker.monotonic())
            assert len(taken) <= second + 90 + 32 + 1
            assert cluster.acked("s") == []
        cluster.advance(600)
        assert [row[0] for row in cluster.task("slow", Slow).rows] == list(range(1000))
        assert cluster.acked("s") == ["a"]


def test_a_generator_that_fails_half_way_fails_its_input_once() -> None:
    """Semantics 25: what it gave before is out; the root is tried again as a whole."""

    def broken(x: str) -> Iterator[str]:
        yield f"{x}1"
        raise ValueError("half way")

    topology = Topology("t")
    topology.bolt("sink", Record).shuffle(
        topology.bolt("b", broken, outputs=("x",), retries=1).shuffle(source(topology))
    )
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(1)
        assert cluster.task("sink", Record).rows == [("a1",), ("a1",)]
        assert cluster.failed("s") == ["a", "a"]
        assert len(cluster.dead_letters()) == 1


def looping(rounds: int, copies: int = 1, *, anchored: bool = True) -> Topology:
    """s → b → b …: each tuple goes round `rounds` times, as so many copies."""

    class Around(Bolt):
        outputs = ("x", "round")

        def process(self, x: object, round: int = 0) -> list[Emit]:
            if round >= rounds:
                return []
            return [Emit(x, round + 1, anchors=None if anchored else ()) for _ in range(copies)]

    topology = Topology("t")
    around = topology.bolt("b", Around).shuffle(source(topology))
    around.shuffle(around)
    return topology


@pytest.mark.parametrize("anchored", [True, False])
def test_a_loop_ends_and_never_blocks_itself(anchored: bool) -> None:
    """Semantics 26. Its edge is exempt from high-water marks: no deadlock though its mailbox is small."""
    with LocalCluster(looping(50, anchored=anchored), mock_sources={"s": range(500)}, settings=SMALL) as cluster:
        cluster.run_until_idle()
        assert len(cluster.emitted("b")) == 500 * 50
        assert sorted(cluster.acked("s")) == list(range(500))


def test_a_loop_that_grows_fails_its_root_at_the_bound() -> None:
    """Semantics 26. `loop_overflow`, at `topology.loop.max.queued`."""
    settings = {"topology.loop.max.queued": 1000, "topology.retries": 0}
    with LocalCluster(looping(1_000_000, copies=2), mock_sources={"s": ["a"]}, settings=settings) as cluster:
        cluster.run_until_idle()
        (letter,) = cluster.dead_letters()
        assert "code: loop_overflow" in letter.traceback
        assert cluster.failed("s") == ["a"]
        assert cluster.metrics()["b"]["queue"] == 0


def test_rate_per_s_bounds_a_task() -> None:
    """The API page, Spouts."""

    class Paced(Numbers):
        rate_per_s = 5

    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", Paced, parallelism=2))
    with LocalCluster(topology) as cluster:
        cluster.advance(10)
        assert len(cluster.emitted("s")) == pytest.approx(2 * 50, abs=2)


def test_context_pause_holds_the_inputs_of_one_task_back() -> None:
    """The API page, Life: deliver nothing to this task meanwhile; other tasks go on."""

    class Pausing(Record):
        def process(self, x: str) -> None:
            self.rows.append((x, round(self.context.monotonic(), 3)))
            if x == "pause":
                self.context.pause(2.0)

    topology = Topology("t")
    numbers = source(topology)
    topology.bolt("b", Pausing).shuffle(numbers)
    topology.bolt("other", Record).shuffle(numbers)
    with LocalCluster(topology, mock_sources={"s": ["a", "pause", "b"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.task("b", Pausing).rows == [("a", 0.0), ("pause", 0.0)]
        assert len(cluster.task("other", Record).rows) == 3
        cluster.advance(5)
        assert cluster.task("b", Pausing).rows[2] == ("b", 2.0)
