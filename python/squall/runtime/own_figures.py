"""What users count themselves, and what sources have counted, as reports carry it.

`metrics` is for people: one number a name. `own` is for programs: what kind of figure each is, gauges by task, since a
sum of temperatures is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from squall.api.context import Histogram


def add(out: dict[str, Any], runtime: Any, on_error: Callable[[BaseException], None]) -> None:
    """Adds a task's figures to its component's. One that is no number spoils no other.

    Args:
        on_error: gets what a gauge or table raised, and why a figure is none.
    """
    metrics, own, source = out["metrics"], out["own"], out["source"]
    for name, counter in runtime.counters.items():
        with _told(on_error):
            _sum(metrics, name, counter.value)
            _sum(own["counters"], name, counter.value)
    for name, histogram in runtime.histograms.items():
        with _told(on_error):
            _sum(metrics, f"{name}.count", histogram.count)
            highest = max(metrics.get(f"{name}.p99", 0), _finite(name, histogram.percentile(99)))
            metrics[f"{name}.p99"] = highest
            _merge(own["histograms"], name, histogram)
    for name, read in runtime.gauges.items():
        with _told(on_error):
            _sum(metrics, name, value := read())
            own["gauges"].setdefault(str(name), {})[str(runtime.task_id)] = _finite(name, value)
    for name, read in runtime.tables.items():
        with _told(on_error):
            rows: dict[str, float] = out["tables"].setdefault(name, {})
            for key, value in read().items():
                _sum(rows, key, value)
    for name, value in runtime.source_figures().items():
        _sum(source, name, value)
        _sum(metrics, name, value)


def _merge(histograms: dict[str, dict[str, Any]], name: object, histogram: Histogram) -> None:
    """Adds one task's histogram to those of the other tasks.

    Raises:
        ValueError: its buckets are others, or its sum is no number.
    """
    count, whole, counts = histogram.state()
    nothing: dict[str, Any] = {"count": 0, "sum": 0.0, "buckets": [[bound, 0] for bound in histogram.buckets]}
    before = histograms.get(str(name), nothing)
    if [bound for bound, _ in before["buckets"]] != list(histogram.buckets):
        raise ValueError(f"the histogram {name!r} has other buckets in another task")
    histograms[str(name)] = {
        "count": before["count"] + count,
        "sum": _finite(name, before["sum"] + whole),
        "buckets": [[bound, n + more] for (bound, n), more in zip(before["buckets"], counts, strict=True)],
    }


@contextmanager
def _told(on_error: Callable[[BaseException], None]) -> Generator[None]:
    try:
        yield
    except Exception as error:
        on_error(error)


def _sum(figures: dict[str, float], name: object, value: Any) -> None:
    figures[str(name)] = _finite(name, figures.get(str(name), 0) + _finite(name, value))


def _finite(name: object, value: Any) -> float:
    """A figure as JSON can have it: no NaN, nothing infinite, no integer beyond all floats.

    Raises:
        ValueError: it is none of these.
    """
    number = value if isinstance(value, int) else float(value)
    try:
        is_finite = math.isfinite(number)
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise ValueError(f"the figure {name!r} is no number that can be shown")
    return number
