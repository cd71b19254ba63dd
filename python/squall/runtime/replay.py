"""Dead letters on their way back: where the root of a letter is emitted again, or why it cannot be.

A letter whose replay was asked for stays so in the log until its new root has ended, well or with a letter of its own.
A worker that dies before loses nothing by that: the next one emits the root again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from squall.model.graph import UNDECODED, ComponentSpec, StreamId
from squall.runtime import dead_log
from squall.runtime.build import Built
from squall.runtime.dead_log import Stored
from squall.runtime.letters import Letter

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
        """Has the root emitted; `Hooks.replayed(handle)` says when it has ended."""
        ...


def root_of(stored: Stored, built: Built) -> Root | Refused:
    """What a letter's replay emits, in the topology as it is now."""
    letter, tasks = stored.letter, built.of(stored.letter.spout)
    if why := _not_kept(stored):
        return Refused(stored.number, why)
    if not tasks:
        return Refused(stored.number, f'the topology has no spout "{letter.spout}" any more')
    if callable(getattr(tasks[0].instance, "fail", None)):
        return Refused(stored.number, f'spout "{letter.spout}" replays by itself now, and would not know this root')
    if why := _unfit(letter, tasks[0].spec) or _misdirected(letter, built):
        return Refused(stored.number, why)
    assert letter.root_values is not None
    stream = list(tasks[0].spec.streams).index(letter.spout_stream)
    return Root(tasks[0].index, stream, letter.root_values, letter.direct)


def _not_kept(stored: Stored) -> str | None:
    """Why the letter does not have what its spout emitted."""
    if stored.letter.spout_stream == UNDECODED:
        return "it is a record that could not be decoded: have it sent again when the decoder can"
    if stored.letter.root_values is None:
        return f'spout "{stored.letter.spout}" replays by itself: the letter only has the message id'
    return None if stored.replayable else "a value is of a type that is kept as text only"


def _unfit(letter: Letter, spout: ComponentSpec) -> str | None:
    """Why a root does not fit the streams that its spout has now."""
    stream = spout.streams.get(letter.spout_stream)
    if stream is None:
        return f'spout "{letter.spout}" has no stream "{letter.spout_stream}" any more'
    fields, values = len(stream.fields), len(letter.root_values or ())
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
    bolts = (task for task in built.tasks if any(one.source == stream for one in task.spec.inputs))
    if letter.direct in (task.task.task_id for task in bolts):
        return None
    return f'task {letter.direct}, to which it was sent, takes nothing of "{stream}" any more'


class Replays:
    """The replays of one worker."""

    def __init__(self, path: Path, built: Built, emit: Emit) -> None:
        self._path, self._built, self._emit = path, built, emit
        self._lock = Lock()
        self._under_way: set[int] = set()

    def begin(self) -> dict[str, Any]:
        """Emits the roots whose replay was asked for; what cannot be emitted is open again. Says what was done.

        Threading: any thread.
        """
        with self._lock:
            # A copy from before the log is read: one that ends meanwhile may still be asked for in what is read.
            under_way = self._under_way.copy()
            letters = dead_log.read(self._path)
            asked = [one for one in letters if one.state == dead_log.ASKED and one.number not in under_way]
            refused = dict(filter(None, map(self._begin, asked)))
            if refused:
                dead_log.mark(self._path, list(refused), dead_log.OPEN)
        for number, why in refused.items():
            log.error("event=replay_refused letter=%d why=%r", number, why)
        return {"replayed": len(asked) - len(refused), "refused": refused}

    def _begin(self, stored: Stored) -> tuple[int, str] | None:
        """Emits one root; the letter's number and why, if it is refused."""
        match root_of(stored, self._built):
            case Refused(number, why):
                return number, why
            case Root(task, stream, values, direct):
                self._under_way.add(stored.number)
                self._emit(task, stream, values, direct=direct, handle=stored.number)
                return None

    def done(self, number: int) -> None:
        """The letter is marked as replayed. Any thread."""
        self._under_way.discard(number)
