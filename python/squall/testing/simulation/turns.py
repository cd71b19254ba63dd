"""When a simulated worker takes its turns: one at a time, each of some length, and what may happen at its end."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random

from squall.testing.simulation.agenda import Agenda
from squall.testing.simulation.faults import Strikes


class Turns:
    """The turns of one life.

    Args:
        turn: takes one; whether there is more to do at once.
        die: ends the life.
    """

    def __init__(
        self, agenda: Agenda, strikes: Strikes, random: Random, turn: Callable[[], bool], die: Callable[[], None]
    ) -> None:
        self._agenda, self._strikes, self._random = agenda, strikes, random
        self._turn, self._die = turn, die
        self._wanted_s = inf
        self._free_s = agenda.now_s
        self._is_over = False

    def now_s(self) -> float:
        """The virtual time."""
        return self._agenda.now_s

    def want(self, at_s: float) -> None:
        """Has a turn taken at that time, or when the one before is over."""
        due_s = max(at_s, self._free_s)
        if due_s < self._wanted_s and not self._is_over:
            self._wanted_s = due_s
            self._agenda.at(due_s, lambda: self._take(due_s))

    def follow(self, now_s: float) -> None:
        """The life has moved the clock by itself."""
        self._agenda.now_s = max(self._agenda.now_s, now_s)

    def die(self) -> None:
        """The life ends by itself."""
        self._is_over = True
        self._die()

    def stop(self) -> None:
        """No more turns."""
        self._is_over = True

    def _take(self, due_s: float) -> None:
        if self._is_over or due_s != self._wanted_s:
            return
        self._wanted_s = inf
        more = self._turn()
        now_s = self._agenda.now_s
        if self._is_over:
            return
        if self._strikes.strikes("crash", now_s):
            return self.die()
        is_slow = self._strikes.strikes("slow", now_s)
        self._free_s = now_s + (self._random.uniform(0.1, 10.0) if is_slow else self._random.uniform(0.0001, 0.002))
        if more:
            self.want(self._free_s)
