"""What comes due in virtual time, in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf


class Agenda:
    """The clock of a simulation and what is to happen; of two things that are due at once the older one is first."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, due_s: float, do: Callable[[], None]) -> None:
        """Has something done at that time, or now."""
        self._count += 1
        heapq.heappush(self._due, (max(due_s, self.now_s), self._count, do))

    def next_s(self) -> float:
        """When the next thing is due; inf: nothing is."""
        return self._due[0][0] if self._due else inf

    def run_next(self) -> None:
        """Moves the clock to the next thing and does it."""
        due_s, _, do = heapq.heappop(self._due)
        self.now_s = max(self.now_s, due_s)
        do()


class Queue:
    """A way on which what goes later comes later."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._last_s = 0.0

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Has it done so much later, behind all before it."""
        self._last_s = max(self._last_s, self._agenda.now_s + delay_s)
        self._agenda.at(self._last_s, do)
