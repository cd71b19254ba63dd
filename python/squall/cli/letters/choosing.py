"""Which letters a command is about: those with these numbers, or all that a filter takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer

from squall.engines.embedded.runs import running, topology_of, usable
from squall.errors import ConfigError, Defect, StateError
from squall.model.durations import parse_duration
from squall.model.masking import Masker
from squall.planner.validate import checked_name
from squall.runtime import dead_log
from squall.runtime.letter_lines import ASKED, ENDED, RUNNING, Change
from squall.runtime.stored import LogReader, Stored

UNASKED = 10
"""Letters that a command changes without being told to, where it was not told which."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What letters must have: a component, a part of their error, an age, a state."""

    component: str | None = None
    error: str | None = None
    oldest: datetime | None = None
    states: tuple[str, ...] = ()
    """None: those that wait for something, so not those that ended or were dropped."""
    every: bool = False

    def __bool__(self) -> bool:
        return any((self.component, self.error, self.oldest, self.states, self.every))

    def taken(self, letters: Iterable[Stored]) -> list[Stored]:
        """Those that the filter takes."""
        part = (self.error or "").casefold()
        return [
            one
            for one in letters
            if self._is_wanted(one.state)
            and self.component in (None, one.head.component)
            and part in one.head.error.casefold()
            and (self.oldest is None or one.at >= self.oldest)
        ]

    def _is_wanted(self, state: str) -> bool:
        if self.every:
            return True
        return state in self.states if self.states else state not in ENDED


def oldest_of(since: str | None) -> datetime | None:
    """The beginning of the last while that `--since` names.

    Raises:
        ConfigError: `duration_invalid`.
    """
    if since is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(since))
    except (ValueError, OverflowError):
        defect = Defect("duration_invalid", f'"--since {since}" is no duration', (), "write 20s, 10m or 2h")
        raise ConfigError(defect) from None


class Letters:
    """The log of one topology.

    Raises:
        StateError: `no_dead_letters`.
        ClusterError: `state_unusable`.
    """

    def __init__(self, base: Path, topology: str) -> None:
        self.base, self.topology = base, topology
        self.path = dead_log.log_path(base, topology)
        if checked_name("topology", topology) or not os.path.exists(self.path):  # no name leads to other folders
            with usable(self.path.parent):
                known = sorted(file.stem for file in self.path.parent.glob("*.log"))
            facts = (("with dead letters", ", ".join(known) or "none"),)
            raise StateError(Defect("no_dead_letters", f'"{topology}" has no dead letters', facts, "check the name"))
        self.reader = LogReader(self.path)

    def read(self) -> list[Stored]:
        """All letters as they are now, oldest first."""
        with usable(self.path):
            return self.reader.refresh()

    def one(self, number: int) -> Stored:
        """The letter of this number.

        Raises:
            StateError: `dead_letter_unknown`.
        """
        return self.chosen([number], Filter())[0]

    def chosen(self, numbers: list[int], wanted: Filter) -> list[Stored]:
        """The letters of these numbers, or those that the filter takes.

        Raises:
            StateError: `dead_letter_unknown`.
        """
        letters = self.read()
        if not numbers:
            return wanted.taken(letters)
        if missing := [number for number in numbers if number not in self.reader.letters]:
            message = f'"{self.topology}" has no dead letter {missing[0]}'
            facts = (("letters", f"1 to {len(letters)}"),)
            raise StateError(Defect("dead_letter_unknown", message, facts, f"squall dead list {self.topology}"))
        return [self.reader.letters[number] for number in dict.fromkeys(numbers)]

    def mark(self, changes: list[Change]) -> None:
        """Appends new states."""
        if changes:
            with usable(self.path):
                dead_log.mark(self.path, changes)

    def masker(self, stored: Stored) -> Masker:
        """What hides the secrets of a letter, as its run named them."""
        run = self.reader.runs.get(stored.head.run)
        return Masker.of(None if run is None else run.mask)

    def is_running(self) -> bool:
        """Whether the topology runs on this machine."""
        return any(topology_of(key) == self.topology for key in running(self.base))


def state_of(stored: Stored, is_running: bool) -> str:
    """The state for people: what was under way when its worker ended is asked for again."""
    state = ASKED if stored.state == RUNNING and not is_running else stored.state
    return state.replace("_", " ") + (f" → {stored.again}" if stored.again else "")


def confirm(what: str, count: int, *, yes: bool, named: bool) -> None:
    """Asks before many letters are changed that were not named one by one.

    Raises:
        ConfigError: `unconfirmed`, where there is nobody to ask.
        typer.Abort: the answer is no.
    """
    if yes or named or count <= UNASKED:
        return
    ask(f"{what} {count:,} letters?")


def ask(question: str) -> None:
    """Goes on only if the answer is yes.

    Raises:
        ConfigError: `unconfirmed`, where there is nobody to ask.
        typer.Abort: the answer is no.
    """
    must_have_terminal(question)
    typer.confirm(question, abort=True, err=True)


def must_have_terminal(question: str) -> None:
    """Asks nothing yet.

    Raises:
        ConfigError: `unconfirmed`, where there is nobody to ask.
    """
    if not sys.stdin.isatty():
        facts = (("question", question),)
        fix = "say so: --yes"
        raise ConfigError(Defect("unconfirmed", "this is to be confirmed, and there is no terminal", facts, fix))
