"""Semantics §3, §1: what a call emitted, and what it acked, adds up wherever it runs and however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from squall import Bolt, DeadLetter, DropTuple, Topology, Tuple
from squall.testing import LocalCluster
from topologies import Record, source

Body = Callable[[Any, list[Any], list[Tuple]], "list[Any] | None"]
"""What a call does: (the bolt, its values, its tuples) → an entry for each, or None."""
PLACES = ["loop", "async", "blocking", "batch", "async batch", "blocking batch"]
BATCHES = [place for place in PLACES if "batch" in place]
places = pytest.mark.parametrize("place", PLACES)
batches = pytest.mark.parametrize("place", BATCHES)


def calling(place: str, body: Body, **attributes: object) -> type[Bolt]:
    """A bolt that runs `body` in calls of one kind."""

    def process(self: Bolt, x: object, tup: Tuple) -> object:
        return (body(self, [x], [tup]) or [None])[0]

    async def process_async(self: Bolt, x: object, tup: Tuple) -> object:
        return process(self, x, tup)

    def process_batch(self: Bolt, x: list[object], tuples: list[Tuple]) -> object:
        return body(self, x, tuples)

    async def process_batch_async(self: Bolt, x: list[object], tuples: list[Tuple]) -> object:
        return body(self, x, tuples)

    single_or_batch = (process_batch_async, process_batch) if "batch" in place else (process_async, process)
    method = single_or_batch["async" not in place]
    name = "process_batch" if "batch" in place else "process"
    blocking = "blocking" in place
    return type("Calling", (Bolt,), {"outputs": ("x",), "blocking": blocking, name: method, **attributes})


class Slow(Bolt):
    """Another branch, which ends a second later."""

    async def process(self, x: object) -> None:
        await asyncio.sleep(1)


def branching(component: type[Bolt], **options: Any) -> Topology:
    """s → b → sink, and s → slow."""
    topology = Topology("t")
    values = source(topology)
    topology.bolt("sink", Record).shuffle(topology.bolt("b", component, **options).shuffle(values))
    topology.bolt("slow", Slow).shuffle(values)
    return topology


def adds_up(cluster: LocalCluster) -> bool:
    """Whether nothing is pending, and each try of a root was acked or failed."""
    counts = cluster.metrics()["s"]
    return counts["pending"] == 0 and counts["emitted"] == counts["acked"] + counts["failed"]


def emit_all(bolt: Bolt, values: list[Any]) -> None:
    for value in values:
        bolt.emit(value)


def emits_then_acks(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> None:
    emit_all(bolt, values)
    bolt.ack(*tuples)


def anchors_then_acks(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> None:
    for value, tup in zip(values, tuples, strict=True):
        bolt.emit(value, anchors=[tup])
    bolt.ack(*tuples)


def emits_then_drops(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> None:
    emit_all(bolt, values)
    raise DropTuple("no use")


def anchors_then_drops(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> None:
    for value, tup in zip(values, tuples, strict=True):
        bolt.emit(value, anchors=[tup])
    raise DropTuple("no use")


def returns(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> list[Any]:
    return values


ENDS: list[tuple[str, Body, bool]] = [
    ("return", returns, False),
    ("ack", emits_then_acks, True),
    ("ack, anchored", anchors_then_acks, True),
    ("drop", emits_then_drops, False),
    ("drop, anchored", anchors_then_drops, False),
    ("drop, held", emits_then_drops, True),
    ("drop, anchored, held", anchors_then_drops, True),
]
ends = pytest.mark.parametrize(("body", "manual"), [end[1:] for end in ENDS], ids=[end[0] for end in ENDS])


@pytest.mark.parametrize("simulated", [True, False])
@ends
@places
def test_what_fails_below_an_ended_call_fails_its_root(place: str, body: Body, manual: bool, simulated: bool) -> None:
    """Semantics 2, 3, 15. What was emitted before an ack or a `DropTuple` belongs to the tree, which stays open."""
    topology = Topology("t")
    bolt = topology.bolt("b", calling(place, body, manual_ack=manual)).shuffle(source(topology))
    topology.bolt("sink", Record).shuffle(bolt)
    with LocalCluster(topology, mock_sources={"s": ["a", "c"]}, simulated_time=simulated) as cluster:
        cluster.inject("sink", DeadLetter("poison"), times=2)
        cluster.run_until_idle()
        assert cluster.acked("s") == []
        assert sorted(cluster.failed("s")) == ["a", "c"]
        assert len(cluster.dead_letters()) == 2
        assert adds_up(cluster)


@ends
@places
def test_the_tree_of_an_ended_call_ends_with_its_last_branch(place: str, body: Body, manual: bool) -> None:
    """Semantics 15. Not before and not never, whatever the call did with its input."""
    topology = branching(calling(place, body, manual_ack=manual))
    with LocalCluster(topology, mock_sources={"s": ["a", "c"]}) as cluster:
        cluster.run_until_idle()
        assert sorted(cluster.task("sink", Record).rows) == [("a",), ("c",)]
        assert cluster.acked("s") == []
        cluster.advance(1.1)
        assert sorted(cluster.acked("s")) == ["a", "c"]
        assert cluster.failed("s") == []
        assert adds_up(cluster)


def acks_then_returns(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> list[Any]:
    bolt.ack(*tuples)
    return values


def acks_then_emits(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> None:
    bolt.ack(*tuples)
    emit_all(bolt, values)


AFTER_AN_ACK = [("loop", acks_then_emits), *((place, acks_then_returns) for place in ["loop", *BATCHES])]


@pytest.mark.parametrize(("place", "body"), AFTER_AN_ACK)
def test_what_follows_an_ack_hangs_on_nothing(place: str, body: Body) -> None:
    """The API page, Output: an acked tuple has no tree any more; its rows go out, and may fail without it."""
    with LocalCluster(branching(calling(place, body, manual_ack=True)), mock_sources={"s": ["a", "c"]}) as cluster:
        cluster.inject("sink", DeadLetter("poison"))
        cluster.run_until_idle()
        assert cluster.task("sink", Record).rows == [("c",)]
        cluster.advance(1.1)
        assert sorted(cluster.acked("s")) == ["a", "c"]
        assert cluster.failed("s") == []
        assert adds_up(cluster)


@pytest.mark.parametrize("method", [Bolt.ack, Bolt.fail], ids=["ack", "fail"])
@places
def test_a_bolt_without_manual_ack_may_neither_ack_nor_fail(place: str, method: Callable[..., None]) -> None:
    """The API page, Output: its inputs end with its calls, so the call fails like any other."""

    def meddles(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> list[Any]:
        method(bolt, *tuples)
        return values

    topology = branching(calling(place, meddles), retries=1)
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(5)
        (letter,) = cluster.dead_letters()
        assert "code: ack_not_manual" in letter.traceback
        assert letter.attempts == 2
        assert cluster.failed("s") == ["a", "a"]
        assert cluster.acked("s") == cluster.task("sink", Record).rows == []
        assert adds_up(cluster)


@pytest.mark.parametrize("manual", [False, True])
@batches
def test_a_batch_that_emits_and_raises_is_tried_again_row_by_row(place: str, manual: bool) -> None:
    """Semantics 10, 15. What it emitted before belongs to the try that failed; the next tries end the trees."""

    def refuses_company(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> None:
        emit_all(bolt, values)
        if len(values) > 1:
            raise ValueError("together")
        if manual:
            bolt.ack(*tuples)

    topology = branching(calling(place, refuses_company, manual_ack=manual))
    with LocalCluster(topology, mock_sources={"s": ["a", "c"]}) as cluster:
        cluster.run_until_idle()
        assert sorted(cluster.failed("s")) == ["a", "c"]
        assert cluster.acked("s") == []
        cluster.advance(1.1)
        assert sorted(cluster.acked("s")) == ["a", "c"]
        assert sorted(cluster.task("sink", Record).rows) == [("a",), ("a",), ("c",), ("c",)]
        assert adds_up(cluster)


@pytest.mark.parametrize("manual", [False, True])
@batches
def test_a_batch_that_always_emits_and_raises_leaves_nothing_pending(place: str, manual: bool) -> None:
    """Semantics 8, 10."""

    def raises(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> None:
        emit_all(bolt, values)
        raise ValueError("no")

    topology = branching(calling(place, raises, manual_ack=manual), retries=1)
    with LocalCluster(topology, mock_sources={"s": ["a", "c"]}) as cluster:
        cluster.advance(5)
        assert sorted(letter.values for letter in cluster.dead_letters()) == [("a",), ("c",)]
        assert cluster.acked("s") == []
        assert adds_up(cluster)


@pytest.mark.parametrize("manual", [False, True])
@batches
def test_anchors_hold_for_the_rows_of_a_batch_that_are_dropped(place: str, manual: bool) -> None:
    """Semantics 3, the API page, Output: exactly these anchors, also when a row's entry is a `DropTuple`."""

    def anchors_and_drops_one(bolt: Bolt, values: list[Any], tuples: list[Tuple]) -> list[Any]:
        for value, tup in zip(values, tuples, strict=True):
            bolt.emit(value, anchors=[tup])
        if manual:
            bolt.ack(*tuples[1:])
        return [DropTuple("no use"), *[None] * (len(values) - 1)]

    component = calling(place, anchors_and_drops_one, manual_ack=manual)
    with LocalCluster(branching(component), mock_sources={"s": ["a", "c", "d"]}) as cluster:
        cluster.inject("sink", DeadLetter("poison"), when=lambda tup: tup["x"] == "a")
        cluster.run_until_idle()
        assert cluster.acked("s") == []
        assert cluster.failed("s") == ["a"]
        cluster.advance(1.1)
        assert sorted(cluster.acked("s")) == ["c", "d"]
        assert cluster.metrics()["b"]["dropped"] == 1
        assert adds_up(cluster)
