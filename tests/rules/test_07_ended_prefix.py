"""Semantics 31: which of a spout's outputs have ended with all before them."""

from __future__ import annotations

import pytest
from squall import Bolt, DropTuple, Exhausted, Spout, Topology, Tuple
from squall.testing import LocalCluster


class Numbers(Spout):
    """The numbers up to `end`, with the count of outputs that have ended as its position."""

    outputs = ("n",)

    def __init__(self, end: int) -> None:
        self.left = iter(range(end))

    def next_batch(self, limit: int) -> list[tuple[int]]:
        rows = [(n,) for _, n in zip(range(limit), self.left, strict=False)]
        if not rows:
            raise Exhausted
        return rows

    def position(self) -> bytes:
        return str(self.context.ended_prefix()).encode()


class Hold(Bolt):
    """Keeps its inputs until it is told to let one go."""

    manual_ack = True

    def open(self, context: object) -> None:
        self.held: dict[int, Tuple] = {}

    def process(self, n: int, tup: Tuple) -> None:
        self.held[n] = tup


def held(end: int, **options: object) -> tuple[LocalCluster, Numbers, Hold]:
    topology = Topology("order")
    topology.bolt("hold", Hold).shuffle(topology.spout("numbers", Numbers(end)))
    cluster = LocalCluster(topology, **options)
    cluster.run_until_idle()
    return cluster, cluster.task("numbers", Numbers), cluster.task("hold", Hold)


def test_31_the_prefix_waits_for_the_oldest_output_whatever_ends_later() -> None:
    cluster, numbers, hold = held(200)
    with cluster:
        for n in range(199, 0, -1):
            hold.ack(hold.held[n])
        cluster.run_until_idle()
        assert numbers.position() == b"0"
        hold.ack(hold.held[0])
        cluster.run_until_idle()
        assert numbers.position() == b"200"


def test_31_a_failed_output_keeps_its_place_until_a_later_try_has_ended() -> None:
    cluster, numbers, hold = held(3)
    with cluster:
        hold.fail(hold.held.pop(1))
        for n in (0, 2):
            hold.ack(hold.held[n])
        cluster.run_until_idle()
        assert numbers.position() == b"1"
        cluster.advance(1)
        hold.ack(hold.held[1])
        cluster.run_until_idle()
        assert numbers.position() == b"3"


@pytest.mark.parametrize("end", [ValueError("no"), DropTuple("not wanted")])
def test_31_what_is_given_up_has_ended(end: Exception) -> None:
    def refuse(n: int) -> None:
        raise end

    topology = Topology("order")
    topology.bolt("refuse", refuse, retries=1).shuffle(topology.spout("numbers", Numbers(5)))
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        cluster.advance(10)
        assert cluster.task("numbers", Numbers).position() == b"5"


def test_31_without_acking_what_was_sent_has_ended() -> None:
    topology = Topology("order", settings={"topology.acker.executors": 0})
    topology.bolt("take", lambda n: None).shuffle(topology.spout("numbers", Numbers(70)))
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        assert cluster.task("numbers", Numbers).position() == b"70"


def test_31_a_spout_that_keeps_account_itself_has_no_such_count() -> None:
    class Own(Numbers):
        def fail(self, message_id: object) -> None: ...

    topology = Topology("order")
    topology.bolt("take", lambda n: None).shuffle(topology.spout("numbers", Own(1)))
    with LocalCluster(topology) as cluster, pytest.raises(RuntimeError, match="without fail"):
        cluster.task("numbers", Numbers).position()
