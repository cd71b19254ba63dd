"""How far a source that is polled has read, and how far that has ended. Pure.

A poll is a sweep: pages of rows in the order of the cursor and then of the key, until one is not full. Without a lag a
sweep begins after the last row. With one it begins so much before the newest cursor that was there when the sweep
before began, and leaves out what was read already: what was committed since then is no older than that, even if the
pages had passed its place. The alternative, to read only up to `lag` ago, needs no memory of what was seen, but makes
every row late and trusts that the clocks of this machine and of who writes the rows agree.

Position: without a lag the last row up to which all outputs have ended. With one a cursor: all that has not ended, or
is yet to be committed, is no older than the lag before it. It is that of the last row up to which all have ended, but
no newer than what was there when the row's sweep began.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

Mark: TypeAlias = tuple[Any, ...]
"""A row's cursor and key."""

_KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "int": (int, str, int),
    "float": (float, repr, float),
    "str": (str, str, str),
}


@dataclass(frozen=True, slots=True)
class Start:
    """Where a page begins: after `mark`, or with rows whose cursor is `mark[0]` if it has nothing else."""

    mark: Mark


class Polling:
    """What one task has read.

    Args:
        lag: in the cursor's unit, of times in seconds; 0: rows are committed in the order of their cursor.
        begin: the cursor of the first row that is wanted.

    Bound: a mark for each row within the lag, and one for each output that has not ended.
    """

    def __init__(self, lag: float, begin: Any = None) -> None:
        self._lag = lag
        self._first = None if begin is None else Start((begin,))
        self._last: Mark | None = None
        self._page: Mark | None = None
        self._base: Any = None
        self._newest: Any = None
        self._seen: dict[Mark, None] = {}
        self._given = 0
        self._open = deque[tuple[int, Mark]]()
        self._ended: Mark | None = None

    @property
    def wants_newest(self) -> bool:
        """Whether a sweep is to begin that has to know what is there: `begin` is to be called."""
        return bool(self._lag) and self._page is None

    def begin(self, newest: Any) -> None:
        """A sweep begins while this is the newest cursor of all rows; None: there is no row."""
        self._newest = newest

    def start(self) -> Start | None:
        """Where the next page begins; None: with the first row."""
        if self._page is not None:
            return Start(self._page)
        if self._base is not None:
            return Start((self._before(self._base),))
        return self._first if self._last is None else Start(self._last)

    def take(self, marks: Sequence[Mark], *, is_full: bool) -> list[int]:
        """Which rows of a page are new; `is_full`: more may follow in this sweep."""
        fresh = [number for number, mark in enumerate(marks) if mark not in self._seen]
        for number in fresh:
            self._open.append((self._given, self._safe(marks[number])))
            self._given += 1
        self._page = marks[-1] if is_full else None
        if not self._lag:
            self._last = marks[-1] if marks else self._last
        elif self._newest is not None:
            low = self._before(self._newest)
            self._seen.update((marks[number], None) for number in fresh if marks[number][0] >= low)
            if self._page is None:
                self._base = self._newest
                self._seen = {mark: None for mark in self._seen if mark[0] >= low}
        return fresh

    def _safe(self, mark: Mark) -> Mark:
        """What the position may be when all up to this row have ended."""
        return mark if not self._lag or self._newest is None else (min(mark[0], self._newest),)

    def ended(self, prefix: int) -> None:
        """So many outputs have ended, counted from the first."""
        while self._open and self._open[0][0] < prefix:
            _, mark = self._open.popleft()
            if self._ended is None or not self._lag or mark[0] > self._ended[0]:
                self._ended = mark

    def encode(self) -> bytes:
        """The position."""
        return json.dumps(None if self._ended is None else [_written(one) for one in self._ended]).encode()

    def restore(self, position: bytes) -> None:
        """Goes on at a position.

        Raises:
            ValueError: it is none.
        """
        given = json.loads(position)
        try:
            mark = None if given is None else tuple([_read(*one) for one in given])
        except (TypeError, KeyError) as error:
            raise ValueError(f"no position of a SqlSpout: {position[:100]!r}") from error
        self._ended = mark
        if self._lag and mark is not None:
            self._base = mark[0]
        else:
            self._last = mark

    def _before(self, cursor: Any) -> Any:
        if isinstance(cursor, date):  # a datetime is one too
            return cursor - timedelta(seconds=self._lag)
        return cursor - type(cursor)(self._lag)


def is_measured(cursor: type | None) -> bool:
    """Whether there is a distance between two cursors of a type: numbers and times have one; None: not known."""
    return cursor is None or issubclass(cursor, int | float | Decimal | date)


def behind(newest: Any, read: Any) -> float:
    """How far a cursor is behind the newest one; of times in seconds."""
    if newest is None or newest <= read:
        return 0.0
    distance = newest - read
    return distance.total_seconds() if isinstance(distance, timedelta) else float(distance)


def _written(value: Any) -> tuple[str, str]:
    for name, (kind, write, _) in _KINDS.items():
        if isinstance(value, kind):
            return name, write(value)
    raise TypeError(f"a cursor or key cannot be a {type(value).__name__}")


def _read(name: str, text: str) -> Any:
    return _KINDS[name][2](text)
