"""The API page, "Input": binding by name, batches, async and blocking calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from squall import Bolt, DeadLetter, DropTuple, Spout, Topology, TopologyContext, Tuple
from squall.errors import TopologyError
from squall.testing import LocalCluster
from topologies import Record, recorded, single, source


def results(component: Any, *rows: tuple[Any, ...], fields: tuple[str, ...] = ("a", "b"), **options: Any) -> list[Any]:
    """What a bolt with one output field emits for the rows."""
    topology = recorded(component, fields=fields, outputs=("y",), **options)
    with LocalCluster(topology, mock_sources={"s": rows}) as cluster:
        cluster.run_until_idle()
        assert cluster.errors() == []
        return [row[0] for row in cluster.emitted("b")]


def test_parameters_bind_by_field_name_in_any_order() -> None:
    assert results(lambda b, a: f"{a}{b}", (1, 2)) == ["12"]
    assert results(lambda b: b, (1, 2)) == [2]


def test_a_default_stands_in_for_a_field_that_the_input_lacks() -> None:
    """The same bolt on two streams."""

    class Both(Bolt):
        outputs = ("y",)

        def process(self, a: int, b: int = -1, *, _unused: None = None) -> tuple[tuple[int, int]]:
            return ((a, b),)

    class Tolerant(Bolt):
        outputs = ("y",)

        def process(self, a: int, b: int = -1) -> tuple[tuple[int, int]]:
            return ((a, b),)

    topology = Topology("t")
    first = source(topology, "first", fields=("a",))
    second = source(topology, "second", fields=("b", "a"))
    topology.bolt("b", Tolerant).shuffle(first).shuffle(second)
    with LocalCluster(topology, mock_sources={"first": [1], "second": [(3, 2)]}) as cluster:
        cluster.run_until_idle()
        assert cluster.emitted("b") == [((1, -1),), ((2, 3),)]
    with pytest.raises(TopologyError) as caught:
        LocalCluster(single(Both, fields=("a", "b")))
    assert caught.value.code == "parameter_keyword"


def with_both(a: int, tup: Tuple, context: TopologyContext) -> str:
    return f"{a} {tup.values} {context.component}"


def with_strings(a: int, tup: "Tuple", context: "TopologyContext") -> str:  # noqa: UP037 - strings on purpose
    return with_both(a, tup, context)


@pytest.mark.parametrize("function", [with_both, with_strings])
def test_tuple_and_context_are_passed_by_annotation(function: Callable[..., object]) -> None:
    assert results(function, (1, 2)) == ["1 (1, 2) b"]


def test_a_field_called_like_the_type_is_still_a_field() -> None:
    """Only the annotation makes a parameter the tuple or the context."""
    assert results(lambda tup, context: tup + context, (1, 2), fields=("tup", "context")) == [3]


def test_wide_rows_bind_too() -> None:
    fields = tuple(f"f{number}" for number in range(40))
    parameters = ", ".join(reversed(fields))
    function = eval(f"lambda {parameters}: ([{parameters}],)")
    assert results(function, tuple(range(40)), fields=fields) == [list(reversed(range(40)))]


def test_into_and_rename_choose_method_and_parameter() -> None:
    class Join(Bolt):
        outputs = ("y",)

        def on_left(self, card: str) -> str:
            return f"left {card}"

        def on_right(self, user: str) -> str:
            return f"right {user}"

    topology = Topology("t")
    left, right = source(topology, "left", ("user",)), source(topology, "right", ("user",))
    join = topology.bolt("b", Join, parallelism=2).fields(left, "user", into=Join.on_left, rename={"user": "card"})
    assert join.fields(right, "user", into=Join.on_right) is join
    with LocalCluster(topology, mock_sources={"left": ["a"], "right": ["b"]}) as cluster:
        cluster.run_until_idle()
        assert sorted(cluster.emitted("b")) == [("left a",), ("right b",)]


class Row(NamedTuple):
    a: int
    b: int


def test_a_tuple_tells_its_values_and_where_it_came_from() -> None:
    seen: list[Any] = []

    def look(tup: Tuple) -> None:
        seen.append(tup)
        assert (tup["a"], tup[1], tup[-1], len(tup)) == (1, 2, 2, 2)
        assert (tup.values, tup.fields) == ((1, 2), ("a", "b"))
        assert (tup.get("b"), tup.get("c"), tup.get("c", 7)) == (2, None, 7)
        assert tup.into(Row) == Row(1, 2)
        assert (tup.source, tup.stream, tup.attempt, len(tup.roots)) == ("s", "default", 1, 1)
        with pytest.raises(KeyError, match="c"):
            tup["c"]
        with pytest.raises(IndexError):
            tup[2]

    topology = single(look, fields=("a", "b"))
    with LocalCluster(topology, mock_sources={"s": [(1, 2)]}) as cluster:
        cluster.run_until_idle()
        assert cluster.errors() == []
        assert seen[0].source_task in {task.task_id for task in cluster._built.plan.tasks_of("s")}


class Columns(Bolt):
    """Keeps the batches it gets."""

    outputs = ("y",)
    batch_max = 3

    def __init__(self) -> None:
        self.batches: list[tuple[list[Any], list[Any]]] = []

    def process_batch(self, b: list[int], a: list[int], tuples: list[Tuple]) -> list[int]:
        assert type(a) is type(b) is list
        assert [tup.values for tup in tuples] == list(zip(a, b, strict=True))
        self.batches.append((a, b))
        return [x + y for x, y in zip(a, b, strict=True)]


def test_process_batch_takes_columns_up_to_batch_max() -> None:
    topology = recorded(Columns, fields=("a", "b"))
    with LocalCluster(topology, mock_sources={"s": [(n, 10 * n) for n in range(7)]}) as cluster:
        cluster.run_until_idle()
        assert [len(a) for a, _ in cluster.task("b", Columns).batches] == [3, 3, 1]
        assert cluster.task("sink", Record).rows == [(11 * n,) for n in range(7)]
        assert len(cluster.acked("s")) == 7


def test_batch_wait_lets_a_batch_fill_for_so_long() -> None:
    class Waiting(Columns):
        batch_wait = 0.5

        def process_batch(self, a: list[int]) -> None:
            self.batches.append((a, [self.context.monotonic()]))

    topology = single(Waiting, fields=("a", "b"))
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        cluster.feed("s", [(1, 1)])
        cluster.advance(0.4)
        assert cluster.task("b", Waiting).batches == []
        cluster.feed("s", [(2, 2)])
        cluster.advance(0.2)
        (first,) = cluster.task("b", Waiting).batches
        assert first == ([1, 2], [pytest.approx(0.5)])
        cluster.feed("s", [(n, n) for n in range(3)])
        cluster.run_until_idle()
        assert len(cluster.task("b", Waiting).batches) == 2


def test_a_batch_never_mixes_inputs() -> None:
    class Two(Bolt):
        batches: list[tuple[str, list[int]]]

        def __init__(self) -> None:
            self.batches = []

        def process_batch(self, a: list[int], tuples: list[Tuple]) -> None:
            self.batches.append((tuples[0].source, a))
            assert len({tup.source for tup in tuples}) == 1

    topology = Topology("t")
    bolt = topology.bolt("b", Two)
    for name in ("left", "right"):
        bolt.shuffle(source(topology, name, ("a",)))
    with LocalCluster(topology, mock_sources={"left": [1, 2], "right": [3, 4]}) as cluster:
        cluster.run_until_idle()
        assert sorted(cluster.task("b", Two).batches) == [("left", [1, 2]), ("right", [3, 4])]
        assert cluster.errors() == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda a: [x + 1 for x in a],
        lambda a: tuple(x + 1 for x in a),
        lambda a: np.array(a) + 1,
        lambda a: [[x + 1] for x in a],
        lambda a: [(x + 1,) for x in a],
    ],
    ids=["list", "tuple", "ndarray", "lists", "rows"],
)
def test_a_batch_returns_one_entry_a_row(answer: Callable[[list[int]], object]) -> None:
    class Batched(Bolt):
        outputs = ("y",)

        def process_batch(self, a: list[int]) -> object:
            return answer(a)

    assert results(Batched, (1, 0), (2, 0), (3, 0)) == [2, 3, 4]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda a: [1], "batch_length"),
        (lambda a: [1, 2, 3], "batch_length"),
        (lambda a: (x for x in a), "batch_type"),
        (lambda a: 7, "batch_type"),
    ],
    ids=["short", "long", "generator", "number"],
)
def test_a_batch_with_another_number_of_entries_fails_as_a_whole(answer: Callable[..., object], code: str) -> None:
    class Batched(Bolt):
        outputs = ("y",)

        def process_batch(self, a: list[int]) -> object:
            return answer(a) if len(a) > 1 else a

    topology = single(Batched, fields=("a", "b"))
    with LocalCluster(topology, mock_sources={"s": [(1, 0), (2, 0)]}) as cluster:
        cluster.advance(1)
        assert len(cluster.acked("s")) == len(cluster.failed("s")) == 2
        assert f"code: {code}" in cluster.errors()[0].traceback


@pytest.mark.parametrize("simulated", [True, False])
def test_a_blocking_batch_acks_after_its_flush(simulated: bool) -> None:
    """With `blocking = True` and a database that makes ack-after-flush."""
    flushed: list[int] = []

    @dataclass
    class Flush(Bolt):
        rows: list[int]
        blocking = True

        def process_batch(self, a: list[int]) -> list[object]:
            assert cluster.metrics()["s"]["acked"] == len(flushed)
            self.rows += a
            flushed.extend(a)
            return [DeadLetter("odd") if x % 2 else None for x in a]

    topology = single(Flush([]), fields=("a", "b"))
    with LocalCluster(topology, mock_sources={"s": [(n, 0) for n in range(4)]}, simulated_time=simulated) as cluster:
        cluster.run_until_idle()
        assert sorted(cluster.acked("s")) == [(0, 0), (2, 0)]
        assert sorted(cluster.failed("s")) == [(1, 0), (3, 0)]
        assert cluster.task("b", Flush).rows == flushed == [0, 1, 2, 3]


def test_async_calls_interleave_up_to_max_in_flight() -> None:
    class Wide(Bolt):
        max_in_flight = 3
        running = most = 0

        async def process(self, a: int) -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(1)
            self.running -= 1

    with LocalCluster(single(Wide, fields=("a", "b")), mock_sources={"s": [(n, 0) for n in range(9)]}) as cluster:
        cluster.advance(2.5)
        assert len(cluster.acked("s")) == 6
        cluster.advance(1)
        assert len(cluster.acked("s")) == 9
        assert cluster.task("b", Wide).most == 3


class Backwards(Bolt):
    """Later inputs are done sooner."""

    outputs = ("y",)

    async def process(self, a: int) -> int:
        await asyncio.sleep(1 / (a + 1))
        if a == 3:
            raise DeadLetter("poison")
        return a


class InOrder(Backwards):
    ordered = True


@pytest.mark.parametrize("simulated", [True, False])
@pytest.mark.parametrize(("kind", "order"), [(Backwards, [5, 4, 2, 1, 0]), (InOrder, [0, 1, 2, 4, 5])])
def test_async_results_come_in_order_if_ordered(kind: type[Bolt], order: list[int], simulated: bool) -> None:
    topology = recorded(kind, fields=("a", "b"))
    rows = [(n, 0) for n in range(6)]
    with LocalCluster(topology, mock_sources={"s": rows}, simulated_time=simulated) as cluster:
        cluster.run_until_idle()
        if simulated:
            cluster.advance(2)
        assert cluster.task("sink", Record).rows == [(n,) for n in order]


class EmitsInOrder(Bolt):
    """Later inputs are done sooner; what is emitted, returned and yielded goes out in turn."""

    outputs = ("y",)
    streams: ClassVar = {"odd": ("y",)}
    ordered = True

    async def process(self, a: int) -> object:
        self.emit(f"{a} begins")
        await asyncio.sleep(1 / (a + 1))
        if a == 3:
            raise DropTuple("without output")
        if a % 2:
            self.emit(f"{a} is odd", stream="odd")
        await asyncio.gather(*[asyncio.to_thread(self.emit, f"{a} in a thread")])
        return (f"{a} ends {n}" for n in range(40)) if a == 0 else f"{a} ends"


@pytest.mark.parametrize("simulated", [True, False])
def test_what_ordered_calls_emit_comes_in_order_too(simulated: bool) -> None:
    """The API page, Input and Output: `self.emit` says the same as what is returned."""
    topology = recorded(EmitsInOrder, fields=("a", "b"), sinks=("default", "odd"))
    rows = [(n, 0) for n in range(4)]
    with LocalCluster(topology, mock_sources={"s": rows}, simulated_time=simulated) as cluster:
        cluster.run_until_idle()
        if simulated:
            cluster.advance(2)
        lines = [row[0] for row in cluster.task("sink", Record).rows]
        first = ["0 begins", "0 in a thread", *(f"0 ends {n}" for n in range(40))]
        second, third = ["1 begins", "1 is odd", "1 in a thread", "1 ends"], ["2 begins", "2 in a thread", "2 ends"]
        assert lines == first + second + third
        assert len(cluster.acked("s")) == 4


def test_what_an_ordered_call_emits_hangs_on_its_input() -> None:
    """Semantics 2."""
    with LocalCluster(recorded(EmitsInOrder, fields=("a", "b")), mock_sources={"s": []}) as cluster:
        cluster.inject("sink", DeadLetter("no"), when=lambda tup: tup["y"] == "1 begins")
        cluster.feed("s", [(n, 0) for n in range(3)])
        cluster.advance(2)
        assert (cluster.acked("s"), cluster.failed("s")) == ([(0, 0), (2, 0)], [(1, 0)])


def test_a_tick_of_an_ordered_bolt_emits_in_turn() -> None:
    class Ticks(Bolt):
        outputs = ("y",)
        ordered = True
        tick_every = 1.0

        async def process(self, a: int) -> int:
            await asyncio.sleep(1.5)
            return a

        async def tick(self) -> None:
            self.emit("tick")

        async def drain(self) -> None:
            self.emit("drained")

    with LocalCluster(recorded(Ticks, fields=("a", "b")), mock_sources={"s": [(7, 0)]}) as cluster:
        cluster.advance(1.6)
        assert cluster.task("sink", Record).rows == [(7,), ("tick",)]
        cluster.drain()
        assert cluster.task("sink", Record).rows[-1] == ("drained",)


def test_an_ordered_call_that_acks_by_hand_or_takes_a_batch_returns_its_outputs() -> None:
    """What is kept for its turn would hang on what is acked by then; it is refused, not reordered."""

    class Manual(Bolt):
        outputs = ("y",)
        ordered = manual_ack = True

        async def process(self, tup: Tuple) -> None:
            self.emit(1)
            self.ack(tup)

    class Batched(Bolt):
        outputs = ("y",)
        ordered = True

        async def process_batch(self, a: list[int]) -> None:
            self.emit(1)

    for kind in (Manual, Batched):
        with LocalCluster(recorded(kind, fields=("a", "b"), retries=0), mock_sources={"s": [(1, 0)]}) as cluster:
            cluster.advance(1)
            assert "code: emit_ordered" in cluster.dead_letters()[0].traceback
            assert cluster.emitted("b") == []


def test_a_sync_instance_is_never_entered_twice_a_blocking_one_neither() -> None:
    """In real time, on a thread of its own."""

    class Alone(Bolt):
        blocking = True

        def __init__(self) -> None:
            self.entered = 0
            self.threads: set[int] = set()

        def process(self, a: int) -> None:
            self.entered += 1
            assert self.entered == 1
            self.threads.add(threading.get_ident())
            sum(range(1000))
            self.entered -= 1

    topology = single(Alone, fields=("a", "b"))
    rows = [(n, 0) for n in range(300)]
    with LocalCluster(topology, mock_sources={"s": rows}, simulated_time=False) as cluster:
        cluster.run_until_idle()
        assert len(cluster.acked("s")) == 300
        assert len(cluster.task("b", Alone).threads) == 1


def test_an_async_batch_is_one_call() -> None:
    class Async(Bolt):
        outputs = ("y",)
        batch_max = 10

        async def process_batch(self, a: list[int]) -> list[int]:
            await asyncio.sleep(1)
            return [sum(a)] * len(a)

    topology = recorded(Async, fields=("a", "b"))
    with LocalCluster(topology, mock_sources={"s": [(n, 0) for n in range(4)]}) as cluster:
        cluster.advance(2)
        assert cluster.emitted("b") == [(6,)] * 4
        assert len(cluster.acked("s")) == 4


DEFECTS: list[tuple[str, Any]] = [
    ("parameter_unknown", lambda a, c: None),
    ("parameter_keyword", eval("lambda a, *, b: None")),
    ("parameter_keyword", eval("lambda a, **rest: None")),
]


@pytest.mark.parametrize(("code", "function"), DEFECTS)
def test_parameters_that_cannot_be_filled_are_build_errors(code: str, function: Callable[..., object]) -> None:
    with pytest.raises(TopologyError) as caught:
        LocalCluster(single(function, fields=("a", "b")))
    assert caught.value.code == code


def test_process_and_process_batch_together_are_a_build_error() -> None:
    class Both(Bolt):
        def process(self, a: int) -> None: ...

        def process_batch(self, a: list[int]) -> None: ...

    with pytest.raises(TopologyError) as caught:
        LocalCluster(single(Both, fields=("a", "b")))
    assert caught.value.code == "process_twice"


def test_an_async_tick_of_a_component_that_is_not_async_is_a_build_error() -> None:
    """Nobody would await it."""

    class Sync(Bolt):
        tick_every = 1.0

        def process(self, a: int) -> None: ...

        async def tick(self) -> None: ...

    class Blocking(Sync):
        blocking = True

    class Source(Spout):
        outputs = ("a", "b")
        tick_every = 1.0

        def next_tuple(self) -> None: ...

        async def tick(self) -> None: ...

    topology = single(lambda a: None, fields=("a", "b"))
    topology.spout("source", Source)
    for refused in (single(Sync, fields=("a", "b")), single(Blocking, fields=("a", "b")), topology):
        with pytest.raises(TopologyError) as caught:
            LocalCluster(refused)
        assert caught.value.code == "tick_async"


def test_an_async_tick_of_an_async_component_runs_also_with_methods_of_other_names() -> None:
    class Async(Bolt):
        tick_every = 1.0
        ticks = 0

        async def on_number(self, a: int) -> None: ...

        async def tick(self) -> None:
            self.ticks += 1

    topology = Topology("t")
    topology.bolt("b", Async).shuffle(source(topology, fields=("a", "b")), into=Async.on_number)
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        cluster.advance(2.5)
        assert cluster.task("b", Async).ticks == 2
