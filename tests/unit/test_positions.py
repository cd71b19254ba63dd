"""Semantics 31: when a worker asks its spouts for their positions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from squall import Spout
from squall.model.graph import Kind
from squall.runtime.positions import ASK_EVERY_S, Positions, StoredPosition


class Numbers(Spout):
    """Each look at it finds one more number ended."""

    outputs = ("n",)
    ended = 0

    def position(self) -> bytes:
        self.ended += 1
        return b"%d" % self.ended


class Clock:
    """A worker of which only the time is there: what is due runs when it comes to it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.due: list[tuple[float, Callable[..., object], tuple[Any, ...]]] = []

    def monotonic(self) -> float:
        return self.now_s

    def ended_prefix(self, task: int) -> int:
        return 0

    def after(self, task: int, delay: float, function: Callable[..., object], args: tuple[Any, ...]) -> int:
        self.due.append((self.now_s + delay, function, args))
        return len(self.due)

    def run_until(self, end_s: float) -> None:
        while due := [one for one in self.due if one[0] <= end_s]:
            first = min(due, key=lambda one: one[0])
            self.due.remove(first)
            self.now_s, function, args = first
            function(*args)
        self.now_s = end_s


def test_31_a_young_life_is_asked_often_and_an_old_one_once_a_second() -> None:
    clock, sent_s = Clock(), list[float]()
    spec = SimpleNamespace(name="numbers", kind=Kind.SPOUT, tasks=1)
    task = SimpleNamespace(spec=spec, task=SimpleNamespace(index=0), index=0, instance=Numbers())
    built: Any = SimpleNamespace(worker=clock, tasks=[task])

    def send(position: StoredPosition, number: int, ended: int | None) -> None:
        sent_s.append(clock.now_s)
        positions.stored("numbers", 0, number, done=True)

    positions = Positions(built, [], send, lambda task, what, error: None)
    positions.begin()
    clock.run_until(60)
    for life_s in (0.2, 0.5, 1.0, 2.0):
        last_s = max(at_s for at_s in sent_s if at_s <= life_s)
        assert last_s >= life_s / 3, "a life that ends early leaves most of what it did to the next one"
    apart_s = [after - before for before, after in pairwise(sent_s[10:])]
    assert min(apart_s) >= ASK_EVERY_S * 0.999
