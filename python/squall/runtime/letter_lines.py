"""The lines of a dead-letter log: JSON after its CRC32, one of a letter, of a change of a letter's state, or of a run.

A run's line says from which file its letters come, so that `squall dead debug` can build the component again.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from squall.runtime.letter_codec import Unknown, encode, encode_row, shown
from squall.runtime.letters import Letter

log = logging.getLogger("squall.dead")
ROWS = ("values", "root_values")
OPEN, ASKED, RUNNING, ACKED, AGAIN, DROPPED = "open", "asked", "running", "acked", "dead_again", "dropped"
"""States of a letter: nothing was done with it; its replay is asked for; is under way; ended well; ended in a letter of
its own; it needs no replay."""
ENDED = (ACKED, AGAIN, DROPPED)


@dataclass(frozen=True, slots=True)
class Change:
    """A new state of a letter. `values`: those of the root that are emitted in place of its own."""

    number: int
    state: str
    why: str = ""
    values: tuple[Any, ...] | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the topology, as it was asked for; `settings` are those that are no defaults."""

    id: str
    file: str
    name: str | None
    parameters: list[str]
    settings: Mapping[str, Any]
    mask: str | None = None
    """The topology's `topology.mask.fields`; not in logs that were written without."""


def letter_line(letter: Letter) -> bytes:
    """A letter's line. One that JSON refuses is kept as text: the others, and its source, must not wait for it."""
    try:
        return _line(_record(letter))
    except Exception as error:
        log.error("event=dead_letter_as_text component=%s because=%s", letter.component, type(error).__name__)
        return _line(_record(_as_text(letter)))


def change_lines(changes: Iterable[Change]) -> bytes:
    """The lines of new states."""
    return b"".join(map(_change_line, changes))


def run_line(run: Run) -> bytes:
    """The line of a run."""
    return _line({"run": asdict(run)})


def body_of(line: bytes) -> bytes:
    """The JSON of a line.

    Raises:
        ValueError: it is damaged.
    """
    checksum, _, body = line.partition(b" ")
    if int(checksum, 16) != zlib.crc32(body):
        raise ValueError("checksum")
    return body


def was_letter(line: bytes) -> bool:
    """Whether a damaged line was a letter's: it keeps its number, as later letters' states are told by number."""
    return line[8:].startswith(b' {"letter":')


def _change_line(change: Change) -> bytes:
    record: dict[str, Any] = {"number": change.number, "state": change.state, "changed_at": change.at.isoformat()}
    if change.why:
        record["why"] = change.why
    if change.values is not None:
        record["values"] = encode_row(change.values)
    return _line(record)


def _line(record: dict[str, Any]) -> bytes:
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _record(letter: Letter) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(letter, name) for name in letter.__dataclass_fields__}
    rows = {name: encode_row(fields.pop(name)) for name in ROWS if fields[name] is not None}
    return {"letter": {name: encode(value) for name, value in fields.items()} | rows}


def _as_text(letter: Letter) -> Letter:
    def texts(row: tuple[Any, ...]) -> tuple[Unknown, ...]:
        return tuple(Unknown(shown(value)) for value in row)

    root_values = None if letter.root_values is None else texts(letter.root_values)
    message_id = Unknown(shown(letter.message_id))
    return replace(letter, values=texts(letter.values), root_values=root_values, message_id=message_id)
