"""The lives of one worker: back-off, when a run gives up; why a process ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from squall.cluster.backoff import ALIVE_S, LONGEST_S, pause_s
from squall.cluster.causes import Kind, cause_of, told
from squall.cluster.worker_life import (
    Action,
    Closing,
    Died,
    Ended,
    Event,
    GiveUp,
    Limits,
    Phase,
    Ready,
    Start,
    Started,
    Tick,
    WorkerLife,
    begun,
    step,
)
from squall.errors import Defect

CRASH = Died(cause_of(-11, ["count"], False, "worker 2"))
LIFE = begun(2, Limits())[0]


def after(*events: Event, life: WorkerLife = LIFE, now_s: float = 0.0) -> tuple[WorkerLife, list[Action]]:
    actions: list[Action] = []
    for event in events:
        life, more = step(life, event, now_s)
        actions += more
    return life, actions


def died(times: int, limits: Limits, *, is_ready: bool) -> tuple[WorkerLife, list[Action]]:
    """After so many deaths, each as soon as it can be."""
    life, now_s, actions = begun(2, limits)[0], 0.0, list[Action]()
    for _ in range(times):
        now_s = max(now_s, life.start_at_s if life.phase is Phase.BACKING_OFF else now_s)
        events = [Tick(), Started(), *([Ready()] if is_ready else []), CRASH]
        life, actions = after(*events, life=life, now_s=now_s)
    return life, actions


def test_worker_begins_with_a_start_at_once() -> None:
    life, actions = begun(2, Limits())
    assert (life.phase, actions) == (Phase.LOST, [Start(0.0)])


def test_worker_that_dies_when_everything_has_ended_is_not_replaced() -> None:
    life, actions = after(Started(), Ready(), Closing(), CRASH)
    assert life.phase is Phase.GIVEN_UP
    assert actions[-1] == GiveUp(CRASH.cause.defect)


def test_worker_that_waits_for_its_next_life_has_ended_when_everything_has() -> None:
    life, _ = after(Started(), Ready(), CRASH, Started(), Ready(), CRASH)
    assert life.phase is Phase.BACKING_OFF
    life, actions = after(Closing(), Tick(), life=life, now_s=100.0)
    assert (life.phase, actions) == (Phase.ENDED, [])


@pytest.mark.parametrize("events", [(Started(), CRASH), (Started(), Ready(), CRASH)])
def test_first_death_is_followed_by_a_start_at_once(events: tuple[Event, ...]) -> None:
    life, actions = after(*events)
    assert (life.phase, actions) == (Phase.LOST, [Start(0.0)])


def test_second_death_waits_for_its_time() -> None:
    life, _ = after(Started(), Ready(), CRASH, Started(), now_s=5.0)
    life, actions = after(Ready(), CRASH, life=life, now_s=6.0)
    assert actions == []
    assert (life.phase, life.start_at_s) == (Phase.BACKING_OFF, 6.1)
    assert after(Tick(), life=life, now_s=6.09)[1] == []
    life, (start,) = after(Tick(), life=life, now_s=6.2)
    assert isinstance(start, Start)
    assert start.after_s == pytest.approx(0.2)
    assert after(Tick(), life=life, now_s=9.0)[1] == []


def test_pauses_double_from_a_tenth_of_a_second_to_two() -> None:
    assert [pause_s(deaths) for deaths in range(1, 9)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert pause_s(10**6) == LONGEST_S


def test_ten_seconds_alive_end_the_series() -> None:
    life, _ = died(3, Limits(), is_ready=True)
    life, _ = after(Tick(), Started(), life=life, now_s=100.0)
    soon, _ = after(Ready(), CRASH, life=life, now_s=100.0 + ALIVE_S - 0.1)
    assert (soon.series, soon.phase) == (4, Phase.BACKING_OFF)
    late, actions = after(Ready(), CRASH, life=life, now_s=100.0 + ALIVE_S)
    assert (late.series, late.phase) == (1, Phase.LOST)
    assert actions[-1] == Start(0.0)


def test_ten_deaths_running_before_ready_end_the_run() -> None:
    life, actions = died(9, Limits(), is_ready=False)
    assert life.phase is Phase.BACKING_OFF
    life, actions = died(10, Limits(), is_ready=False)
    assert life.phase is Phase.GIVEN_UP
    last = actions[-1]
    assert isinstance(last, GiveUp)
    assert last.defect.code == "worker_start_deaths"
    assert last.defect.message == "worker 2 died 10 times running before it was ready"
    assert 'a segmentation fault (SIGSEGV) while "count" was running' in str(last.defect)


def test_ready_ends_the_count_of_deaths_before_it() -> None:
    life, _ = died(9, Limits(), is_ready=False)
    life, _ = after(Tick(), Started(), Ready(), CRASH, life=life, now_s=1e3)
    assert life.start_deaths == 0
    assert life.phase is Phase.BACKING_OFF


def test_deaths_after_ready_end_no_run_unless_a_setting_says_so() -> None:
    """A loop of deaths that a tuple makes is ended by semantics 9."""
    assert died(1000, Limits(), is_ready=True)[0].phase is Phase.BACKING_OFF
    limits = Limits(deaths_max=2)
    assert died(1, limits, is_ready=True)[0].phase is Phase.LOST
    life, actions = died(2, limits, is_ready=True)
    assert life.phase is Phase.GIVEN_UP
    last = actions[-1]
    assert isinstance(last, GiveUp)
    assert last.defect.code == "worker_deaths"
    assert "died twice" in last.defect.message


def test_exit_after_the_last_word_is_no_death() -> None:
    life, actions = after(Started(), Ready(), Ended(), CRASH)
    assert (life.phase, actions) == (Phase.ENDED, [])


def test_process_that_cannot_be_started_counts_as_a_death() -> None:
    refused = told(Defect("worker_build_failed", "no processes are left"))
    life, actions = after(Died(refused))
    assert (life.start_deaths, actions) == (1, [Start(0.0)])


@given(st.lists(st.tuples(st.sampled_from(["start", "ready", "die", "tick"]), st.floats(0, 20)), max_size=60))
def test_at_most_one_process_is_there(moves: list[tuple[str, float]]) -> None:
    """Semantics 18. A start is asked for only without a process."""
    life, actions = begun(1, Limits(start_deaths_max=5))
    now_s, asked, is_there = 0.0, True, False
    for move, passed_s in moves:
        now_s += passed_s
        event: Event = Tick()
        if move == "start" and asked:
            asked, is_there, event = False, True, Started()
        elif move == "ready":
            event = Ready()
        elif move == "die" and (asked or is_there):
            asked, is_there, event = False, False, CRASH
        life, actions = step(life, event, now_s)
        for action in actions:
            match action:
                case Start():
                    assert not asked
                    assert not is_there
                    asked = True
                case GiveUp():
                    assert life.start_deaths == 5
        assert life.phase is not Phase.BACKING_OFF or 0 < life.start_at_s - life.died_s <= LONGEST_S + 1e-9


@pytest.mark.parametrize(
    ("status", "components", "out_of_memory", "code", "text"),
    [
        (-11, ["count"], False, "worker_crashed", 'a segmentation fault (SIGSEGV) while "count" was running'),
        (-6, ["a", "b"], False, "worker_crashed", 'an abort (SIGABRT) while "a" and "b" were running'),
        (-9, [], False, "worker_crashed", "a signal (SIGKILL)"),
        (12, [], False, "worker_out_of_memory", "had no memory left to go on"),
        (-9, ["big"], True, "worker_out_of_memory", 'lack of memory (SIGKILL) while "big" was running'),
        (-15, ["a"], True, "worker_crashed", "a signal (SIGTERM)"),
        (3, ["exit"], False, "worker_exited", 'code 3 while "exit" was running'),
        (-64, [], False, "worker_crashed", "SIGRTMAX"),
        (-50, [], False, "worker_crashed", "signal 50"),
    ],
)
def test_crash_is_told_in_words(status: int, components: list[str], out_of_memory: bool, code: str, text: str) -> None:
    defect = cause_of(status, components, out_of_memory).defect
    assert defect.code == code
    assert text in defect.message


@pytest.mark.parametrize(
    ("status", "out_of_memory", "kind"),
    [(3, True, Kind.EXIT), (-11, True, Kind.SIGNAL), (-9, False, Kind.SIGNAL), (-9, True, Kind.OUT_OF_MEMORY)],
)
def test_lack_of_memory_is_told_only_where_the_kernel_killed(status: int, out_of_memory: bool, kind: Kind) -> None:
    cause = cause_of(status, [], out_of_memory, "worker 3")
    assert cause.kind is kind
    assert cause.text.startswith("worker 3 ")
