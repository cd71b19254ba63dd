"""Topologies in tests: `LocalCluster` with simulated time, `complete_topology`, and a fixture for pytest.

The names are loaded when they are first used: pytest imports this package at every start to find the plug-in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from squall.testing.cluster import LocalCluster
    from squall.testing.complete import complete_topology
    from squall.testing.simulation.faults import Faults

__all__ = ["Faults", "LocalCluster", "complete_topology"]


def __getattr__(name: str) -> object:
    if name == "LocalCluster":
        from squall.testing.cluster import LocalCluster

        return LocalCluster
    if name == "complete_topology":
        from squall.testing.complete import complete_topology

        return complete_topology
    if name == "Faults":
        from squall.testing.simulation.faults import Faults

        return Faults
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
