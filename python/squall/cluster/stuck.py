"""Calls of user code that do not return: which they are, and when their worker is given up for one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LOOP = 0
"""The place of calls that a worker's loop runs."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """A call that a worker told of, and has not left since.

    Args:
        since_s: when it was first seen to do what it does, on the monotonic clock.
        place: where it runs in its worker: `LOOP`, or the number of one away from it, of which the worker tells when it
            goes on.
        call: the number of the call that the loop ran when this was heard of; 0: none.
        waits_for: the other system that it says it waits for, which is no reason to end the worker; empty: none.
    """

    worker: int
    component: str
    since_s: float
    place: int = LOOP
    call: int = 0
    waits_for: str = ""


class StuckCalls:
    """The newest such call of each place.

    Args:
        limit_s: a call that takes longer, and says of no other system that it waits for that, costs its worker its
            life; None: none does.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._calls: dict[tuple[int, int], Stuck] = {}

    def told(self, stuck: Stuck) -> None:
        """A worker told of a call."""
        if stuck.place != LOOP or stuck.call:  # else it has returned meanwhile
            self._calls[stuck.worker, stuck.place] = stuck

    def went_on(self, worker: int, place: int) -> None:
        """A worker told that a place away from its loop has left the call, or does something else in it."""
        self._calls.pop((worker, place), None)

    def gone(self, worker: int) -> None:
        """The worker was lost, with its calls."""
        self._calls = {place: one for place, one in self._calls.items() if one.worker != worker}

    def now(self) -> list[Stuck]:
        """All of them, the one that began first first."""
        return sorted(self._calls.values(), key=lambda stuck: stuck.since_s)

    def running_s(self, now_s: float) -> dict[str, float]:
        """For how long the longest of each component has been running."""
        return {stuck.component: now_s - stuck.since_s for stuck in reversed(self.now())}

    def passed(self, call_of: Callable[[int], int], now_s: float) -> list[Stuck]:
        """Forgets calls of loops that have returned, and gives those that took too long: of each worker the first.

        The others of such a worker are forgotten too.

        Args:
            call_of: the number of the call that a worker's loop runs; 0: none.
        """
        for one in self.now():
            if one.place == LOOP and call_of(one.worker) != one.call:
                del self._calls[one.worker, LOOP]
        given_up = dict[int, Stuck]()
        for one in self.now():
            if self._limit_s is not None and not one.waits_for and now_s - one.since_s > self._limit_s:
                given_up.setdefault(one.worker, one)
        for worker in given_up:
            self.gone(worker)
        return list(given_up.values())
