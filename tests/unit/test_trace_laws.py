"""The laws of traces, tried against themselves: a sound history breaks none, each way to spoil it breaks its law."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from squall.trace import Life, check
from squall.trace.life import Block
from squall.trace.notes import (
    ACKED,
    ASKED,
    DEAD,
    FAILED,
    ORDERED,
    SOLO,
    Ended,
    InputAcked,
    InputFailed,
    Lost,
    Met,
    Note,
    Opened,
    Prefix,
    Rest,
    Sent,
    SpoutNote,
    Taken,
    TaskNote,
)

SPOUT, NEAR, FAR = 1, 2, 3
"""Tasks: a spout and a bolt of worker 1, a bolt of worker 2."""
OPENED = (Opened(1 << 48 | 1, SPOUT, 1, 0, ORDERED | ASKED, 0), Opened(1 << 48 | 3, SPOUT, 1, 1, ORDERED | SOLO, 2))
A, B, C = (1 << 48 | number for number in (1, 2, 3))
"""Roots of life 1."""
Turns = list[list[Note]]


def sound() -> dict[int, Turns]:
    """The turns of each life: A is acked; B is open when worker 2 is lost, and is tried again as C, in life 3 of it."""
    first: Turns = [
        [TaskNote(SPOUT, True, "numbers"), TaskNote(NEAR, False, "near"), SpoutNote(SPOUT, 2, (2,)), Met(2, 2)],
        [
            Opened(A, SPOUT, 1, 0, ORDERED | ASKED, 0), Sent(A, 11, SPOUT, NEAR, 0),
            Opened(B, SPOUT, 1, 1, ORDERED | ASKED, 0), Sent(B, 12, SPOUT, NEAR, 0),
            Taken(A, 11, NEAR, 1), Sent(A, 21, NEAR, FAR, 0), InputAcked(A, 11, NEAR),
            Taken(B, 12, NEAR, 1), Sent(B, 22, NEAR, FAR, 0), InputAcked(B, 12, NEAR),
        ],
        [Ended(A, ACKED), Prefix(SPOUT, 1), Rest(SPOUT, 1)],
        [Lost(2, 2), Ended(B, FAILED), Rest(SPOUT, 0)],
        [Met(2, 3), Opened(C, SPOUT, 1, 1, ORDERED | SOLO, 2), Sent(C, 13, SPOUT, NEAR, 0),
         Taken(C, 13, NEAR, 1), Sent(C, 23, NEAR, FAR, 0), InputAcked(C, 13, NEAR)],
        [Ended(C, ACKED), Prefix(SPOUT, 2), Rest(SPOUT, 0)],
    ]  # fmt: skip
    second: Turns = [[TaskNote(FAR, False, "far")], [Taken(A, 21, FAR, 1), InputAcked(A, 21, FAR)]]
    third: Turns = [[TaskNote(FAR, False, "far")], [Taken(C, 23, FAR, 1), InputAcked(C, 23, FAR)]]
    return {1: first, 2: second, 3: third}


BEGINS = {1: [0, 10, 30, 40, 60, 90], 2: [0, 20], 3: [50, 70]}
"""When the turns of each life begin; each takes 5 ns."""
WORKERS = {1: 1, 2: 2, 3: 2}


def life(number: int, turns: Turns, begins: Iterable[int], cut: str = "") -> Life:
    blocks = [Block(at, at + 5, notes) for at, notes in zip(begins, turns, strict=True)]
    return Life(WORKERS.get(number, number), number, cut, lambda: iter(blocks))


def lives(history: dict[int, Turns], begins: dict[int, list[int]] | None = None, cut: int | None = None) -> list[Life]:
    at = BEGINS | (begins or {})
    return [life(number, turns, at[number], "full" if number == cut else "") for number, turns in history.items()]


def laws(history: list[Life]) -> set[str]:
    """The laws that are broken."""
    return {breach.law for breach in check(history)}


def put(number: int, turn: int, at: int, *notes: Note) -> Callable[[dict[int, Turns]], None]:
    """Adds notes before those at a place."""

    def spoil(history: dict[int, Turns]) -> None:
        history[number][turn][at:at] = notes

    return spoil


def is_same(one: Note, other: Note) -> bool:
    """Notes of two kinds may have the same fields."""
    return type(one) is type(other) and one == other


def swap(note: Note, *others: Note) -> Callable[[dict[int, Turns]], None]:
    """Has others in the place of a note that is there."""

    def spoil(history: dict[int, Turns]) -> None:
        turns = (turn for turns in history.values() for turn in turns)
        ((turn, at),) = ((turn, at) for turn in turns for at, one in enumerate(turn) if is_same(one, note))
        turn[at : at + 1] = others

    return spoil


def change(note: Note, **fields: Any) -> Callable[[dict[int, Turns]], None]:
    """Changes a note that is there."""
    return swap(note, note._replace(**fields))


def drop(note: Note) -> Callable[[dict[int, Turns]], None]:
    """Takes a note away that is there."""
    return swap(note)


SPOILT: dict[str, tuple[str, Callable[[dict[int, Turns]], None]]] = {
    "a tuple of an acked root was never acked": ("A1", drop(InputAcked(A, 21, FAR))),
    "a tuple of an acked root failed": ("A1", swap(InputAcked(A, 11, NEAR), InputFailed(A, 11, NEAR))),
    "a tuple was acked that nobody took": ("A1", drop(Taken(A, 21, FAR, 1))),
    "a tuple was acked by another task": ("A1", change(InputAcked(A, 11, NEAR), task=FAR)),
    "a tuple of the same life was acked after its root": ("A1", put(1, 1, 5, Ended(A, ACKED))),
    "a tree ended twice": ("A3", put(1, 2, 1, Ended(A, FAILED))),
    "a tree ended that nobody opened": ("A3", put(1, 2, 0, Ended(1 << 48 | 9, DEAD))),
    "a tuple was acked twice": ("A3", put(2, 1, 2, InputAcked(A, 21, FAR))),
    "a tuple was acked and failed": ("A3", put(2, 1, 2, InputFailed(A, 21, FAR))),
    "a spout had more roots open than it may": ("A4", change(SpoutNote(SPOUT, 2, (2,)), limit=1)),
    "an edge was given twice in a tree": ("A6", change(Sent(B, 22, NEAR, FAR, 0), root=A, edge=21)),
    "a root on which three workers died was sent": ("9", change(OPENED[1], suspicions=3)),
    "a root that was to run alone ran in a batch": ("10", change(Taken(C, 23, FAR, 1), together=4)),
    "a root has the number of another life": ("14", change(OPENED[0], root=2 << 48 | 1)),
    "a root was opened twice": ("14", put(1, 2, 1, Opened(A, SPOUT, 1, 0, 0, 0))),
    "a root outlived a loss": ("19", drop(Ended(B, FAILED))),
    "a root was acked in spite of a loss": ("19", change(Ended(B, FAILED), how=ACKED)),
    "tuples were lost between lives that lived": ("20", put(1, 1, 5, Opened(1 << 48 | 9, SPOUT, 1, 7, 0, 0),
                                                         Sent(1 << 48 | 9, 31, NEAR, FAR, 0))),
    "a tuple was taken that nobody sent": ("20", drop(Sent(A, 21, NEAR, FAR, 0))),
    "a tuple was taken by a task that it was not for": ("20", change(Taken(A, 11, NEAR, 1), task=FAR)),
    "a tuple was taken twice": ("23", put(2, 1, 1, Taken(A, 21, FAR, 1))),
    "a prefix ran ahead of an open output": ("31", change(Prefix(SPOUT, 1), ended=2)),
    "a prefix ran ahead of a failed output": ("31", put(1, 3, 2, Prefix(SPOUT, 2))),
    "a prefix went back": ("31", change(Prefix(SPOUT, 2), ended=0)),
    "a spout counted another number of open roots": ("36", change(Rest(SPOUT, 1), open=2)),
}  # fmt: skip


def test_a_sound_history_breaks_no_law() -> None:
    assert check(lives(sound())) == []


@pytest.mark.parametrize(("law", "spoil"), SPOILT.values(), ids=SPOILT)
def test_each_law_bites(law: str, spoil: Callable[[dict[int, Turns]], None]) -> None:
    history = sound()
    spoil(history)
    assert law in laws(lives(history))


def test_order_within_a_channel_is_a_law() -> None:
    history = sound()
    first, second = history[1][1][4:7], history[1][1][7:10]
    history[1][1][4:10] = [*second, *first]
    assert "23" in laws(lives(history))


def test_an_ack_of_another_life_that_is_certain_to_be_late_breaks_a_law() -> None:
    assert laws(lives(sound(), {2: [0, 32]})) == set(), "the turns overlap"
    assert laws(lives(sound(), {2: [0, 36]})) == {"A1"}


def test_a_task_is_in_one_life_at_a_time() -> None:
    assert laws(lives(sound(), {3: [22, 70]})) == {"S1"}


def test_lives_have_numbers_of_their_own() -> None:
    turns = sound()
    again = life(3, [[TaskNote(9, False, "other")]], [80])
    assert laws([*lives(turns), again]) == {"14"}


def test_what_a_trace_that_was_cut_off_does_not_tell_is_no_breach() -> None:
    history = sound()
    history[2].pop()
    assert "A1" in laws(lives(history, {2: [0]}))
    assert check(lives(history, {2: [0]}, cut=2)) == []


def test_what_was_sent_before_a_loss_may_be_gone_and_nothing_after_it() -> None:
    history = sound()
    history[1][4].insert(1, Opened(1 << 48 | 9, SPOUT, 1, 7, 0, 0))
    history[1][4].insert(2, Sent(1 << 48 | 9, 31, NEAR, FAR, 0))
    assert "20" in laws(lives(history))


class Counted(Opened):
    """Counts how often its task is asked for."""

    asked = 0

    def __getattribute__(self, name: str) -> Any:
        Counted.asked += name == "task"
        return super().__getattribute__(name)


def test_a_spout_that_rests_often_with_many_open_roots_costs_no_more_for_each() -> None:
    Counted.asked = 0
    opened: list[Note] = [Counted(1 << 48 | number, SPOUT, 1, 0, 0, 0) for number in range(100)]
    turns: Turns = [[TaskNote(SPOUT, True, "numbers")], opened, [Rest(SPOUT, 100)] * 100]
    assert check([life(1, turns, [0, 10, 20])]) == []
    assert Counted.asked < 1_000


def test_a_root_that_was_opened_twice_is_open_once() -> None:
    twice = [Opened(A, task, 1, 0, 0, 0) for task in (NEAR, SPOUT)]
    turns: Turns = [[TaskNote(SPOUT, True, "numbers")], [*twice, Rest(NEAR, 0), Rest(SPOUT, 1)]]
    assert laws([life(1, turns, [0, 10])]) == {"14"}


@st.composite
def trees(draw: st.DrawFn) -> Turns:
    """One worker with a spout and two bolts: roots with tuples over several steps, worked off in any order."""
    random: Random = draw(st.randoms(use_true_random=False))
    queues: dict[int, list[tuple[int, int]]] = {NEAR: [], FAR: []}
    left: dict[int, int] = {}
    turns: Turns = [[TaskNote(task, task == SPOUT, str(task)) for task in (SPOUT, NEAR, FAR)], []]
    edges, roots = iter(range(1, 10_000)), iter(range(1, draw(st.integers(2, 12)) + 1))

    def send(root: int, source: int, target: int) -> None:
        queues[target].append((root, edge := next(edges)))
        left[root] += 1
        turns[-1].append(Sent(root, edge, source, target, 0))

    more = True
    while more or any(queues.values()):
        if random.random() < 0.3:
            turns.append([])
        waiting = [task for task, queue in queues.items() if queue]
        if more and (not waiting or random.random() < 0.4):
            if (number := next(roots, None)) is None:
                more = False
                continue
            root = 1 << 48 | number
            left[root] = 0
            turns[-1].append(Opened(root, SPOUT, 1, 0, 0, 0))
            for _ in range(random.randint(1, 3)):
                send(root, SPOUT, NEAR)
            continue
        if not waiting:
            continue
        task = random.choice(waiting)
        root, edge = queues[task].pop(0)
        turns[-1].append(Taken(root, edge, task, 1))
        for _ in range(random.randint(0, 2) if task == NEAR else 0):
            send(root, NEAR, FAR)
        turns[-1].append(InputAcked(root, edge, task))
        left[root] -= 1
        if not left[root]:
            turns[-1].append(Ended(root, ACKED))
    return turns


def alone(turns: Turns) -> list[Life]:
    return [life(1, turns, range(0, 10 * len(turns), 10))]


@settings(max_examples=100, deadline=None)
@given(trees(), st.data())
def test_no_note_of_a_history_is_idle(turns: Turns, data: st.DataObject) -> None:
    """A sound history breaks no law; without, or with twice, any of its openings, takes and acks it breaks one. Without
    an end it need not: a tree may be open when the trace ends.
    """
    assert check(alone(turns)) == []
    notes = [(turn, at) for turn, notes in enumerate(turns) for at, note in enumerate(notes)
             if isinstance(note, (Opened, Taken, InputAcked))]  # fmt: skip
    turn, at = data.draw(st.sampled_from(notes))
    spoilt = [list(notes) for notes in turns]
    del spoilt[turn][at]
    assert check(alone(spoilt))
    doubled = [list(notes) for notes in turns]
    doubled[turn].insert(at, doubled[turn][at])
    assert check(alone(doubled))
