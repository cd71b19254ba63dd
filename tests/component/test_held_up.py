"""Who holds up whom: the time that a task may not go on, by culprit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from squall import Bolt, RetryTuple, Spout, Topology
from squall.testing import LocalCluster

from .conftest import Squall, wait_until


class Enrich(Bolt):
    """Takes a second for each input, five at a time."""

    outputs = ("n",)
    max_in_flight = 5

    async def process(self, n: int) -> int:
        await asyncio.sleep(1.0)
        return n


def numbers() -> Iterator[int]:
    yield from range(10**9)


def double(n: int) -> int:
    return 2 * n


def count(n: int) -> None:
    """Takes it."""


def blocked_s(cluster: LocalCluster, component: str) -> dict[str, float]:
    """Seconds, by culprit."""
    (row,) = [row for row in cluster.worker.snapshot() if row["component"] == component]
    return {culprit: round(ns / 1e9, 2) for culprit, ns in row["blocked_ns"].items()}


def wired(**settings: Any) -> Topology:
    topology = Topology("held-up", settings=settings)
    doubled = topology.bolt("double", double, outputs=("n",)).shuffle(
        topology.spout("numbers", numbers, outputs=("n",))
    )
    enriched = topology.bolt("enrich", Enrich).shuffle(doubled)
    topology.bolt("count", count).shuffle(enriched)
    return topology


def run_for(topology: Topology, seconds: float, *components: str) -> list[dict[str, float]]:
    """Who held up these components, in simulated time."""
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        cluster.advance(seconds)
        return [blocked_s(cluster, component) for component in components]


def test_spout_at_its_limit_waits_for_the_component_that_has_most_of_what_is_pending() -> None:
    topology = wired(**{"topology.max.spout.pending": 10})
    spout, double, enrich = run_for(topology, 10.0, "numbers", "double", "enrich")
    assert spout == {"enrich": pytest.approx(10.0, abs=0.1)}
    assert double == enrich == {}


def test_full_mailbox_holds_up_the_bolt_before_it_and_the_spout_and_the_slowest_is_to_blame() -> None:
    """The mailbox of `double` fills up too, which is not its own fault."""
    topology = wired(**{"topology.executor.receive.buffer.size": 64, "topology.max.spout.pending": 1000})
    spout, double, enrich = run_for(topology, 10.0, "numbers", "double", "enrich")
    assert max(spout, key=lambda culprit: spout[culprit]) == "enrich"
    assert spout["enrich"] > 9.0
    assert max(double, key=lambda culprit: double[culprit]) == "enrich"
    assert enrich == {}


class WithRate(Spout):
    """Two tuples a second."""

    outputs = ("n",)
    rate_per_s = 2.0

    def next_tuple(self) -> int:
        return 1


class WithPauses(Spout):
    """Half a second between two tuples."""

    outputs = ("n",)

    def next_tuple(self) -> int:
        self.context.pause(0.5)
        return 1


@pytest.mark.parametrize(("spout", "culprit"), [(WithRate, "rate limit"), (WithPauses, "own pause")])
def test_what_a_spout_asked_for_itself_is_nobody_elses_fault(spout: type[Spout], culprit: str) -> None:
    topology = Topology("slow")
    topology.bolt("count", count).shuffle(topology.spout("numbers", spout))
    (blocked,) = run_for(topology, 10.0, "numbers")
    assert blocked == {culprit: pytest.approx(10.0, abs=0.6)}


def test_spout_whose_roots_all_wait_for_their_next_try_waits_for_them() -> None:
    def fails(n: int) -> None:
        raise RetryTuple("later", after=5.0, counts=False)

    topology = Topology("failing", settings={"topology.max.spout.pending": 3})
    topology.bolt("fails", fails).shuffle(topology.spout("numbers", numbers, outputs=("n",)))
    (blocked,) = run_for(topology, 20.0, "numbers")
    assert max(blocked, key=lambda culprit: blocked[culprit]) == "waiting retries"


def test_spout_with_nothing_to_give_is_not_held_up() -> None:
    def nothing() -> Iterator[int | None]:
        while True:
            yield None

    topology = Topology("idle")
    topology.bolt("count", count).shuffle(topology.spout("numbers", nothing, outputs=("n",)))
    assert run_for(topology, 10.0, "numbers") == [{}]


def test_slow_bolt_on_the_loop_is_named_in_the_events_of_a_run(squall: Squall) -> None:
    run = squall.run(
        """
        import time
        from squall import Topology

        def slow(n: int) -> None:
            time.sleep(0.001)

        topology = Topology("slow")
        numbers = topology.spout("numbers", lambda: iter(range(10**12)), outputs=("n",))
        same = topology.bolt("same", lambda n: n, outputs=("n",)).shuffle(numbers)
        topology.bolt("slow", slow).shuffle(same)
        """,
        "-c",
        "topology.max.spout.pending=500",
    )

    def held_up_by_slow() -> bool:
        last = run.events("progress")[-1:]
        return any(event["components"]["numbers"]["blocked_ratio"].get("slow", 0.0) > 0.5 for event in last)

    wait_until(held_up_by_slow, what="the culprit")
    last = run.events("progress")[-1]
    assert last["components"]["slow"]["inputs_per_s"].keys() == {"same/default"}
    assert 0 < last["components"]["slow"]["inputs_per_s"]["same/default"] <= 1000
    assert last["components"]["numbers"]["pending_max"] == 500
    assert last["components"]["slow"]["execute_ms"]["count"] > 0
    assert last["components"]["numbers"]["execute_ms"]["count"] == 0
    run.interrupt()
    assert run.end() == 0
