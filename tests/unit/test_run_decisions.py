"""Decisions of `squall run`: phases, what to do, exit codes, how failures read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from squall.cluster.causes import cause_of
from squall.engines.embedded.outcome import (
    DRAIN_GRACE_S,
    NEVER,
    Do,
    Draining,
    Ended,
    Event,
    Failed,
    Gone,
    Hanging,
    Interrupted,
    Phase,
    Ready,
    Run,
    Tick,
    call_hangs,
    component_failed,
    drain_unfinished,
    failure_at_end,
    step,
    summary,
)
from squall.model.graph import DEAD_LETTERS
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
    assert run.stop_at_s == NEVER


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


def test_call_that_hangs_ends_its_worker_where_settings_say_so() -> None:
    run, dos = after(Ready(), Hanging(call_hangs("fetch", 60.0)), Gone(CAUSE))
    assert dos == [Do.KILL]
    assert run.exit_code == 1
    assert run.failure is not None
    assert run.failure.code == "call_hangs"


def test_first_failure_is_the_one_that_is_told() -> None:
    run, _ = after(Failed(FAILURE), Gone(CAUSE))
    assert run.failure == FAILURE
    run, _ = after(Ready(), Ended(FAILURE), Gone(CAUSE))
    assert run.failure == FAILURE
    assert run.exit_code == 1


def test_killed_run_ends_with_130() -> None:
    run, dos = after(Ready(), Interrupted(), Interrupted())
    assert (run.exit_code, dos) == (130, [Do.STOP, Do.KILL])
    run, dos = after(Gone(CAUSE), Interrupted(), Tick(), run=run, now_s=1e9)
    assert (run.exit_code, dos) == (130, [])


def test_unfinished_drain_names_what_is_pending() -> None:
    assert '1,200 in "count", 3 in "lines"' in str(drain_unfinished(30.0, {"count": 1200, "lines": 3}))


def test_unfinished_drain_of_a_worker_that_says_nothing() -> None:
    assert "pending: unknown: the worker does not answer" in str(drain_unfinished(30.0, None))


@pytest.mark.parametrize(
    ("drained", "busy", "told"),
    [
        (True, {}, None),
        (False, {"held": 3}, 'pending: 3 in "held"'),
        (False, {}, "pending: nothing: a call of a spout did not return"),
    ],
)
def test_failed_drain_says_what_is_left(drained: bool, busy: dict[str, int], told: str | None) -> None:
    failure = failure_at_end({"failures": [], "drained": drained, "busy": busy}, 1.0)
    assert failure is None if told is None else told in str(failure)


@pytest.mark.parametrize(
    ("where", "code"), [("close", None), ("drain", "component_failed"), (None, "component_failed")]
)
def test_failure_of_user_code_counts_but_in_close(where: str | None, code: str | None) -> None:
    raised = {"component": "last", "where": where, "error": "OSError: no"}
    failure = failure_at_end({"failures": [raised], "drained": True, "busy": {}}, 30.0)
    assert (failure.code if failure else None) == code


ZEROS = {name: stats.empty(kind, tasks=1) for name, kind in (("lines", "spout"), ("count", "bolt"))}


def counted(**counts: int) -> dict[str, Any]:
    return {"components": {**ZEROS, "lines": {**ZEROS["lines"], **counts}}, "cpu_s": 1.5}


def totals_of(summary: dict[str, Any]) -> tuple[int, int, int, int]:
    return summary["emitted"], summary["acked"], summary["failed"], summary["pending"]


def test_summary_of_a_worker_that_said_its_last_word_is_what_it_said() -> None:
    kept = summary(counted(emitted=10, acked=6, failed=1, pending=3), ZEROS, 2.0)
    assert totals_of(kept) == (10, 6, 1, 3)
    assert "approximate" not in kept


@pytest.mark.parametrize("page", [(10, 6, 1), (8, 5, 0)], ids=["as reported", "of the turn before the report"])
def test_summary_of_a_lost_worker_counts_its_pending_roots_as_failed(page: tuple[int, int, int]) -> None:
    """Semantics 36. emitted = acked + failed + pending at every instant; what died with its worker has failed."""
    lost = summary(counted(emitted=10, acked=6, failed=1, pending=3), ZEROS, 2.0, lost=page)
    assert totals_of(lost) == totals_of(lost["components"]["lines"]) == (10, 6, 4, 0)
    assert lost["approximate"] is True


def test_death_of_a_worker_loses_no_total() -> None:
    """Semantics 36. What was counted since the last report is on the page, with the letters of the topology's own."""
    zeros = {DEAD_LETTERS: stats.empty("spout", tasks=1), **ZEROS}
    report = counted(emitted=10, acked=6, pending=4)
    report["components"][DEAD_LETTERS] = {**zeros[DEAD_LETTERS], "emitted": 7, "acked": 5, "pending": 2}
    lost = summary(report, zeros, 2.0, lost=(157, 135, 5))
    assert totals_of(lost) == totals_of(lost["components"]["lines"]) == (150, 130, 20, 0)
    assert totals_of(lost["components"][DEAD_LETTERS]) == (7, 5, 2, 0)


def test_totals_of_several_spouts_of_a_lost_worker_are_exact_and_their_own_counts_are_not() -> None:
    """Semantics 36."""
    report = counted(emitted=10, acked=6, pending=4)
    report["components"]["others"] = {**ZEROS["lines"], "emitted": 5, "acked": 5}
    lost = summary(report, ZEROS, 2.0, lost=(150, 130, 5))
    assert totals_of(lost) == (150, 130, 20, 0)
    assert totals_of(lost["components"]["lines"]) == (10, 6, 4, 0)
    assert totals_of(lost["components"]["others"]) == (5, 5, 0, 0)


def test_summary_of_a_worker_that_never_reported_has_every_component() -> None:
    """Zeros, not nothing: who reads it need not ask what is there."""
    lost = summary({}, ZEROS, 0.1, lost=(0, 0, 0))
    assert totals_of(lost) == (0, 0, 0, 0)
    assert lost["components"] == ZEROS
