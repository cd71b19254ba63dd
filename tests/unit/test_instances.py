"""Instances of components stay as Python makes them: their attributes in the object itself, where access is fastest.

An instance whose `__dict__` was asked for once keeps a dict from then on: each access costs two to three times more.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from squall import Bolt, Spout, Topology
from squall.testing import LocalCluster


class Numbers(Spout):
    outputs = ("n",)

    def __init__(self, most: int = 3) -> None:
        self.most = most

    def next_batch(self, limit: int) -> list[int]:
        self.most, left = 0, self.most
        return list(range(left))


class Add(Bolt):
    def __init__(self, start: int = 7) -> None:
        self.total = start

    def process(self, n: int) -> None:
        self.total += n


@dataclass
class Slotted(Bolt):
    __slots__ = ("total",)
    total: int

    def process(self, n: int) -> None:
        self.total += n


def has_dict(instance: object) -> bool:
    """Whether the object refers to a dict of its attributes; a look at `__dict__` would make one."""
    return any(type(other) is dict for other in gc.get_referents(instance))


@pytest.mark.parametrize("bolt", [Add, Add(), lambda: Add(8)], ids=["class", "instance", "factory"])
@pytest.mark.parametrize("spout", [Numbers, Numbers(), lambda: Numbers(4)], ids=["class", "instance", "factory"])
def test_building_and_running_make_no_dict(
    spout: type[Spout] | Spout | Callable[[], Spout], bolt: type[Bolt] | Bolt | Callable[[], Bolt]
) -> None:
    topology = Topology("adding")
    topology.bolt("add", bolt).shuffle(topology.spout("numbers", spout))
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        add = cluster.task("add", Add)
        assert add.total > 7
        assert not has_dict(add)
        assert not has_dict(cluster.task("numbers", Numbers))


def test_slots_are_copied_too() -> None:
    topology = Topology("adding")
    topology.bolt("add", Slotted(10)).shuffle(topology.spout("numbers", Numbers))
    with LocalCluster(topology) as cluster:
        cluster.run_until_idle()
        assert cluster.task("add", Slotted).total == 13
