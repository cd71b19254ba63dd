"""What a worker's tasks counted, summed by component, for a test to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from squall.runtime.build import Task

COUNTS = ("acked", "failed", "dropped", "dead", "errors", "pending", "retrying", "queue", "held", "in_flight")
BY_STREAM = ("emitted", "transferred", "executed")


def figures(snapshot: Iterable[Mapping[str, Any]], tasks: Sequence[Task]) -> dict[str, dict[str, Any]]:
    """By component: its counters, the windows of the core ("windows", if the core keeps them), the user's own ("user").

    Args:
        snapshot: `Worker.snapshot()`.
    """
    summed: dict[str, dict[str, Any]] = {}
    for row in snapshot:
        component = summed.setdefault(row["component"], {name: 0 for name in (*COUNTS, *BY_STREAM)})
        for name in COUNTS:
            component[name] += row.get(name, 0)
        for name in BY_STREAM:
            component[name] += sum(row[name].values())
        windows = component.setdefault("windows", {})
        for window, counts in row.get("windows", {}).items():
            total = windows.setdefault(window, {})
            for name, count in counts.items():
                total[name] = total.get(name, 0) + count
    for task in tasks:
        if task.spec.name in summed:
            _add_users(summed[task.spec.name].setdefault("user", {}), task)
    return summed


def summed(of_workers: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The figures of several workers as one's; of a user's gauge the sum."""
    sums: dict[str, dict[str, Any]] = {}
    for figures_of_one in of_workers:
        for name, component in figures_of_one.items():
            _add(sums.setdefault(name, {}), component)
    return sums


def _add(to: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, Mapping):
            _add(to.setdefault(name, {}), cast("Mapping[str, Any]", value))
        else:
            to[name] = to.get(name, 0) + value


def _add_users(user: dict[str, Any], task: Task) -> None:
    runtime = task.runtime
    for name, counter in runtime.counters.items():
        user[name] = user.get(name, 0) + counter.value
    for name, read in runtime.gauges.items():
        user[name] = read()
    for name, histogram in runtime.histograms.items():
        of_others = user.get(name, {"count": 0, "sum": 0.0})
        user[name] = {"count": of_others["count"] + histogram.count, "sum": of_others["sum"] + histogram.sum}
