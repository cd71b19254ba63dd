"""Semantics §3: roots, trees, who times out, how many may be pending."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from squall import Bolt, Spout, Topology, TopologyContext, Tuple
from squall.testing import LocalCluster
from topologies import Record, recorded, single, source


class Hold(Bolt):
    """Holds its inputs until it is told to let them go."""

    manual_ack = True

    def __init__(self) -> None:
        self.held: dict[Any, Tuple] = {}

    def process(self, tup: Tuple) -> None:
        self.held[tup[0]] = tup

    def release(self, key: object) -> None:
        self.ack(self.held.pop(key))


def test_a_root_id_is_incarnation_reuse_and_slot() -> None:
    """Semantics 14. 16, 28 and 20 bits; each slot is used again only after all others were."""
    roots: list[int] = []

    def look(x: int, tup: Tuple) -> None:
        roots.extend(tup.roots)

    with LocalCluster(single(look), mock_sources={"s": range(70_000)}) as cluster:
        cluster.run_until_idle()
    assert {root >> 48 for root in roots} == {1}
    slots = [root & (1 << 20) - 1 for root in roots]
    reuses = [root >> 20 & (1 << 28) - 1 for root in roots]
    assert len(set(roots)) == 70_000
    assert len(set(slots[: 1 << 16])) == 1 << 16
    assert slots[1 << 16 :] == slots[: 70_000 - (1 << 16)]
    assert {later - first for first, later in zip(reuses, reuses[1 << 16 :], strict=False)} == {1}


def test_an_ack_may_come_before_the_other_branches_are_known() -> None:
    """Semantics 15. The tree ends when its last tuple is acked, in whatever order."""
    topology = Topology("t")
    numbers = source(topology)
    for name in ("one", "two", "three"):
        topology.bolt(name, Hold).shuffle(numbers)
    for order in (["one", "two", "three"], ["three", "one", "two"]):
        with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
            cluster.run_until_idle()
            for name in order:
                assert cluster.acked("s") == []
                cluster.task(name, Hold).release("a")
                cluster.run_until_idle()
            assert cluster.acked("s") == ["a"]


def test_a_held_tuple_fails_after_the_message_time_out() -> None:
    """Semantics 16."""
    with LocalCluster(single(Hold), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(29.9)
        assert cluster.failed("s") == []
        cluster.advance(0.2)
        assert cluster.failed("s") == ["a"]


@pytest.mark.parametrize(("hold_max", "seconds"), [(5, 5.0), (3600.0, 3600.0)])
def test_hold_max_is_the_bolts_own_time_out(hold_max: float, seconds: float) -> None:
    """Semantics 16, the API page, Life."""

    class Own(Hold):
        pass

    Own.hold_max = hold_max
    with LocalCluster(single(Own), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(seconds - 0.1)
        assert cluster.failed("s") == []
        cluster.advance(0.2)
        assert cluster.failed("s") == ["a"]


def test_reset_timeout_starts_the_clock_anew() -> None:
    """Semantics 16."""

    class Patient(Hold):
        tick_every = 20

        def tick(self) -> None:
            self.reset_timeout(*self.held.values())

    with LocalCluster(single(Patient), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(3600)
        assert cluster.failed("s") == []
        cluster.task("b", Patient).release("a")
        cluster.run_until_idle()
        assert cluster.acked("s") == ["a"]


def test_an_ack_after_the_time_out_is_too_late() -> None:
    """Semantics 16: the root failed and is tried again; the late ack of the first try ends nothing."""
    with LocalCluster(single(Hold), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        late = cluster.task("b", Hold).held["a"]
        cluster.advance(30.2)
        assert cluster.task("b", Hold).held["a"] is not late
        cluster.task("b", Hold).ack(late)
        cluster.run_until_idle()
        assert cluster.acked("s") == []
        cluster.task("b", Hold).release("a")
        cluster.run_until_idle()
        assert cluster.acked("s") == ["a"]


def test_acking_or_failing_twice_changes_nothing() -> None:
    """Semantics 16: what is ended is ended."""

    class Twice(Bolt):
        manual_ack = True

        def process(self, tup: Tuple) -> None:
            self.ack(tup, tup)
            self.fail(tup)
            self.ack(tup)

    with LocalCluster(single(Twice), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(60)
        assert cluster.acked("s") == ["a"]
        assert cluster.failed("s") == []
        assert cluster.metrics()["b"]["acked"] == 1


def test_time_outs_can_be_turned_off() -> None:
    """Semantics 16: `topology.enable.message.timeouts`; an own `hold_max` still counts."""
    settings = {"topology.enable.message.timeouts": False}
    with LocalCluster(single(Hold), mock_sources={"s": ["a"]}, settings=settings) as cluster:
        cluster.advance(86_400)
        assert cluster.failed("s") == []


def test_an_async_call_that_does_not_return_fails_its_tuple() -> None:
    """Semantics 16: what user code holds times out, and the call that holds it is cancelled."""
    finished: list[float] = []

    class Slow(Bolt):
        outputs = ("x",)

        async def process(self, x: str) -> str:
            await asyncio.sleep(45)
            finished.append(self.context.monotonic())
            return x

    with LocalCluster(recorded(Slow, retries=0), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(31)
        assert cluster.failed("s") == ["a"]
        assert finished == []
        cluster.advance(60)
        assert finished == []
        assert cluster.task("sink", Record).rows == []
        assert cluster.acked("s") == []


def test_the_time_out_of_an_async_bolt_is_an_exception_in_its_call() -> None:
    """The API page, Input: each call is under `timeout`."""
    seen: list[str] = []

    class Slow(Bolt):
        timeout = 0.5

        async def process(self, x: float) -> None:
            try:
                await asyncio.sleep(x)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

    topology = single(Slow, on_error={TimeoutError: "dead"})
    with LocalCluster(topology, mock_sources={"s": [0.4, 0.6]}) as cluster:
        cluster.advance(1)
        assert cluster.acked("s") == [0.4]
        assert [letter.error for letter in cluster.dead_letters()] == ["TimeoutError"]
        assert seen == ["cancelled"]


def test_what_waits_in_a_mailbox_does_not_age() -> None:
    """Semantics 16: an outage of a sink slows, it does not fail."""

    class Outage(Record):
        def open(self, context: TopologyContext) -> None:
            context.pause(1000)

    with LocalCluster(single(Outage), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(999)
        assert cluster.failed("s") == []
        assert cluster.acked("s") == []
        cluster.advance(2)
        assert cluster.acked("s") == ["a"]


def test_what_waits_for_a_retry_does_not_age() -> None:
    """Semantics 16."""
    from squall import RetryTuple

    with LocalCluster(single(Record), mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("b", RetryTuple("outage", after=500.0))
        cluster.advance(499)
        assert cluster.failed("s") == ["a"]
        cluster.advance(2)
        assert cluster.acked("s") == ["a"]


def test_the_age_of_a_tuple_is_that_of_its_root() -> None:
    """Semantics 3, the API page, Tuple: virtual in simulated time."""
    with LocalCluster(single(Hold), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        cluster.advance(5)
        assert cluster.task("b", Hold).held["a"].age.total_seconds() == pytest.approx(5)


class Numbers(Spout):
    """Emits numbers for ever."""

    outputs = ("x",)

    def __init__(self) -> None:
        self.next = 0

    def next_tuple(self) -> None:
        self.emit(self.next)
        self.next += 1


@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_fixed_limit_of_pending_is_obeyed_per_task(parallelism: int) -> None:
    """Semantics 17."""
    topology = Topology("t")
    numbers = topology.spout("s", Numbers, parallelism=parallelism, settings={"topology.max.spout.pending": 7})
    topology.bolt("b", Hold).shuffle(numbers)
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        assert cluster.metrics()["s"]["pending"] == 7 * parallelism
        held = cluster.task("b", Hold)
        held.ack(*list(held.held.values())[:1])
        cluster.run_until_idle()
        assert cluster.metrics()["s"]["emitted"] == 7 * parallelism + 1


def test_roots_that_wait_for_a_retry_count_as_pending_for_the_limit() -> None:
    """Semantics 17: else a failing topology would take in without bound."""
    topology = Topology("t")
    numbers = topology.spout("s", Numbers, settings={"topology.max.spout.pending": 5})
    topology.bolt("b", Record).shuffle(numbers)
    with LocalCluster(topology) as cluster:
        cluster.inject("b", ValueError("no"), times=5)
        cluster.run_until_idle()
        assert cluster.task("s", Numbers).next == 5


def test_an_unset_limit_grows_until_a_count_window_completes() -> None:
    """Semantics 17: it doubles when it is reached while all mailboxes are empty."""

    class Window(Hold):
        def process(self, tup: Tuple) -> None:
            super().process(tup)
            if len(self.held) == 50_000:
                self.ack(*self.held.values())
                self.held.clear()

    topology = Topology("t")
    topology.bolt("b", Window).shuffle(topology.spout("s", lambda: iter(range(100_000)), outputs=("x",)))
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        assert len(cluster.acked("s")) == 100_000


def test_without_ackers_nothing_is_tracked_and_nothing_waits() -> None:
    """Semantics 17, Storm: `topology.acker.executors` 0 turns acking off; a failure is reported and lost."""
    with LocalCluster(single(Record), mock_sources={"s": []}, settings={"topology.acker.executors": 0}) as cluster:
        cluster.inject("b", ValueError("no"))
        cluster.feed("s", ["a", "b"])
        cluster.advance(60)
        assert cluster.task("b", Record).rows == [("b",)]
        assert cluster.dead_letters() == []
        assert [report.error for report in cluster.errors()] == ["ValueError: no"]
        metrics = cluster.metrics()
        assert metrics["s"]["emitted"] == metrics["s"]["acked"] == 2
        assert metrics["b"]["failed"] == 1
