"""Calls that do not return: which they are, and when their worker is given up for one."""

from __future__ import annotations

from dataclasses import replace

from squall.cluster.stuck import Stuck, StuckCalls

FIRST, SECOND = Stuck(1, "count", calls=7, since_s=10.0), Stuck(2, "split", calls=3, since_s=12.0)


def both(limit_s: float | None) -> StuckCalls:
    calls = StuckCalls(limit_s)
    calls.told(SECOND)
    calls.told(FIRST)
    return calls


def test_call_has_returned_when_its_worker_began_another() -> None:
    calls = both(None)
    assert calls.longest() == FIRST
    assert calls.passed({1: 8, 2: 3}.__getitem__, 13.0) == []
    assert calls.now() == [SECOND]


def test_call_of_a_lost_worker_is_gone() -> None:
    calls = both(None)
    calls.gone(1)
    assert calls.longest() == SECOND


def test_worker_is_given_up_once_for_a_call_that_takes_too_long() -> None:
    calls = both(5.0)
    counts = {1: 7, 2: 3}.__getitem__
    assert calls.passed(counts, 15.0) == []
    assert calls.passed(counts, 15.1) == [FIRST]
    assert calls.passed(counts, 15.2) == []
    assert calls.now() == [SECOND]


def test_without_a_limit_no_call_costs_its_worker() -> None:
    assert both(None).passed({1: 7, 2: 3}.__getitem__, 1e9) == []


def test_worker_is_not_given_up_for_a_call_that_says_it_waits() -> None:
    calls = both(5.0)
    calls.told(replace(FIRST, waits_for="a table"))
    assert calls.passed({1: 7, 2: 3}.__getitem__, 1e9) == [SECOND]
    assert [one.waits_for for one in calls.now()] == ["a table"]
    assert calls.passed({1: 8, 2: 3}.__getitem__, 1e9) == []
    assert calls.now() == []
