"""Code on threads beside the loop, in real time: whose thread runs what, who wakes whom, what adds up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from squall import Bolt, Exhausted, RetryTuple, Spout, Topology, TopologyContext, Tuple
from squall.testing import LocalCluster

ENOUGH = 500
"""So many turns are over in a second if the loop is woken for each, and in minutes if it sleeps its time out."""


def until(cluster: LocalCluster, condition: Callable[[], bool], within_s: float = 20.0) -> None:
    """Runs a cluster in real time until the condition is true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, cluster.metrics()
        cluster.advance(0.1)


def give_way() -> None:
    """Lets other threads have the interpreter lock, as any call that waits would."""
    time.sleep(0.0005)


class Watched(Spout):
    """Emits numbers; notices when it is told something while it emits, and on which thread."""

    outputs = ("x",)

    def __init__(self) -> None:
        self.left = 200
        self.polling = False
        self.overlaps = 0
        self.told: list[int] = []
        self.threads: set[int] = set()

    def next_tuple(self) -> None:
        if self.left:
            self.polling = True
            self.emit(self.left, id=self.left)
            self.left -= 1
            give_way()
            self.polling = False

    def take(self, *message_ids: int) -> None:
        self.overlaps += self.polling
        self.threads.add(threading.get_ident())
        self.told += message_ids


class WatchedAck(Watched):
    def ack(self, message_id: int) -> None:
        self.take(message_id)


class WatchedAckMany(Watched):
    def ack_many(self, message_ids: list[int]) -> None:
        self.take(*message_ids)


class AcksOnItsThread(Bolt):
    blocking = True
    manual_ack = True

    def process(self, tup: Tuple) -> None:
        self.ack(tup)


@pytest.mark.parametrize("kind", [WatchedAck, WatchedAckMany])
def test_a_spout_is_told_on_the_loops_thread_between_its_polls(kind: type[Watched]) -> None:
    """Semantics 5. Also when a blocking bolt acks on a thread of its own while the spout emits."""
    topology = Topology("t")
    topology.bolt("b", AcksOnItsThread).shuffle(topology.spout("s", kind))
    with LocalCluster(topology, simulated_time=False) as cluster:
        spout = cluster.task("s", kind)
        until(cluster, lambda: len(spout.told) == 200)
        assert sorted(spout.told) == list(range(1, 201))
        assert spout.threads == {threading.get_ident()}
        assert spout.overlaps == 0


class Handing(Bolt):
    """Hands its inputs to a thread of its own making, which ends them."""

    manual_ack = True

    def open(self, context: TopologyContext) -> None:
        self.handed: SimpleQueue[Tuple | None] = SimpleQueue()
        self.ended = 0
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def process(self, tup: Tuple) -> None:
        self.handed.put(tup)

    def work(self) -> None:
        while (tup := self.handed.get()) is not None:
            self.ended += 1
            self.end(tup)

    def end(self, tup: Tuple) -> None:
        self.ack(tup)

    def close(self) -> None:
        self.handed.put(None)
        self.thread.join()


class Failing(Handing):
    def end(self, tup: Tuple) -> None:
        if self.ended < ENOUGH:
            self.fail(tup, error=RetryTuple("again", counts=False))
        else:
            self.ack(tup)


@pytest.mark.parametrize(("kind", "rows", "acked"), [(Handing, ENOUGH, ENOUGH), (Failing, 1, 1)])
def test_acks_and_fails_from_a_users_thread_wake_the_loop(kind: type[Handing], rows: int, acked: int) -> None:
    """Semantics 5. With one root at a time, each turn waits for the one before."""
    topology = Topology("t", settings={"topology.max.spout.pending": 1})
    topology.bolt("b", kind).shuffle(topology.spout("s", lambda: iter(range(rows)), outputs=("x",)))
    with LocalCluster(topology, simulated_time=False) as cluster:
        until(cluster, lambda: len(cluster.acked("s")) == acked)
        assert cluster.task("b", kind).ended == ENOUGH
        assert len(cluster.failed("s")) == ENOUGH - acked


def test_emits_from_a_users_thread_wake_the_loop() -> None:
    """The API page, Output. Each row is emitted when the one before has arrived."""
    arrived: SimpleQueue[int] = SimpleQueue()

    class Emitting(Bolt):
        outputs = ("x",)

        def process(self, x: int) -> None:
            self.thread = threading.Thread(target=self.work)
            self.thread.start()

        def work(self) -> None:
            for number in range(ENOUGH):
                self.emit(number)
                assert arrived.get(timeout=20) == number

        def close(self) -> None:
            self.thread.join()

    topology = Topology("t")
    emitting = topology.bolt("b", Emitting).shuffle(topology.spout("s", lambda: iter(()), outputs=("x",)))
    topology.bolt("sink", lambda x: arrived.put(x)).shuffle(emitting)
    with LocalCluster(topology, mock_sources={"s": [1]}, simulated_time=False) as cluster:
        until(cluster, lambda: cluster.metrics()["sink"]["executed"] == ENOUGH)


class Generates(Bolt):
    """Notices which threads run its generators, and when its tick comes while one of them runs."""

    blocking = True
    outputs = ("x",)
    tick_every = 0.002

    def __init__(self) -> None:
        self.inside = False
        self.overlaps = self.ticks = 0
        self.threads: set[str] = set()

    def process(self, x: int) -> Iterator[int]:
        for number in range(100):
            self.inside = True
            self.threads.add(threading.current_thread().name)
            give_way()
            self.inside = False
            yield number

    def tick(self) -> None:
        self.overlaps += self.inside
        self.ticks += 1
        self.threads.add(threading.current_thread().name)
        give_way()
        self.overlaps += self.inside


def test_a_generator_of_a_blocking_bolt_runs_on_its_thread_and_alone() -> None:
    """Semantics 5, 25. What it returned is its code too: no tick runs in the midst of it."""
    topology = Topology("t")
    generates = topology.bolt("b", Generates).shuffle(topology.spout("s", lambda: iter(range(3)), outputs=("x",)))
    topology.bolt("sink", lambda x: None).shuffle(generates)
    with LocalCluster(topology, simulated_time=False) as cluster:
        until(cluster, lambda: len(cluster.acked("s")) == 3)
        task = cluster.task("b", Generates)
        assert cluster.metrics()["sink"]["executed"] == 300
        assert task.threads == {"squall-b"}
        assert task.ticks > 0
        assert task.overlaps == 0


@pytest.mark.parametrize("form", ["generator", "next_tuple"])
def test_a_slow_source_holds_its_rows_up_by_a_few_only(form: str) -> None:
    """Semantics 25. The bolts run between its rows, as soon as a poll takes longer than a millisecond."""
    behind: list[int] = []
    done: list[int] = []

    def slow(number: int) -> int:
        time.sleep(0.003)
        behind.append(number - len(done))
        return number

    class Slow(Spout):
        outputs = ("x",)

        def __init__(self) -> None:
            self.left = iter(range(100))

        def next_tuple(self) -> int:
            for number in self.left:
                return slow(number)
            raise Exhausted

    topology = Topology("t")
    spout: Any = Slow if form == "next_tuple" else lambda: map(slow, range(100))
    topology.bolt("b", lambda x: done.append(x)).shuffle(topology.spout("s", spout, outputs=("x",)))
    with LocalCluster(topology, simulated_time=False) as cluster:
        until(cluster, lambda: len(done) == 100)
    assert max(behind) <= 3


class Joins(Handing):
    """Ends its inputs by threes on a thread, with an output that hangs on all of them, or fails them."""

    outputs = ("x",)

    def open(self, context: TopologyContext) -> None:
        self.random = random.Random(1)
        self.held: list[Tuple] = []
        super().open(context)

    def end(self, tup: Tuple) -> None:
        self.held.append(tup)
        if len(self.held) < 3:
            return
        self.emit(tup[0], anchors=self.held)
        if self.random.random() < 0.1:
            self.fail(*self.held, error=RetryTuple("again", counts=False))
        else:
            self.ack(*self.held)
        self.held = []


class StoresBatches(Bolt):
    blocking = True

    def process_batch(self, x: list[int]) -> None: ...


def test_trees_add_up_when_threads_ack_fail_and_emit() -> None:
    """Semantics 15, 36. Each input comes three times, so that joins mix roots and all of them come in threes."""
    rows = 2000
    topology = Topology("t")
    numbers = topology.spout("s", lambda: iter(range(rows)), outputs=("x",))
    three = topology.bolt("three", lambda x: [x, x, x], outputs=("x",)).shuffle(numbers)
    topology.bolt("store", StoresBatches).shuffle(topology.bolt("join", Joins).shuffle(three))
    with LocalCluster(topology, simulated_time=False) as cluster:
        until(cluster, lambda: len(cluster.acked("s")) == rows)
        counts = cluster.metrics()["s"]
        assert counts["pending"] == 0
        assert counts["emitted"] == counts["acked"] + counts["failed"]
        assert (counts["acked"], counts["dead"]) == (rows, 0)
        assert counts["failed"] > 0


def test_a_blocking_spout_that_is_asked_just_now_is_closed_too() -> None:
    """What is not closed goes on: a consumer stays in its group, and keeps its partitions from the next one."""
    closed: list[str] = []

    class Waits(Spout):
        outputs = ("n",)
        blocking = True

        def next_batch(self, limit: int) -> list[int]:
            time.sleep(0.1)  # as a client waits for what comes next
            return []

        def close(self) -> None:
            closed.append("waits")

    topology = Topology("waiting")
    topology.spout("waits", Waits)
    for _ in range(3):
        with LocalCluster(topology, simulated_time=False) as cluster:
            cluster.advance(0.05)
    assert closed == ["waits"] * 3
