"""Semantics §2: failure, retries, dead letters; seen through `LocalCluster`."""

from __future__ import annotations

import pytest
from squall import Bolt, DeadLetter, DropTuple, Emit, RetryTuple, Spout, Topology
from squall.testing import LocalCluster


class Record(Bolt):
    """Keeps what it processed."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def process(self, x: object) -> None:
        self.seen.append(x)


def flaky(component: object, **options: object) -> Topology:
    topology = Topology("t")
    numbers = topology.spout("s", lambda: iter(()), outputs=("x",))
    topology.bolt("b", component, **options).shuffle(numbers)  # type: ignore[arg-type]
    return topology


def test_only_user_failures_count_and_three_retries_mean_four_tries() -> None:
    """Semantics 7, 8. Four tries with back-offs of 0.1, 0.2 and 0.4 s, then a dead letter; the id is then acked."""
    with LocalCluster(flaky(Record), mock_sources={"s": []}) as cluster:
        cluster.inject("b", ValueError("no"), times=100)
        cluster.feed("s", ["a"])
        cluster.run_until_idle()
        assert cluster.failed("s") == ["a"] and not cluster.dead_letters()
        cluster.advance(0.1)
        assert len(cluster.failed("s")) == 2
        cluster.advance(0.19)
        assert len(cluster.failed("s")) == 2
        cluster.advance(0.02)
        assert len(cluster.failed("s")) == 3
        cluster.advance(0.4)
        assert cluster.failed("s") == ["a"] * 4
        (letter,) = cluster.dead_letters()
        assert (letter.component, letter.attempts, letter.values, letter.fields) == ("b", 4, ("a",), ("x",))
        assert 'dead letter of "b"' in str(letter) and "x='a'" in str(letter) and "ValueError: no" in str(letter)
        assert "Traceback" in letter.traceback
        metrics = cluster.metrics()["s"]
        assert metrics["emitted"] == metrics["acked"] + metrics["failed"] + metrics["pending"] == 4
        assert metrics["dead"] == 1


def test_retries_are_those_of_the_component_that_failed() -> None:
    """Semantics 8."""
    with LocalCluster(flaky(Record, retries=0), mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("b", ValueError("no"))
        cluster.run_until_idle()
        assert len(cluster.dead_letters()) == 1


def test_a_later_try_that_succeeds_is_acked_once() -> None:
    """Semantics 8."""
    with LocalCluster(flaky(Record), mock_sources={"s": []}) as cluster:
        cluster.inject("b", ValueError("no"), times=2)
        ids = cluster.feed("s", ["a", "b"])
        cluster.advance(10)
        assert sorted(cluster.acked("s")) == ids and not cluster.dead_letters()
        assert sorted(cluster.task("b", Record).seen) == ["a", "b"]


@pytest.mark.parametrize(
    ("error", "acked", "dead", "dropped"),
    [(DropTuple("no use"), ["a"], 0, 1), (DeadLetter("poison"), [], 1, 0)],
    ids=["drop", "dead"],
)
def test_what_the_exception_says_happens(error: Exception, acked: list[str], dead: int, dropped: int) -> None:
    """Semantics 8. `DropTuple` acks without output, `DeadLetter` gives up at once."""
    with LocalCluster(flaky(Record), mock_sources={"s": []}) as cluster:
        cluster.inject("b", error)
        cluster.feed("s", ["a"])
        cluster.advance(60)
        assert cluster.acked("s") == acked
        assert len(cluster.dead_letters()) == dead
        assert cluster.metrics()["b"]["dropped"] == dropped


def test_an_uncounted_retry_comes_when_it_was_asked_for_and_never_dies() -> None:
    """Semantics 8."""
    with LocalCluster(flaky(Record, retries=1), mock_sources={"s": []}) as cluster:
        cluster.inject("b", RetryTuple("later", after=2.0, counts=False), times=10)
        cluster.feed("s", ["a"])
        cluster.advance(19.9)
        assert cluster.acked("s") == [] and not cluster.dead_letters()
        cluster.advance(0.2)
        assert cluster.acked("s") == ["a"]


def test_on_error_takes_the_most_derived_class() -> None:
    """The API page, Failure."""
    on_error = {Exception: "drop", LookupError: "retry", KeyError: "dead"}
    with LocalCluster(flaky(Record, on_error=on_error), mock_sources={"s": []}) as cluster:
        cluster.inject("b", KeyError("k"))
        cluster.feed("s", ["dead"])
        cluster.run_until_idle()
        cluster.inject("b", ZeroDivisionError())
        cluster.feed("s", ["dropped"])
        cluster.advance(60)
        assert len(cluster.dead_letters()) == 1
        assert cluster.acked("s") == ["dropped"]


def test_die_ends_the_worker() -> None:
    """Semantics 13."""
    with LocalCluster(flaky(Record, on_error="die"), mock_sources={"s": []}) as cluster:
        cluster.inject("b", ValueError("the end"))
        cluster.feed("s", ["a"])
        with pytest.raises(ValueError, match="the end"):
            cluster.run_until_idle()


class Replaying(Spout):
    """Keeps its own values, as a Kafka spout would."""

    outputs = ("x",)

    def __init__(self) -> None:
        self.todo = ["a"]
        self.log: list[tuple[str, str]] = []

    def next_tuple(self) -> None:
        if self.todo:
            value = self.todo.pop()
            self.emit(value, id=value)

    def ack(self, message_id: str) -> None:
        self.log.append(("ack", message_id))

    def fail(self, message_id: str) -> None:
        self.log.append(("fail", message_id))
        self.todo.append(message_id)


class ReplayingWithDead(Replaying):
    def dead(self, message_id: str) -> None:
        self.log.append(("dead", message_id))


@pytest.mark.parametrize(("kind", "last"), [(Replaying, "ack"), (ReplayingWithDead, "dead")])
def test_a_spout_with_fail_is_told_each_time_and_then_that_it_is_dead(kind: type[Replaying], last: str) -> None:
    """Semantics 8. The engine counts by message id; `dead` is `ack` unless the spout says otherwise."""
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", kind))
    with LocalCluster(topology) as cluster:
        cluster.inject("b", ValueError("no"), times=4)
        cluster.advance(60)
        assert cluster.task("s", kind).log == [("fail", "a")] * 3 + [(last, "a")]
        assert cluster.dead_letters()[0].message_id == "a"


class Batches(Bolt):
    """Refuses batches with poison in them."""

    batch_max = 10

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def process_batch(self, x: list[str]) -> None:
        self.batches.append(x)
        if "poison" in x:
            raise ValueError("poison")


def test_poison_in_a_batch_is_found_by_batches_of_one() -> None:
    """Semantics 10. The healthy rows go through; only single tries count."""
    with LocalCluster(flaky(Batches, retries=0), mock_sources={"s": []}) as cluster:
        cluster.feed("s", ["a", "poison", "b"])
        cluster.advance(60)
        assert sorted(cluster.acked("s")) == ["a", "b"]
        assert [letter.values for letter in cluster.dead_letters()] == [("poison",)]
        assert cluster.task("b", Batches).batches[0] == ["a", "poison", "b"]
        assert sorted(map(len, cluster.task("b", Batches).batches[1:])) == [1, 1, 1]


class Reader(Bolt):
    def __init__(self) -> None:
        self.letters: list[tuple[str, tuple[object, ...]]] = []

    def process(self, component: str, values: tuple[object, ...], error: str) -> None:
        self.letters.append((component, values))
        if values == ("twice",):
            raise ValueError("the reader fails too")


def test_dead_letters_are_a_stream_and_make_no_letters_of_their_own() -> None:
    """Semantics 12."""
    topology = Topology("t")
    numbers = topology.spout("s", lambda: iter(()), outputs=("x",))
    bolt = topology.bolt("b", Record, retries=0).shuffle(numbers)
    topology.bolt("reader", Reader, retries=0).shuffle(topology.dead_letters(bolt))
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        cluster.inject("b", ValueError("no"), times=2)
        cluster.feed("s", ["once", "twice"])
        cluster.advance(60)
        assert cluster.task("reader", Reader).letters == [("b", ("once",)), ("b", ("twice",))]
        assert len(cluster.dead_letters()) == 2


def test_a_joined_tuple_that_is_poison_fails_each_of_its_roots() -> None:
    """Semantics 11."""
    topology = Topology("t")
    numbers = topology.spout("s", lambda: iter(()), outputs=("x",))

    class Pair(Bolt):
        outputs = ("left", "right")
        manual_ack = True

        def open(self, context: object) -> None:
            self.first = None

        def process(self, tup: "squall.Tuple") -> None:
            if self.first is None:
                self.first = tup
                return
            self.emit(self.first["x"], tup["x"], anchors=[self.first, tup])
            self.ack(self.first, tup)
            self.first = None

    class Bad(Bolt):
        def process(self, left: str, right: str) -> None:
            raise DeadLetter(f"{left}+{right}")

    pairs = topology.bolt("pair", Pair).global_(numbers)
    topology.bolt("bad", Bad).shuffle(pairs)
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        cluster.feed("s", ["a", "b"])
        cluster.run_until_idle()
        assert sorted(cluster.failed("s")) == ["a", "b"]
        assert [letter.values for letter in cluster.dead_letters()] == [("a", "b")] * 2


import squall  # noqa: E402 - the annotation in `Pair` is a string on purpose


def test_an_output_that_cannot_be_routed_fails_its_input() -> None:
    """Semantics 7. Wrong arity, unknown stream: user-code failures with a code."""
    topology = Topology("t")
    numbers = topology.spout("s", lambda: iter(()), outputs=("x",))
    topology.bolt("arity", lambda x: (x, x), outputs=("y",), retries=0).shuffle(numbers)
    topology.bolt("stream", lambda x: Emit(x, stream="nowhere"), outputs=("y",), retries=0).shuffle(numbers)
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        errors = "\n".join(report.traceback for report in cluster.errors())
        assert "code: emit_arity" in errors and "code: emit_stream_unknown" in errors
