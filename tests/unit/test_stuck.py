"""Calls that do not return: which they are, and when their worker is given up for one."""

from __future__ import annotations

from dataclasses import replace

from squall.cluster.stuck import LOOP, Stuck, StuckCalls

FIRST, SECOND = Stuck(1, "count", since_s=10.0, call=7), Stuck(2, "split", since_s=12.0, call=3)
AWAY = Stuck(1, "save", since_s=11.0, place=4)
RUNNING = {1: 7, 2: 3}.__getitem__


def calls_of(*stuck: Stuck, limit_s: float | None = None) -> StuckCalls:
    calls = StuckCalls(limit_s)
    for one in stuck:
        calls.told(one)
    return calls


def test_call_of_a_loop_has_returned_when_another_runs_or_none() -> None:
    calls = calls_of(SECOND, FIRST)
    assert calls.passed(RUNNING, 13.0) == []
    assert calls.now() == [FIRST, SECOND]
    calls.passed({1: 8, 2: 3}.__getitem__, 13.0)
    assert calls.now() == [SECOND]
    calls.passed({1: 8, 2: 0}.__getitem__, 13.0)
    assert calls.now() == []


def test_call_of_a_loop_that_had_returned_when_it_was_heard_of_is_none() -> None:
    calls = calls_of(replace(FIRST, call=0), limit_s=5.0)
    assert calls.passed({1: 0}.__getitem__, 1e9) == []
    assert calls.now() == []


def test_call_away_from_the_loop_lasts_until_its_place_goes_on_whatever_the_loop_does() -> None:
    calls = calls_of(AWAY, replace(AWAY, place=5, component="load"))
    calls.passed({1: 8}.__getitem__, 13.0)
    calls.went_on(1, 5)
    calls.went_on(2, 4)
    assert calls.now() == [AWAY]
    calls.went_on(1, 4)
    assert calls.now() == []


def test_calls_of_a_lost_worker_are_gone() -> None:
    calls = calls_of(FIRST, AWAY, SECOND)
    calls.gone(1)
    assert calls.now() == [SECOND]


def test_worker_is_given_up_once_for_a_call_that_takes_too_long() -> None:
    calls = calls_of(SECOND, FIRST, limit_s=5.0)
    assert calls.passed(RUNNING, 15.0) == []
    assert calls.passed(RUNNING, 15.1) == [FIRST]
    assert calls.passed(RUNNING, 15.2) == []
    assert calls.now() == [SECOND]


def test_worker_is_given_up_for_the_first_of_its_calls_and_the_others_are_forgotten() -> None:
    calls = calls_of(AWAY, FIRST, limit_s=5.0)
    assert calls.passed(RUNNING, 20.0) == [FIRST]
    assert calls.now() == []


def test_worker_is_given_up_for_a_call_away_from_its_loop() -> None:
    calls = calls_of(AWAY, limit_s=5.0)
    assert calls.passed({1: 1000}.__getitem__, 16.1) == [AWAY]


def test_without_a_limit_no_call_costs_its_worker() -> None:
    assert calls_of(FIRST, SECOND, AWAY).passed(RUNNING, 1e9) == []


def test_worker_is_not_given_up_for_a_call_that_says_it_waits() -> None:
    waiting = replace(AWAY, waits_for="a table")
    calls = calls_of(waiting, limit_s=5.0)
    assert calls.passed(RUNNING, 1e9) == []
    assert calls.now() == [waiting]


def test_a_call_that_waits_shields_none_that_hangs_whichever_was_told_first() -> None:
    waiting = replace(AWAY, waits_for="a table")
    for order in ((FIRST, waiting), (waiting, FIRST)):
        calls = calls_of(*order, limit_s=5.0)
        assert calls.now() == [FIRST, waiting]
        assert calls.passed(RUNNING, 15.1) == [FIRST]


def test_each_component_has_the_time_of_its_longest_call() -> None:
    calls = calls_of(replace(AWAY, place=5, since_s=15.0), AWAY, FIRST)
    assert calls.running_s(20.0) == {"count": 10.0, "save": 9.0}
    assert FIRST.place == LOOP
