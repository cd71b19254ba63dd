"""Calls of user code that do not return: which they are, and when their worker is given up for one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stuck:
    """The last of `calls` that a worker began, at `since_s` on the monotonic clock.

    `waits_for`: the other system that it says it waits for, which is no reason to end the worker; empty: none.
    """

    worker: int
    component: str
    calls: int
    since_s: float
    waits_for: str = ""


class StuckCalls:
    """The newest such call of each worker.

    Args:
        limit_s: a call that takes longer, and says of no other system that it waits for that, costs its worker its
            life; None: none does.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._calls: dict[int, Stuck] = {}

    def told(self, stuck: Stuck) -> None:
        """A worker told of a call."""
        self._calls[stuck.worker] = stuck

    def gone(self, worker: int) -> None:
        """The worker was lost, with its call."""
        self._calls.pop(worker, None)

    def longest(self) -> Stuck | None:
        """The one that began first."""
        return min(self._calls.values(), key=lambda stuck: stuck.since_s, default=None)

    def now(self) -> list[Stuck]:
        """All of them."""
        return list(self._calls.values())

    def passed(self, calls_of: Callable[[int], int], now_s: float) -> list[Stuck]:
        """Forgets those that have returned, and gives those that took too long, which are forgotten too.

        Args:
            calls_of: how many calls a worker has begun.
        """
        self._calls = {worker: one for worker, one in self._calls.items() if calls_of(worker) == one.calls}
        limit_s = self._limit_s
        late = [
            one for one in self.now() if limit_s is not None and not one.waits_for and now_s - one.since_s > limit_s
        ]
        for one in late:
            self.gone(one.worker)
        return late
