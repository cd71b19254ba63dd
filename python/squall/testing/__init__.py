"""Topologies in tests: `LocalCluster` with simulated time, and `complete_topology`."""

from squall.testing.cluster import LocalCluster, complete_topology

__all__ = ["LocalCluster", "complete_topology"]
