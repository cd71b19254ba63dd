"""Records on their way out of a spout, in the order in which they were fetched. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from squall.connectors.kafka.offsets import Key, Offsets

Row = tuple[Any, ...]


@dataclass(slots=True)
class Stretch:
    """Records of one partition that follow each other.

    Args:
        bad: what cannot be emitted, by its place in `rows`: what is left of it, and why.
        skip_to: no record comes before this offset after these; None: that is not known.
        is_last: what comes after these of the partition is read from elsewhere.
    """

    key: Key
    rows: Sequence[Row]
    offsets: Sequence[int]
    bad: Mapping[int, tuple[Row, Exception]] = field(default_factory=dict[int, tuple[Row, Exception]])
    skip_to: int | None = None
    is_last: bool = False
    at: int = 0

    def end(self, limit: int) -> int:
        """The place after the next ones that can be given together: a bad one is given alone."""
        if self.at in self.bad:
            return self.at + 1
        return min(self.at + limit, len(self.rows), *(place for place in self.bad if place > self.at))


class Outgoing:
    """Stretches that wait to be given.

    Args:
        bury: makes a dead letter of a record; that is an output too.

    Bound: what one fetch brought.
    """

    def __init__(self, offsets: Offsets, bury: Callable[[Row, Exception], None]) -> None:
        self._offsets, self._bury = offsets, bury
        self._stretches: deque[Stretch] = deque()
        self.given = 0
        """Outputs so far."""

    @property
    def is_empty(self) -> bool:
        """Whether all is out."""
        return not self._stretches

    def add(self, stretch: Stretch) -> None:
        """Takes records that were fetched."""
        self._stretches.append(stretch)

    def drop(self, keys: Iterable[Key]) -> None:
        """Forgets what waits of these partitions."""
        gone = set(keys)
        self._stretches = deque(one for one in self._stretches if one.key not in gone)

    def head(self, limit: int) -> tuple[Key, int, int] | None:
        """Of which partition the next ones are, how many together, and the offset after them; None: there is none."""
        while self._stretches and not self._stretches[0].rows:
            self._finish(self._stretches[0])
        if not self._stretches or limit < 1:
            return None
        stretch = self._stretches[0]
        end = stretch.end(limit)
        return stretch.key, end - stretch.at, stretch.offsets[end - 1] + 1

    def take(self, limit: int) -> list[Row]:
        """The next rows; with the dead letters before them at most `limit`.

        The letters are outputs that come before all rows that are returned, so a bad record ends what is taken, unless
        nothing was taken before it.
        """
        rows: list[Row] = []
        while self._stretches and limit > 0:
            stretch = self._stretches[0]
            if stretch.at in stretch.bad and rows:
                return rows
            end = stretch.end(limit)
            count = end - stretch.at
            self._offsets.given(stretch.key, self.given, stretch.offsets[stretch.at : end])
            if stretch.at in stretch.bad:
                self._bury(*stretch.bad[stretch.at])
            else:
                rows = [*rows, *stretch.rows[stretch.at : end]] if rows else list(stretch.rows[stretch.at : end])
            stretch.at = end
            self.given += count
            limit -= count
            self._finish(stretch)
        return rows

    def _finish(self, stretch: Stretch) -> None:
        if stretch.at < len(stretch.rows):
            return
        if stretch.skip_to is not None:
            self._offsets.skipped(stretch.key, stretch.skip_to)
        if stretch.is_last:
            self._offsets.begin(stretch.key, None)
        self._stretches.popleft()
