"""Dead letters on their way back: where the root of a letter is emitted again, or why it cannot be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squall.runtime import dead_log
from squall.runtime.build import Built
from squall.runtime.dead_log import Stored

log = logging.getLogger("squall.dead")


@dataclass(frozen=True, slots=True)
class Refused:
    """A letter that cannot be replayed into this topology."""

    number: int
    why: str


@dataclass(frozen=True, slots=True)
class Root:
    """What to emit again: the index of a spout's task, the number of its stream, the values."""

    task: int
    stream: int
    values: tuple[Any, ...]


def root_of(stored: Stored, built: Built) -> Root | Refused:
    """What a letter's replay emits, in the topology as it is now."""
    letter = stored.letter
    values = letter.root_values
    if values is None:
        return Refused(stored.number, f'spout "{letter.spout}" replays by itself: the letter only has the message id')
    if not stored.replayable:
        return Refused(stored.number, "a value is of a type that is kept as text only")
    tasks = built.of(letter.spout)
    if not tasks:
        return Refused(stored.number, f'the topology has no spout "{letter.spout}" any more')
    streams = tasks[0].spec.streams
    if letter.spout_stream not in streams:
        return Refused(stored.number, f'spout "{letter.spout}" has no stream "{letter.spout_stream}" any more')
    fields = len(streams[letter.spout_stream].fields)
    if fields != len(values):
        return Refused(
            stored.number, f'stream "{letter.spout_stream}" has {fields} fields now, the letter {len(values)}'
        )
    return Root(tasks[0].index, list(streams).index(letter.spout_stream), values)


def replay_asked(path: Path, built: Built, emit: Callable[[int, int, tuple[Any, ...]], None]) -> dict[str, Any]:
    """Emits the roots whose replay was asked for; what cannot be emitted is open again. Says what was done."""
    asked = [stored for stored in dead_log.read(path) if stored.state == dead_log.ASKED]
    refused: list[Refused] = []
    replayed: list[int] = []
    for stored in asked:
        match root_of(stored, built):
            case Refused() as no:
                refused.append(no)
            case Root(task, stream, values):
                emit(task, stream, values)
                replayed.append(stored.number)
    _mark(path, replayed, dead_log.REPLAYED)
    _mark(path, (no.number for no in refused), dead_log.OPEN)
    for no in refused:
        log.error("event=replay_refused letter=%d why=%r", no.number, no.why)
    return {"replayed": len(replayed), "refused": {no.number: no.why for no in refused}}


def _mark(path: Path, numbers: Iterable[int], state: str) -> None:
    if marked := list(numbers):
        dead_log.mark(path, marked, state)
