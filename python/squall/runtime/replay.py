"""Dead letters on their way back: where the root of a letter is emitted again, or why it cannot be.

A letter whose replay was asked for stays so in the log until its new root has ended, well or with a letter of its own.
A worker that dies before loses nothing by that: the next one emits the root again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from squall.errors import StateError
from squall.model.graph import UNDECODED, ComponentSpec, StreamId
from squall.runtime import dead_log
from squall.runtime.build import Built, FarTask
from squall.runtime.letter_lines import ACKED, AGAIN, ASKED, OPEN, RUNNING, Change
from squall.runtime.letters import NOT_DECODED, Letter
from squall.runtime.stored import Stored, read

log = logging.getLogger("squall.dead")


@dataclass(frozen=True, slots=True)
class Refused:
    """A letter that cannot be replayed into this topology."""

    number: int
    why: str


@dataclass(frozen=True, slots=True)
class Root:
    """What to emit again: the index of a spout's task, the number of its stream, the values, the task they go to."""

    task: int
    stream: int
    values: tuple[Any, ...]
    direct: int | None


class Emit(Protocol):
    """`Worker.replay`."""

    def __call__(
        self, task: int, stream: int, values: tuple[Any, ...], /, direct: int | None = None, handle: int = 0
    ) -> None:
        """Has the root emitted; `Hooks.replayed` says when it has ended."""
        ...


def root_of(stored: Stored, built: Built) -> Root | Refused | None:
    """What a letter's replay emits, in the topology as it is now; None: that is another worker's."""
    try:
        letter = stored.letter
    except StateError as error:
        return Refused(stored.number, error.defects[0].message)
    tasks = built.of(letter.spout)
    if any(isinstance(first, FarTask) for first in built.everywhere(letter.spout)[:1]):
        return None  # the worker of its first task does it
    if why := _not_kept(stored):
        return Refused(stored.number, why)
    if not tasks:
        return Refused(stored.number, f'the topology has no spout "{letter.spout}" any more')
    if callable(getattr(tasks[0].instance, "fail", None)):
        return Refused(stored.number, f'spout "{letter.spout}" replays by itself now, and would not know this root')
    assert stored.root_values is not None
    if why := _unfit(letter, len(stored.root_values), tasks[0].spec) or _misdirected(letter, built):
        return Refused(stored.number, why)
    stream = list(tasks[0].spec.streams).index(letter.spout_stream)
    return Root(tasks[0].index, stream, stored.root_values, letter.direct)


def _not_kept(stored: Stored) -> str | None:
    """Why the letter does not have what its spout emitted."""
    if stored.letter.spout_stream == UNDECODED:
        return NOT_DECODED
    if stored.root_values is None:
        return f'spout "{stored.letter.spout}" replays by itself: the letter only has the message id'
    return None if stored.replayable else "a value is of a type that is kept as text only"


def _unfit(letter: Letter, values: int, spout: ComponentSpec) -> str | None:
    """Why a root does not fit the streams that its spout has now."""
    stream = spout.streams.get(letter.spout_stream)
    if stream is None:
        return f'spout "{letter.spout}" has no stream "{letter.spout_stream}" any more'
    fields = len(stream.fields)
    if fields != values:
        return f'stream "{letter.spout_stream}" has {fields} fields now, the letter {values}'
    if stream.direct and letter.direct is None:
        return f'stream "{letter.spout_stream}" is direct now, and the letter names no task'
    if letter.direct is not None and not stream.direct:
        return f'stream "{letter.spout_stream}" is not direct any more, and the letter names a task'
    return None


def _misdirected(letter: Letter, built: Built) -> str | None:
    """Why a root cannot go to the task that it went to."""
    if letter.direct is None:
        return None
    stream = StreamId(letter.spout, letter.spout_stream)
    everywhere = (*built.tasks, *built.far)
    bolts = (task for task in everywhere if any(one.source == stream for one in task.spec.inputs))
    if letter.direct in (task.task.task_id for task in bolts):
        return None
    return f'task {letter.direct}, to which it was sent, takes nothing of "{stream}" any more'


class Replays:
    """The replays of one worker.

    Args:
        tell: takes changes of letters, and makes them durable in time.
    """

    def __init__(self, path: Path, built: Built, emit: Emit, tell: Callable[[Change], None]) -> None:
        self._path, self._built, self._emit, self._tell = path, built, emit, tell
        self._lock = Lock()
        self._under_way: set[int] = set()
        self._gone: set[int] = set()
        """Those of letters that a log held which is gone; the same numbers may be given again."""

    def begin(self, *, at_start: bool = False) -> dict[str, Any]:
        """Emits the roots whose replay was asked for; what cannot be emitted is open again. Says what was done.

        Args:
            at_start: also those that were under way when an earlier worker ended.

        Threading: any thread.
        """
        waiting = (ASKED, RUNNING) if at_start else (ASKED,)
        with self._lock:
            # A copy from before the log is read: one that ends meanwhile may still be asked for in what is read.
            under_way = self._under_way | self._gone
            asked = [one for one in read(self._path) if one.state in waiting and one.number not in under_way]
            found = {one.number: root_of(one, self._built) for one in asked}  # None: of another worker
            refused = {number: one.why for number, one in found.items() if isinstance(one, Refused)}
            roots = {number: one for number, one in found.items() if isinstance(one, Root)}
            changes = [Change(number, OPEN, why) for number, why in refused.items()]
            changes += [Change(number, RUNNING) for number in roots]
            if changes:
                dead_log.mark(self._path, changes)
            self._under_way |= roots.keys()
            for number, root in roots.items():
                self._emit(root.task, root.stream, root.values, direct=root.direct, handle=number)
        for number, why in refused.items():
            log.error("event=replay_refused letter=%d why=%r", number, why)
        return {"replayed": len(roots), "refused": refused}

    def ended(self, number: int, acked: bool, attempt: int) -> None:
        """The root was acked, or has a letter of its own now."""
        self._end(Change(number, ACKED if acked else AGAIN, f"try {attempt}"))

    def failed(self, number: int, why: str) -> None:
        """A try failed, and another one follows."""
        if number not in self._gone:
            self._tell(Change(number, RUNNING, why))

    def refused(self, number: int, why: str) -> None:
        """The root could not be emitted: its letter is open again."""
        log.error("event=replay_refused letter=%d why=%r", number, why)
        self._end(Change(number, OPEN, why))

    def _end(self, change: Change) -> None:
        if change.number in self._gone:
            self._gone.discard(change.number)
        else:
            self._tell(change)

    def forget(self) -> None:
        """The log is gone, with the letters whose replays are under way. Any thread."""
        with self._lock:
            self._gone |= self._under_way
            self._under_way.clear()

    def marked(self, change: Change) -> None:
        """A change is durable. Any thread."""
        if change.state != RUNNING:
            self._under_way.discard(change.number)
