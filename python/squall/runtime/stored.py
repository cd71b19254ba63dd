"""Letters as a dead-letter log holds them: each with what became of it.

A log may hold very many letters, most of which a command only counts or passes over. So a line is read as far as lists
and filters need it, and the letter itself, with its values, when it is asked for.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import msgspec

from squall.errors import Defect, StateError
from squall.model.graph import UNDECODED
from squall.runtime.letter_codec import decode, is_known
from squall.runtime.letter_lines import AGAIN, ASKED, ENDED, OPEN, RUNNING, Change, Run, body_of, was_letter
from squall.runtime.letters import Letter

log = logging.getLogger("squall.dead")


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class At(msgspec.Struct):
    """A point in time, as `letter_codec` keeps it."""

    v: _Moment


class Head(msgspec.Struct):
    """What lists and filters need of a letter."""

    component: str
    error: str
    at: At
    attempts: int
    failure: int = 0
    run: str = ""
    replay_of: int = 0


class Line(msgspec.Struct):
    """Any line: of a letter, of a run, or of a change."""

    letter: Head | None = None
    run: Run | None = None
    number: int = 0
    state: str = ""
    why: str = ""
    values: Any = None
    """A row's, as `letter_codec` keeps it; decoded when the line was read."""
    changed_at: _Moment | None = None


_NONE = Change(0, OPEN)
_DECODER = msgspec.json.Decoder(Line)


@dataclass(frozen=True)
class Stored:
    """A letter in the log: its number (from 1), its state, and what led to that.

    `edited`: the root's values as they were changed for the last replay. `again`: the number of the letter in which the
    replay ended. `tries`: what failed on the way of the replay that is under way, or was the last.
    """

    number: int
    head: Head
    body: bytes = field(repr=False)
    change: Change = _NONE
    edited: tuple[Any, ...] | None = None
    began_at: datetime | None = None
    tries: tuple[str, ...] = ()
    again: int | None = None

    @property
    def state(self) -> str:
        """What became of it."""
        return self.change.state

    @cached_property
    def at(self) -> datetime:
        """When it was given up."""
        return self.head.at.v

    @cached_property
    def letter(self) -> Letter:
        """The letter itself.

        Raises:
            StateError: `dead_letter_unreadable`.
        """
        try:
            record = json.loads(self.body)["letter"]
            return msgspec.convert({name: decode(value) for name, value in record.items()}, Letter)
        except (ValueError, RecursionError) as error:  # nested too deeply, or a number of too many digits, too
            facts = (("because", str(error)),)
            fix = "read it with the squall that wrote it, or drop it"
            raise StateError(
                Defect("dead_letter_unreadable", f"letter {self.number} cannot be read", facts, fix)
            ) from error

    @property
    def is_readable(self) -> bool:
        """Whether `letter` raises nothing."""
        try:
            _ = self.letter
        except StateError:
            return False
        return True

    @property
    def root_values(self) -> tuple[Any, ...] | None:
        """What a replay emits."""
        return self.letter.root_values if self.edited is None else self.edited

    @property
    def replayable(self) -> bool:
        """Whether all of that is kept, and its spout could have emitted it."""
        return self.letter.spout_stream != UNDECODED and (values := self.root_values) is not None and is_known(values)


class LogReader:
    """One log, read as far as it has come; each `refresh` reads what was appended since.

    A writer only ever takes away half a line at the end, which is not read here, so the place stays right.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._place, self._lines = path, 0, 0
        self._damaged = 0
        """Letters that cannot be read."""
        self.letters: dict[int, Stored] = {}
        self.runs: dict[str, Run] = {}

    def refresh(self) -> list[Stored]:
        """Every letter, oldest first.

        Raises:
            OSError: the log is there and cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                data = file.read()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._place += end
        for line in data[:end].split(b"\n")[:-1]:
            self._lines += 1
            try:
                self._take(body_of(line))
            except ValueError:
                self._damaged += was_letter(line)
                log.error("event=corrupt_dead_letter file=%s line=%d", self._path, self._lines)
        return list(self.letters.values())

    def _take(self, body: bytes) -> None:
        line = parsed(body)
        if line.letter is not None:
            number = len(self.letters) + self._damaged + 1
            self.letters[number] = Stored(number, line.letter, body)
            self._link(number, line.letter)
        elif line.run is not None:
            self.runs[line.run.id] = line.run
        elif (stored := self.letters.get(line.number)) is not None:
            self.letters[line.number] = _changed(stored, line)

    def _link(self, number: int, head: Head) -> None:
        """The letter that a replay ended in is known by the one that was replayed.

        It says so alone: the line that tells the replay's end comes later, and a death between them must not have the
        root emitted again.
        """
        if (before := self.letters.get(head.replay_of)) is None:
            return
        change = before.change
        if change.state == RUNNING:
            change = replace(change, state=AGAIN, at=head.at.v)
        self.letters[before.number] = replace(before, again=number, change=change)


def read(path: Path) -> list[Stored]:
    """Every letter of a log with its state, oldest first."""
    return LogReader(path).refresh()


def parsed(body: bytes) -> Line:
    """What a line says.

    Raises:
        ValueError: no line of a log.
    """
    try:
        line = _line(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if line.values is not None:
        line.values = decode(line.values)
        if not isinstance(line.values, tuple):
            raise ValueError("values that are no row")
    return line


def _line(body: bytes) -> Line:
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError:  # half a surrogate pair in a text: Python's own reader takes it
        return msgspec.convert(json.loads(body), Line)


def _changed(stored: Stored, line: Line) -> Stored:
    at = line.changed_at or datetime.fromtimestamp(0, UTC)
    change = Change(line.number, line.state, line.why, at=at)
    match line.state:
        case str(state) if state == ASKED:
            edited = stored.edited if line.values is None else line.values
            return replace(stored, change=change, edited=edited, tries=(), again=None, began_at=at)
        case str(state) if state == RUNNING:
            tries = (*stored.tries, line.why) if line.why else ()
            return replace(stored, change=change, tries=tries, began_at=stored.began_at if line.why else at)
        case str(state) if state in ENDED:
            return replace(stored, change=change, again=stored.again if state == AGAIN else None)
        case _:
            return replace(stored, change=change)
