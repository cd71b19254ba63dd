"""From a snapshot of the core's tasks to what people and programs read: totals, components, latencies.

Counts are exact (semantics 36, 37): emitted = acked + failed + pending, by spout. Latencies are sampled: since the
start, and `recent_` ones, of the last 10 to 20 s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from squall.model.figures import COUNTS, GAUGES, ROOTS, TIMES, top, worst
from squall.model.graph import DEAD_LETTERS
from squall.runtime import own_figures
from squall.runtime.build import Built

SUMMED = (*COUNTS[3:], *GAUGES)
"""What a component's tasks have one number of."""


def summary(
    snapshot: Sequence[Mapping[str, Any]], built: Built, on_error: Callable[[int, str, BaseException], None]
) -> dict[str, Any]:
    """Totals and components, as the `progress` and `summary` events carry them. `out`: what the last bolts took.

    Args:
        on_error: gets what a user's gauge or table raised, and why a figure of the user's is none.
    """
    kinds = {task.spec.name: task.spec.kind.value for task in built.tasks}
    components: dict[str, dict[str, Any]] = {name: empty(kind) for name, kind in kinds.items()}
    for row in snapshot:
        _add(components[row["component"]], row)
    for task in built.tasks:
        own_figures.add(components[task.spec.name], task.runtime, partial(on_error, task.index, "metric"))
    for out in components.values():
        out["tables"] = {name: top(rows) for name, rows in out["tables"].items()}
    spouts = [out for name, out in components.items() if kinds[name] == "spout" and name != DEAD_LETTERS]
    sources = {one.source.component for spec in built.plan.graph.components.values() for one in spec.inputs}
    last = [out for name, out in components.items() if kinds[name] == "bolt" and name not in sources]
    totals = {key: sum(out[key] for out in spouts) for key in ROOTS}
    of_spouts = [row for row in snapshot if kinds[row["component"]] == "spout"]
    complete = {key: worst([row[key] for row in of_spouts]) for key in ("complete_ms", "recent_complete_ms")}
    totals["out"] = sum(out["executed"] for out in last)
    return {**totals, **complete, "components": components}


def empty(kind: str, tasks: int = 0) -> dict[str, Any]:
    """The figures of a component that has counted nothing."""
    return {
        "kind": kind,
        **dict.fromkeys((*COUNTS, *GAUGES), 0),
        **{key: worst([]) for key in TIMES},
        "capacity": 0.0,
        "busy_ms": 0.0,
        "waited_ms": 0.0,
        "blocked_ms": {},
        "blocked_ratio": {},
        "streams": {},
        "inputs": {},
        "windows": {},
        "metrics": {},
        "tables": {},
        "own": {"counters": {}, "gauges": {}, "histograms": {}},
        "source": {},
        "tasks": tasks,
    }


def _add(out: dict[str, Any], row: Mapping[str, Any]) -> None:
    for key in SUMMED:
        out[key] += row.get(key, 0)
    for key, streams in (("emitted", "streams"), ("executed", "inputs")):
        for name, count in row[key].items():
            out[key] += count
            out[streams][name] = out[streams].get(name, 0) + count
    out["transferred"] += sum(row["transferred"].values())
    out["tasks"] += 1
    for key in TIMES:
        out[key] = worst([out[key], row[key]])
    for name, ns in row["blocked_ns"].items():
        out["blocked_ms"][name] = round(out["blocked_ms"].get(name, 0.0) + ns / 1e6, 3)
    for key in ("busy", "waited"):
        out[f"{key}_ms"] = round(out[f"{key}_ms"] + row.get(f"{key}_ns", 0) / 1e6, 3)
    out["capacity"] = max(out["capacity"], row["capacity"])
    windows = out["windows"]
    for window, counts in row["windows"].items():
        into = windows.setdefault(window, {})
        for name, count in counts.items():
            into[name] = into.get(name, 0) + count
