"""From a snapshot of the core's tasks to what people and programs read: totals, components, latencies.

Counts are exact (semantics 36, 37): emitted = acked + failed + pending, by spout. Latencies are sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from squall.model.graph import DEAD_LETTERS
from squall.runtime.build import Built

LATENCIES = ("p50", "p99", "p999", "max", "mean")


def summary(snapshot: Sequence[Mapping[str, Any]], built: Built) -> dict[str, Any]:
    """Totals and components, as the `progress` and `summary` events carry them."""
    kinds = {task.spec.name: task.spec.kind.value for task in built.tasks}
    components: dict[str, dict[str, Any]] = {name: _empty(kind) for name, kind in kinds.items()}
    for row in snapshot:
        _add(components[row["component"]], row)
    for task in built.tasks:
        _add_user_metrics(components[task.spec.name], task.runtime)
    spouts = [out for name, out in components.items() if kinds[name] == "spout" and name != DEAD_LETTERS]
    totals = {key: sum(out[key] for out in spouts) for key in ("emitted", "acked", "failed", "pending", "dead")}
    complete = _worst([row["complete_ms"] for row in snapshot if kinds[row["component"]] == "spout"])
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
    windows = out.setdefault("windows", {})
    for window, counts in row["windows"].items():
        into = windows.setdefault(window, {})
        for name, count in counts.items():
            into[name] = into.get(name, 0) + count


def _add_user_metrics(out: dict[str, Any], runtime: Any) -> None:
    metrics: dict[str, float] = out.setdefault("metrics", {})
    for name, counter in runtime.counters.items():
        metrics[name] = metrics.get(name, 0) + counter.value
    for name, read in runtime.gauges.items():
        metrics[name] = metrics.get(name, 0) + read()
    for name, histogram in runtime.histograms.items():
        metrics[f"{name}.count"] = metrics.get(f"{name}.count", 0) + histogram.count
        metrics[f"{name}.p99"] = max(metrics.get(f"{name}.p99", 0), histogram.percentile(99))
    tables: dict[str, dict[str, float]] = out.setdefault("tables", {})
    for name, read in runtime.tables.items():
        tables.setdefault(name, {}).update(read())


def _worst(latencies: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The highest of each figure: percentiles of several tasks cannot be merged exactly."""
    return {key: round(max((one[key] for one in latencies), default=0.0), 4) for key in LATENCIES}
