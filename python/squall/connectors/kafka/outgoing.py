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
    """

    key: Key
    rows: Sequence[Row]
    offsets: Sequence[int]
    bad: Mapping[int, tuple[Row, Exception]] = field(default_factory=dict[int, tuple[Row, Exception]])
    skip_to: int | None = None
    at: int = 0


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

    def take(self, limit: int) -> list[Row]:
        """The next rows; with the dead letters before them at most `limit`.

        The letters are outputs that come before all rows that are returned, so a bad record ends what is taken, unless
        nothing was taken before it.
        """
        rows: list[Row] = []
        while self._stretches and limit > 0:
            stretch = self._stretches[0]
            if stretch.at in stretch.bad:
                if rows:
                    return rows
                self._offsets.given(stretch.key, self.given, stretch.offsets[stretch.at : stretch.at + 1])
                self._bury(*stretch.bad[stretch.at])
                count = 1
            else:
                end = min(stretch.at + limit, len(stretch.rows), _next(stretch.bad, stretch.at, len(stretch.rows)))
                count = end - stretch.at
                self._offsets.given(stretch.key, self.given, stretch.offsets[stretch.at : end])
                rows = [*rows, *stretch.rows[stretch.at : end]] if rows else list(stretch.rows[stretch.at : end])
            stretch.at += count
            self.given += count
            limit -= count
            self._finish(stretch)
        return rows

    def _finish(self, stretch: Stretch) -> None:
        if stretch.at < len(stretch.rows):
            return
        if stretch.skip_to is not None:
            self._offsets.skipped(stretch.key, stretch.skip_to)
        self._stretches.popleft()


def _next(bad: Mapping[int, object], at: int, end: int) -> int:
    return min((place for place in bad if place >= at), default=end) if bad else end
