"""From a snapshot of the core's tasks to what people and programs read: totals, components, latencies.

Counts are exact (semantics 36, 37): emitted = acked + failed + pending, by spout. Latencies are sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from squall.model.graph import DEAD_LETTERS
from squall.runtime.build import Built

TABLE_ROWS = 10
"""Rows that are kept of a table that a component shows."""
LATENCIES = ("p50", "p99", "p999", "max", "mean")


def summary(
    snapshot: Sequence[Mapping[str, Any]], built: Built, on_error: Callable[[int, str, BaseException], None]
) -> dict[str, Any]:
    """Totals and components, as the `progress` and `summary` events carry them. `out`: what the last bolts took.

    Args:
        on_error: gets what a user's gauge or table raised.
    """
    kinds = {task.spec.name: task.spec.kind.value for task in built.tasks}
    components: dict[str, dict[str, Any]] = {name: _empty(kind) for name, kind in kinds.items()}
    for row in snapshot:
        _add(components[row["component"]], row)
    for task in built.tasks:
        try:
            _add_user_metrics(components[task.spec.name], task.runtime)
        except Exception as error:
            on_error(task.index, "gauge", error)
    for out in components.values():
        out["tables"] = {name: _top(rows) for name, rows in out["tables"].items()}
    spouts = [out for name, out in components.items() if kinds[name] == "spout" and name != DEAD_LETTERS]
    sources = {one.source.component for spec in built.plan.graph.components.values() for one in spec.inputs}
    last = [out for name, out in components.items() if kinds[name] == "bolt" and name not in sources]
    totals = {key: sum(out[key] for out in spouts) for key in ("emitted", "acked", "failed", "pending", "dead")}
    complete = _worst([row["complete_ms"] for row in snapshot if kinds[row["component"]] == "spout"])
    totals["out"] = sum(out["executed"] for out in last)
    return {**totals, "complete_ms": complete, "components": components}


def _empty(kind: str) -> dict[str, Any]:
    counts = ("executed", "emitted", "transferred", "acked", "failed", "dropped", "dead", "errors")
    gauges = ("pending", "queue", "held", "in_flight", "retrying")
    return {
        "kind": kind,
        **dict.fromkeys((*counts, *gauges), 0),
        "process_ms": _worst([]),
        "execute_ms": _worst([]),
        "capacity": 0.0,
        "streams": {},
        "inputs": {},
        "windows": {},
        "metrics": {},
        "tables": {},
        "tasks": 0,
    }


def _add(out: dict[str, Any], row: Mapping[str, Any]) -> None:
    for key in ("acked", "failed", "dropped", "dead", "errors", "pending", "queue", "held", "in_flight", "retrying"):
        out[key] += row.get(key, 0)
    for key, streams in (("emitted", "streams"), ("executed", "inputs")):
        for name, count in row[key].items():
            out[key] += count
            out[streams][name] = out[streams].get(name, 0) + count
    out["transferred"] += sum(row["transferred"].values())
    out["tasks"] += 1
    for key in ("process_ms", "execute_ms"):
        out[key] = _worst([out[key], row[key]])
    out["capacity"] = max(out["capacity"], row["capacity"])
    windows = out["windows"]
    for window, counts in row["windows"].items():
        into = windows.setdefault(window, {})
        for name, count in counts.items():
            into[name] = into.get(name, 0) + count


def _add_user_metrics(out: dict[str, Any], runtime: Any) -> None:
    """A user's own figures, summed over the tasks; of percentiles the highest."""
    metrics: dict[str, float] = out["metrics"]
    for name, counter in runtime.counters.items():
        metrics[name] = metrics.get(name, 0) + counter.value
    for name, histogram in runtime.histograms.items():
        metrics[f"{name}.count"] = metrics.get(f"{name}.count", 0) + histogram.count
        metrics[f"{name}.p99"] = max(metrics.get(f"{name}.p99", 0), histogram.percentile(99))
    for name, read in runtime.gauges.items():
        metrics[name] = metrics.get(name, 0) + _finite(read())
    for name, read in runtime.tables.items():
        rows: dict[str, float] = out["tables"].setdefault(name, {})
        for key, value in read().items():
            rows[str(key)] = rows.get(str(key), 0) + _finite(value)


def _finite(value: Any) -> float:
    number = value if isinstance(value, int) else float(value)
    if not math.isfinite(number):
        raise ValueError(f"a gauge gave {number}")
    return number


def _top(rows: Mapping[str, float]) -> dict[str, float]:
    """The largest rows, largest first; ties by name, so that the order does not flicker."""
    return dict(sorted(rows.items(), key=lambda row: (-row[1], row[0]))[:TABLE_ROWS])


def _worst(latencies: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The highest of each figure: percentiles of several tasks cannot be merged exactly."""
    return {key: round(max((one[key] for one in latencies), default=0.0), 4) for key in LATENCIES}
