"""Positions of a worker's spouts (semantics 31): asked for again and again, made durable by the parent, then committed.

The worker only asks and tells; where positions lie is the parent's business. All calls of a spout's `position`, `seek`
and `commit` run on its task's own executor, between tuples.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from threading import Condition
from typing import Any, Self

import msgspec

from squall.errors import Defect, StateError
from squall.model.graph import Kind
from squall.runtime import life
from squall.runtime.build import Built, Task

log = logging.getLogger("squall.worker")
FIRST_ASK_S, ASK_EVERY_S = 0.05, 1.0
"""A life asks for them soon after its begin, then at twice the time each, up to once a second. So also lives that end
early get on: each leaves about half of what it did to the next one, not all."""
STORED_WITHIN_S = 10.0
"""A position whose storing was not heard of for so long is sent again."""
LAST_WITHIN_S = 5.0
"""How long the end of a run waits for its last positions to be stored."""
MAX_POSITION_BYTES = 1 << 20
FROM_START = "squall run --from-start"


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """Where a spout's task had got to. `tasks`: how many share the source; `spout`: the class that wrote it."""

    component: str
    task: int
    tasks: int
    spout: str
    position: bytes

    def json(self) -> dict[str, Any]:
        """As JSON can have it."""
        return asdict(self) | {"position": self.position.hex()}

    @classmethod
    def of_json(cls, record: Mapping[str, Any]) -> Self:
        """What `json` gave.

        Raises:
            ValueError, TypeError, KeyError: it gave no such thing.
        """
        return msgspec.convert({**record, "position": bytes.fromhex(record["position"])}, cls)


class _Tracked:
    """A task with positions: the newest one that was sent, the newest that is stored, the newest that was committed."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.sent: bytes | None = None
        self.stored: bytes | None = None
        self.committed: bytes | None = None
        self.number = 0
        self.sent_at_s = 0.0

    @property
    def is_under_way(self) -> bool:
        return self.sent is not None and self.sent != self.stored

    def record(self) -> StoredPosition:
        assert self.sent is not None
        task = self.task
        return StoredPosition(task.spec.name, task.task.index, task.spec.tasks, _class_of(task), self.sent)


class Positions:
    """The positions of one worker.

    Args:
        stored: where the last run stopped.
        send: tells the parent a new position, its number, and how many outputs had ended there, if that is known.
        report: adds to a task's errors.

    Bound: a task has one position under way; what it got to meanwhile goes into the next one.
    """

    def __init__(
        self,
        built: Built,
        stored: Sequence[StoredPosition],
        send: Callable[[StoredPosition, int, int | None], None],
        report: Callable[[int, str, BaseException], None],
    ) -> None:
        self._built, self._send, self._report = built, send, report
        self._restored = {(one.component, one.task): one for one in stored}
        self._tracked = {
            (task.spec.name, task.task.index): _Tracked(task) for task in built.tasks if _has_positions(task)
        }
        self._changed = Condition()

    def restore(self, task: Task) -> None:
        """Gives an opened spout the position where its last run stopped.

        Raises:
            StateError: `position_unmatched` or `position_refused`.
        """
        stored = self._restored.get((task.spec.name, task.task.index))
        if stored is None:
            return
        tracked = self._tracked.get((task.spec.name, task.task.index))
        if tracked is None or stored.spout != _class_of(task) or not callable(getattr(task.instance, "seek", None)):
            raise _of_another_spout(stored, task)
        seek(task, stored.position)
        tracked.sent = tracked.stored = tracked.committed = stored.position

    def begin(self) -> None:
        """Has the positions asked for from now on."""
        for tracked in self._tracked.values():
            self._ask_after(FIRST_ASK_S, tracked)

    def stored(self, component: str, task: int, number: int, *, done: bool) -> None:
        """The parent's news of a position: it is durable, or could not be stored now. Any thread."""
        tracked = self._tracked[component, task]
        with self._changed:
            if number != tracked.number or not tracked.is_under_way:
                return
            if done:
                tracked.stored = tracked.sent
            else:
                tracked.sent = tracked.stored
            self._changed.notify_all()
        if done:
            self._built.worker.after(tracked.task.index, 0.0, self._commit, (tracked,))

    def finish(self) -> None:
        """The last positions, after the drain: stored and committed when this returns, if the parent can store them."""
        polling = life.polling(self._built)
        asked = [tracked for tracked in self._tracked.values() if tracked.task.index not in polling]
        self._wait_for(asked)
        for tracked in asked:
            life.run_as(tracked.task, self._ask, tracked)
        self._wait_for(asked)
        for tracked in asked:
            life.run_as(tracked.task, self._commit, tracked)

    def _wait_for(self, asked: Sequence[_Tracked]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not any(tracked.is_under_way for tracked in asked), LAST_WITHIN_S)

    def _ask_after(self, delay_s: float, tracked: _Tracked) -> None:
        self._built.worker.after(tracked.task.index, delay_s, self._ask_again, (delay_s, tracked))

    def _ask_again(self, delay_s: float, tracked: _Tracked) -> None:
        self._ask_after(min(2 * delay_s, ASK_EVERY_S), tracked)  # first, whatever the spout raises
        self._ask(tracked)

    def _ask(self, tracked: _Tracked) -> None:
        with self._changed:
            if tracked.is_under_way and self._built.worker.monotonic() - tracked.sent_at_s < STORED_WITHIN_S:
                return
        worker, index = self._built.worker, tracked.task.index
        try:
            before = worker.ended_prefix(index)
            position = position_of(tracked.task)
            ended = before if worker.ended_prefix(index) == before else None
            if position is None:
                return
        except Exception as error:
            self._report(tracked.task.index, "position", error)
            return
        with self._changed:
            if position == tracked.stored:
                return
            tracked.sent, tracked.sent_at_s = position, worker.monotonic()
            tracked.number += 1
            record, number = tracked.record(), tracked.number
        self._send(record, number, ended)

    def _commit(self, tracked: _Tracked) -> None:
        position, commit = tracked.stored, getattr(tracked.task.instance, "commit", None)
        if position in (None, tracked.committed) or not callable(commit):
            return
        tracked.committed = position
        try:
            commit(position)
        except Exception as error:
            self._report(tracked.task.index, "commit", error)


def position_of(task: Task) -> bytes | None:
    """What a spout's `position` says; None: another system keeps it.

    Raises:
        StateError: `position_invalid`.
    """
    position: object = task.instance.position()
    if position is None:
        return None
    if not isinstance(position, bytes):
        message = f'`position` of "{task.spec.name}" gave a {type(position).__name__}'
        raise StateError(Defect("position_invalid", message, (), "return bytes"))
    if len(position) > MAX_POSITION_BYTES:
        message = f'`position` of "{task.spec.name}" gave {len(position):,} bytes'
        fix = f"give at most {MAX_POSITION_BYTES:,}: say where the source stands, not what was read"
        raise StateError(Defect("position_invalid", message, (), fix))
    return position


def seek(task: Task, position: bytes) -> None:
    """Calls a spout's `seek`.

    Raises:
        StateError: `position_refused`.
    """
    try:
        life.call(task, "seek", position)
    except Exception as error:
        fix = f"mend what it tells, or begin anew: {FROM_START}"
        facts = (("error", _text(error)),)
        message = f'spout "{task.spec.name}" cannot go on where its last run stopped'
        raise StateError(Defect("position_refused", message, facts, fix)) from error


def _text(error: Exception) -> str:
    return "; ".join(str(error).splitlines()) or type(error).__name__


def _has_positions(task: Task) -> bool:
    return task.spec.kind is Kind.SPOUT and callable(getattr(task.instance, "position", None))


def _class_of(task: Task) -> str:
    return type(task.instance).__qualname__


def _of_another_spout(stored: StoredPosition, task: Task) -> StateError:
    facts = (("stored by", stored.spout), ("now", _class_of(task)))
    fix = f"give the component its spout back, or begin anew: {FROM_START}"
    message = f'the stored position of "{task.spec.name}" is of another spout'
    return StateError(Defect("position_unmatched", message, facts, fix))
