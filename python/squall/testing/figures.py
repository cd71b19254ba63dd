"""What a worker's tasks counted, summed by component, for a test to look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from squall.runtime.build import Task

OnError = Callable[[int, str, BaseException], None]
COUNTS = ("acked", "failed", "dropped", "dead", "errors", "pending", "retrying", "queue", "held", "in_flight")
BY_STREAM = ("emitted", "transferred", "executed")


def figures(
    snapshot: Iterable[Mapping[str, Any]], tasks: Sequence[Task], on_error: OnError | None
) -> dict[str, dict[str, Any]]:
    """By component: its counters, the windows of the core ("windows", if the core keeps them), the user's own ("user").

    Args:
        snapshot: `Worker.snapshot()`.
        on_error: gets the task, the place and what a gauge raised, or why it is no number; None: the life is over, and
            its gauges say nothing any more.
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
            _add_users(summed[task.spec.name].setdefault("user", {}), task, on_error)
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


def _add_users(user: dict[str, Any], task: Task, on_error: OnError | None) -> None:
    runtime = task.runtime
    for name, counter in runtime.counters.items():
        user[name] = user.get(name, 0) + counter.value
    if on_error is not None:
        _add_gauges(user, task, on_error)
    for name, histogram in runtime.histograms.items():
        of_others = user.get(name, {"count": 0, "sum": 0.0})
        user[name] = {"count": of_others["count"] + histogram.count, "sum": of_others["sum"] + histogram.sum}


def _add_gauges(user: dict[str, Any], task: Task, on_error: OnError) -> None:
    for name, read in task.runtime.gauges.items():
        try:
            value = read()
            if not math.isfinite(value):
                raise ValueError(f"the figure {name!r} is no number that can be shown")
            user[name] = value
        except Exception as error:  # as in a run, one spoils no other
            on_error(task.index, "metric", error)
