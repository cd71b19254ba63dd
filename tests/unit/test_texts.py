"""Figures of a run as text."""

from __future__ import annotations

import pytest
from squall.cli.texts import compact, rates, stuck_head, stuck_text, summary_lines


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"), (999, "999"), (9_999, "9,999"), (10_000, "10k"), (593_408, "593k"), (1_000_000, "1.00M"),
        (8_463_900, "8.46M"), (84_639_000, "84.6M"), (846_390_000, "846M"), (8_463_900_000, "8.46G"),
    ],
)  # fmt: skip
def test_counts_fit_into_a_column(count: int, text: str) -> None:
    assert compact(count) == text


def test_rates_are_since_the_report_before() -> None:
    first = {"uptime_s": 2.0, "emitted": 100, "out": 1000}
    assert rates(first, None) == (50.0, 500.0)
    assert rates({"uptime_s": 4.0, "emitted": 160, "out": 1600}, first) == (30.0, 300.0)
    assert rates(first, first) == (0.0, 0.0)


def test_summary_says_when_counts_are_missing() -> None:
    counts = dict.fromkeys(("emitted", "acked", "failed", "pending", "dead"), 0)
    latency = {"p50": 0.0, "p99": 0.0, "max": 0.0}
    event = {"topology": "t", "wall_s": 1.0, "cpu_s": 0.5, "complete_ms": latency, "components": {}, **counts}
    assert "lost" not in "\n".join(summary_lines(event))
    assert "the worker was lost" in "\n".join(summary_lines(event | {"approximate": True}))


def test_call_that_waits_is_told_as_such() -> None:
    stack = 'File "sink.py", line 7 in write'
    event = {"component": "save", "running_s": 12.3, "stack": stack, "on_loop": False, "waits_for": "Redis at db:6379"}
    assert stuck_text(event) == f'"save" has been waiting for Redis at db:6379 for 12 s; its stack:\n  {stack}'
    assert stuck_head(event | {"waits_for": ""}) == 'a call of "save" has been running for 12 s'
