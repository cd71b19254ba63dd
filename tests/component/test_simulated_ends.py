"""`LocalCluster` with several workers: what a life that fails, a figure or a position does to the cluster."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any

import pytest
from squall import Bolt, Spout, Topology, TopologyContext
from squall.errors import ClusterError, TopologyError
from squall.testing import Faults, LocalCluster


def over(bolt: Any, *, parallelism: int = 2) -> Topology:
    topology = Topology("t")
    numbers = topology.spout("numbers", lambda: iter(()), outputs=("n",))
    topology.bolt("b", bolt, parallelism=parallelism).shuffle(numbers)
    return topology


def world(cluster: LocalCluster) -> Any:
    return cluster._world  # pyright: ignore[reportPrivateUsage]


def nothing(n: int) -> None: ...


def descriptors() -> int:
    """How many there are; a core lets go of its own when nobody knows it any more."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


class Sink(Bolt):
    outputs = ()

    def process(self, n: int) -> None: ...


def test_a_constructor_that_raises_leaves_nothing_open() -> None:
    made: list[int] = []

    class Bad(Sink):
        def __init__(self) -> None:
            made.append(1)
            if len(made) % 3 == 0:
                raise ConnectionError("no")

    def fails() -> None:
        cluster = LocalCluster(over(Bad, parallelism=3), mock_sources={"numbers": []}, workers=3)
        with pytest.raises(Exception, match="no"):
            cluster.open()
        with pytest.raises(TopologyError, match="closed"):
            cluster.run_until_idle()

    before = descriptors()
    fails()
    assert descriptors() <= before


@pytest.mark.parametrize("wrong", [None, float("nan"), "raises"])
def test_a_gauge_that_is_no_number_spoils_no_figure_and_no_end(wrong: Any) -> None:
    class Wrong(Sink):
        def open(self, context: TopologyContext) -> None:
            context.gauge("wrong", self.read)
            context.gauge("right", lambda: 2)

        def read(self) -> Any:
            if wrong == "raises":
                raise ZeroDivisionError("gauge")
            return wrong

    def runs(workers: int) -> None:
        with LocalCluster(over(Wrong), mock_sources={"numbers": range(3)}, workers=workers) as cluster:
            cluster.finish()
            assert cluster.metrics()["b"]["user"] == {"right": 2 * workers}
            assert cluster.errors()[0].where == "metric"
        assert cluster.metrics()["b"]["user"] == {"right": 2 * workers}

    before = descriptors()
    for workers in (1, 2):
        runs(workers)
        assert descriptors() <= before


def test_gauges_of_lives_that_are_over_are_not_added() -> None:
    class Gauged(Sink):
        def open(self, context: TopologyContext) -> None:
            context.gauge("one", lambda: 1)

    faults = Faults(crash=0.3, most=5)
    with LocalCluster(over(Gauged), mock_sources={"numbers": range(40)}, workers=2, faults=faults) as cluster:
        cluster.finish()
        assert len(world(cluster).strikes.struck) == 5
        assert cluster.metrics()["b"]["user"] == {"one": 2}


def test_components_are_known_before_a_worker_is() -> None:
    cluster = LocalCluster(over(nothing), mock_sources={"numbers": [1]}, workers=2)
    assert (cluster.acked("numbers"), cluster.failed("numbers"), cluster.emitted("numbers")) == ([], [], [])
    with pytest.raises(TopologyError, match="no component"):
        cluster.inject("bb", ValueError("no"))
    cluster.inject("b", ValueError("no"))
    with cluster:
        cluster.finish()
        assert cluster.failed("numbers") == [1]
        assert cluster.acked("numbers") == [1]


class Flaky(Sink):
    """Its `open` raises from the third time on, so often."""

    opened, bad = 0, 0

    def open(self, context: TopologyContext) -> None:
        Flaky.opened += 1
        if 2 < Flaky.opened <= 2 + Flaky.bad:
            raise ConnectionError("gone for now")


@pytest.mark.parametrize("bad", [1, 1000])
def test_open_that_raises_in_a_later_life_is_a_death(bad: int) -> None:
    Flaky.opened, Flaky.bad = 0, bad
    faults = Faults(crash=1.0, most=1)
    with LocalCluster(over(Flaky), mock_sources={"numbers": range(9)}, workers=2, faults=faults) as cluster:
        if bad == 1:
            cluster.finish()
            assert set(cluster.acked("numbers")) == set(range(9))
        else:
            with pytest.raises(ClusterError) as caught:
                cluster.finish()
            assert [defect.code for defect in caught.value.defects] == ["worker_start_deaths"]
        assert cluster.errors()[0].where == "open"


def test_time_never_goes_backwards() -> None:
    class Slow(Bolt):
        outputs = ()
        max_in_flight = 2

        async def open(self, context: TopologyContext) -> None:
            await asyncio.sleep(50)

        async def process(self, n: int) -> None: ...

    faults = Faults(crash=1.0, most=3)
    with LocalCluster(over(Slow), mock_sources={"numbers": range(9)}, workers=2, faults=faults) as cluster:
        times: list[float] = []
        for _ in range(20):
            cluster.advance(0.1)
            times.append(world(cluster).monotonic())
        assert times == sorted(times)
        before = world(cluster).monotonic()
        world(cluster).strikes.faults = Faults(crash=1.0, most=6)
        cluster.feed("numbers", [1])
        world(cluster).advance(1)
        moved = world(cluster).monotonic()
        assert moved > before + 50


def test_a_position_may_be_larger_than_a_socket_takes() -> None:
    class Large(Spout):
        outputs = ("n",)

        def open(self, context: TopologyContext) -> None:
            self.next = 0

        def next_tuple(self) -> int | None:
            self.next += 1
            return self.next if self.next < 5 else None

        def position(self) -> bytes:
            return bytes(1_000_000)

        def seek(self, position: bytes) -> None: ...

    topology = Topology("t")
    topology.bolt("b", nothing).shuffle(topology.spout("large", Large))
    with LocalCluster(topology, workers=2) as cluster:
        cluster.advance(10)
        assert len(cluster.acked("large")) == 4


@pytest.mark.parametrize("way", ["drain", "close"])
def test_the_law_of_counts_is_looked_at_without_finish(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = LocalCluster(over(nothing), mock_sources={"numbers": [1]}, workers=2)
    cluster.run_until_idle()
    looked: list[object] = []
    monkeypatch.setattr(world(cluster), "_check_counts", looked.append)
    getattr(cluster, way)()
    assert len(looked) == 2
    cluster.close()


def test_there_is_no_one_worker_among_several() -> None:
    with (
        LocalCluster(over(nothing), mock_sources={"numbers": []}, workers=2) as cluster,
        pytest.raises(TopologyError) as caught,
    ):
        _ = cluster.worker
    assert [defect.code for defect in caught.value.defects] == ["workers_invalid"]
