"""The notes of a trace, as the core writes them. Tasks and workers are told by their numbers.

Source of the form: `crates/squall-core/src/trace.rs`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple

ACKED, FAILED, DEAD = 0, 1, 2
"""How a tree ended: each tuple of it acked; failed, to be tried again; given up."""
SOLO, REPLAY, ORDERED, ASKED = 1, 2, 4, 8
"""Flags of an opened root: it runs alone in its batches; it is that of a dead letter; its place stands in the order of
its spout; its spout was asked for it."""


class TaskNote(NamedTuple):
    """The life has this task."""

    task: int
    is_spout: bool
    component: str


class SpoutNote(NamedTuple):
    """A spout begins: most roots that it may have open (0: any number), other workers that its trees may reach."""

    task: int
    limit: int
    workers: tuple[int, ...]


class Opened(NamedTuple):
    """A root was opened, for this try of it; workers had died on it so often."""

    root: int
    task: int
    attempt: int
    place: int
    flags: int
    suspicions: int


class Sent(NamedTuple):
    """A tuple was sent, in one of its trees."""

    root: int
    edge: int
    source: int
    target: int
    stream: int


class Taken(NamedTuple):
    """A task took a tuple, in one of its trees, for a call that worked on so many."""

    root: int
    edge: int
    task: int
    together: int


class InputAcked(NamedTuple):
    """A task acked a tuple, in one of its trees."""

    root: int
    edge: int
    task: int


class InputFailed(NamedTuple):
    """A task failed a tuple, in one of its trees."""

    root: int
    edge: int
    task: int


class Ended(NamedTuple):
    """A tree ended: `ACKED`, `FAILED` or `DEAD`."""

    root: int
    how: int


class Met(NamedTuple):
    """A life of another worker is there from now on."""

    worker: int
    incarnation: int


class Lost(NamedTuple):
    """A life of another worker, or the way to it, is lost."""

    worker: int
    incarnation: int


class Prefix(NamedTuple):
    """So many outputs of a spout have ended such that all before them have."""

    task: int
    ended: int


class Rest(NamedTuple):
    """The loop rests, and a spout has so many trees open."""

    task: int
    open: int


Note = (
    TaskNote
    | SpoutNote
    | Opened
    | Sent
    | Taken
    | InputAcked
    | InputFailed
    | Ended
    | Met
    | Lost
    | Prefix
    | Rest
)  # fmt: skip

PLAIN: dict[int, tuple[Callable[..., Note], Struct]] = {
    3: (Opened._make, Struct("<QIIIBB")),
    4: (Sent._make, Struct("<QQIIH")),
    5: (Taken._make, Struct("<QQII")),
    6: (InputAcked._make, Struct("<QQI")),
    7: (InputFailed._make, Struct("<QQI")),
    8: (Ended._make, Struct("<QB")),
    9: (Met._make, Struct("<II")),
    10: (Lost._make, Struct("<II")),
    11: (Prefix._make, Struct("<IQ")),
    12: (Rest._make, Struct("<II")),
}
"""Kinds of notes that have one length."""
TASK, SPOUT = Struct("<IBH"), Struct("<III")


def decoded(block: bytes) -> Iterator[Note]:
    """The notes of a block.

    Raises:
        ValueError: it is no block, or was damaged.
    """
    try:
        yield from _decoded(block)
    except struct.error:
        raise ValueError("a note is longer than what is left of its block") from None


def _decoded(block: bytes) -> Iterator[Note]:
    at, end = 0, len(block)
    while at < end:
        kind = block[at]
        at += 1
        if kind in PLAIN:
            make, form = PLAIN[kind]
            yield make(form.unpack_from(block, at))
            at += form.size
        elif kind == 1:
            task, is_spout, length = TASK.unpack_from(block, at)
            at += TASK.size + length
            if at > end:
                raise ValueError("the name of a component is longer than what is left of its block")
            yield TaskNote(task, bool(is_spout), block[at - length : at].decode())
        elif kind == 2:
            task, limit, count = SPOUT.unpack_from(block, at)
            at += SPOUT.size + 4 * count
            yield SpoutNote(task, limit, Struct(f"<{count}I").unpack_from(block, at - 4 * count))
        else:
            raise ValueError(f"there is no note of kind {kind}")
