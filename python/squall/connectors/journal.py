"""Journals of sources: where records lie until they have ended (semantics 33)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from squall.connectors.framing import is_count
from squall.errors import Defect, StateError, TopologyError, repr_of

DEFAULT_JOURNAL_MAX = 1 << 30
LEAST_JOURNAL_MAX = 1 << 20
FIGURES = ("journal_bytes", "journal_waiting", "replayed")


@dataclass(frozen=True, slots=True)
class Journal:
    """A directory with a journal for each task.

    Bound: `most_bytes` for each task, and what is stored at one time.
    """

    directory: Path
    most_bytes: int

    def of_task(self, part: int, parts: int) -> tuple[str, int]:
        """The directory of one task and its bound, as the core takes them.

        Raises:
            StateError: `journal_tasks`.
        """
        if part == 0 and (left := sorted(self._beyond(parts))):
            message = f"{self.directory} holds records of {left[-1] + 1} tasks, and the spout has {parts} now"
            fix = f"run it with parallelism={left[-1] + 1} until they have ended, or move those directories away"
            facts = (("not taken", ", ".join(str(self.directory / str(number)) for number in left)),)
            raise StateError(Defect("journal_tasks", message, facts, fix))
        return str(self.directory / str(part)), self.most_bytes

    def _beyond(self, parts: int) -> set[int]:
        """Numbers of tasks that there were once, and whose records have not all ended."""
        segments = self.directory.glob("*/*.journal")
        numbers = {int(name) for segment in segments if (name := segment.parent.name).isdecimal()}
        return {number for number in numbers if number >= parts}


def journal_of(who: str, directory: object, most_bytes: object) -> Journal | None:
    """What the arguments `journal` and `journal_max` say.

    Raises:
        TopologyError: `tcp_journal`.
    """
    if not is_count(most_bytes) or not isinstance(most_bytes, int) or not LEAST_JOURNAL_MAX <= most_bytes < 1 << 62:
        fix = f"give bytes as a whole number, from {LEAST_JOURNAL_MAX} on"
        raise TopologyError(Defect("tcp_journal", f"{who} has journal_max={repr_of(most_bytes)}", (), fix))
    if directory is None:
        return None
    if isinstance(directory, str | os.PathLike):
        path: object = os.fspath(cast("str | os.PathLike[Any]", directory))
        if isinstance(path, str) and path and "\0" not in path:
            return Journal(Path(path).absolute(), most_bytes)
    fix = 'name a directory: journal="orders-journal"'
    raise TopologyError(Defect("tcp_journal", f"{who} has journal={repr_of(cast(object, directory))}", (), fix))
