"""Reports of several workers as one: what adds up, what does not, and what a death leaves."""

from __future__ import annotations

from typing import Any

import pytest
from squall.cluster.totals import Totals, begun, lost, merged, reported
from squall.model.graph import DEAD_LETTERS
from squall.runtime import stats
from squall.runtime.recent import Recent

ZEROS = {name: stats.empty(kind, 2) for name, kind in (("lines", "spout"), ("count", "bolt"))}
BOTH = ("lines", "count")
TOTAL_TIMES = ("complete_ms", "recent_complete_ms")


def report(**components: dict[str, Any]) -> dict[str, Any]:
    """A worker's report in which these components differ from zero, with the keys that a worker really sends."""
    figures = {name: {**zero, "tasks": 1, **components.get(name, {})} for name, zero in ZEROS.items()}
    roots = {key: figures["lines"][key] for key in ("emitted", "acked", "failed", "pending", "dead")}
    whole = {**roots, "out": figures["count"]["executed"], **{key: figures["lines"][key] for key in TOTAL_TIMES}}
    now = {**whole, "components": figures}
    return {**now, **Recent().rates(10.0, now), "uptime_s": 10.0, "cpu_s": 2.5, "errors": {}, "links": {}}


def two(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    totals = begun(begun(Totals(ZEROS), 1, BOTH), 2, BOTH)
    return merged(reported(reported(totals, 1, one), 2, other))


def of(component: str, whole: dict[str, Any]) -> dict[str, Any]:
    return whole["components"][component]


def rich() -> dict[str, Any]:
    """A report in which each kind of figure is there."""
    histogram = {"count": 3, "sum": 0.5, "buckets": [[0.1, 1], [1.0, 3]]}
    own = {"counters": {"seen": 5}, "gauges": {"heat": {"4": 20.5}}, "histograms": {"size": histogram}}
    metrics = {"seen": 5, "heat": 20.5, "size.count": 3, "size.p99": 0.9}
    count = {
        "executed": 7,
        "inputs": {"lines/default": 7},
        "execute_ms": {"p50": 1.0, "p99": 2.0, "p999": 3.0, "max": 4.0, "mean": 1.5, "count": 7, "sum": 10.5},
        "capacity": 0.25,
        "busy_ms": 123.456,
        "queue": 3,
        "tables": {"top": {"a": 9, "b": 2}},
        "windows": {"600": {"executed": 7}, ":all-time": {"executed": 7}},
        "own": own,
        "metrics": metrics,
    }
    lines = {
        "emitted": 10,
        "acked": 6,
        "failed": 1,
        "pending": 3,
        "streams": {"default": 10},
        "blocked_ms": {"count": 500.0},
        "source": {"connections": 2, "bytes": 99},
        "metrics": {"connections": 2, "bytes": 99},
    }
    out = report(lines=lines, count=count)
    out["errors"] = {"count": {"count": 1, "last": "ValueError", "where": "process", "task": 1, "at": "2026-01-02"}}
    return out


def test_report_of_one_worker_stays_as_it_is() -> None:
    """So nothing that a worker tells is forgotten here."""
    one = reported(begun(Totals(ZEROS), 1, BOTH), 1, rich())
    assert merged(one) == rich()


def test_one_without_a_report_has_every_component() -> None:
    whole = merged(begun(Totals(ZEROS), 1, BOTH))
    assert whole["components"] == ZEROS
    assert whole["emitted"] == 0


def test_counters_and_gauges_of_the_living_add_up() -> None:
    """Semantics 37."""
    whole = two(rich(), rich())
    assert (whole["emitted"], whole["acked"], whole["failed"], whole["pending"]) == (20, 12, 2, 6)
    assert (whole["out"], whole["cpu_s"]) == (14, 5.0)
    count = of("count", whole)
    assert (count["executed"], count["queue"], count["tasks"], count["busy_ms"]) == (14, 6, 2, 246.912)
    assert count["inputs"] == {"lines/default": 14}
    assert count["windows"] == {"600": {"executed": 14}, ":all-time": {"executed": 14}}
    assert of("lines", whole)["source"] == {"connections": 4, "bytes": 198}
    assert whole["errors"]["count"]["count"] == 2


def test_rates_add_up() -> None:
    one, whole = of("count", rich()), of("count", two(rich(), rich()))
    assert whole["executed_per_s"] == 2 * one["executed_per_s"] > 0
    assert whole["inputs_per_s"] == {"lines/default": 2 * one["inputs_per_s"]["lines/default"]}


def test_worst_percentile_is_told() -> None:
    other = rich()
    of("count", other)["execute_ms"] |= {"p99": 50.0, "max": 1.0}
    times = of("count", two(rich(), other))["execute_ms"]
    assert (times["p50"], times["p99"], times["max"]) == (1.0, 50.0, 4.0)
    assert (times["count"], times["sum"]) == (14, 21.0)


def test_capacity_is_that_of_the_busiest_task() -> None:
    assert of("count", two(rich(), rich()))["capacity"] == 0.25


@pytest.mark.parametrize(("tasks", "share"), [((1, 1), 0.3), ((3, 1), 0.45), ((1, 3), 0.15)])
def test_blocked_share_weighs_workers_by_their_tasks(tasks: tuple[int, int], share: float) -> None:
    one = report(lines={"tasks": tasks[0]})
    of("lines", one)["blocked_ratio"] = {"count": 0.6}
    other = report(lines={"tasks": tasks[1]})
    assert of("lines", two(one, other))["blocked_ratio"] == {"count": pytest.approx(share)}


def test_users_figures_merge_by_their_kind() -> None:
    other = rich()
    of("count", other)["own"]["gauges"] = {"heat": {"5": 10.0}}
    of("count", other)["metrics"] |= {"heat": 10.0, "size.p99": 0.3}
    count = of("count", two(rich(), other))
    assert count["metrics"] == {"seen": 10, "heat": 30.5, "size.count": 6, "size.p99": 0.9}
    assert count["own"]["gauges"] == {"heat": {"4": 20.5, "5": 10.0}}
    assert count["own"]["histograms"]["size"] == {"count": 6, "sum": 1.0, "buckets": [[0.1, 2], [1.0, 6]]}
    assert count["tables"] == {"top": {"a": 18, "b": 4}}


def test_histogram_with_other_buckets_is_not_mixed_in() -> None:
    other = rich()
    of("count", other)["own"]["histograms"]["size"] = {"count": 9, "sum": 1.0, "buckets": [[5.0, 9]]}
    assert of("count", two(rich(), other))["own"]["histograms"]["size"]["buckets"] == [[5.0, 9]]


def dead(counted: tuple[int, int, int, int] = (10, 6, 1, 0)) -> dict[str, Any]:
    return merged(lost(reported(begun(Totals(ZEROS), 1, BOTH), 1, rich()), 1, counted))


def test_death_fails_what_was_pending() -> None:
    """Semantics 36. Roots of a dead spout worker count as failed."""
    whole = dead()
    for one in (whole, of("lines", whole)):
        assert (one["emitted"], one["acked"], one["failed"], one["pending"]) == (10, 6, 4, 0)


def test_totals_of_a_lost_life_are_those_that_outlived_it() -> None:
    """Semantics 36. What was counted since the last report is on the page."""
    whole = dead((150, 130, 5, 2))
    assert (whole["emitted"], whole["acked"], whole["failed"], whole["pending"]) == (150, 130, 20, 0)
    assert whole["dead"] == 2


def test_counts_of_a_lost_life_are_kept_and_marked_approximate() -> None:
    """Semantics 36."""
    whole = dead()
    count = of("count", whole)
    assert (count["executed"], count["execute_ms"]["count"]) == (7, 7)
    assert count["metrics"] == {"seen": 5, "size.count": 3, "size.p99": 0.9}
    assert whole["approximate"] is count["approximate"] is True


def test_what_stood_in_a_lost_life_is_gone() -> None:
    """Semantics 22. What a dead task kept in memory is gone."""
    count, lines = of("count", dead()), of("lines", dead())
    assert (count["queue"], count["capacity"], count["executed_per_s"], count["tasks"]) == (0, 0.0, 0.0, 0)
    assert (count["own"]["gauges"], count["tables"]) == ({}, {})
    assert lines["source"] == lines["metrics"] == {"bytes": 99}
    assert count["windows"] == {":all-time": {"executed": 7}}


def test_next_life_counts_on() -> None:
    totals = lost(reported(begun(Totals(ZEROS), 1, BOTH), 1, rich()), 1, (10, 6, 1, 0))
    whole = merged(reported(begun(totals, 2, BOTH), 2, rich()))
    assert (whole["emitted"], whole["acked"], whole["failed"], whole["pending"]) == (20, 12, 5, 3)
    assert of("count", whole)["tasks"] == 1


def test_only_components_of_the_lost_worker_are_approximate() -> None:
    totals = begun(begun(Totals(ZEROS), 1, ["lines"]), 2, ["count"])
    whole = merged(lost(totals, 1, (5, 5, 0, 0)))
    assert of("lines", whole)["approximate"] is True
    assert "approximate" not in of("count", whole)


def test_report_that_comes_after_the_loss_is_not_counted_twice() -> None:
    totals = lost(reported(begun(Totals(ZEROS), 1, BOTH), 1, rich()), 1, (10, 6, 1, 0))
    assert reported(totals, 1, rich()) == totals
    assert lost(totals, 1, (10, 6, 1, 0)) == totals


def test_spouts_of_the_same_worker_share_its_page() -> None:
    """The totals are exact; which of two spouts emitted what since the report is not known."""
    zeros = {**ZEROS, "others": stats.empty("spout", 1), DEAD_LETTERS: stats.empty("spout", 1)}
    one = reported(begun(Totals(zeros), 1, tuple(zeros)), 1, rich())
    whole = merged(lost(one, 1, (150, 130, 5, 2)))
    assert (whole["emitted"], whole["acked"], whole["failed"]) == (150, 130, 20)
    assert of("lines", whole)["emitted"] == 10


def linked(worker: str, peer: str, frames: int, garbage: int) -> dict[str, Any]:
    """A report of a worker that has a link to another one."""
    now = {"is_up": True, "unreceipted_frames": 2, "unreceipted_bytes": 500, "waiting": 3, "under_way": 4}
    counted = {"frames_sent": frames, "frames_received": frames // 2}
    links = {"peers": {peer: {**now, **counted}}, "refused": {"garbage": garbage} if garbage else {}}
    return {**report(), "links": {worker: links}}


def test_links_are_told_by_worker_and_peer() -> None:
    one, other = linked("1", "2", 10, 0), linked("2", "1", 6, 1)
    assert two(one, other)["links"] == {**one["links"], **other["links"]}


def test_links_of_a_lost_life_are_down_and_what_they_counted_goes_on() -> None:
    totals = lost(reported(begun(Totals(ZEROS), 1, BOTH), 1, linked("1", "2", 10, 2)), 1, (0, 0, 0, 0))
    gone = merged(totals)["links"]["1"]
    nothing = dict.fromkeys(("unreceipted_frames", "unreceipted_bytes", "waiting", "under_way"), 0)
    assert gone["peers"]["2"] == {"is_up": False, "frames_sent": 10, "frames_received": 5, **nothing}
    back = merged(reported(begun(totals, 2, BOTH), 2, linked("1", "2", 4, 1)))["links"]["1"]
    assert back["refused"] == {"garbage": 3}
    assert back["peers"]["2"] == {**linked("1", "2", 14, 0)["links"]["1"]["peers"]["2"], "frames_received": 7}
