"""Semantics §1: binding, results, the current input; and the API page's "Output, in every place"."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from squall import Bolt, DeadLetter, Emit, Spout, Topology, TopologyContext, Tuple
from squall.testing import LocalCluster
from topologies import Record, recorded, single, source


class Pair(NamedTuple):
    left: object
    right: object


class Counting:
    """An iterator that is no generator."""

    def __init__(self) -> None:
        self.left = [2, 1]

    def __iter__(self) -> Counting:
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        return self.left.pop()


class ListThatIterates(list[Any]):
    def __next__(self) -> None:
        raise AssertionError("a list is a list first")


class TupleThatIterates(tuple[Any, ...]):
    __slots__ = ()

    def __next__(self) -> None:
        raise AssertionError("a tuple is a tuple first")


def generated() -> Iterator[object]:
    yield "a"
    yield None
    yield [("b",), Emit("c")]


ONE_FIELD: list[tuple[str, Callable[[], object], list[tuple[Any, ...]]]] = [
    ("list", lambda: ["a", ("b",), None, Emit("c")], [("a",), ("b",), ("c",)]),
    ("list in a list", lambda: [["a"], [["b"]]], [("a",), ("b",)]),
    ("list subclass", lambda: ListThatIterates(["a"]), [("a",)]),
    ("empty list", list, []),
    ("tuple", lambda: ("a",), [("a",)]),
    ("tuple subclass", lambda: TupleThatIterates(("a",)), [("a",)]),
    ("None", lambda: None, []),
    ("Emit", lambda: Emit("a"), [("a",)]),
    ("iterator", Counting, [(1,), (2,)]),
    ("generator", generated, [("a",), ("b",), ("c",)]),
    ("str", lambda: "ab", [("ab",)]),
    ("int", lambda: 7, [(7,)]),
    ("bool", lambda: False, [(False,)]),
    ("float", lambda: 0.5, [(0.5,)]),
    ("bytes", lambda: b"ab", [(b"ab",)]),
    ("dict", lambda: {"k": 1}, [({"k": 1},)]),
    ("set", lambda: {1}, [({1},)]),
    ("range", lambda: range(2), [(range(2),)]),
    ("a list as a value", lambda: ([1, 2],), [([1, 2],)]),
    ("None as a value", lambda: (None,), [(None,)]),
    ("a tuple as a value", lambda: (("a", "b"),), [(("a", "b"),)]),
    ("exception as a value", lambda: (KeyError,), [(KeyError,)]),
]
forms = pytest.mark.parametrize(("make", "rows"), [form[1:] for form in ONE_FIELD], ids=[form[0] for form in ONE_FIELD])


def rows_of(component: Any, **options: Any) -> list[tuple[Any, ...]]:
    """What the sink got from a bolt that was fed one value."""
    with LocalCluster(recorded(component, **options), mock_sources={"s": ["x"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.acked("s") == ["x"], cluster.errors()
        assert cluster.emitted("b") == cluster.task("sink", Record).rows
        return cluster.emitted("b")


@forms
def test_a_result_is_list_tuple_none_emit_iterator_or_value(make: Callable[[], object], rows: list[Any]) -> None:
    """Semantics 1. In this order."""
    assert rows_of(lambda x: make(), outputs=("y",)) == rows


@forms
def test_what_is_yielded_follows_the_same_rules(make: Callable[[], object], rows: list[Any]) -> None:
    """The API page, Output."""

    def bolt(x: str) -> Iterator[object]:
        yield make()

    assert rows_of(bolt, outputs=("y",)) == rows


@forms
def test_an_entry_of_a_batch_follows_the_same_rules(make: Callable[[], object], rows: list[Any]) -> None:
    """The API page, Output."""

    class Batched(Bolt):
        outputs = ("y",)

        def process_batch(self, x: list[str]) -> list[object]:
            return [make() for _ in x]

    assert rows_of(Batched) == rows


@forms
def test_an_async_result_follows_the_same_rules(make: Callable[[], object], rows: list[Any]) -> None:
    """The API page, Output."""

    async def bolt(x: str) -> object:
        return make()

    assert rows_of(bolt, outputs=("y",)) == rows


@forms
def test_a_blocking_result_follows_the_same_rules(make: Callable[[], object], rows: list[Any]) -> None:
    """The API page, Output."""
    assert rows_of(lambda x: make(), outputs=("y",), blocking=True) == rows


@forms
@pytest.mark.parametrize("place", ["tick", "drain", "open"])
def test_a_result_outside_of_an_input_follows_the_same_rules(
    place: str, make: Callable[[], object], rows: list[Any]
) -> None:
    """The API page, Output: tick and drain; unanchored."""

    class Elsewhere(Bolt):
        outputs = ("y",)

        def process(self, x: str) -> None: ...

    setattr(Elsewhere, place, lambda self, *_context: make())
    topology = recorded(Elsewhere, tick_every=1.0 if place == "tick" else None)
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        if place == "tick":
            cluster.advance(1.0)
        if place == "drain":
            cluster.drain()
        cluster.run_until_idle()
        assert cluster.emitted("b") == rows
        assert cluster.task("sink", Record).rows == rows
        assert cluster.errors() == []


@pytest.mark.parametrize("form", ["next_tuple", "next_batch", "generator"])
@forms
def test_what_a_spout_gives_follows_the_same_rules(form: str, make: Callable[[], object], rows: list[Any]) -> None:
    """The API page, Output; each row is a root."""

    class Once(Spout):
        outputs = ("y",)
        given = False

        def give(self) -> object:
            if self.given:
                return None
            self.given = True
            return make()

    def generator() -> Iterator[object]:
        yield make()

    if form == "next_tuple":
        Once.next_tuple = Once.give
    if form == "next_batch":
        Once.next_batch = lambda self, limit: [self.give()]
    topology = Topology("t")
    spout = topology.spout("s", generator if form == "generator" else Once, outputs=("y",))
    topology.bolt("sink", Record).shuffle(spout)
    with LocalCluster(topology) as cluster:
        cluster.advance(0.01)
        assert cluster.emitted("s") == rows
        assert cluster.metrics()["s"]["acked"] == len(rows)
        assert cluster.errors() == []


def test_a_row_of_several_fields_is_a_tuple_or_a_named_tuple() -> None:
    """The API page, Output."""
    for result in [("a", 1), Pair("a", 1), [("a", 1)], Emit("a", 1)]:
        assert rows_of(lambda x, result=result: result, outputs=Pair) == [("a", 1)]


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (("a", 1), "emit_arity"),
        ((), "emit_arity"),
        (Emit("a", "b"), "emit_arity"),
        (Emit("a", stream="nowhere"), "emit_stream_unknown"),
        (Emit("a", task=1), "emit_not_direct"),
        (Emit("a", id=1), "emit_id_from_bolt"),
    ],
)
def test_an_output_that_does_not_fit_fails_its_input(result: object, code: str) -> None:
    """Semantics 7. An output that cannot be routed is a failure of user code; nothing of it is lost silently."""
    topology = recorded(lambda x: result, outputs=("y",), retries=0)
    with LocalCluster(topology, mock_sources={"s": ["x"]}) as cluster:
        cluster.run_until_idle()
        (letter,) = cluster.dead_letters()
        assert f"code: {code}" in letter.traceback
        assert cluster.task("sink", Record).rows == []


def test_a_value_for_several_fields_or_for_none_is_refused() -> None:
    """The API page, Output: anything else = one value, with one output field only."""
    for outputs, code in [(("y", "z"), "emit_arity"), ((), "emit_stream_unknown")]:
        with LocalCluster(single(lambda x: "a", outputs=outputs, retries=0), mock_sources={"s": ["x"]}) as cluster:
            cluster.run_until_idle()
            assert f"code: {code}" in cluster.dead_letters()[0].traceback


def test_an_array_is_a_value_where_an_output_is_wanted() -> None:
    """The API page, Output: an ndarray has no `__next__`."""
    (row,) = rows_of(lambda x: np.arange(3), outputs=("y",))
    assert row[0].tolist() == [0, 1, 2]


class EmitEverywhere(Bolt):
    outputs = ("y",)
    tick_every = 1.0

    def open(self, context: TopologyContext) -> None:
        self.emit("open")
        context.after(0.5, lambda: self.emit("timer", 1, stream="other"))

    def process(self, x: str) -> str:
        self.emit("first")
        self.emit("x", x, stream="other")
        return "last"

    def tick(self) -> None:
        self.emit("tick")

    def drain(self) -> None:
        self.emit("drain")


def test_emit_is_the_way_to_several_streams_in_every_place() -> None:
    """The API page, Output: `self.emit` says the same."""
    topology = recorded(EmitEverywhere, streams={"other": ("a", "b")}, sinks=("default", "other"))
    with LocalCluster(topology, mock_sources={"s": ["v"]}) as cluster:
        cluster.advance(1.0)
        cluster.drain()
        assert [row[0] for row in cluster.emitted("b")] == ["open", "first", "last", "tick", "drain"]
        assert cluster.emitted("b", "other") == [("x", "v"), ("timer", 1)]
        assert len(cluster.task("sink", Record).rows) == 7
        assert cluster.acked("s") == ["v"]


class Twice(Bolt):
    """Emits twice for each input, once before and once after others could run."""

    outputs = ("x",)

    def process(self, x: str) -> str:
        self.emit(f"{x}1")
        return f"{x}2"


class TwiceAsync(Bolt):
    outputs = ("x",)

    async def process(self, x: str) -> str:
        self.emit(f"{x}1")
        await asyncio.sleep(1.0 if x == "a" else 0.5)
        self.emit(f"{x}2")
        await asyncio.create_task(self.deeper(x))
        return f"{x}4"

    async def deeper(self, x: str) -> None:
        await asyncio.sleep(0.1)
        self.emit(f"{x}3")


class TwiceBlocking(Twice):
    blocking = True


@pytest.mark.parametrize("simulated", [True, False])
@pytest.mark.parametrize("kind", [Twice, TwiceAsync, TwiceBlocking])
def test_emit_anchors_to_the_input_of_its_own_call(kind: type[Bolt], simulated: bool) -> None:
    """Semantics 2. In the loop, in interleaved coroutines, in threads: what fails below fails the right root."""
    topology = Topology("t")
    below = topology.bolt("b", kind).shuffle(source(topology))
    topology.bolt("sink", Record, retries=0).shuffle(below)
    with LocalCluster(topology, mock_sources={"s": []}, simulated_time=simulated) as cluster:
        cluster.inject("sink", DeadLetter("poison"), times=9, when=lambda tup: tup["x"] in ("b2", "b3"))
        cluster.feed("s", ["a", "b", "c"])
        cluster.run_until_idle()
        cluster.advance(5.0 if simulated else 0.0)
        assert sorted(cluster.acked("s")) == ["a", "c"]
        assert cluster.failed("s") == ["b"]


def test_emit_from_a_foreign_thread_is_unanchored() -> None:
    """The API page, Output: without an input what is emitted is unanchored."""

    class Foreign(Bolt):
        outputs = ("y",)

        def process(self, x: str) -> None:
            thread = threading.Thread(target=self.emit, args=("from outside",))
            thread.start()
            thread.join()

    topology = recorded(Foreign)
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        cluster.inject("sink", ValueError("below"), times=1)
        cluster.feed("s", ["x"])
        cluster.run_until_idle()
        assert cluster.emitted("b") == [("from outside",)]
        assert cluster.acked("s") == ["x"]
        assert cluster.failed("s") == []


class BatchPairs(Bolt):
    outputs = ("x",)

    def process_batch(self, x: list[str]) -> list[list[str]]:
        return [[f"{value}1", f"{value}2"] for value in x]


def test_outputs_of_a_batch_hang_on_their_own_row() -> None:
    """Semantics 3. A failure below reaches the root of that row and no other."""
    with LocalCluster(recorded(BatchPairs), mock_sources={"s": []}) as cluster:
        cluster.inject("sink", DeadLetter("poison"), when=lambda tup: tup["x"] == "b2")
        cluster.feed("s", ["a", "b", "c"])
        cluster.run_until_idle()
        assert sorted(cluster.acked("s")) == ["a", "c"]
        assert cluster.failed("s") == ["b"]


def test_emit_within_a_batch_call_hangs_on_all_its_rows() -> None:
    """Semantics 3: only entries belong to one row; `self.emit` cannot know which one it means."""

    class Sum(Bolt):
        outputs = ("x",)

        def process_batch(self, x: list[int]) -> None:
            self.emit(sum(x))

    with LocalCluster(recorded(Sum), mock_sources={"s": []}) as cluster:
        cluster.inject("sink", DeadLetter("poison"))
        cluster.feed("s", [1, 2])
        cluster.run_until_idle()
        assert sorted(cluster.failed("s")) == [1, 2]
        assert cluster.acked("s") == []


def test_an_instance_is_copied_for_each_task_also_at_parallelism_1() -> None:
    """Semantics 4. `LocalCluster.task` returns the live copy; the original stays as it was written."""
    original = Record()
    for parallelism in (1, 2):
        topology = Topology("t")
        topology.bolt("b", original, parallelism=parallelism).all(source(topology))
        with LocalCluster(topology, mock_sources={"s": ["x"]}) as cluster:
            cluster.run_until_idle()
            live = [cluster.task("b", Record, index) for index in range(parallelism)]
            assert [task.rows for task in live] == [[("x",)]] * parallelism
            assert all(task is not original for task in live)
    assert original.rows == []


def test_a_component_says_itself_how_it_is_copied() -> None:
    """Semantics 4, the API page, Topologies: deep-copied, by the component's own `__deepcopy__` if it has one."""

    class Own(Record):
        def __deepcopy__(self, memo: dict[int, object]) -> Own:
            new = Own()
            new.rows = [("copied",)]
            return new

    with LocalCluster(single(Own()), mock_sources={"s": []}) as cluster:
        assert cluster.task("b", Own).rows == [("copied",)]
    assert copy.deepcopy(Own()).rows == [("copied",)]


class Busy(Bolt):
    """Notices when two of its methods run at once, or on different threads."""

    tick_every = 0.002
    outputs = ("x",)

    def __init__(self) -> None:
        self.inside = False
        self.calls: set[str] = set()
        self.threads: set[int] = set()
        self.overlaps = 0

    def alone(self, name: str) -> None:
        self.overlaps += self.inside
        self.inside = True
        self.calls.add(name)
        self.threads.add(threading.get_ident())
        sum(range(2000))
        self.inside = False

    def open(self, context: TopologyContext) -> None:
        context.every(0.003, self.alone, "timer")
        self.alone("open")

    def process(self, x: int) -> None:
        self.alone("process")

    def tick(self) -> None:
        self.alone("tick")

    def drain(self) -> None:
        self.alone("drain")

    def close(self) -> None:
        self.alone("close")


class BusyBlocking(Busy):
    blocking = True


@pytest.mark.parametrize("simulated", [True, False])
@pytest.mark.parametrize("kind", [Busy, BusyBlocking])
def test_a_task_is_single_threaded_ticks_and_timers_too(kind: type[Busy], simulated: bool) -> None:
    """Semantics 5."""
    topology = single(kind)
    with LocalCluster(topology, mock_sources={"s": []}, simulated_time=simulated) as cluster:
        for _ in range(20):
            cluster.feed("s", range(20))
            cluster.advance(0.005)
        cluster.drain()
        task = cluster.task("b", kind)
    assert task.calls == {"open", "process", "timer", "tick", "drain", "close"}
    assert task.overlaps == 0
    assert len(task.threads) == 1
    assert (task.threads == {threading.get_ident()}) == (simulated or kind is Busy)


class BusySpout(Spout):
    outputs = ("x",)
    blocking = True

    def __init__(self) -> None:
        self.left = 20
        self.threads: set[int] = set()
        self.told: list[str] = []

    def open(self, context: TopologyContext) -> None:
        self.threads.add(threading.get_ident())

    def next_tuple(self) -> None:
        self.threads.add(threading.get_ident())
        if self.left:
            self.left -= 1
            self.emit(self.left, id=self.left)

    def ack(self, message_id: int) -> None:
        self.threads.add(threading.get_ident())
        self.told.append("ack")

    def fail(self, message_id: int) -> None:
        self.threads.add(threading.get_ident())
        self.told.append("fail")
        self.emit(message_id, id=message_id)


def test_acks_and_fails_of_a_blocking_spout_run_on_its_own_thread() -> None:
    """Semantics 5."""
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", BusySpout))
    with LocalCluster(topology, simulated_time=False) as cluster:
        cluster.inject("b", ValueError("once"))
        for _ in range(200):
            cluster.advance(0.01)
            if len(cluster.acked("s")) == 20:
                break
        spout = cluster.task("s", BusySpout)
        cluster.run_until_idle()
        assert sorted(spout.told) == ["ack"] * 20 + ["fail"]
        assert len(spout.threads) == 1
        assert spout.threads != {threading.get_ident()}


class Anchors(Bolt):
    """Emits with the anchors that it is told."""

    outputs = ("x",)
    manual_ack = True

    def __init__(self, anchors: str) -> None:
        self.anchors = anchors
        self.held: list[Tuple] = []

    def process(self, tup: Tuple) -> None:
        self.held.append(tup)
        if len(self.held) < 2:
            return
        kind: Any = {"current": None, "none": (), "both": self.held}[self.anchors]
        self.emit("out", anchors=kind)
        self.ack(*self.held)


@pytest.mark.parametrize(("anchors", "failed"), [("current", ["b"]), ("none", []), ("both", ["a", "b"])])
def test_anchors_are_the_current_input_none_or_exactly_these(anchors: str, failed: list[str]) -> None:
    """The API page, Output: `anchors=`, also under `manual_ack`; a failure below fails the roots anchored to."""
    with LocalCluster(recorded(lambda: Anchors(anchors)), mock_sources={"s": []}) as cluster:
        cluster.inject("sink", DeadLetter("poison"))
        cluster.feed("s", ["a", "b"])
        cluster.run_until_idle()
        assert sorted(cluster.failed("s")) == failed
        assert sorted(cluster.acked("s")) == sorted({"a", "b"} - set(failed))
        assert len(cluster.dead_letters()) == len(failed)


def test_anchors_work_in_a_returned_emit_too() -> None:
    """The API page, Output: `Emit` is legal wherever an output is."""

    def loose(x: str, tup: Tuple) -> Emit:
        return Emit(x, anchors=())

    def tied(x: str, tup: Tuple) -> Emit:
        return Emit(x, anchors=[tup])

    for bolt, failed in [(loose, []), (tied, ["a"])]:
        with LocalCluster(recorded(bolt, outputs=("x",)), mock_sources={"s": []}) as cluster:
            cluster.inject("sink", DeadLetter("poison"))
            cluster.feed("s", ["a"])
            cluster.run_until_idle()
            assert cluster.failed("s") == failed


def test_manual_ack_keeps_the_input_until_it_is_acked() -> None:
    """The API page, Output: `manual_ack` takes the automatic ack away; what the bolt emitted must end too."""

    class Holding(Bolt):
        outputs = ("x",)
        manual_ack = True

        def process(self, tup: Tuple) -> str:
            self.tup = tup
            return "out"

        def release(self) -> None:
            self.ack(self.tup)

    with LocalCluster(recorded(Holding), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.task("sink", Record).rows == [("out",)]
        assert cluster.acked("s") == []
        assert cluster.metrics()["b"]["held"] == 1
        cluster.task("b", Holding).release()
        cluster.run_until_idle()
        assert cluster.acked("s") == ["a"]
        assert cluster.metrics()["b"]["held"] == 0


def test_an_exception_fails_the_input_under_manual_ack_too() -> None:
    """The API page, Output."""

    class Raising(Bolt):
        manual_ack = True

        def process(self, x: str) -> None:
            raise DeadLetter(x)

    with LocalCluster(single(Raising), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert cluster.failed("s") == ["a"]
        assert cluster.metrics()["b"]["held"] == 0


def test_anchoring_to_an_acked_tuple_is_an_error() -> None:
    """The API page, Output: its trees may have ended."""

    class Late(Bolt):
        outputs = ("x",)
        manual_ack = True

        def process(self, tup: Tuple) -> None:
            self.ack(tup)
            self.emit("late", anchors=[tup])

    with LocalCluster(recorded(Late), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        assert "code: anchor_acked" in cluster.errors()[0].traceback
        assert cluster.acked("s") == ["a"]
        assert cluster.emitted("b") == []
