"""What the core asks of the runtime while it runs: judging failures, reporting errors, storing dead letters."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Any, Protocol

from squall import _core
from squall.errors import Exhausted, SquallError
from squall.model.graph import DEAD_LETTERS, UNDECODED
from squall.runtime import far_failures
from squall.runtime.build import Built, FarTask, Task
from squall.runtime.failures import FarError, classify, summary, traceback_text
from squall.runtime.far_failures import FarInput, Input
from squall.runtime.letters import Letter, Undecoded

KEPT_ERRORS = 10
"""Newest errors that are kept of each component."""
SPOUT_BACKOFF_S = 0.1
SPOUT_BACKOFF_MAX_S = 10.0
DIE_S, ENDED_S = -1.0, -2.0
"""The pauses by which the core is told that the worker dies, or that a spout that failed has ended; as in spout.rs."""

log = logging.getLogger("squall.worker")


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """An exception of user code that was kept for people to see."""

    component: str
    task: int
    where: str
    error: str
    traceback: str
    at: datetime


class LetterBox(Protocol):
    """Keeps dead letters safe."""

    def put(self, handle: int, letter: Letter, /) -> None:
        """Stores the letter durably, then tells the core that `handle` is stored."""
        ...

    def discard(self, handle: int, /) -> None:
        """Tells the core that `handle` needs no letter."""
        ...


class ReplayNews(Protocol):
    """Hears what becomes of replayed letters."""

    def ended(self, number: int, acked: bool, attempt: int, /) -> None:
        """The root was acked, or has a letter of its own now."""
        ...

    def failed(self, number: int, why: str, /) -> None:
        """A try of the root failed, and another one follows."""
        ...

    def refused(self, number: int, why: str, /) -> None:
        """The root could not be emitted."""
        ...


@dataclass
class Throttle:
    """At most `most` reports in each interval; a plain counter that starts anew."""

    interval_s: float
    most: int
    began_s: float = -1e18
    count: int = 0

    def allows(self, now_s: float) -> bool:
        """Counts one report and says whether it is kept."""
        if now_s - self.began_s >= self.interval_s:
            self.began_s, self.count = now_s, 0
        self.count += 1
        return self.count <= self.most


@dataclass
class BackOff:
    """The pauses of a spout that raises, each twice the one before.

    They begin anew when it has gone on for longer than its last pause was.
    """

    pause_s: float = 0.0
    over_s: float = -inf

    def next_s(self, now_s: float) -> float:
        """The pause after a failure."""
        is_well_again = now_s - self.over_s > self.pause_s
        self.pause_s = SPOUT_BACKOFF_S if is_well_again else min(2 * self.pause_s, SPOUT_BACKOFF_MAX_S)
        self.over_s = now_s + self.pause_s
        return self.pause_s


@dataclass
class Hooks:
    """The runtime's answers to the core."""

    settings: Mapping[str, Any]
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    letters: LetterBox
    observer: Callable[[str, int, Any, int], None] = lambda _event, _task, _id, _attempt: None
    replays: ReplayNews | None = None
    tell_link_lost: Callable[[int, int, int], None] = lambda _worker, _incarnation, _session: None
    run: str = ""
    built: Built | None = None
    errors: dict[str, deque[ErrorReport]] = field(default_factory=dict[str, deque[ErrorReport]])
    ended_spouts: dict[str, BaseException] = field(default_factory=dict[str, BaseException])
    _throttles: dict[tuple[int, bool], Throttle] = field(default_factory=dict[tuple[int, bool], Throttle])
    _back_offs: dict[int, BackOff] = field(default_factory=dict[int, BackOff])

    def _task(self, index: int) -> Task:
        assert self.built is not None
        return self.built.tasks[index]

    def _anywhere(self, index: int) -> Task | FarTask:
        assert self.built is not None
        return self.built.at(index)

    def failed(self, task: int, error: BaseException) -> tuple[int, bool, float | None]:
        """The core's question: what an exception means for its tuple."""
        return classify(error, self._task(task).spec.retry.on_error)

    def error(self, task: int, where: str, error: BaseException, attempt: int = 0, again: bool = False) -> None:
        """The core's news: user code raised. What is tried again is one line; its traceback comes with the last try."""
        built = self._task(task)
        if not self._throttle(task, again).allows(self.monotonic()):
            return
        name = built.spec.name
        report = ErrorReport(name, built.task.task_id, where, summary(error), traceback_text(error), self.now())
        self.errors.setdefault(name, deque(maxlen=KEPT_ERRORS)).append(report)
        extra = {"component": name, "task": built.task.task_id}
        if again:
            code = f" code={error.code}" if isinstance(error, SquallError) else ""
            log.warning("event=retry where=%s attempt=%d error=%r%s", where, attempt, report.error, code, extra=extra)
            log.debug("event=retried_error where=%s\n%s", where, report.traceback, extra=extra)
            return
        tries = f" attempt={attempt}" if attempt else ""
        log.error("event=error where=%s%s error=%r\n%s", where, tries, report.error, report.traceback, extra=extra)

    def _throttle(self, task: int, again: bool) -> Throttle:
        """Retries have one of their own: they must not take the place of what was given up."""
        if (throttle := self._throttles.get((task, again))) is None:
            interval_s = self.settings["topology.error.throttle.interval.secs"]
            throttle = Throttle(interval_s, self.settings["topology.max.error.report.per.interval"])
            self._throttles[task, again] = throttle
        return throttle

    def notice(self, task: int, text: str, is_good: bool) -> None:
        """The core's news: how a native source stands with its servers has changed."""
        built = self._task(task)
        extra = {"component": built.spec.name, "task": built.task.task_id}
        log.log(logging.INFO if is_good else logging.WARNING, "%s", text, extra=extra)

    def spout_failed(self, task: int, error: BaseException) -> float | None:
        """The core's question: how long a spout that raised is left alone; None: it has ended, and that is no error."""
        built = self._task(task)
        if isinstance(error, Exhausted | StopIteration):
            return None
        action, _, _ = classify(error, built.spec.retry.on_error)
        if action == _core.ACTION_DIE:
            return DIE_S
        self.error(task, "next_tuple", error)
        if not hasattr(built.instance, "next_tuple") and not hasattr(built.instance, "next_batch"):
            self.ended_spouts.setdefault(built.spec.name, error)  # a generator that raised has ended
            return ENDED_S
        return self._back_offs.setdefault(task, BackOff()).next_s(self.monotonic())

    def dead(self, handle: int, letter: Mapping[str, Any]) -> None:
        """The core's order: store a dead letter."""
        if letter["spout"] == DEAD_LETTERS:
            self.letters.discard(handle)  # it stays unread in the log
            return
        error: BaseException = letter["error"]
        record = letter["values"][0] if len(letter["values"]) == 1 else None
        if isinstance(record, Undecoded):
            letter = {
                **letter,
                **dict.fromkeys(("stream", "spout_stream"), UNDECODED),
                **dict.fromkeys(("fields", "root_fields"), record.fields),
                **dict.fromkeys(("values", "root_values"), record.values),
            }
        self.letters.put(
            handle,
            Letter(
                component=letter["component"],
                source=letter["source"],
                stream=letter["stream"],
                task=letter["task"],
                fields=tuple(letter["fields"]),
                values=letter["values"],
                error=summary(error),
                traceback=traceback_text(error),
                attempts=letter["attempts"],
                roots=(letter["root"],) if letter["root"] else (),
                at=self.now(),
                spout=letter["spout"],
                spout_task=letter["spout_task"],
                spout_stream=letter["spout_stream"],
                root_values=letter["root_values"],
                message_id=letter["message_id"],
                failure=letter["failure"],
                direct=letter["direct"],
                root_fields=tuple(letter["root_fields"]),
                replay_of=letter["replay_of"],
                run=self.run,
            ),
        )

    def failure_told(self, task: int, error: BaseException, given: Input | None, most_bytes: int) -> bytes:
        """The core's question: what the worker of a failed root is to know."""
        return far_failures.told(error, given, most_bytes)

    def failure_heard(self, data: bytes) -> tuple[FarError, FarInput | None]:
        """The core's question: what another worker told of a failure."""
        return far_failures.heard(data)

    def link_lost(self, worker: int, incarnation: int, session: int) -> None:
        """The core's news: a link could not be had again in time."""
        log.warning("event=link_lost worker=%d", worker)
        self.tell_link_lost(worker, incarnation, session)

    def link_missed(self, worker: int, missed_s: float, why: str | None) -> None:
        """The core's news: there has been no link to another worker for long; what leads there waits. Told once."""
        log.warning(
            "event=link_missed worker=%d missed_s=%.0f because=%r", worker, missed_s, why or "it has not called"
        )

    def link_refused(self, worker: int | None, why: str) -> None:
        """The core's news: a connection of another worker, or of a stranger, was refused."""
        log.debug("event=link_refused worker=%s because=%r", worker or "unknown", why)  # counted; a peer calls again

    def holding(self, task: int, size: int, holder: int) -> None:
        """The core's news: a spout pauses, since what is pending weighs too much."""
        spout, holds = self._task(task).spec.name, self._anywhere(holder).spec.name
        extra = {"component": spout, "task": self._task(task).task.task_id}
        key = "topology.max.pending.bytes"
        log.warning("event=paused reason=%s pending_bytes=%d held_by=%s", key, size, holds, extra=extra)

    def replayed(self, handle: int, acked: bool, attempt: int) -> None:
        """The core's news: a replayed root has ended."""
        if self.replays is not None:
            self.replays.ended(handle, acked, attempt)

    def replay_failed(self, handle: int, task: int, error: BaseException, attempt: int) -> None:
        """The core's news: a try of a replayed root failed, and another one follows."""
        if self.replays is not None:
            built = self._anywhere(task)
            where = f"try {attempt} failed in {built.spec.name} (task {built.task.task_id})"
            self.replays.failed(handle, f"{where}: {summary(error)}")

    def replay_refused(self, handle: int, error: BaseException) -> None:
        """The core's news: a root could not be emitted again."""
        if self.replays is not None:
            self.replays.refused(handle, summary(error))

    def observe(self, event: str, task: int, message_id: object, attempt: int) -> None:
        """The core's news of a root, for tests."""
        self.observer(event, task, message_id, attempt)
