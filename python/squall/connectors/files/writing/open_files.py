"""The files that a sink has open: opens them, bounds their number, publishes those that are full or old."""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from squall.connectors.files.writing.layout import Layout, Limits
from squall.connectors.files.writing.publishing import publish
from squall.connectors.files.writing.recovery import leftovers, recover
from squall.connectors.files.writing.rows import WrittenFormat
from squall.connectors.files.writing.staged import Staged
from squall.connectors.files.writing.staging import WAITS, Appended, hidden, open_hidden, open_visible, shown

TRIES = 1000
"""Names that are tried for a file before giving up."""
STAMP = r"-\d{8}T\d{9}-\d+(-\d+)?"
"""What `_addition` makes, as a pattern."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a sink's files are written; `limits` None: one file that is read while it grows."""

    layout: Layout
    format: WrittenFormat
    staged: Staged
    limits: Limits | None
    sync: bool
    max_open: int


class Clock(Protocol):
    """The times of a task."""

    def now(self) -> datetime:
        """The wall clock."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""
        ...


class OpenFiles:
    """A task's open files, by place. Bound: `max_open`; beyond it the one that was longest without a row is closed."""

    def __init__(self, plan: Plan, clock: Clock, task: int, report: Callable[[Exception], None]) -> None:
        self._plan, self._clock, self._task, self._report = plan, clock, task, report
        self._files: OrderedDict[Path, Appended] = OrderedDict()
        self._finished: list[Appended] = []
        self.published = 0

    def __len__(self) -> int:
        return len(self._files)

    def recover(self) -> None:
        """Publishes what earlier runs left, as far as nobody else writes it, whatever their format and compression."""
        layout = self._plan.layout
        try:
            found = list(leftovers(layout.root, layout.patterns(STAMP)))
        except OSError as error:  # a folder may be written to that cannot be listed
            error.add_note(f"whether a run that was killed left files in {layout.root} cannot be seen")
            return self._report(error)
        for path in found:
            try:
                target, tag = shown(path)
                self.published += recover(target, Staged.of_tag(tag), self._plan.sync)
            except Exception as error:
                self._say(error, path)

    def get(self, place: Path) -> Appended:
        """The open file of a place.

        Raises:
            OSError: it cannot be opened, or another cannot be closed for it.
        """
        if (file := self._files.get(place)) is None:
            while len(self._files) >= self._plan.max_open:
                self.finish(next(iter(self._files)))
            file = self._files[place] = self._opened(place)
        self._files.move_to_end(place)
        return file

    def room(self, place: Path) -> int:
        """Rows that a place's file still takes, at least one: it is published when it is full, or as soon as it can."""
        if (limits := self._plan.limits) is None:
            return sys.maxsize
        file = self._files.get(place)
        return int(max(1, min(limits.rows - (file.rows if file else 0), sys.maxsize)))

    def finish(self, place: Path) -> None:
        """Closes a place's file, and publishes it. What cannot be published for now is kept for `publish_finished`."""
        if self._plan.sync:
            self._files[place].sync()
        self._finished.append(self._files.pop(place))
        self.publish_finished()

    def finish_if_full(self, place: Path) -> None:
        """Publishes a place's file if it has reached its size."""
        limits, file = self._plan.limits, self._files.get(place)
        if limits and file and limits.is_full(file.size, file.rows):
            self.finish(place)

    def finish_old(self) -> None:
        """Publishes the files that are old, or had no row for long."""
        if (limits := self._plan.limits) is None:
            return
        now_s = self._clock.monotonic()
        for place, file in list(self._files.items()):
            if limits.is_old(file.began_s, file.touched_s, now_s):
                self.finish(place)

    def finish_all(self) -> None:
        """Publishes all files, as far as that is possible.

        Raises:
            OSError: the first reason why one cannot be; those are published when the sink is next opened.
        """
        errors: list[OSError] = []
        for finish in [*(partial(self.finish, place) for place in self._files), self.publish_finished]:
            try:
                finish()
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def publish_finished(self) -> None:
        """Publishes what is finished.

        Raises:
            OSError: there is no room for now; the file waits for the next call.
        """
        while self._finished:
            file = self._finished[0]
            try:
                if file.target is not None:
                    self._publish(file.target, file.rows)
            except Exception as error:
                if isinstance(error, OSError) and error.errno in WAITS:
                    raise
                self._say(error, hidden(file.target or Path(), self._plan.staged))
            self._finished.remove(file)
            file.close()

    def _say(self, error: Exception, path: Path) -> None:
        """Reports a file that stays hidden until the sink is next opened; its rows are safe, and nothing else stops."""
        error.add_note(f"{path} cannot be published for now")
        self._report(error)

    def _publish(self, target: Path, rows: int) -> None:
        if not rows:
            hidden(target, self._plan.staged).unlink(missing_ok=True)
            return
        publish(target, self._plan.staged, self._plan.sync)
        self.published += 1

    def _opened(self, place: Path) -> Appended:
        plan, now_s = self._plan, self._clock.monotonic()
        if plan.limits is None:
            fd = open_visible(place, plan.format.log.ending, plan.sync)
            return Appended(fd, plan.format.encoder(is_begun=os.fstat(fd).st_size > 0), now_s, None)
        for number in range(1, TRIES):
            target = plan.layout.numbered(place, self._addition(number))
            if (fd := open_hidden(target, plan.staged, plan.sync)) is not None:
                return Appended(fd, plan.format.encoder(is_begun=False), now_s, target)
        raise FileExistsError(f"{place}: no name is free for another file")

    def _addition(self, number: int) -> str:
        """What tells the files of one place apart: when it was opened, and by which task."""
        now = self._clock.now()
        stamp = f"-{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}-{self._task}"
        return stamp if number == 1 else f"{stamp}-{number}"
