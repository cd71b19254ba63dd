"""Rates, and shares of blocked time, out of counters that only grow."""

from __future__ import annotations

from typing import Any

from squall.runtime.recent import BLOCKED_OVER, Recent
from squall.runtime.stats import empty


def figures(executed: int, blocked_ms: float = 0.0, tasks: int = 1) -> dict[str, Any]:
    """What has been counted of one bolt."""
    counted = {"inputs": {"lines/default": executed}, "streams": {"default": 2 * executed}}
    bolt = {**empty("bolt", tasks), **counted, "blocked_ms": {"slow": blocked_ms} if blocked_ms else {}}
    return {"emitted": executed, "out": 2 * executed, "components": {"split": bolt}}


def test_rates_are_since_the_last_report() -> None:
    recent = Recent()
    recent.keep(1.0, figures(1000))
    told = recent.rates(3.0, figures(1500))
    split = told["components"]["split"]
    assert (told["emitted_per_s"], told["out_per_s"]) == (250.0, 500.0)
    assert (split["executed_per_s"], split["emitted_per_s"]) == (250.0, 500.0)
    assert (split["inputs_per_s"], split["streams_per_s"]) == ({"lines/default": 250.0}, {"default": 500.0})


def test_the_first_report_counts_from_the_beginning() -> None:
    assert Recent().rates(2.0, figures(100))["emitted_per_s"] == 50.0


def test_asking_for_rates_changes_none() -> None:
    recent = Recent()
    recent.keep(1.0, figures(1000))
    assert recent.rates(2.0, figures(2000)) == recent.rates(2.0, figures(2000))


def test_blocked_time_is_told_over_the_last_reports_and_then_forgotten() -> None:
    recent = Recent()
    for second in range(1, 3):
        recent.keep(float(second), figures(0, 500.0 * second))
    assert recent.rates(3.0, figures(0, 1500.0))["components"]["split"]["blocked_ratio"] == {"slow": 0.5}
    for second in range(3, 3 + BLOCKED_OVER):
        recent.keep(float(second), figures(0, 1500.0))
    assert recent.rates(9.0, figures(0, 1500.0))["components"]["split"]["blocked_ratio"] == {}


def test_a_component_is_blocked_by_the_share_of_all_its_tasks() -> None:
    told = Recent().rates(1.0, figures(0, 1000.0, tasks=4))
    assert told["components"]["split"]["blocked_ratio"] == {"slow": 0.25}


def test_a_spout_that_waits_for_the_loop_waits_for_those_who_work_there() -> None:
    """In the shares of their work; who runs elsewhere, and the spout itself, do not count."""
    components = {
        "lines": {**empty("spout", 1), "waited_ms": 800.0, "busy_ms": 50.0},
        "split": {**empty("bolt", 1), "busy_ms": 100.0},
        "count": {**empty("bolt", 2), "busy_ms": 300.0},
        "enrich": {**empty("bolt", 1), "busy_ms": 9000.0, "in_flight_max": 10},
    }
    told = Recent().rates(1.0, {"emitted": 0, "out": 0, "components": components})["components"]
    assert told["lines"]["blocked_ratio"] == {"count": 0.6, "split": 0.2}
    assert [told[name]["busy_ratio"] for name in ("lines", "count", "enrich")] == [0.05, 0.3, 9.0]
