"""Decisions of `squall run`: phases, what to do, exit codes, how failures read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from squall.cluster.causes import cause_of
from squall.engines.embedded.outcome import (
    DRAIN_GRACE_S,
    Do,
    Draining,
    Ended,
    Event,
    Failed,
    Gone,
    Interrupted,
    Phase,
    Ready,
    Resumed,
    Run,
    Tick,
    Unfinished,
    component_failed,
    death_told,
    drain_unfinished,
    failure_at_end,
    step,
    summary,
)
from squall.runtime import stats

CAUSE = cause_of(-11, ["count"], False).defect
FAILURE = component_failed("count", "open", "OSError: no")


def after(*events: Event, run: Run | None = None, now_s: float = 0.0) -> tuple[Run, list[Do]]:
    run, dos = run or Run(drain_s=30.0), []
    for event in events:
        run, do = step(run, event, now_s)
        dos += [do] if do else []
    return run, dos


def test_sources_that_end_by_themselves_need_no_order() -> None:
    run, dos = after(Ready(), Draining(), Ended(), Gone(CAUSE))
    assert (run.phase, run.exit_code, dos) == (Phase.ENDED, 0, [])
    assert run.said_its_last_word


def test_first_interrupt_stops_and_second_kills() -> None:
    run, dos = after(Ready(), Interrupted(), Draining(), Interrupted(), Gone(CAUSE))
    assert dos == [Do.STOP, Do.KILL]
    assert run.phase is Phase.KILLED
    assert run.exit_code == 130  # how the worker went is no failure: we killed it


def test_time_that_is_up_stops_once() -> None:
    run = replace(Run(drain_s=30.0), stop_at_s=20.0)
    run, dos = after(Ready(), Tick(), run=run, now_s=19.9)
    assert dos == []
    run, dos = after(Tick(), Tick(), run=run, now_s=20.0)
    assert dos == [Do.STOP]
    assert run.phase is Phase.DRAINING
    assert run.next_at_s == run.kill_at_s == 50.0 + DRAIN_GRACE_S


def test_time_may_be_up_before_everything_is_open() -> None:
    run = replace(Run(drain_s=30.0), stop_at_s=20.0)
    assert after(Tick(), run=run, now_s=20.0)[1] == [Do.STOP]


def test_drain_that_takes_too_long_is_killed_and_fails() -> None:
    run, _ = after(Ready(), Interrupted(), now_s=100.0)
    kill_at_s = 130.0 + DRAIN_GRACE_S
    assert after(Tick(), run=run, now_s=kill_at_s - 0.1)[1] == []
    run, dos = after(Tick(), Tick(), run=run, now_s=kill_at_s)
    assert dos == [Do.KILL]
    assert run.exit_code == 1
    assert run.failure is not None
    assert run.failure.code == "drain_unfinished"


def test_drain_in_which_the_sources_run_again_is_no_drain_any_more() -> None:
    """A worker was lost after the sources had ended: making again what it had made may take any time."""
    run, _ = after(Ready(), Draining(), run=replace(Run(drain_s=30.0), stop_at_s=500.0), now_s=100.0)
    run, dos = after(Resumed(), Tick(), run=run, now_s=140.0)
    assert (run.phase, dos) == (Phase.RUNNING, [])
    run, _ = after(Draining(), run=run, now_s=200.0)
    assert after(Tick(), run=run, now_s=230.0)[1] == []
    assert after(Tick(), run=run, now_s=230.0 + DRAIN_GRACE_S)[1] == [Do.KILL]
    run, dos = after(Resumed(), Tick(), run=run, now_s=500.0)
    assert dos == [Do.STOP]


def test_worker_that_does_not_go_after_its_last_word_is_killed_without_a_failure() -> None:
    run, _ = after(Ready(), Draining(), Ended(), now_s=5.0)
    run, dos = after(Tick(), Tick(), run=run, now_s=5.0 + DRAIN_GRACE_S)
    assert dos == [Do.KILL]
    assert run.exit_code == 0


@pytest.mark.parametrize("before", [(), (Ready(),), (Ready(), Interrupted())])
def test_worker_that_goes_without_a_word_fails_the_run(before: tuple[Event, ...]) -> None:
    run, _ = after(*before, Gone(CAUSE))
    assert run.exit_code == 1
    assert run.failure == CAUSE
    assert not run.said_its_last_word


def test_first_failure_is_the_one_that_is_told() -> None:
    run, _ = after(Failed(FAILURE), Gone(CAUSE))
    assert run.failure == FAILURE
    run, _ = after(Ready(), Failed(FAILURE), Unfinished({"lines": 3}), Ended(), Gone(CAUSE))
    assert run.failure == FAILURE
    assert run.exit_code == 1


def test_killed_run_ends_with_130() -> None:
    run, dos = after(Ready(), Interrupted(), Interrupted())
    assert (run.exit_code, dos) == (130, [Do.STOP, Do.KILL])
    run, dos = after(Gone(CAUSE), Interrupted(), Tick(), run=run, now_s=1e9)
    assert (run.exit_code, dos) == (130, [])


def test_unfinished_drain_names_what_is_pending() -> None:
    assert '1,200 in "count", 3 in "lines"' in str(drain_unfinished(30.0, {"count": 1200, "lines": 3}))


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ([Unfinished({"held": 3}), Ended()], 'pending: 3 in "held"'),
        ([Unfinished({}), Ended()], "pending: nothing: a call of a spout did not return"),
        ([Unfinished({"held": 3}), Unfinished({"lines": 1, "held": 2}), Ended()], 'pending: 5 in "held", 1 in "lines"'),
        ([Unfinished({"held": 3}), Tick()], 'pending: 3 in "held", unknown: a worker does not answer'),
        ([Unfinished({"held": 3}), Interrupted()], 'pending: 3 in "held"'),
        ([Unfinished({"held": 3}), Gone(None)], 'pending: 3 in "held"'),
        ([Tick()], "pending: unknown: a worker does not answer"),
    ],
)
def test_failed_drain_says_what_is_left_in_all_workers(last: list[Event], told: str) -> None:
    """Semantics 35."""
    run, _ = after(Ready(), Interrupted())
    run, _ = after(*last, run=run, now_s=1e3)
    assert run.exit_code == 1
    assert told in str(run.failure)


@pytest.mark.parametrize(
    ("where", "was_ready", "follows"),
    [(None, False, True), ("open", False, False), ("open", True, True), ("drain", True, False), ("close", True, False)],
)
def test_another_life_follows_what_on_error_ended_and_an_open_that_worked_before(
    where: str | None, was_ready: bool, follows: bool
) -> None:
    raised = {"component": "last", "where": where, "error": "OSError: no"}
    told = death_told({"failures": [raised]}, was_ready=was_ready)
    assert (told is not None) == follows
    assert told is None or (told[0] == "last" and "OSError: no" in str(told[1]))


@pytest.mark.parametrize(
    ("where", "code"), [("close", None), ("drain", "component_failed"), (None, "component_failed")]
)
def test_failure_of_user_code_counts_but_in_close(where: str | None, code: str | None) -> None:
    raised = {"component": "last", "where": where, "error": "OSError: no"}
    failure = failure_at_end({"failures": [raised], "drained": True, "busy": {}})
    assert (failure.code if failure else None) == code


@pytest.mark.parametrize("is_approximate", [False, True])
def test_summary_has_the_totals_of_all_workers_and_says_whether_one_was_lost(is_approximate: bool) -> None:
    """Semantics 36."""
    zeros = {name: stats.empty(kind, tasks=1) for name, kind in (("lines", "spout"), ("count", "bolt"))}
    counts = {"emitted": 10, "acked": 6, "failed": 1, "pending": 3}
    components = {**zeros, "lines": {**zeros["lines"], **counts}}
    # One that a death lost may have counted more than its components have told.
    counts = {"emitted": 12, "acked": 7, "failed": 2, "pending": 3, "dead": 1}
    report = {"components": components, "cpu_s": 1.5, "links": {}, **counts} | (
        {"approximate": True} if is_approximate else {}
    )
    told = summary(report, 2.0)
    assert {key: told[key] for key in counts} == counts
    assert (told["wall_s"], told["cpu_s"], told["components"]) == (2.0, 1.5, components)
    assert told.get("approximate", False) is is_approximate
