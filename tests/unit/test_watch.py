"""The watchdog of the places that the core does not see."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from squall import _core
from squall.api.waiting import Waits
from squall.runtime.marks import Marks, marked
from squall.runtime.watch import Life, Place, Stuck, Watch


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Somewhere:
    """A place whose calls a test makes up; `ends`: the call has ended when its stack was taken."""

    call: int = 0
    ends: bool = False
    what: str = ""

    def running(self) -> int:
        return self.call

    def waits_for(self) -> str:
        return self.what

    def stuck(self) -> Stuck:
        if self.ends:
            self.call += 1
        return Stuck("fetch", "the stack")


def looks(place: Somewhere, calls: list[tuple[float, int]]) -> list[tuple[float, float]]:
    """(when, how long it was running) for each report; `calls` are (second of the look, number of the call)."""
    clock, told = Clock(), list[tuple[float, float]]()
    watch = Watch(3.0, lambda call: told.append((clock.now_s, call.running_s)), lambda _place: None, clock)
    watch.add(place)
    for clock.now_s, place.call in calls:
        watch.look()
    return told


def told_of(calls: Sequence[tuple[float, int, str]]) -> list[tuple[float, str | None]]:
    """(when, what it waits for; None: it is over) for each report of the second of two places.

    `calls` are (second of the look, number of the call, what it waits for).
    """
    clock, place, told = Clock(), Somewhere(), list[tuple[int, float, str | None]]()
    watch = Watch(
        3.0,
        lambda call: told.append((call.place, clock.now_s, call.waits_for)),
        lambda number: told.append((number, clock.now_s, None)),
        clock,
    )
    watch.add(Somewhere())
    watch.add(place)
    for clock.now_s, place.call, place.what in calls:
        watch.look()
    assert {number for number, _, _ in told} <= {2}
    return [(at_s, what) for _, at_s, what in told]


def test_call_is_reported_once() -> None:
    """Semantics 16."""
    assert looks(Somewhere(), [(0, 1), (2, 1), (3, 1), (4, 1), (9, 1)]) == [(3, 3)]
    assert looks(Somewhere(), [(0, 1), (3, 1), (4, 2), (7, 2)]) == [(3, 3), (7, 3)]


def test_calls_that_return_and_places_without_calls_are_never_stuck() -> None:
    assert looks(Somewhere(), [(0, 1), (4, 2), (8, 3)]) == []
    assert looks(Somewhere(), [(0, 0), (4, 0), (8, 0)]) == []


def test_end_of_a_call_that_was_told_of_is_told_and_that_of_no_other() -> None:
    assert told_of([(0, 1, ""), (3, 1, ""), (4, 1, ""), (5, 0, ""), (6, 0, "")]) == [(3, ""), (5, None)]
    assert told_of([(0, 1, ""), (3, 1, ""), (4, 2, ""), (6, 3, "")]) == [(3, ""), (4, None)]
    assert told_of([(0, 1, ""), (2, 0, ""), (3, 2, ""), (5, 0, "")]) == []


def test_call_that_begins_to_wait_is_told_anew_when_it_has_waited_for_too_long() -> None:
    """It computed for too long first: a file is compressed before it is uploaded."""
    looks = [(0, 1, ""), (3, 1, ""), (4, 1, "a store"), (6, 1, "a store"), (7, 1, "a store"), (8, 1, "a store")]
    assert told_of(looks) == [(3, ""), (4, None), (7, "a store")]


def test_call_that_hangs_after_it_waited_is_timed_from_the_end_of_the_wait() -> None:
    looks = [(0, 1, "a store"), (100, 1, "a store"), (101, 1, ""), (103, 1, ""), (104, 1, ""), (105, 1, "")]
    assert told_of(looks) == [(100, "a store"), (101, None), (104, "")]


def test_call_that_ends_while_its_stack_is_taken_is_not_reported() -> None:
    assert looks(Somewhere(ends=True), [(0, 1), (3, 1)]) == []


def test_thread_that_may_wait_is_not_watched_but_marked() -> None:
    """A blocking spout waits for its source as long as it likes; when it crashes it is named all the same."""
    page = _core.page_create()
    place = Place("source", Marks(page, ["source"])("source"))
    place.begin(may_wait=True)
    assert (place.running(), marked(page)) == (0, [1])
    place.end()
    place.thread = threading.get_ident()
    place.begin(may_wait=False)
    assert place.running() == 2
    assert "test_thread_that_may_wait" in place.stuck().stack
    place.end()
    assert (place.running(), marked(page)) == (0, [])
    os.close(page)


def test_life_marks_whose_code_runs_whatever_it_raises() -> None:
    """Semantics 38."""
    page = _core.page_create()
    life = Life(Marks(page, ["source", "fetch"]).roving())

    def opens() -> None:
        assert (life.running(), marked(page)) == (1, [2])
        assert life.stuck().component == "fetch"
        raise SystemExit(3)

    with pytest.raises(SystemExit), life.of("fetch"):
        life.run(opens)
    assert (life.running(), marked(page)) == (0, [])
    os.close(page)


def test_stack_of_a_life_that_waits_is_that_of_its_coroutines() -> None:
    class Once:
        def __await__(self):
            yield

    async def connect() -> None:
        await Once()

    async def opens() -> None:
        await connect()

    life = Life()
    with life.of("fetch"):
        coroutine = life.run(opens)
        coroutine.send(None)
        first, second = life.stuck().stack.splitlines()
        coroutine.close()
    assert first.endswith("connect")
    assert second.endswith("opens")


class Remote(Waits):
    """A component that waits for something; `what`: an exception is raised."""

    def __init__(self, what: str | Exception) -> None:
        self.what = what

    def waits_for(self) -> str:
        if isinstance(self.what, Exception):
            raise self.what
        return self.what

    def open(self, life: Life) -> str:
        return life.waits_for()


@pytest.mark.parametrize(("what", "told"), [("a table", "a table"), ("", ""), (ValueError("not opened"), "")])
def test_what_a_call_says_it_waits_for_is_told_with_it(what: str | Exception, told: str) -> None:
    """Semantics 16. On a thread of its own, and when it is opened."""
    remote, life = Remote(what), Life()
    assert Place("save", instance=remote).waits_for() == told
    with life.of("save"):
        assert life.run(remote.open, life) == told
        assert life.run(lambda: life.waits_for()) == ""
