"""The API page, "Spouts": the three forms, ids, callbacks, ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from squall import Batch, Bolt, Emit, Exhausted, Fields, Spout, Topology, TopologyContext
from squall.errors import TopologyError
from squall.testing import LocalCluster
from topologies import Record


def under(spout: Any, **options: Any) -> Topology:
    """s → b."""
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", spout, **options))
    return topology


class Tells(Spout):
    """Gives each of its outputs once and writes down what it is told."""

    outputs = ("x",)

    def __init__(self, *outputs: Any) -> None:
        self.left = list(outputs)
        self.told: list[tuple[str, Any]] = []
        self.polls = 0

    def next_tuple(self) -> Any:
        self.polls += 1
        return self.left.pop(0) if self.left else None

    def ack(self, message_id: Any) -> None:
        self.told.append(("ack", message_id))


def test_next_tuple_returns_one_or_emits() -> None:
    class Emits(Tells):
        def next_tuple(self) -> None:
            if self.left:
                self.emit(*self.left.pop(0), id="emitted")

    for spout, told in [
        (lambda: Tells("a"), []),
        (lambda: Tells(("a",)), []),
        (lambda: Tells(Emit("a", id=7)), [("ack", 7)]),
        (lambda: Emits(("a",)), [("ack", "emitted")]),
    ]:
        with LocalCluster(under(spout)) as cluster:
            cluster.advance(0.01)
            assert cluster.task("b", Record).rows == [("a",)]
            assert cluster.task("s", Tells).told == told


class Batches(Spout):
    outputs = ("x",)

    def __init__(self, answer: Callable[[int, int], object]) -> None:
        self.answer = answer
        self.limits: list[int] = []
        self.calls = 0
        self.told: list[Any] = []

    def next_batch(self, limit: int) -> object:
        self.limits.append(limit)
        self.calls += 1
        return self.answer(self.calls, limit)

    def ack(self, message_id: Any) -> None:
        self.told.append(message_id)


ANSWERS: list[tuple[str, Callable[[int, int], object], list[tuple[Any, ...]], list[Any]]] = [
    ("values", lambda call, limit: ["a", "b"] if call == 1 else [], [("a",), ("b",)], []),
    ("rows", lambda call, limit: [("a",), ("b",)] if call == 1 else None, [("a",), ("b",)], []),
    ("batch", lambda call, limit: Batch(["a", ("b",)], ids=[1, 2]) if call == 1 else None, [("a",), ("b",)], [1, 2]),
    ("emits", lambda call, limit: [Emit("a", id=1), Emit("b")] if call == 1 else None, [("a",), ("b",)], [1]),
    ("generator", lambda call, limit: (x for x in "ab") if call == 1 else None, [("a",), ("b",)], []),
    ("emits in a batch", lambda call, limit: Batch([Emit("a")], ids=[5]) if call == 1 else None, [("a",)], [5]),
]


@pytest.mark.parametrize(("answer", "rows", "ids"), [a[1:] for a in ANSWERS], ids=[a[0] for a in ANSWERS])
def test_next_batch_returns_rows_a_batch_with_ids_or_emits(
    answer: Callable[[int, int], object], rows: list[Any], ids: list[Any]
) -> None:
    with LocalCluster(under(lambda: Batches(answer))) as cluster:
        cluster.advance(0.01)
        assert cluster.task("b", Record).rows == rows
        assert cluster.task("s", Batches).told == ids
        assert cluster.errors() == []


def test_a_batch_may_be_for_another_stream() -> None:
    def odd(call: int, limit: int) -> Batch | None:
        return Batch([1, 3], ids=[1, 3], stream="odd") if call == 1 else None

    topology = Topology("t")
    spout = topology.spout("s", lambda: Batches(odd), streams={"odd": ("x",)})
    topology.bolt("b", Record).shuffle(spout["odd"])
    with LocalCluster(topology) as cluster:
        cluster.advance(0.01)
        assert cluster.task("b", Record).rows == [(1,), (3,)]


def test_the_limit_of_next_batch_is_a_hard_bound() -> None:
    """More than was asked for is an error of the spout, and nothing of it is emitted."""
    too_many = lambda call, limit: list(range(limit + (call == 1)))  # noqa: E731
    topology = under(lambda: Batches(too_many), settings={"topology.max.spout.pending": 10})
    with LocalCluster(topology) as cluster:
        cluster.advance(0.05)
        assert cluster.emitted("s") == []
        assert "code: batch_too_long" in cluster.errors()[0].traceback
        assert cluster.task("s", Batches).limits == [10]


def test_the_limit_is_what_max_spout_pending_leaves() -> None:
    class Keeps(Bolt):
        manual_ack = True

        def process(self, x: int) -> None: ...

    topology = Topology("t")
    spout = topology.spout(
        "s", lambda: Batches(lambda call, limit: [0] * min(limit, 4)), settings={"topology.max.spout.pending": 10}
    )
    topology.bolt("b", Keeps).shuffle(spout)
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        assert cluster.task("s", Batches).limits == [10, 6, 2]


def test_as_many_ids_as_outputs_are_wanted() -> None:
    with LocalCluster(under(lambda: Batches(lambda call, _: Batch([1, 2], ids=[1]) if call == 1 else None))) as cluster:
        cluster.run_until_idle()
        assert "code: batch_ids" in cluster.errors()[0].traceback


def test_a_generator_yields_outputs_none_and_ids() -> None:
    def numbers() -> Iterator[object]:
        yield 1
        yield None
        yield None
        yield Emit(2, id="two")
        yield [3, 4]
        yield (5,)

    with LocalCluster(under(numbers, outputs=("x",))) as cluster:
        cluster.run_until_idle()
        assert cluster.emitted("s") == [(1,)]
        cluster.advance(0.01)
        assert cluster.emitted("s") == [(1,), (2,), (3,), (4,), (5,)]
        assert cluster.acked("s") == [None, "two", None, None, None]


def test_none_means_nothing_now_for_idle_wait() -> None:
    class Rare(Tells):
        idle_wait = 0.5

    with LocalCluster(under(lambda: Rare())) as cluster:
        cluster.advance(10.1)
        assert cluster.task("s", Rare).polls == pytest.approx(21, abs=1)


def test_idle_wait_is_a_millisecond_unless_said_otherwise() -> None:
    with LocalCluster(under(lambda: Tells())) as cluster:
        cluster.advance(1)
        assert cluster.task("s", Tells).polls == pytest.approx(1001, abs=2)
    settings = {"topology.sleep.spout.wait.strategy.time.ms": 100}
    with LocalCluster(under(lambda: Tells()), settings=settings) as cluster:
        cluster.advance(1)
        assert cluster.task("s", Tells).polls == pytest.approx(11, abs=1)


def test_ids_are_any_hashable() -> None:
    ids = [1, "one", (1, 2), b"x", None, frozenset({1}), 0, ""]
    with LocalCluster(under(lambda: Tells(*[Emit("v", id=one) for one in ids]))) as cluster:
        cluster.advance(0.01)
        assert [told for _, told in cluster.task("s", Tells).told] == [one for one in ids if one is not None]


class AcksMany(Tells):
    """Takes its acks in lists."""

    ack = None

    def ack_many(self, message_ids: list[Any]) -> None:
        assert type(message_ids) is list
        self.told.append(("ack_many", message_ids))


def test_ack_many_gets_what_a_turn_acked_and_ack_one_by_one() -> None:
    emits = [Emit(n, id=n) for n in range(10)]
    with LocalCluster(under(lambda: AcksMany(*emits))) as cluster:
        cluster.advance(0.01)
        told = cluster.task("s", AcksMany).told
        assert [one for _, ids in told for one in ids] == list(range(10))
        assert len(told) < 10
    with LocalCluster(under(lambda: Tells(*emits))) as cluster:
        cluster.advance(0.01)
        assert cluster.task("s", Tells).told == [("ack", n) for n in range(10)]


def test_ack_many_takes_dead_letters_too() -> None:
    """`dead` is `ack` unless the spout says otherwise."""
    topology = Topology("t")
    topology.bolt("b", Record, retries=0).shuffle(
        topology.spout("s", lambda: AcksMany(Emit("a", id=1), Emit("b", id=2)))
    )
    with LocalCluster(topology) as cluster:
        cluster.inject("b", ValueError("no"))
        cluster.advance(1)
        assert sorted(one for _, ids in cluster.task("s", AcksMany).told for one in ids) == [1, 2]


def test_callbacks_come_between_two_polls() -> None:
    """A spout's state is its own: nothing is told while it emits."""

    class Reentrant(Tells):
        polling = False

        def next_tuple(self) -> None:
            self.polling = True
            for number in range(5):
                self.emit(number, id=number)
            self.polling = False
            if self.polls >= 5:
                raise Exhausted
            self.polls += 1

        def ack(self, message_id: int) -> None:
            assert not self.polling
            super().ack(message_id)

    topology = Topology("t")
    topology.spout("s", Reentrant)
    topology.bolt("b", Record).shuffle(topology.spout("other", lambda: iter(()), outputs=("x",)))
    with LocalCluster(topology) as cluster:
        cluster.advance(0.1)
        assert len(cluster.task("s", Reentrant).told) == 30
        assert cluster.errors() == []


def test_a_root_that_nobody_takes_is_acked() -> None:
    topology = Topology("t")
    topology.spout("s", lambda: Tells(Emit("a", id=1)))
    topology.bolt("b", Record).shuffle(topology.spout("other", lambda: iter(()), outputs=("x",)))
    with LocalCluster(topology) as cluster:
        cluster.advance(0.01)
        assert cluster.task("s", Tells).told == [("ack", 1)]


def test_exhausted_ends_a_spout() -> None:
    class Ends(Tells):
        def next_tuple(self) -> Any:
            if not self.left:
                raise Exhausted
            return super().next_tuple()

    with LocalCluster(under(lambda: Ends("a", "b"))) as cluster:
        cluster.advance(1)
        assert cluster.worker.run(until_idle=True) == "exhausted"
        assert cluster.task("s", Ends).polls == 2
        assert cluster.errors() == []


def test_the_end_of_a_generator_ends_the_spout() -> None:
    with LocalCluster(under(lambda: iter("ab"), outputs=("x",))) as cluster:
        cluster.run_until_idle()
        assert cluster.worker.run(until_idle=True) == "exhausted"


class Told(Tells):
    """Emits again what failed."""

    def fail(self, message_id: Any) -> None:
        self.told.append(("fail", message_id))
        self.left.append(Emit("again", id=message_id))


def test_the_engine_tries_again_itself_without_fail_and_leaves_it_to_fail_otherwise() -> None:
    for spout, rows, told in [
        (lambda: Tells(Emit("a", id=1)), ["a", "a"], [("ack", 1)]),
        (lambda: Told(Emit("a", id=1)), ["a", "again"], [("fail", 1), ("ack", 1)]),
    ]:
        with LocalCluster(under(spout)) as cluster:
            cluster.inject("b", ValueError("once"))
            cluster.advance(1)
            assert [row[0] for row in cluster.emitted("s")] == rows
            assert cluster.task("s", Tells).told == told


def test_a_spout_may_emit_in_open_and_in_its_callbacks() -> None:
    class Chatty(Tells):
        def open(self, context: TopologyContext) -> None:
            self.emit("opened", id="o")

        def ack(self, message_id: str) -> None:
            super().ack(message_id)
            if message_id == "o":
                self.emit("after", id="p")

    with LocalCluster(under(Chatty)) as cluster:
        cluster.advance(0.01)
        assert cluster.emitted("s") == [("opened",), ("after",)]
        assert cluster.task("s", Chatty).told == [("ack", "o"), ("ack", "p")]


def test_a_spout_emits_on_direct_streams_to_the_task_that_it_names() -> None:
    class Directs(Tells):
        def next_tuple(self) -> None:
            if self.polls == 0:
                self.polls = 1
                self.emit("a", stream="to", task=self.context.tasks("b")[1], id=1)

    topology = Topology("t")
    spout = topology.spout("s", Directs, streams={"to": Fields(("x",), direct=True)})
    topology.bolt("b", Record, parallelism=2).direct(spout["to"])
    with LocalCluster(topology) as cluster:
        cluster.advance(0.01)
        assert cluster.task("b", Record, 1).rows == [("a",)]
        assert cluster.task("s", Directs).told == [("ack", 1)]


@pytest.mark.parametrize("simulated", [True, False])
def test_a_blocking_spout_runs_the_same(simulated: bool) -> None:
    class Blocking(Told):
        blocking = True

    with LocalCluster(under(lambda: Blocking(*[Emit(n, id=n) for n in range(5)])), simulated_time=simulated) as cluster:
        cluster.inject("b", ValueError("once"), when=lambda tup: tup["x"] == 3)
        for _ in range(100):
            cluster.advance(0.01)
            if len(cluster.task("s", Blocking).told) == 6:
                break
        assert sorted(cluster.task("s", Blocking).told) == [*[("ack", n) for n in range(5)], ("fail", 3)]


def test_a_spout_learns_its_part_from_its_context() -> None:
    """Semantics 31: `context.task_index` and `context.task_count`."""

    def part(context: TopologyContext) -> Iterator[str]:
        return iter([f"{context.task_index} of {context.task_count}"])

    with LocalCluster(under(part, outputs=("x",), parallelism=3)) as cluster:
        cluster.run_until_idle()
        assert sorted(cluster.emitted("s")) == [("0 of 3",), ("1 of 3",), ("2 of 3",)]


def test_a_spout_that_ticks_emits_from_its_tick() -> None:
    """The API page, Life: `tick` every `tick_every`."""

    class Ticking(Tells):
        tick_every = 1.0

        def tick(self) -> str:
            return "tick"

    with LocalCluster(under(Ticking)) as cluster:
        cluster.advance(3)
        assert cluster.emitted("s") == [("tick",)] * 3


@pytest.mark.parametrize("name", ["ack", "ack_many", "fail", "dead"])
def test_an_async_callback_of_a_spout_is_a_build_error(name: str) -> None:
    """Nobody would await it."""

    async def told(self: Spout, message_id: object) -> None: ...

    spout = type("Source", (Spout,), {"outputs": ("x",), "next_tuple": lambda self: None, name: told})
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", spout))
    with pytest.raises(TopologyError, match=f"`{name}` of spout") as caught:
        LocalCluster(topology)
    assert caught.value.code == "spout_async"
