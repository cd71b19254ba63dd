"""What a test feeds a mocked spout, kept over the lives of its tasks: what had not ended comes again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from squall import Batch, Exhausted, Spout
from squall.testing.sources import FOREVER_S, Fed, MockedSpout


@dataclass
class Feed:
    """Of one task: all that it was fed. `is_over`: nothing more comes."""

    rows: list[Fed] = field(default_factory=list[Fed])
    is_over: bool = False

    def append(self, fed: Fed) -> None:
        """One more."""
        self.rows.append(fed)


class Feeds:
    """All that was fed, by component and task."""

    def __init__(self, tasks: Mapping[str, int], mocked: Mapping[str, MockedSpout]) -> None:
        self._is_over = False
        self._feeds = {name: [Feed() for _ in range(tasks[name])] for name in mocked}
        for name, spout in mocked.items():
            spout.tasks.extend(self._feeds[name])

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self._is_over

    def of(self, spout: str, task: int) -> Feed | None:
        """What this task is fed; None: the spout is not mocked."""
        feeds = self._feeds.get(spout)
        return None if feeds is None else feeds[task]

    def are_over(self) -> None:
        """Nothing more comes."""
        self._is_over = True
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.is_over = True

    def counts(self) -> dict[str, int]:
        """How many rows each task was fed, by component and index."""
        return {f"{name}/{i}": len(feed.rows) for name, feeds in self._feeds.items() for i, feed in enumerate(feeds)}


class ReplayedSpout(Spout):
    """Stands in for one task of a mocked spout in one life, and begins behind what had ended in lives before."""

    idle_wait = FOREVER_S

    def __init__(self, feed: Feed, begins_at: int) -> None:
        self._feed, self._next = feed, begins_at

    def next_batch(self, limit: int) -> Batch | None:
        """The next rows, as far as they are for one stream."""
        rows = self._feed.rows
        if self._next >= len(rows):
            if self._feed.is_over:
                raise Exhausted
            return None
        first, stream = self._next, rows[self._next].stream
        while self._next < len(rows) and self._next - first < limit and rows[self._next].stream == stream:
            self._next += 1
        taken = rows[first : self._next]
        return Batch([fed.row for fed in taken], ids=[fed.message_id for fed in taken], stream=stream)

    def position(self) -> bytes:
        """Has the core count its outputs in order; where it goes on is what had ended when its worker was lost."""
        return b""
