"""When all workers have come to rest: waves, stages, losses. The laws under random orders are in tests/property."""

from __future__ import annotations

from squall.cluster.settling import (
    Action,
    Answer,
    Ask,
    Begin,
    Event,
    Joined,
    Kind,
    LinkLost,
    Lost,
    OutputClosed,
    Quiet,
    Settling,
    Stage,
    Stop,
    settling,
    step,
)


def after(state: Settling, *events: Event) -> tuple[Settling, list[Action]]:
    actions: list[Action] = []
    for event in events:
        state, more = step(state, event)
        actions += more
    return state, actions


def two(*order: str) -> Settling:
    """Workers 1 and 2, ready, with incarnations 11 and 12."""
    return after(settling([1, 2], order), Joined(1, 11), Joined(2, 12))[0]


def quiet(state: Settling, *incarnations: int) -> list[Event]:
    return [Quiet(incarnation, state.stage.number) for incarnation in incarnations]


def answer(incarnation: int, wave: int, sent: dict[int, int], received: dict[int, int]) -> Answer:
    return Answer(incarnation, wave, True, True, sent, received)


def agreed(wave: int, first: int = 11, second: int = 12) -> list[Event]:
    """Both rest, and nothing is on its way."""
    return [answer(first, wave, {second: 7}, {}), answer(second, wave, {}, {first: 7})]


def settled(state: Settling) -> tuple[Settling, list[Action]]:
    """The stage settles as fast as it can."""
    state, _ = after(state, *quiet(state, *state.living.values()))
    return after(state, *agreed(state.wave, *state.living.values()), *agreed(state.wave + 1, *state.living.values()))


def test_nobody_is_asked_before_all_rest() -> None:
    state = two()
    state, actions = after(state, *quiet(state, 11))
    assert actions == []
    assert after(state, *quiet(state, 12))[1] == [Ask(1, frozenset({11, 12}))]


def test_stage_settles_when_two_waves_agree() -> None:
    state = two("count")
    state, _ = after(state, *quiet(state, 11, 12))
    state, actions = after(state, *agreed(1))
    assert actions == [Ask(2, frozenset({11, 12}))]
    state, actions = after(state, *agreed(2))
    assert [(one.stage.kind, one.stage.component) for one in actions if isinstance(one, Begin)] == [
        (Kind.DRAIN, "count")
    ]


def test_stages_are_drains_in_topological_order_then_what_is_held_and_then_close() -> None:
    """Semantics 35."""
    state, told = two("split", "count"), []
    while not state.is_over:
        state, actions = settled(state)
        told += [(one.stage.kind, one.stage.component) for one in actions if isinstance(one, Begin)]
    assert told == [(Kind.DRAIN, "split"), (Kind.DRAIN, "count"), (Kind.HELD, None), (Kind.CLOSE, None)]


def test_run_whose_output_nobody_reads_is_closed_at_once_by_all() -> None:
    """Also by a worker that was being replaced then."""
    state, _ = after(settling([1, 2], ()), Joined(1, 11))
    state, (told,) = after(state, OutputClosed())
    assert isinstance(told, Begin)
    assert (told.stage.kind, told.incarnations) == (Kind.CUT, frozenset({11}))
    assert state.is_over
    assert after(state, OutputClosed(), Joined(2, 12))[1] == [Begin(told.stage, frozenset({12}))]


def test_frame_on_its_way_settles_nothing() -> None:
    state = two()
    state, _ = after(state, *quiet(state, 11, 12))
    state, actions = after(state, answer(11, 1, {12: 7}, {}), answer(12, 1, {}, {11: 6}))
    assert actions == []
    assert after(state, *quiet(state, 12))[1] == [Ask(2, frozenset({11, 12}))]


def test_lost_and_surplus_frames_do_not_make_up_for_each_other() -> None:
    """Sent and received are the same in sum, but not between the two."""
    state = after(settling([1, 2, 3], ()), Joined(1, 11), Joined(2, 12), Joined(3, 13))[0]
    state, _ = after(state, *quiet(state, 11, 12, 13))
    wrong = [answer(11, 1, {12: 1}, {13: 1}), answer(12, 1, {}, {}), answer(13, 1, {}, {})]
    assert after(state, *wrong)[1] == []


def test_wave_that_finds_work_waits_for_the_busy_one() -> None:
    state = two()
    state, _ = after(state, *quiet(state, 11, 12))
    state, actions = after(state, Answer(11, 1, False, True), answer(12, 1, {}, {}))
    assert actions == []
    assert after(state, *quiet(state, 12))[1] == []
    assert after(state, *quiet(state, 11))[1] == [Ask(2, frozenset({11, 12}))]


def test_one_that_was_busy_in_a_wave_and_rests_before_its_end_settles_nothing() -> None:
    state = two()
    state, _ = after(state, *quiet(state, 11, 12))
    late = [Answer(11, 1, False, True), *quiet(state, 11), answer(12, 1, {}, {})]
    state, actions = after(state, *late)
    assert actions == [Ask(2, frozenset({11, 12}))]
    assert state.before is None


def test_sources_that_are_not_exhausted_keep_the_run_going_until_they_are_stopped() -> None:
    """Semantics 35. A run ends when every spout is exhausted and nothing is pending, or by Ctrl-C."""
    state = two()
    state, _ = after(state, *quiet(state, 11, 12))
    state, actions = after(state, Answer(11, 1, True, False), answer(12, 1, {}, {}))
    assert actions == []
    state, actions = after(state, Stop())
    assert isinstance(actions[0], Begin)
    assert actions[0].stage.kind is Kind.STOP
    state, _ = after(state, *quiet(state, 11, 12))
    rests = [Answer(11, 2, True, False), answer(12, 2, {}, {}), Answer(11, 3, True, False), answer(12, 3, {}, {})]
    assert after(state, *rests)[0].stage.kind is Kind.HELD


def test_answer_of_another_wave_is_dropped() -> None:
    state = two()
    state, _ = after(state, *quiet(state, 11, 12))
    assert after(state, *agreed(2), *agreed(0))[0].answers == {}


def test_quiet_of_a_stage_before_is_dropped() -> None:
    state, _ = settled(two("count"))
    assert after(state, Quiet(11, 0), Quiet(12, 0)) == (state, [])


def test_lost_worker_is_waited_for_and_what_it_said_is_void() -> None:
    """Semantics 19. Others will emit again what it had."""
    state = two()
    state, _ = after(state, *quiet(state, 11, 12), *agreed(1))
    state, actions = after(state, answer(11, 2, {12: 7}, {}), Lost(2, 12), answer(12, 2, {}, {11: 7}))
    assert actions == []
    state, actions = after(state, Joined(2, 13))
    assert actions == [Begin(state.stage, frozenset({13}))]
    state, actions = after(state, *quiet(state, 13))
    assert actions == [Ask(3, frozenset({11, 13}))]
    state, actions = after(state, *agreed(3, 11, 13))
    assert actions == [Ask(4, frozenset({11, 13}))]


def test_late_word_of_a_loss_does_not_touch_the_next_life() -> None:
    state, _ = after(two(), Lost(2, 12), Joined(2, 13))
    assert after(state, Lost(2, 12)) == (state, [])


def test_drain_begins_anew_at_once_after_a_loss() -> None:
    """Roots that were lost pass bolts again that had drained already; no drain goes on while it starts."""
    state, _ = settled(two("split", "count"))
    state, _ = settled(state)
    assert state.stage.component == "count"
    number = state.stage.number
    state, actions = after(state, Lost(2, 12), Joined(2, 13))
    assert [(one.stage.kind, one.incarnations) for one in actions if isinstance(one, Begin)] == [
        (Kind.RUN, frozenset({11})),
        (Kind.RUN, frozenset({13})),
    ]
    assert state.stage.number > number
    assert state.left == ("split", "count")


def test_drain_begins_anew_at_once_when_a_link_is_given_up() -> None:
    """What was on its way comes again, and passes bolts that had drained already."""
    state, _ = settled(two("a", "b"))
    state, _ = settled(state)
    assert state.stage.component == "b"
    state, actions = after(state, LinkLost())
    assert actions == [Begin(Stage(3, Kind.RUN), frozenset({11, 12}))]
    assert settled(state)[0].stage == Stage(4, Kind.DRAIN, "a")


def test_a_link_that_is_given_up_while_sources_run_changes_no_stage() -> None:
    state = two("a")
    assert after(state, LinkLost()) == (state, [])


def test_drain_that_was_asked_for_begins_anew_without_its_sources() -> None:
    state, _ = after(two("count"), Stop())
    state, _ = settled(state)
    assert state.stage.kind is Kind.DRAIN
    state, _ = after(state, Lost(1, 11), Joined(1, 13))
    assert state.stage.kind is Kind.STOP


def test_a_run_is_stopped_once() -> None:
    state, _ = after(two(), Stop())
    assert after(state, Stop()) == (state, [])


def test_one_worker_is_the_simple_case() -> None:
    state, actions = after(settling([1], ()), Joined(1, 1), Quiet(1, 0), Answer(1, 1, True, True))
    assert [type(action) for action in actions] == [Begin, Ask, Ask]
    state, _ = after(state, Answer(1, 2, True, True))
    assert state.stage == Stage(1, Kind.HELD)
    assert after(state, Quiet(1, 1), Answer(1, 3, True, True), Answer(1, 4, True, True))[0].is_over


def held(*order: str) -> Settling:
    """One worker, all of whose bolts have drained."""
    state, _ = after(settling([1], order), Joined(1, 1))
    while state.stage.kind is not Kind.HELD:
        state, _ = answered(state)
    return state


def answered(state: Settling, **figures: bool) -> tuple[Settling, list[Action]]:
    """The worker rests, and answers twice."""
    waves = (state.wave + 1, state.wave + 2)
    return after(state, *quiet(state, 1), *(Answer(1, wave, True, True, **figures) for wave in waves))


def test_bolts_that_executed_tuples_after_their_drain_are_drained_again_and_sources_stay_stopped() -> None:
    state, actions = answered(held("split", "count"), undrained=True)
    assert actions[-1] == Begin(Stage(4, Kind.DRAIN, "split"), frozenset({1}))
    for kind in (Kind.DRAIN, Kind.HELD, Kind.CLOSE):
        state, _ = answered(state)
        assert state.stage.kind is kind


def test_what_timers_may_let_go_of_is_waited_for() -> None:
    state, _ = answered(held("count"), timed=True, holds=True)
    assert (state.stage.kind, state.is_asking) == (Kind.HELD, False)
    assert answered(state)[0].is_over


def test_a_drain_is_not_done_again_while_a_timer_may_let_go_of_more_for_it() -> None:
    state, _ = answered(held("count"), undrained=True, timed=True, holds=True, keeps=True)
    assert state.stage.kind is Kind.HELD
    state, _ = answered(state, undrained=True, timed=True, holds=True)
    assert state.stage == Stage(3, Kind.DRAIN, "count")
