"""Chunks on their way out of a spout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from squall.api.context import TopologyContext
from squall.connectors.files.reading.chunks import Bad, Chunk


class Outgoing:
    """The outputs of one chunk: rows are handed out, bad records become dead letters, all in their order.

    `given`: how many outputs were handed out, of all chunks.
    """

    def __init__(self, context: TopologyContext) -> None:
        self._context = context
        self._rows: list[Any] = []
        self._bad: Mapping[int, Bad] = {}
        self._at = self.given = 0

    @property
    def is_empty(self) -> bool:
        """Whether the chunk is all out."""
        return self._at >= len(self._rows)

    def load(self, chunk: Chunk, skip: int = 0) -> None:
        """Takes the next chunk, without its first outputs."""
        self._rows, self._at = chunk.rows, skip
        self._bad = {at: bad for at, bad in chunk.bad.items() if at >= skip}

    def take(self, limit: int) -> list[Any]:
        """The next rows; with the dead letters before them at most `limit`."""
        first = self._at
        if self._bad:
            self._bury(limit)
        end = min(first + limit, len(self._rows), min(self._bad, default=len(self._rows)))
        rows = self._rows[self._at : end]
        self._at = end
        self.given += end - first
        return rows

    def _bury(self, limit: int) -> None:
        """Makes dead letters of the bad records that come next."""
        last = self._at + limit
        while self._at < last and (bad := self._bad.get(self._at)) is not None:
            self._context.dead_letter(*bad.values, error=bad.error)
            self._at += 1
        self._bad = {at: bad for at, bad in self._bad.items() if at >= self._at}
