"""How a cluster gets from one idle moment to the next: by moving a clock that stands still, or by waiting."""

from __future__ import annotations

import time
from typing import Protocol

from squall import _core
from squall.testing.virtual import VirtualLoop

REAL_IDLE_WITHIN_S = 60.0
"""In real time: how long user code may run until it counts as never coming back."""
REAL_SLICE_S = 0.05
"""In real time: how often the loop comes back to look at that bound."""


class Pace(Protocol):
    """The two ways to run a worker in a test."""

    def settle(self) -> bool:
        """Runs until nothing can run without time moving; False if user code did not come back."""
        ...

    def advance(self, by_s: float) -> None:
        """Lets time pass, running what comes due."""
        ...

    def move_to_next(self, bound_s: float) -> bool:
        """Lets time pass up to what is due next and runs that; False if it is due after the bound, or nothing is."""
        ...


def run(worker: _core.Worker, *, until_idle: bool = False, deadline: float | None = None) -> str:
    """Runs the worker's loop; raises what a component raised whose `on_error` says "die"."""
    reason = worker.run(until_idle=until_idle, deadline=deadline)
    if reason == "died" and (death := worker.death()):
        raise death[1]
    return reason


class SimulatedPace:
    """Time stands still but for `advance` and `move_to_next`."""

    def __init__(self, worker: _core.Worker, loop: VirtualLoop) -> None:
        self._worker = worker
        self._loop = loop

    def settle(self) -> bool:
        """Runs the worker and the event loop in turn until neither has anything to do."""
        while True:
            run(self._worker, until_idle=True)
            if not self._loop.run_ready():
                return True

    def advance(self, by_s: float) -> None:
        """Moves the clock from one thing that is due to the next."""
        target_s = self._worker.monotonic() + by_s
        while self.move_to_next(target_s):
            pass
        self._worker.advance_to(target_s)
        self.settle()

    def move_to_next(self, bound_s: float) -> bool:
        """Moves the clock to what is due next."""
        due_s = min((due for due in (self._worker.next_due(), self._loop.next_due()) if due is not None), default=None)
        if due_s is None or due_s > bound_s:
            return False
        self._worker.advance_to(due_s)
        return self.settle()


class RealPace:
    """Time passes by itself."""

    def __init__(self, worker: _core.Worker) -> None:
        self._worker = worker

    def settle(self) -> bool:
        """Runs the worker until nothing runs or waits to run."""
        bound_s = self._worker.monotonic() + REAL_IDLE_WITHIN_S
        while run(self._worker, until_idle=True, deadline=self._worker.monotonic() + REAL_SLICE_S) == "deadline":
            if self._worker.monotonic() > bound_s:
                return False
        return True

    def advance(self, by_s: float) -> None:
        """Runs the worker for that long."""
        target_s = self._worker.monotonic() + by_s
        while (left_s := target_s - self._worker.monotonic()) > 0:
            if run(self._worker, deadline=target_s) == "exhausted":
                time.sleep(left_s)

    def move_to_next(self, bound_s: float) -> bool:
        """Runs the worker until the next thing is due."""
        due_s = self._worker.next_due()
        if due_s is None or due_s > bound_s:
            return False
        self.advance(due_s - self._worker.monotonic())
        return self.settle()
