"""`examples/iot_control.py`: the control loop and its timer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from iot_control import Watch, build
from squall.testing import LocalCluster


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(build(), mock_sources={"readings": []}) as cluster:
        yield cluster


def feed(cluster: LocalCluster, device: str, *celsius: float) -> None:
    """One reading after the other, so that an order of the loop is there before the next."""
    for value in celsius:
        cluster.feed("readings", [(device, value)])
        cluster.run_until_idle()


def kept(cluster: LocalCluster, device: str) -> list[float]:
    return [celsius for name, celsius in cluster.emitted("watch") if name == device]


def orders(cluster: LocalCluster) -> list[tuple[object, ...]]:
    return cluster.emitted("control", "orders")


def test_of_a_calm_device_one_reading_in_ten_is_kept(cluster: LocalCluster) -> None:
    feed(cluster, "pump", *range(25))
    assert kept(cluster, "pump") == [9, 19]
    assert orders(cluster) == []


def test_a_hot_device_is_kept_whole_until_it_was_calm_for_the_time(cluster: LocalCluster) -> None:
    feed(cluster, "pump", 79.9, 80.0, 95, 70, 71)
    feed(cluster, "fan", 40, 41)
    assert kept(cluster, "pump") == [80.0, 95, 70, 71]
    assert kept(cluster, "fan") == []
    cluster.advance(0.099)
    assert orders(cluster) == [("pump", 1)]
    cluster.advance(0.002)
    assert orders(cluster) == [("pump", 1), ("pump", 10)]
    feed(cluster, "pump", *range(60, 75))
    assert kept(cluster, "pump")[4:] == [64, 74]


def test_a_device_that_gets_hot_again_in_that_time_does_not_relax(cluster: LocalCluster) -> None:
    feed(cluster, "pump", 85, 75)
    cluster.advance(0.06)
    feed(cluster, "pump", 85)
    cluster.advance(10)
    assert ("pump", 10) not in orders(cluster)


def test_an_order_goes_to_the_task_that_has_the_device(cluster: LocalCluster) -> None:
    devices = [f"device{number}" for number in range(10)]
    for device in devices:
        feed(cluster, device, 90)
    tasks = [cluster.task("watch", Watch, index) for index in (0, 1)]
    assert all(task.every for task in tasks)
    assert [task.every.keys() for task in tasks] == [task.seen.keys() for task in tasks]


def test_orders_are_in_no_tree(cluster: LocalCluster) -> None:
    """A reading ends when the alarm was heard, whatever becomes of the order."""
    cluster.inject("watch", ValueError("lost"), when=lambda tup: tup.source == "control")
    feed(cluster, "pump", 90)
    assert cluster.acked("readings") == [("pump", 90)]
    assert cluster.failed("readings") == []


def test_the_sample_is_replayed_at_its_rate() -> None:
    with LocalCluster(build()) as cluster:
        cluster.advance(0.5)
        assert 90 <= len(cluster.emitted("readings")) <= 110
