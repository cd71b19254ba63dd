"""Semantics §2, from the spout's side: what is emitted again, what is told, what is counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from squall import Batch, Bolt, DropTuple, Emit, Exhausted, Fields, RetryTuple, Spout, Topology, TopologyContext, Tuple
from squall.testing import LocalCluster
from topologies import Record, single


class Gives(Spout):
    """Gives each of its outputs once, then ends; writes down what it is told."""

    outputs = ("x",)

    def __init__(self, *outputs: Any) -> None:
        self.left = list(outputs)
        self.told: list[tuple[str, Any]] = []

    def next_tuple(self) -> Any:
        if not self.left:
            raise Exhausted
        return self.left.pop(0)

    def ack(self, message_id: Any) -> None:
        self.told.append(("ack", message_id))


class GivesAgain(Gives):
    """Gives what failed again."""

    def fail(self, message_id: Any) -> None:
        self.told.append(("fail", message_id))
        self.left.append(Emit("again", id=message_id))


def adds_up(cluster: LocalCluster) -> bool:
    """Whether each try of a root was acked, failed or is pending."""
    counts = cluster.metrics()["s"]
    return counts["emitted"] == counts["acked"] + counts["failed"] + counts["pending"]


@pytest.mark.parametrize("form", ["emit", "return", "blocking"])
def test_a_root_on_a_direct_stream_is_tried_again_where_it_was_sent(form: str) -> None:
    """Semantics 8: the engine emits the kept values again, to the task that the spout named."""

    class Directs(Gives):
        blocking = form == "blocking"

        def open(self, context: TopologyContext) -> None:
            self.left = [Emit("a", stream="to", task=context.tasks("b")[1], id=1)]

        def next_tuple(self) -> Any:
            output = super().next_tuple()
            if form == "return":
                return output
            self.emit(*output.values, stream=output.stream, task=output.task, id=output.id)
            return None

    topology = Topology("t")
    spout = topology.spout("s", Directs, streams={"to": Fields(("x",), direct=True)})
    topology.bolt("b", Record, parallelism=2).direct(spout["to"])
    with LocalCluster(topology) as cluster:
        cluster.inject("b", ValueError("no"), times=2)
        cluster.advance(5)
        assert [cluster.task("b", Record, index).rows for index in range(2)] == [[], [("a",)]]
        assert cluster.task("s", Directs).told == [("ack", 1)]
        assert cluster.errors()[-1].error == "ValueError: no"


class EndsInBatches(GivesAgain):
    """The same by `next_batch`."""

    next_tuple = None

    def next_batch(self, limit: int) -> list[Any]:
        return [super().next_tuple()]


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("kind", [GivesAgain, EndsInBatches])
def test_an_exhausted_spout_is_asked_again_for_what_failed(kind: type[GivesAgain], blocking: bool) -> None:
    """Semantics 8, 35. `Exhausted` says that nothing new will come; the run ends when what failed was delivered."""
    placed = type("Placed", (kind,), {"blocking": blocking})
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", lambda: placed(Emit("a", id=1))))
    with LocalCluster(topology) as cluster:
        cluster.inject("b", ValueError("no"), times=2)
        cluster.finish()
        assert cluster.task("b", Record).rows == [("again",)]
        assert cluster.task("s", kind).told == [("fail", 1), ("fail", 1), ("ack", 1)]
        assert adds_up(cluster)


class Picky:
    """A grouping that has no use for a row."""

    def prepare(self, *_: object) -> None: ...

    def choose(self, task: int, values: tuple[Any, ...]) -> list[int]:
        raise DropTuple("no use")


WITHOUT_ACKERS = {"topology.acker.executors": 0}


@pytest.mark.parametrize("kind", [Gives, GivesAgain])
@pytest.mark.parametrize("settings", [{}, WITHOUT_ACKERS], ids=["ackers", "no ackers"])
def test_an_emission_that_a_grouping_drops_is_acked(kind: type[Gives], settings: dict[str, Any]) -> None:
    """Semantics 8, 36. `DropTuple` acks without output, also on a spout's emit: the spout is told and it is counted."""
    topology = Topology("t", settings=settings)
    topology.bolt("b", Record).custom(topology.spout("s", lambda: kind(Emit("a", id=1), "b"), outputs=("x",)), Picky())
    with LocalCluster(topology) as cluster:
        cluster.advance(60)
        assert cluster.task("s", kind).told == [("ack", 1)]
        assert cluster.metrics()["s"]["emitted"] == 2
        assert cluster.metrics()["s"]["pending"] == 0
        assert adds_up(cluster)
        assert cluster.task("b", Record).rows == cluster.dead_letters() == []


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(GivesAgain, {}), (Gives, WITHOUT_ACKERS), (GivesAgain, WITHOUT_ACKERS)],
    ids=["no id", "no ackers", "neither"],
)
def test_an_untracked_row_that_cannot_be_routed_is_reported_and_failed(
    kind: type[Gives], settings: dict[str, Any]
) -> None:
    """Semantics 7, 36. Nobody waits for it and nothing is tried again, but it is no success."""
    topology = Topology("t", settings=settings)
    spout = topology.spout("s", lambda: kind("a", (object(),), "c"), outputs=("x",))
    topology.bolt("b", Record, parallelism=2).fields(spout, "x")
    with LocalCluster(topology) as cluster:
        cluster.advance(60)
        counts = cluster.metrics()["s"]
        assert (counts["emitted"], counts["acked"], counts["failed"], counts["pending"]) == (3, 2, 1, 0)
        (report,) = cluster.errors()
        assert (report.component, report.where) == ("s", "emit")
        assert "code: key_type_unstable" in report.traceback


def emits(spout: Spout, message_id: object) -> None:
    spout.emit("a", id=message_id)


UNHASHABLE: list[tuple[str, Callable[[Spout, Any], Any]]] = [
    ("emit", emits),
    ("Emit", lambda spout, message_id: Emit("a", id=message_id)),
    ("list of Emit", lambda spout, message_id: [Emit("a", id=message_id)]),
]


@pytest.mark.parametrize("gives", [gives for _, gives in UNHASHABLE], ids=[name for name, _ in UNHASHABLE])
@pytest.mark.parametrize("message_id", [[1], {}, set()], ids=repr)
def test_a_spout_with_fail_needs_hashable_ids(message_id: object, gives: Callable[[Spout, Any], Any]) -> None:
    """Semantics 8. Its tries are counted by id: one without a hash is an error of the spout, which is asked again."""

    class Unhashable(GivesAgain):
        def next_tuple(self) -> Any:
            output = super().next_tuple()
            return output if output == "good" else gives(self, message_id)

    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", lambda: Unhashable("bad", "good")))
    with LocalCluster(topology) as cluster:
        cluster.finish()
        assert cluster.task("b", Record).rows == [("good",)]
        (report,) = cluster.errors()
        assert report.component == "s"
        assert "code: id_unhashable" in report.traceback
        assert adds_up(cluster)


def test_a_batch_of_a_spout_with_fail_needs_hashable_ids() -> None:
    """Semantics 8, in `next_batch`."""

    class Unhashable(EndsInBatches):
        def next_batch(self, limit: int) -> Any:
            return Batch(super().next_batch(limit), ids=[[]])

    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", lambda: Unhashable("bad"), outputs=("x",)))
    with LocalCluster(topology) as cluster:
        cluster.finish()
        assert cluster.task("b", Record).rows == []
        assert "code: id_unhashable" in cluster.errors()[0].traceback


def test_an_id_whose_hash_raises_is_given_up_when_it_fails() -> None:
    """Semantics 8. A tuple says only when it is asked that it has no hash; its tries cannot be counted."""
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", lambda: GivesAgain(Emit("a", id=([],)))))
    with LocalCluster(topology) as cluster:
        cluster.inject("b", ValueError("no"))
        cluster.finish()
        assert len(cluster.dead_letters()) == 1
        assert cluster.task("s", GivesAgain).told == [("ack", ([],))]
        assert "TypeError: unhashable type: 'list'" in {report.error for report in cluster.errors()}
        assert adds_up(cluster)


REMEMBERED = 1 << 17
"""Failed ids of a task whose tries are counted."""


def test_the_tries_of_so_many_failed_ids_are_counted_and_the_oldest_forgotten() -> None:
    """Semantics 8. Bounded: an id that is forgotten begins anew."""

    class Many(Spout):
        outputs = ("x",)

        def __init__(self) -> None:
            self.left = iter(range(REMEMBERED + 1))

        def next_batch(self, limit: int) -> Batch:
            ids = list(itertools.islice(self.left, limit))
            return Batch(ids, ids=ids)

        def fail(self, message_id: int) -> None:
            if message_id in (0, 1, REMEMBERED):
                self.emit(message_id, id=message_id)

    class All(Bolt):
        outputs = ("x",)
        batch_max = 1 << 20
        batch_wait = 1.0

        def process_batch(self, x: list[int]) -> None:
            self.emit(x[0])

    class Attempts(Bolt):
        def __init__(self) -> None:
            self.attempts: list[int] = []

        def process(self, tup: Tuple) -> None:
            self.attempts.append(tup.attempt)

    topology = Topology("t", settings={"topology.executor.receive.buffer.size": 1 << 18})
    spout = topology.spout("s", Many, settings={"topology.max.spout.pending": 1 << 18})
    topology.bolt("sink", Record).shuffle(topology.bolt("all", All).shuffle(spout))
    topology.bolt("b", Attempts).shuffle(spout)
    with LocalCluster(topology) as cluster:
        cluster.worker.observe(False)
        cluster.inject("sink", RetryTuple("no"))
        cluster.advance(2)
        attempts = cluster.task("b", Attempts).attempts
        assert set(attempts[: REMEMBERED + 1]) == {1}
        assert attempts[REMEMBERED + 1 :] == [1, 2, 2]


def test_an_uncounted_retry_that_fails_on_does_not_spin_in_a_drain() -> None:
    """Semantics 35. Back-offs are cut short, but what may fail for ever lets 10 ms pass at each try."""
    with LocalCluster(single(Record), mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("b", RetryTuple("not yet", after=2.0, counts=False), times=101)
        cluster.run_until_idle()
        cluster.drain()
        assert cluster.acked("s") == ["a"]
        assert len(cluster.failed("s")) == 101
        assert cluster.worker.monotonic() == pytest.approx(1.0)


MAX_PENDING = 1 << 20
"""What a ledger holds: `MAX_SLOTS` of the core."""


def test_replay_that_finds_the_ledger_full_is_emitted_when_there_is_room() -> None:
    """Semantics 12: a letter that was asked for is not forgotten until its topology starts again."""

    class Wait(Bolt):
        def open(self, context: TopologyContext) -> None:
            context.pause(5.0)

        def process(self, x: int) -> None: ...

    topology = Topology("full")
    topology.bolt("b", Wait).shuffle(topology.spout("s", lambda: iter(()), outputs=("x",)))
    ended: list[tuple[int, bool, int]] = []

    class News:
        def ended(self, number: int, acked: bool, attempt: int) -> None:
            ended.append((number, acked, attempt))

        def failed(self, number: int, why: str) -> None: ...

        def refused(self, number: int, why: str) -> None: ...

    with LocalCluster(topology) as cluster:
        cluster._world.hooks.replays = News()
        spout, row = cluster._built.of("s")[0].index, (1,)
        for number in [0] * MAX_PENDING + [7, 8]:
            cluster.worker.replay(spout, 0, row, None, number)
        cluster.run_until_idle()
        assert cluster.metrics()["s"]["pending"] == MAX_PENDING
        assert ended == []
        cluster.advance(6)
        assert ended == [(7, True, 1), (8, True, 1)]
