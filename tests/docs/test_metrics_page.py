"""docs/reference/metrics.md is what the table says, and every figure of a report that a program may want is in it."""

from __future__ import annotations

import re
from pathlib import Path

from squall.engines.metrics.docs import page
from squall.engines.metrics.table import METRICS
from squall.runtime import stats
from squall.runtime.recent import Recent

ROOT = Path(__file__).parents[2]
RECENT = {"recent_complete_ms", "recent_execute_ms", "recent_process_ms"}
FOR_PEOPLE = {"kind", "metrics", "tables", "windows", *RECENT}
"""What a component has in a report beside its metrics: of users' figures what the live view shows, Storm's windows,
latencies of the last seconds."""
DERIVED = {"emitted", "executed", "executed_per_s", "emitted_per_s", "inputs_per_s", "streams_per_s", "own"}
"""Sums over streams and inputs, rates that a monitoring system makes itself; `own` has names of its own."""


def test_the_page_was_written_from_the_table() -> None:
    assert (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8") == page()


def test_every_figure_of_a_component_is_a_metric() -> None:
    figures = {"emitted": 0, "out": 0, "components": {"b": stats.empty("bolt", 1)}}
    reported = Recent().rates(1.0, figures)["components"]["b"].keys()
    told = {found[1] for metric in METRICS if (found := re.match(r"components\.NAME\.(\w+)", metric.where))}
    assert reported - FOR_PEOPLE - DERIVED == told


def test_the_guide_names_metrics_that_there_are() -> None:
    text = (ROOT / "docs/guides/monitoring.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bsquall_(?!user_)[a-z_]+", text))
    known = {metric.name for metric in METRICS}
    bare = {re.sub(r"_(total|sum|count|bucket)$", "", name) for name in named}
    assert bare - known == set()
    assert bare
