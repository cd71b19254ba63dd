"""`complete_topology`: feed, run to the end, see what came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from squall.api.topology import Topology
from squall.model.graph import DEFAULT_STREAM
from squall.testing.cluster import LocalCluster


def complete_topology(
    topology: Topology, mock_sources: Mapping[str, Iterable[object]]
) -> dict[str, list[tuple[Any, ...]]]:
    """Feeds the mocked spouts, runs everything to its end, drains, and returns the rows that each component emitted.

    Time moves by itself: back-offs, time-outs and sleeps pass at once. A spout that is not mocked must end by itself.
    The key is the component's name for its default stream and "component/stream" for each other one; rows stand in
    the order of their emission, those of a repeated try again.

    Raises:
        TimeoutError: something had not ended after ten minutes of simulated time; the text names it.

    Source: Storm 1.2.1 `testing.clj`, `complete-topology`, which returns rows by component and stream as well.
    """
    with LocalCluster(topology, mock_sources=mock_sources) as cluster:
        cluster.finish()
        return {
            spec.name if stream == DEFAULT_STREAM else f"{spec.name}/{stream}": cluster.emitted(spec.name, stream)
            for spec in cluster.components
            for stream in spec.streams
        }
