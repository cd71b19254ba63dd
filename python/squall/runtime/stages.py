"""The stages of a run as one worker takes part in them: what its parent has begun, and whether it has come to rest.

The parent decides when a stage has settled over all workers; a worker says when it rests, and answers when it is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from squall import _core

RUN, CLOSE, CUT = "run", "close", "cut"


@dataclass(frozen=True, slots=True)
class Stage:
    """What is going on. `number`: never twice in a run. `component`: whose `drain` is called."""

    number: int
    kind: str
    component: str | None = None

    @classmethod
    def of_json(cls, record: Mapping[str, Any]) -> Stage:
        """What the parent tells of a stage."""
        return cls(record["number"], record["kind"], record["component"])


class Stages:
    """The worker's side.

    Args:
        say: tells the parent that the worker rests in a stage.

    Threading: `begin` and `answer` come from the thread of commands, the rest from the loop's. The core's `standing` is
        one call under the interpreter lock, so what it says is of one moment.
    """

    def __init__(self, worker: _core.Worker, say: Callable[[Stage], None]) -> None:
        self._worker, self._say = worker, say
        self._lock = Lock()
        self._waiting: deque[Stage] = deque()
        self._told: int | None = None
        self.stage = Stage(0, RUN)
        self.polls_until = 0.0
        """On the worker's clock: from then on a blocking spout's last poll is not waited for."""
        self.deadline = float("inf")
        """On the worker's clock: what is due later does not come any more."""

    def begin(self, stage: Stage) -> None:
        """The parent has begun a stage."""
        with self._lock:
            self._waiting.append(stage)
        self._worker.request_stop()

    def next(self) -> Stage | None:
        """The next stage, if it was begun; it is the stage from now on."""
        with self._lock:
            if not self._waiting:
                return None
            self.stage, self._told = self._waiting.popleft(), None
            return self.stage

    def look(self) -> int:
        """Says that the worker rests, if it does and has not said so; the activity up to which it looked."""
        standing = self._worker.standing()
        activity: int = standing["activity"]
        with self._lock:
            if activity == self._told or not self._rests(standing):
                return activity
            self._told = activity
        self._say(self.stage)
        return activity

    def answer(self, wave: int) -> dict[str, Any]:
        """How the worker stands in a wave of questions."""
        standing = self._worker.standing()
        with self._lock:
            is_quiet = not self._waiting and self._rests(standing)
            if not is_quiet:
                self._told = None  # it says so when it rests
        return {
            "wave": wave,
            "is_quiet": is_quiet,
            "exhausted": standing["exhausted"],
            "waits": standing["pending"] > 0,
            "holds": standing["held"] > 0,
            "keeps": standing["kept"] > 0,
            "timed": self._is_timed(standing),
            "undrained": standing["undrained"],
            "sent": standing["sent"],
            "received": standing["received"],
        }

    def _rests(self, standing: Mapping[str, Any]) -> bool:
        if standing["moving"] or standing["in_call"]:
            return False
        if self.stage.kind == RUN:
            return standing["exhausted"] and not standing["kept"]
        return standing["exhausted"] or (standing["only_polls"] and self._worker.monotonic() >= self.polls_until)

    def _is_timed(self, standing: Mapping[str, Any]) -> bool:
        is_due = standing["due"] is not None and standing["due"] <= self.deadline
        return is_due and bool(standing["pending"] or standing["held"])
