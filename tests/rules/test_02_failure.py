"""Semantics §2: failure, retries, dead letters; seen through `LocalCluster`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import timedelta

import pytest
from squall import Bolt, DeadLetter, DropTuple, Emit, Exhausted, RetryTuple, Spout, Topology, TopologyContext, Tuple
from squall.model.graph import DEAD_LETTER_FIELDS
from squall.testing import LocalCluster
from squall.testing.seen import BEGAN_AT
from topologies import Record, single, source


def test_only_user_failures_count_and_three_retries_mean_four_tries() -> None:
    """Semantics 7, 8. Four tries with back-offs of 0.1, 0.2 and 0.4 s, then a dead letter; the id is then acked."""
    with LocalCluster(single(Record), mock_sources={"s": []}) as cluster:
        cluster.inject("b", ValueError("no"), times=100)
        cluster.feed("s", ["a"])
        cluster.run_until_idle()
        assert cluster.failed("s") == ["a"]
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
        assert all(part in str(letter) for part in ('dead letter of "b"', "x='a'", "ValueError: no"))
        assert "Traceback" in letter.traceback
        metrics = cluster.metrics()["s"]
        assert metrics["emitted"] == metrics["acked"] + metrics["failed"] + metrics["pending"] == 4
        assert metrics["dead"] == 1


def test_retries_are_those_of_the_component_that_failed() -> None:
    """Semantics 8."""
    with LocalCluster(single(Record, retries=0), mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("b", ValueError("no"))
        cluster.run_until_idle()
        assert len(cluster.dead_letters()) == 1


def test_a_later_try_that_succeeds_is_acked_once() -> None:
    """Semantics 8."""
    with LocalCluster(single(Record), mock_sources={"s": []}) as cluster:
        cluster.inject("b", ValueError("no"), times=2)
        ids = cluster.feed("s", ["a", "b"])
        cluster.advance(10)
        assert sorted(cluster.acked("s")) == ids
        assert cluster.dead_letters() == []
        assert sorted(cluster.task("b", Record).rows) == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("error", "acked", "dead", "dropped"),
    [(DropTuple("no use"), ["a"], 0, 1), (DeadLetter("poison"), [], 1, 0)],
    ids=["drop", "dead"],
)
def test_what_the_exception_says_happens(error: Exception, acked: list[str], dead: int, dropped: int) -> None:
    """Semantics 8. `DropTuple` acks without output, `DeadLetter` gives up at once."""
    with LocalCluster(single(Record), mock_sources={"s": []}) as cluster:
        cluster.inject("b", error)
        cluster.feed("s", ["a"])
        cluster.advance(60)
        assert cluster.acked("s") == acked
        assert len(cluster.dead_letters()) == dead
        assert cluster.metrics()["b"]["dropped"] == dropped


def test_an_uncounted_retry_comes_when_it_was_asked_for_and_never_dies() -> None:
    """Semantics 8."""
    with LocalCluster(single(Record, retries=1), mock_sources={"s": []}) as cluster:
        cluster.inject("b", RetryTuple("later", after=2.0, counts=False), times=10)
        cluster.feed("s", ["a"])
        cluster.advance(19.9)
        assert cluster.acked("s") == []
        assert cluster.dead_letters() == []
        cluster.advance(0.2)
        assert cluster.acked("s") == ["a"]


def test_on_error_takes_the_most_derived_class() -> None:
    """The API page, Failure."""
    on_error = {Exception: "drop", LookupError: "retry", KeyError: "dead"}
    with LocalCluster(single(Record, on_error=on_error), mock_sources={"s": []}) as cluster:
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
    with LocalCluster(single(Record, on_error="die"), mock_sources={"s": []}) as cluster:
        cluster.inject("b", ValueError("the end"))
        cluster.feed("s", ["a"])
        with pytest.raises(ValueError, match="the end"):
            cluster.run_until_idle()


@pytest.mark.parametrize("kind", ["next_tuple", "generator"])
def test_die_of_a_spout_ends_the_worker(kind: str) -> None:
    """Semantics 13."""

    class Dies(Spout):
        outputs = ("x",)

        def next_tuple(self) -> None:
            raise ValueError("the end")

    def generator() -> Iterator[str]:
        yield from ()
        raise ValueError("the end")

    topology = Topology("t")
    dies = Dies if kind == "next_tuple" else generator
    topology.bolt("b", Record).shuffle(topology.spout("s", dies, outputs=("x",), on_error="die"))
    with LocalCluster(topology) as cluster, pytest.raises(ValueError, match="the end"):
        cluster.advance(1)


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


@pytest.mark.parametrize("simulated", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
def test_what_is_cancelled_inside_an_async_call_fails_its_tuple_and_nothing_else(
    simulated: bool, ordered: bool
) -> None:
    """Semantics 7. The worker goes on, and so does the place of the call."""

    class Cancels(Bolt):
        max_in_flight = 1

        async def process(self, x: str) -> None:
            if x == "raised":
                raise asyncio.CancelledError
            request = asyncio.create_task(asyncio.sleep(60 if x == "inner" else 0))
            if x == "inner":
                request.cancel()
            if x == "itself":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            await request

    Cancels.ordered = ordered
    values = ["raised", "a", "inner", "b", "itself", "c"]
    topology = single(Cancels, retries=0)
    with LocalCluster(topology, mock_sources={"s": values}, simulated_time=simulated) as cluster:
        cluster.run_until_idle()
        assert cluster.acked("s") == ["a", "b", "c"]
        assert [letter.values[0] for letter in cluster.dead_letters()] == ["raised", "inner", "itself"]
        assert all("code: call_cancelled" in letter.traceback for letter in cluster.dead_letters())


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
    with LocalCluster(single(Batches, retries=0), mock_sources={"s": []}) as cluster:
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
    numbers = source(topology)
    bolt = topology.bolt("b", Record, retries=0).shuffle(numbers)
    topology.bolt("reader", Reader, retries=0).shuffle(topology.dead_letters(bolt))
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        cluster.inject("b", ValueError("no"), times=2)
        cluster.feed("s", ["once", "twice"])
        cluster.advance(60)
        assert cluster.task("reader", Reader).letters == [("b", ("once",)), ("b", ("twice",))]
        assert len(cluster.dead_letters()) == 2


def test_a_letter_that_its_reader_fails_is_tried_again_and_then_left_in_the_log() -> None:
    """Semantics 8, 12. A root of its own, like any other; after its last try nothing of it is kept."""
    topology = Topology("t")
    bolt = topology.bolt("b", Record, retries=0).shuffle(source(topology))
    topology.bolt("reader", Reader, retries=1).shuffle(topology.dead_letters(bolt))
    with LocalCluster(topology, mock_sources={"s": []}) as cluster:
        cluster.inject("b", ValueError("no"), times=2)
        cluster.inject("reader", ValueError("not yet"), when=lambda tup: tup["values"] == ("once",))
        cluster.feed("s", ["once", "twice"])
        cluster.advance(60)
        assert cluster.task("reader", Reader).letters == [("b", ("twice",)), ("b", ("once",)), ("b", ("twice",))]
        assert len(cluster.dead_letters()) == 2
        assert cluster.worker.pending() == []


def test_a_joined_tuple_that_is_poison_fails_each_of_its_roots() -> None:
    """Semantics 11. A letter for each root, linked by the number of their failure."""
    topology = Topology("t")
    numbers = source(topology)

    class Pair(Bolt):
        outputs = ("left", "right")
        manual_ack = True

        def open(self, context: object) -> None:
            self.first = None

        def process(self, tup: Tuple) -> None:
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
        cluster.feed("s", ["a", "b", "c", "d"])
        cluster.run_until_idle()
        assert sorted(cluster.failed("s")) == ["a", "b", "c", "d"]
        letters = cluster.dead_letters()
        assert [letter.values for letter in letters] == [("a", "b")] * 2 + [("c", "d")] * 2
        assert [letter.failure for letter in letters] == [1, 1, 2, 2]


def test_an_output_that_cannot_be_routed_fails_its_input() -> None:
    """Semantics 7. Wrong arity, unknown stream: user-code failures with a code."""
    topology = Topology("t")
    numbers = source(topology)
    topology.bolt("arity", lambda x: (x, x), outputs=("y",), retries=0).shuffle(numbers)
    topology.bolt("stream", lambda x: Emit(x, stream="nowhere"), outputs=("y",), retries=0).shuffle(numbers)
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        errors = "\n".join(report.traceback for report in cluster.errors())
        assert "code: emit_arity" in errors
        assert "code: emit_stream_unknown" in errors


def tries_until_dead(cluster: LocalCluster) -> list[float]:
    """When each try of the one root failed, in seconds."""
    at: list[float] = []
    cluster.run_until_idle()
    for _ in range(10_000):
        while len(at) < len(cluster.failed("s")):
            at.append(round(cluster.worker.monotonic(), 3))
        if cluster.dead_letters():
            return at
        cluster.advance(0.1)
    raise AssertionError(f"never dead; failed at {at}")


def test_the_back_off_doubles_up_to_ten_seconds() -> None:
    """Semantics 8."""
    with LocalCluster(single(Record, retries=10), mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("b", ValueError("no"), times=100)
        at = tries_until_dead(cluster)
        pauses = [round(later - earlier, 3) for earlier, later in itertools.pairwise(at)]
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_after_replaces_the_back_off_and_counts() -> None:
    """Semantics 8, the API page, Failure."""
    with LocalCluster(single(Record, retries=2), mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("b", RetryTuple("later", after=timedelta(seconds=5)), times=100)
        assert tries_until_dead(cluster) == [0.0, 5.0, 10.0]


def test_an_uncounted_failure_is_tried_again_at_once() -> None:
    """Semantics 8: without back-off, unless `after` is given."""
    with LocalCluster(single(Record, retries=0), mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("b", RetryTuple("not mine", counts=False), times=50)
        cluster.run_until_idle()
        cluster.advance(0)
        assert cluster.acked("s") == ["a"]
        assert cluster.failed("s") == ["a"] * 50


def test_an_explicit_fail_counts() -> None:
    """Semantics 7."""

    class Refusing(Bolt):
        manual_ack = True

        def process(self, tup: Tuple) -> None:
            self.fail(tup, error=LookupError(f"refused {tup['x']}"))

    with LocalCluster(single(Refusing, retries=1), mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(1)
        (letter,) = cluster.dead_letters()
        assert (letter.attempts, letter.error) == (2, "LookupError: refused a")


def test_a_tuple_held_for_too_long_counts() -> None:
    """Semantics 7, 16."""

    class Holding(Bolt):
        manual_ack = True
        hold_max = 10

        def process(self, tup: Tuple) -> None: ...

    with LocalCluster(single(Holding, retries=1), mock_sources={"s": ["a"]}) as cluster:
        assert tries_until_dead(cluster) == [10.0, 20.1]
        assert "code: held_too_long" in cluster.dead_letters()[0].traceback


def test_tuple_attempt_tells_which_try_it_is() -> None:
    """Semantics 8: one count per root, whichever component fails."""
    attempts: list[int] = []

    def count(x: str, tup: Tuple) -> str:
        attempts.append(tup.attempt)
        return x

    topology = Topology("t")
    below = topology.bolt("b", count, outputs=("x",)).shuffle(source(topology))
    topology.bolt("c", Record, retries=2).shuffle(below)
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("b", ValueError("first"))
        cluster.inject("c", ValueError("second and third"), times=2)
        cluster.advance(10)
        assert attempts == [2, 3]
        assert cluster.dead_letters()[0].attempts == 3


def test_the_limit_is_that_of_the_component_where_the_try_failed() -> None:
    """Semantics 8."""
    topology = Topology("t")
    below = topology.bolt("patient", lambda x: x, outputs=("x",), retries=100).shuffle(source(topology))
    topology.bolt("strict", Record, retries=1).shuffle(below)
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("patient", ValueError("no"), times=5)
        cluster.inject("strict", ValueError("no"))
        cluster.advance(60)
        (letter,) = cluster.dead_letters()
        assert (letter.component, letter.attempts) == ("strict", 6)


def test_settings_of_topology_and_component_set_the_retries() -> None:
    """Semantics 8: `topology.retries`; the API page: wiring > class attribute > `-c` > default."""
    for options, settings, tries in [
        ({}, {}, 4),
        ({}, {"topology.retries": 1}, 2),
        ({"settings": {"topology.retries": 2}}, {"topology.retries": 1}, 3),
        ({"retries": 0, "settings": {"topology.retries": 2}}, {"topology.retries": 1}, 1),
    ]:
        with LocalCluster(single(Record, **options), mock_sources={"s": ["a"]}, settings=settings) as cluster:
            cluster.inject("b", ValueError("no"), times=100)
            assert len(tries_until_dead(cluster)) == tries


def test_settings_of_a_component_are_stronger_than_its_class() -> None:
    """The API page: wiring > class attribute; `settings=` is wiring too, an argument of its own is stronger."""

    class Five(Record):
        retries = 5

    for options, tries in [
        ({}, 6),
        ({"settings": {"topology.retries": 0}}, 1),
        ({"settings": {"topology.retries": 0}, "retries": 2}, 3),
    ]:
        with LocalCluster(single(Five, **options), mock_sources={"s": ["a"]}) as cluster:
            cluster.inject("b", ValueError("no"), times=100)
            assert len(tries_until_dead(cluster)) == tries


class Feeder(Replaying):
    """Emits what the test puts in."""

    def __init__(self) -> None:
        super().__init__()
        self.todo = []

    def next_tuple(self) -> None:
        if self.todo:
            self.emit(*self.todo.pop(0))


def test_an_output_without_id_from_a_spout_that_has_fail_is_not_tracked() -> None:
    """Semantics 8: it can be tried again by nobody."""
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", Feeder))
    with LocalCluster(topology) as cluster:
        cluster.task("s", Feeder).todo.append(("a",))
        cluster.inject("b", ValueError("no"))
        cluster.advance(60)
        assert cluster.failed("s") == []
        assert cluster.dead_letters() == []
        metrics = cluster.metrics()["s"]
        assert metrics["emitted"] == metrics["acked"] + metrics["failed"] + metrics["pending"] == 1


def test_an_output_without_id_from_a_spout_without_fail_is_tracked() -> None:
    """Semantics 8: the engine keeps its values."""
    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", lambda: iter(["a"]), outputs=("x",)))
    with LocalCluster(topology) as cluster:
        cluster.inject("b", ValueError("no"), times=2)
        cluster.advance(10)
        assert cluster.task("b", Record).rows == [("a",)]
        assert cluster.failed("s") == [None, None]
        assert cluster.acked("s") == [None]


class Again(Replaying):
    """Emits the same id anew after it was acked or given up."""

    def ack(self, message_id: str) -> None:
        super().ack(message_id)
        if len(self.log) < 8:
            self.todo.append(message_id)


def test_the_count_of_an_id_is_forgotten_when_it_is_acked() -> None:
    """Semantics 8: the engine counts by (spout task, message id), forgetting at ack or dead."""
    topology = Topology("t")
    topology.bolt("b", Record, retries=2).shuffle(topology.spout("s", Again))
    with LocalCluster(topology) as cluster:
        for _ in range(3):
            cluster.inject("b", ValueError("no"), times=2)
            cluster.inject("b", ValueError("passes"), when=lambda tup: tup.attempt != 3)
            cluster.advance(10)
        assert cluster.dead_letters() == []
        assert [name for name, _ in cluster.task("s", Again).log][:3] == ["fail", "fail", "ack"]


def test_a_letter_says_what_failed_where_on_what_and_how_often() -> None:
    """Semantics 11: component, task, input values, traceback; the root's values where the engine keeps them."""

    def refuse(word: str) -> None:
        raise LookupError(f"no {word}")

    topology = Topology("t")
    words = topology.bolt("split", lambda line: line.split(), outputs=("word",)).shuffle(
        source(topology, fields=("line",))
    )
    topology.bolt("refuse", refuse, on_error="dead").shuffle(words)
    with LocalCluster(topology, mock_sources={"s": ["one"]}) as cluster:
        cluster.advance(5)
        (letter,) = cluster.dead_letters()
        (task,) = [task.task.task_id for task in cluster._built.of("refuse")]
        assert (letter.component, letter.task, letter.source, letter.stream) == ("refuse", task, "split", "default")
        assert (letter.fields, letter.values, letter.attempts) == (("word",), ("one",), 1)
        assert letter.error == "LookupError: no one"
        assert 'raise LookupError(f"no {word}")' in letter.traceback
        assert letter.root_values == ("one",)
        assert len(letter.roots) == 1
        assert letter.at.timestamp() == BEGAN_AT.timestamp()
        for name in DEAD_LETTER_FIELDS:
            assert hasattr(letter, name)


def test_the_traceback_of_a_letter_is_cut() -> None:
    """Semantics 11: at most 64 KiB."""

    def deep(x: str) -> None:
        raise ValueError("x" * 1_000_000)

    with LocalCluster(single(deep, on_error="dead"), mock_sources={"s": ["a"]}) as cluster:
        cluster.run_until_idle()
        text = cluster.dead_letters()[0].traceback
        assert len(text.encode()) <= 64 << 10
        assert "cut" in text


def test_the_newest_letter_is_a_root_of_its_own_with_all_fields() -> None:
    """Semantics 12: the fields of the stream, and only letters of the components that were asked for."""
    topology = Topology("t")
    numbers = source(topology)
    first = topology.bolt("first", Record, retries=0).shuffle(numbers)
    topology.bolt("second", Record, retries=0).shuffle(numbers)
    topology.bolt("of-first", Record).shuffle(topology.dead_letters(first))
    topology.bolt("of-all", Record).shuffle(topology.dead_letters())
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("first", ValueError("no"))
        cluster.feed("s", ["b"])
        cluster.inject("second", ValueError("no"), when=lambda tup: tup["x"] == "b")
        cluster.advance(5)
        assert [row[0] for row in cluster.task("of-first", Record).rows] == ["first"]
        assert [row[0] for row in cluster.task("of-all", Record).rows] == ["first", "second"]
        row = dict(zip(DEAD_LETTER_FIELDS, cluster.task("of-first", Record).rows[0], strict=True))
        assert (row["values"], row["fields"], row["error"]) == (("a",), ("x",), "ValueError: no")


RAISES = ["tick", "timer", "drain", "close"]


@pytest.mark.parametrize("place", RAISES)
def test_an_exception_outside_of_an_input_is_reported_and_fails_nothing(place: str) -> None:
    """Semantics 7: no tuple is being worked on."""

    class Raising(Record):
        def open(self, context: TopologyContext) -> None:
            if place == "timer":
                context.after(0.5, self.boom)

        def boom(self) -> None:
            raise OSError(f"in {place}")

    if place != "timer":
        setattr(Raising, place, Raising.boom)
    topology = single(Raising, tick_every=0.5 if place == "tick" else None)
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.advance(0.6)
        cluster.drain()
        assert cluster.acked("s") == ["a"]
    assert [(report.component, report.where) for report in cluster.errors()] == [("b", place)]
    assert cluster.errors()[0].error == f"OSError: in {place}"


@pytest.mark.parametrize("callback", ["ack", "ack_many", "fail", "dead"])
def test_an_exception_of_a_spouts_callback_is_reported_and_the_spout_goes_on(callback: str) -> None:
    """The API page, Spouts: callbacks answer nothing, so nothing of theirs can fail a tuple."""

    class Raising(Spout):
        outputs = ("x",)

        def __init__(self) -> None:
            self.left = ["c", "b", "a"]

        def next_tuple(self) -> None:
            if self.left:
                self.emit(self.left[-1], id=self.left.pop())

        def fail(self, message_id: str) -> None:
            self.left.append(message_id)

        def boom(self, _ids: object) -> None:
            raise OSError(callback)

    setattr(Raising, callback, Raising.boom)
    topology = Topology("t")
    topology.bolt("b", Record, retries=0 if callback == "dead" else 3).shuffle(topology.spout("s", Raising))
    with LocalCluster(topology) as cluster:
        cluster.inject("b", ValueError("no"), when=lambda tup: tup["x"] == "a")
        cluster.advance(10)
        assert callback in {report.where for report in cluster.errors()}
        assert {"b", "c"} <= set(cluster.acked("s"))


def test_an_exception_in_open_names_the_component_and_closes_the_cluster() -> None:
    """The API page, Life: nothing has run yet, so the run does not begin."""

    class Closed(Bolt):
        def open(self, context: TopologyContext) -> None:
            raise PermissionError("no licence")

        def process(self, x: str) -> None: ...

    cluster = LocalCluster(single(Closed), mock_sources={"s": ["a"]})
    with pytest.raises(PermissionError, match="no licence") as caught:
        cluster.open()
    assert caught.value.__notes__ == ['in open of "b", task 1']
    cluster.close()


def test_a_spout_that_raises_is_polled_again_after_a_growing_pause() -> None:
    """The API page, Spouts: an exception is no end; `Exhausted` is."""

    class Shaky(Spout):
        outputs = ("x",)

        def __init__(self) -> None:
            self.polls: list[float] = []

        def next_tuple(self) -> str | None:
            self.polls.append(round(self.context.monotonic(), 3))
            if len(self.polls) <= 4:
                raise ConnectionError("not yet")
            if len(self.polls) == 5:
                return "a"
            raise Exhausted

    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", Shaky))
    with LocalCluster(topology) as cluster:
        cluster.advance(60)
        assert cluster.task("s", Shaky).polls == [0.0, 0.1, 0.3, 0.7, 1.5, 1.5]
        assert cluster.task("b", Record).rows == [("a",)]
        assert {report.error for report in cluster.errors()} == {"ConnectionError: not yet"}
        assert cluster.metrics()["s"]["errors"] == 4, "an end is no error"


def test_pauses_of_a_spout_begin_anew_when_it_went_on_for_longer_than_the_last_one() -> None:
    """The API page, Spouts: a source that breaks once a day is not left alone for ten seconds."""

    class Shaky(Spout):
        outputs = ("x",)
        idle_wait = 0.05
        broken = ((0.0, 0.65), (0.9, 1.6), (3.0, 3.2))

        def __init__(self) -> None:
            self.failures: list[float] = []

        def next_tuple(self) -> None:
            now = self.context.monotonic()
            if any(begin <= now <= end for begin, end in self.broken):
                self.failures.append(round(now, 2))
                raise ConnectionError("not now")

    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", Shaky))
    with LocalCluster(topology) as cluster:
        cluster.advance(5)
        first, soon_after, long_after = [0.0, 0.1, 0.3], [0.9], [3.0, 3.1]
        assert cluster.task("s", Shaky).failures == [*first, *soon_after, *long_after]


def test_a_generator_that_raises_has_ended() -> None:
    """The API page, Spouts: a generator cannot be resumed after an exception; what it gave is still worked off."""

    def broken() -> Iterator[str]:
        yield "a"
        raise ConnectionError("gone")

    topology = Topology("t")
    topology.bolt("b", Record).shuffle(topology.spout("s", broken, outputs=("x",)))
    with LocalCluster(topology) as cluster:
        cluster.finish()
        assert cluster.task("b", Record).rows == [("a",)]
        assert [report.error for report in cluster.errors()] == ["ConnectionError: gone"]


def test_drop_and_dead_by_an_entry_of_a_batch() -> None:
    """The API page, Input: an exception instance stands for its row alone."""

    class Batched(Bolt):
        outputs = ("x",)

        def process_batch(self, x: list[str]) -> list[object]:
            return [
                {"drop": DropTuple(), "dead": DeadLetter("poison"), "retry": ValueError("no")}.get(one, one)
                for one in x
            ]

    with LocalCluster(single(Batched, retries=1), mock_sources={"s": ["a", "drop", "dead", "retry", "b"]}) as cluster:
        cluster.run_until_idle()
        assert sorted(cluster.acked("s")) == ["a", "b", "drop"]
        assert cluster.failed("s") == ["dead", "retry"]
        assert [letter.values for letter in cluster.dead_letters()] == [("dead",)]
        cluster.advance(1)
        assert [letter.values for letter in cluster.dead_letters()] == [("dead",), ("retry",)]
        assert cluster.emitted("b") == [("a",), ("b",)]
        assert cluster.metrics()["b"]["dropped"] == 1


def test_a_poisoned_sink_commits_the_healthy_rows_of_its_batch() -> None:
    """Semantics 10: sinks follow the same rule; attempts count only in batches of one."""
    with LocalCluster(single(Batches, retries=2), mock_sources={"s": ["a", "poison", "b", "c"]}) as cluster:
        cluster.advance(60)
        assert sorted(cluster.acked("s")) == ["a", "b", "c"]
        (letter,) = cluster.dead_letters()
        assert letter.attempts == 3
        alone = [batch for batch in cluster.task("b", Batches).batches if batch == ["poison"]]
        assert len(alone) == 3


def test_a_failure_of_one_branch_does_not_undo_the_other_and_is_told_once() -> None:
    """Semantics 8, 36: one root, one verdict for each try, however many of its tuples fail."""
    topology = Topology("t")
    numbers = source(topology)
    for name in ("left", "right"):
        topology.bolt(name, Record, retries=0).shuffle(numbers)
    with LocalCluster(topology, mock_sources={"s": ["a"]}) as cluster:
        cluster.inject("left", ValueError("no"))
        cluster.inject("right", ValueError("no"))
        cluster.advance(5)
        assert cluster.failed("s") == ["a"]
        assert len(cluster.dead_letters()) == 1
