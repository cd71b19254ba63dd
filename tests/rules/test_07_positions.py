"""Semantics 31: positions of spouts. Over real runs: tests/component/test_positions.py."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from squall import Bolt, Exhausted, Spout, Topology, TopologyContext, Tuple
from squall.errors import StateError
from squall.testing import LocalCluster


class Numbers(Spout):
    """The numbers from `first`; its position is the first one that has not ended."""

    outputs = ("n",)
    end = 10

    def open(self, context: TopologyContext) -> None:
        self.calls = ["open"]
        self.first = self.next = 0

    def seek(self, position: bytes) -> None:
        self.calls.append("seek")
        self.first = self.next = int(position)

    def next_batch(self, limit: int) -> list[int]:
        self.calls.append("poll")
        if self.next >= self.end:
            raise Exhausted
        rows = list(range(self.next, min(self.next + limit, self.end)))
        self.next += len(rows)
        return rows

    def position(self) -> bytes:
        return str(self.first + self.context.ended_prefix()).encode()


class Hold(Bolt):
    manual_ack = True

    def __init__(self, take: int) -> None:
        self.take = take

    def process(self, n: int, tup: Tuple) -> None:
        if n < self.take:
            self.ack(tup)


def cluster_of(spout: Any = Numbers, bolt: Any = None, tasks: int = 1, **options: Any) -> LocalCluster:
    topology = Topology("t")
    topology.bolt("b", bolt or (lambda n: None)).shuffle(topology.spout("s", spout, parallelism=tasks))
    return LocalCluster(topology, **options)


def test_31_seek_comes_after_open_and_before_the_first_poll() -> None:
    with cluster_of(positions={"s": b"7"}) as cluster:
        cluster.run_until_idle()
        assert cluster.task("s", Numbers).calls[:3] == ["open", "seek", "poll"]
        assert cluster.emitted("s") == [(7,), (8,), (9,)]


def test_31_without_a_position_there_is_no_seek() -> None:
    with cluster_of() as cluster:
        cluster.run_until_idle()
        assert "seek" not in cluster.task("s", Numbers).calls


def test_31_everything_before_a_position_has_ended_and_a_later_run_does_the_rest() -> None:
    with cluster_of(bolt=Hold(4)) as cluster:
        cluster.run_until_idle()
        position = cluster.position("s")
    assert position == b"4"
    with cluster_of(positions={"s": position}) as cluster:
        cluster.finish()
        assert cluster.emitted("s") == [(n,) for n in range(4, 10)]
        assert cluster.position("s") == b"10"


def test_31_each_task_has_its_position() -> None:
    with cluster_of(tasks=2, positions={"s": [b"8", b"9"]}) as cluster:
        cluster.finish()
        assert sorted(cluster.emitted("s")) == [(8,), (9,), (9,)]
        assert [cluster.position("s", index) for index in (0, 1)] == [b"10", b"10"]


def test_31_a_dead_letter_of_a_record_that_was_never_emitted_has_its_place() -> None:
    class Bad(Numbers):
        def next_batch(self, limit: int) -> list[int]:
            if self.next == 3:
                self.next += 1
                self.context.dead_letter("three", error=ValueError("no number"))
                return []
            rows = super().next_batch(min(limit, 3))
            return rows

    with cluster_of(Bad) as cluster:
        cluster.finish()
        assert cluster.emitted("s") == [(n,) for n in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
        (letter,) = cluster.dead_letters()
        assert (letter.values, letter.component, letter.error) == (("three",), "s", "ValueError: no number")
        assert cluster.position("s") == b"10"
        assert cluster.metrics()["s"]["dead"] == 1


def test_31_a_seek_that_raises_is_a_failed_start_that_says_how_to_begin_anew() -> None:
    with pytest.raises(StateError, match="--from-start") as caught, cluster_of(positions={"s": b"x"}):
        pass
    assert caught.value.code == "position_refused"
    assert "invalid literal" in str(caught.value)


def test_31_a_position_is_bytes_of_a_bounded_size() -> None:
    def giving(position: Any) -> type[Numbers]:
        class Giving(Numbers):
            def position(self) -> bytes:
                return position

        return Giving

    for wrong, told in (("7", "gave a str"), (7, "gave a int"), (bytes((1 << 20) + 1), "1,048,577 bytes")):
        with cluster_of(giving(wrong)) as cluster, pytest.raises(StateError, match=told):
            cluster.position("s")
    with cluster_of(giving(None)) as cluster:  # the source keeps it itself
        assert cluster.position("s") is None
    with cluster_of(giving(bytes(1 << 20))) as cluster:
        assert len(cluster.position("s")) == 1 << 20


def test_31_positions_are_asked_for_where_the_spout_runs() -> None:
    """Semantics 5: a blocking spout has a thread of its own, also for its positions."""
    threads: dict[str, int] = {}

    def noting(name: str) -> Callable[..., Any]:
        def note(*_: object) -> None:
            threads[name] = threading.get_ident()

        return note

    class Blocking(Numbers):
        blocking = True

        def next_batch(self, limit: int) -> list[int]:
            noting("poll")()
            return super().next_batch(limit)

        def seek(self, position: bytes) -> None:
            noting("seek")()
            super().seek(position)

    with cluster_of(Blocking, positions={"s": b"5"}, simulated_time=False) as cluster:
        cluster.run_until_idle()
    assert threads["seek"] == threads["poll"] != threading.get_ident()
