"""The figures of components as reports carry them: which there are, and what several of them make together.

A worker adds up its tasks, and whoever follows several workers adds up theirs; both do it by these names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

COUNTS = ("executed", "emitted", "transferred", "acked", "failed", "dropped", "dead", "errors")
"""What only grows."""
GAUGES = ("pending", "pending_max", "queue", "held", "in_flight", "in_flight_max", "retrying")
"""How it stands now."""
LATENCIES = ("p50", "p99", "p999", "max", "mean")
RECENT_TIMES = ("recent_process_ms", "recent_execute_ms", "recent_complete_ms")
TIMES = ("process_ms", "execute_ms", "complete_ms", *RECENT_TIMES)
"""Latencies of a component; those not of the last seconds are since the start."""
ROOTS = ("emitted", "acked", "failed", "pending", "dead")
"""What is told of all spouts together; the first is the sum of the next three at every instant (semantics 36)."""
ALL_TIME = ":all-time"
"""What Storm's API calls the window that has no length."""
LINK_COUNTS = ("frames_sent", "frames_received")
"""What a worker counts of its link to another one: frames that may bring work."""
LINK_GAUGES = ("is_up", "unreceipted_frames", "unreceipted_bytes", "waiting", "under_way")
"""How a link stands now: what was sent and may have to be sent again; tuples that wait for credit, and that have it."""
SOURCE_GAUGES = ("connections",)
"""Of what the native half of a source tells, what is no counter."""
TABLE_ROWS = 10
"""Rows that are kept of a table that a component shows."""


def worst(latencies: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The highest of each figure, since percentiles of several tasks cannot be merged exactly.

    `count` and `sum` are of them all.
    """
    highest = {key: round(max((one[key] for one in latencies), default=0.0), 4) for key in LATENCIES}
    whole = round(sum(one["sum"] for one in latencies), 3)
    return highest | {"count": sum(one["count"] for one in latencies), "sum": whole}


def top(rows: Mapping[str, float]) -> dict[str, float]:
    """The largest rows, largest first; ties by name, so that the order does not flicker."""
    return dict(sorted(rows.items(), key=lambda row: (-row[1], row[0]))[:TABLE_ROWS])
