"""The audit of ids sees what is lost, late, twice or unknown, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from squall import Bolt, RetryTuple, Topology
from squall.audit import Auditor
from squall.testing import LocalCluster


class Loses(Bolt):
    """Takes orders; forgets some, sends some twice, fails some once."""

    outputs = ("id",)

    def open(self, context: Any) -> None:
        self.failed: set[int] = set()

    def process(self, id: int) -> list[int]:
        if id % 10 == 7 and id not in self.failed:
            self.failed.add(id)
            raise RetryTuple("once")
        return {3: [], 5: [id, id]}.get(id % 10, [id])


def audited(**options: Any) -> Topology:
    topology = Topology("audited")
    orders = topology.spout("orders", lambda: iter(()), outputs=("id",))
    invoices = topology.bolt("invoices", Loses).shuffle(orders)
    audit = topology.bolt("audit", Auditor(**options))
    audit.fields(orders, "id", into=Auditor.enters)
    audit.fields(invoices, "id", into=Auditor.leaves)
    return topology


def test_what_is_lost_and_what_came_twice_is_found() -> None:
    with LocalCluster(audited(), mock_sources={"orders": range(20)}) as cluster:
        cluster.finish()
        audit = cluster.task("audit", Auditor).audit
    assert sorted(audit.lost) == [3, 13]
    assert (audit.entered, audit.left, audit.duplicated, audit.again, audit.unknown) == (20, 18, 2, 2, 0)


def test_what_is_late_is_counted_once_and_shown_in_metrics() -> None:
    with LocalCluster(audited(late_after=10), mock_sources={"orders": [3, 1]}) as cluster:
        cluster.advance(9)
        assert cluster.task("audit", Auditor).audit.late == 0
        cluster.advance(60)
        assert cluster.task("audit", Auditor).audit.late == 1
        assert "audit_late" in str(cluster.metrics())


class NoContext:
    """What an auditor asks of its context, without a topology."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.log = self

    def gauge(self, name: str, read: Any) -> None:
        pass

    def every(self, period_s: float, call: Any) -> None:
        pass

    def monotonic(self) -> float:
        return self.now_s

    def info(self, *_: object) -> None:
        pass

    error = warning = info


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=60))
def test_every_order_of_events_adds_up(events: list[tuple[bool, int]]) -> None:
    auditor, entered, came = Auditor(), Counter[int](), Counter[int]()
    auditor.open(NoContext())  # pyright: ignore[reportArgumentType]
    for enters, id in events:
        (auditor.enters if enters else auditor.leaves)(id)
        (entered if enters else came)[id] += 1
    auditor.drain()
    audit = auditor.audit
    assert sorted(audit.lost) == sorted(id for id in entered if not came[id])
    assert audit.unknown == sum(count for id, count in came.items() if not entered[id])
    assert (audit.entered, audit.left) == (len(entered), sum(1 for id in entered if came[id]))
    assert audit.duplicated == sum(count - 1 for id, count in came.items() if entered[id])
    assert audit.again == entered.total() - len(entered)


def test_ids_that_have_left_are_forgotten_beyond_a_bound() -> None:
    auditor = Auditor(remember=2)
    auditor.open(NoContext())  # pyright: ignore[reportArgumentType]
    for id in range(4):
        auditor.enters(id)
        auditor.leaves(id)
    auditor.leaves(3)
    auditor.leaves(0)
    auditor.drain()
    assert (auditor.audit.duplicated, auditor.audit.unknown) == (1, 1)


def test_ids_with_several_outputs_are_whole_with_all_of_them() -> None:
    auditor = Auditor(times=2)
    auditor.open(NoContext())  # pyright: ignore[reportArgumentType]
    for id, times in ((1, 1), (2, 2)):
        auditor.enters(id)
        for _ in range(times):
            auditor.leaves(id)
    auditor.drain()
    assert (auditor.audit.lost, auditor.audit.left) == ([1], 1)
