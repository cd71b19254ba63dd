"""`LocalCluster` with several workers and faults: nothing is lost, and the same seed is the same history."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from squall import Bolt, Spout, Topology, TopologyContext, Tuple
from squall.errors import ClusterError, TopologyError
from squall.testing import Faults, LocalCluster

EVERYTHING = Faults(crash=0.05, drop=0.03, slow=0.02, corrupt=0.02, delay=0.02, most=8)
LINES = [f"a{number} b{number}" for number in range(30)]


class Count(Bolt):
    """How often each word came in this life of the task."""

    outputs = ("word", "times")

    def open(self, context: TopologyContext) -> None:
        self.counts = Counter[str]()

    def process(self, word: str) -> tuple[str, int]:
        self.counts[word] += 1
        return word, self.counts[word]


def words(*, parallelism: int = 2) -> Topology:
    topology = Topology("words")
    lines = topology.spout("lines", lambda: iter(()), outputs=("line",))
    split = topology.bolt("split", lambda line: line.split(), outputs=("word",), parallelism=parallelism).shuffle(lines)
    topology.bolt("count", Count, parallelism=parallelism).fields(split, "word")
    return topology


def history(seed: int, faults: Faults | None = EVERYTHING, workers: int = 3) -> tuple[Any, ...]:
    """What happened, in order."""
    with LocalCluster(words(), mock_sources={"lines": LINES}, workers=workers, faults=faults, seed=seed) as cluster:
        cluster.finish()
        world: Any = cluster._world
        seen = [cluster.emitted(name) for name in ("lines", "split", "count")]
        return world.strikes.struck, world.monotonic(), seen, cluster.acked("lines"), cluster.failed("lines")


def test_without_faults_every_tuple_passes_once_over_four_workers() -> None:
    with LocalCluster(words(), mock_sources={"lines": LINES}, workers=4) as cluster:
        cluster.run_until_idle()
        assert sorted(cluster.emitted("count")) == sorted((word, 1) for line in LINES for word in line.split())
        assert sorted(cluster.acked("lines")) == sorted(LINES)
        assert {cluster.task("count", Count, index).context.worker for index in range(2)} != {1}
        cluster.feed("lines", ["a0 b0"])
        cluster.run_until_idle()
        assert cluster.emitted("count")[-2:] in ([("a0", 2), ("b0", 2)], [("b0", 2), ("a0", 2)])


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_lost_whatever_strikes(seed: int) -> None:
    struck, _, (_, _, counted), acked, _ = history(seed)
    assert {word for word, _ in counted} == {word for line in LINES for word in line.split()}
    assert set(acked) == set(LINES)
    assert len(struck) <= EVERYTHING.most


def test_the_same_seed_is_the_same_history_and_others_are_others() -> None:
    assert [history(seed) for seed in range(5)] == [history(seed) for seed in range(5)]
    assert history(1) != history(2)


def test_every_kind_of_fault_strikes_by_itself() -> None:
    for kind in ("crash", "drop", "slow", "corrupt", "delay"):
        struck, *_ = history(3, Faults(**{kind: 0.2}, most=5))
        assert {what for _, what in struck} == {kind}


def test_one_worker_alone_dies_and_goes_on() -> None:
    struck, _, (_, _, counted), _, _ = history(4, Faults(crash=0.3, most=5), workers=1)
    assert len(struck) == 5
    assert {word for word, _ in counted} == {word for line in LINES for word in line.split()}


def test_a_generator_goes_on_where_it_had_got_to() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        made.append(0)
        yield from range(200)

    topology = Topology("t")
    spout = topology.spout("numbers", numbers, outputs=("number",))
    topology.bolt("odd", lambda number: number if number % 2 else None, outputs=("number",)).shuffle(spout)
    for seed in range(5):
        with LocalCluster(topology, workers=2, faults=Faults(crash=0.2, most=6), seed=seed) as cluster:
            cluster.finish()
            assert {number for (number,) in cluster.emitted("odd")} == set(range(1, 200, 2))
            assert len(cluster.acked("numbers")) < 400
    assert len(made) > 5


def test_a_spout_with_positions_begins_at_the_one_that_was_stored() -> None:
    begun: list[int] = []

    class Log(Spout):
        outputs = ("number",)
        rate_per_s = 400

        def open(self, context: TopologyContext) -> None:
            self.start = self.next = 0

        def next_tuple(self) -> int | None:
            if self.next == 2000:
                return None
            self.next += 1
            return self.next - 1

        def position(self) -> bytes:
            return str(self.start + self.context.ended_prefix()).encode()

        def seek(self, position: bytes) -> None:
            self.start = self.next = int(position)
            begun.append(self.next)

    topology = Topology("t")
    topology.bolt("sink", lambda number: None).shuffle(topology.spout("log", Log))
    for seed in range(3):
        with LocalCluster(topology, workers=2, faults=Faults(crash=0.002, most=5), seed=seed) as cluster:
            cluster.advance(1)
            cluster.advance(8)
            assert {number for (number,) in cluster.emitted("log")} == set(range(2000))
    assert max(begun) > 0


def test_async_calls_die_with_their_worker_and_come_again() -> None:
    class Ask(Bolt):
        outputs = ("n",)
        max_in_flight = 8

        async def process(self, n: int) -> int:
            await asyncio.sleep(0.05)
            return n

    for seed in range(10):
        topology = Topology("t")
        numbers = topology.spout("numbers", lambda: iter(()), outputs=("n",))
        topology.bolt("ask", Ask, parallelism=2).shuffle(numbers)
        faults = Faults(crash=0.1, most=6)
        with LocalCluster(
            topology, mock_sources={"numbers": range(40)}, workers=2, faults=faults, seed=seed
        ) as cluster:
            cluster.finish()
            assert {n for (n,) in cluster.emitted("ask")} == set(range(40))
            assert cluster.dead_letters() == []


def test_what_fails_is_tried_again_and_given_up_across_workers() -> None:
    with LocalCluster(words(), mock_sources={"lines": ["a b"]}, workers=3) as cluster:
        cluster.inject("count", ValueError("no"), times=100, when=lambda tup: tup["word"] == "b")
        cluster.advance(30)
        assert cluster.failed("lines") == ["a b"] * 4
        [letter] = cluster.dead_letters()
        assert (letter.component, letter.attempts, letter.root_values) == ("count", 4, ("a b",))


def test_what_kills_its_worker_becomes_a_dead_letter_at_the_third_death() -> None:
    def poison(n: int) -> int:
        if n == 3:
            raise RuntimeError("poison")
        return n

    topology = Topology("t")
    numbers = topology.spout("numbers", lambda: iter(()), outputs=("n",))
    topology.bolt("b", poison, outputs=("n",), on_error="die").shuffle(numbers)
    with LocalCluster(topology, mock_sources={"numbers": range(6)}, workers=2) as cluster:
        cluster.finish()
        assert {n for (n,) in cluster.emitted("b")} == {0, 1, 2, 4, 5}
        assert [letter.root_values for letter in cluster.dead_letters()] == [(3,)]


@pytest.mark.parametrize("workers", [1, 3])
def test_what_another_bolt_would_take_next_is_not_blamed_for_a_death(workers: int) -> None:
    """Once, each bolt took one more input after the exception that ended the worker, and those were its suspects."""

    def poison(n: int) -> None:
        if n % 10 == 3:
            raise RuntimeError("poison")

    topology = Topology("t")
    numbers = topology.spout("numbers", lambda: iter(()), outputs=("n",))
    topology.bolt("deadly", poison, on_error="die").shuffle(numbers)
    for name in ("after", "later"):
        topology.bolt(name, lambda n: None, parallelism=2).shuffle(numbers)
    with LocalCluster(topology, mock_sources={"numbers": range(30)}, workers=workers, faults=Faults()) as cluster:
        cluster.finish()
        assert {letter.root_values for letter in cluster.dead_letters()} == {(3,), (13,), (23,)}


def test_a_generator_that_goes_on_is_blamed_for_a_death_and_nothing_else() -> None:
    """Once, what another bolt had taken since was held against."""

    def deadly(n: int) -> Iterator[int]:
        for part in range(40):
            if n % 10 == 3 and part == 39:
                raise RuntimeError("poison")
            yield part

    topology = Topology("t", settings={"topology.executor.receive.buffer.size": 8})
    numbers = topology.spout("numbers", lambda: iter(()), outputs=("n",))
    parts = topology.bolt("deadly", deadly, outputs=("part",), on_error="die").shuffle(numbers)
    topology.bolt("after", lambda n: None).shuffle(numbers)
    topology.bolt("sink", lambda part: None).shuffle(parts)
    with LocalCluster(topology, mock_sources={"numbers": range(20)}, workers=1, faults=Faults()) as cluster:
        cluster.finish()
        assert {letter.root_values for letter in cluster.dead_letters()} == {(3,), (13,)}


def test_a_drain_is_done_again_when_a_worker_dies_in_it() -> None:
    class Sums(Bolt):
        outputs = ("sum",)
        manual_ack = True

        def open(self, context: TopologyContext) -> None:
            self.held: list[Tuple] = []

        def process(self, tup: Tuple) -> None:
            self.held.append(tup)

        def drain(self) -> int | None:
            if not self.held:
                return None
            total = sum(tup["n"] for tup in self.held)
            self.emit(total, anchors=self.held)
            for tup in self.held:
                self.ack(tup)
            self.held = []
            return None

    for seed in range(10):
        topology = Topology("t")
        numbers = topology.spout("numbers", lambda: iter(()), outputs=("n",))
        sums = topology.bolt("sums", Sums).shuffle(numbers)
        topology.bolt("sink", lambda sum: None).shuffle(sums)
        with LocalCluster(
            topology, mock_sources={"numbers": range(10)}, workers=3, faults=Faults(crash=0.1, most=5), seed=seed
        ) as cluster:
            cluster.finish()
            assert set(cluster.acked("numbers")) == set(range(10))


def test_a_run_is_not_drained_before_the_test_says_so() -> None:
    topology = Topology("t")
    drained: list[int] = []

    class Last(Bolt):
        outputs = ()

        def process(self, n: int) -> None: ...

        def drain(self) -> None:
            drained.append(1)

    topology.bolt("last", Last).shuffle(topology.spout("numbers", lambda: iter(range(9)), outputs=("n",)))
    with LocalCluster(topology, workers=2) as cluster:
        cluster.advance(5)
        assert drained == []
        cluster.finish()
        assert drained == [1]
        cluster.run_until_idle()


def test_open_that_raises_is_the_tests() -> None:
    class Bad(Bolt):
        outputs = ()

        def open(self, context: TopologyContext) -> None:
            raise ConnectionError("no")

        def process(self, line: str) -> None: ...

    topology = Topology("t")
    topology.bolt("bad", Bad).shuffle(topology.spout("lines", lambda: iter(()), outputs=("line",)))
    cluster = LocalCluster(topology, mock_sources={"lines": []}, workers=2)
    with pytest.raises(ConnectionError, match="no") as caught:
        cluster.open()
    assert caught.value.__notes__ == ['in open of "bad", task 1']


def test_counts_tell_of_all_lives() -> None:
    with LocalCluster(words(), mock_sources={"lines": LINES}, workers=3, faults=EVERYTHING, seed=7) as cluster:
        cluster.finish()
        row = cluster.metrics()["lines"]
        assert row["emitted"] == row["acked"] + row["failed"] == len(cluster.emitted("lines"))
        assert (row["pending"], cluster.metrics()["count"]["emitted"]) == (0, len(cluster.emitted("count")))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"workers": 0}, "workers_invalid"),
        ({"workers": 2.0}, "workers_invalid"),
        ({"workers": True}, "workers_invalid"),
        ({"workers": 2, "simulated_time": False}, "workers_invalid"),
        ({"faults": Faults(), "simulated_time": False}, "workers_invalid"),
        ({"faults": {"crash": 1}}, "workers_invalid"),
    ],
)
def test_what_cannot_be_simulated_is_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(TopologyError) as caught:
        LocalCluster(words(), mock_sources={"lines": []}, **options)
    assert [defect.code for defect in caught.value.defects] == [code]


@pytest.mark.parametrize("options", [{"crash": 2}, {"drop": -0.1}, {"slow": "often"}, {"most": 0.5}, {"delay": None}])
def test_faults_that_are_no_chances_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TopologyError) as caught:
        Faults(**options)
    assert [defect.code for defect in caught.value.defects] == ["faults_invalid"]


def test_a_worker_that_dies_too_often_ends_the_run() -> None:
    settings = {"topology.worker.deaths.max": 2}
    with (
        LocalCluster(
            words(), mock_sources={"lines": LINES}, workers=2, faults=Faults(crash=1.0), settings=settings
        ) as cluster,
        pytest.raises(ClusterError) as caught,
    ):
        cluster.finish()
    assert [defect.code for defect in caught.value.defects] == ["worker_deaths"]
