"""What a sender keeps until it is receipted, and where its connection stands in it. Pure.

Records wait in batches, so that giving, sending and forgetting them costs little for each. A receipt counts since its
connection opened; here it becomes a count since the beginning. After a break what is not receipted is given again,
exactly from the first such record on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

BATCH_RECORDS, BATCH_BYTES = 1024, 128 << 10
"""Where records that are added one by one begin a new batch."""


class Batch:
    """Records that are sent and forgotten together."""

    __slots__ = ("bytes", "records")

    def __init__(self, records: list[bytes]) -> None:
        self.records, self.bytes = records, sum(map(len, records))


class Kept:
    """Records in order: receipted (gone), given to the connection, waiting.

    Bound: none here; who adds asks `records` and `bytes`, the amount that is kept, before.
    """

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._open: Batch | None = None
        self._given_batches = 0
        self._ended_of_first = 0
        self._at_opening = 0
        self.added = 0
        """Records added so far."""
        self.given = 0
        """Records before this one were given to the present connection, or receipted."""
        self.receipted = 0
        """Records receipted so far, on all connections."""
        self.resent = 0
        """How often a record was given that an earlier connection had been given."""
        self.bytes = 0
        """Bytes that are kept; those of a batch are, until all of it is receipted."""

    @property
    def records(self) -> int:
        """How many records are kept."""
        return self.added - self.receipted

    @property
    def waiting(self) -> bool:
        """Whether there is something that the present connection was not given."""
        return self.given < self.added

    def add(self, record: bytes) -> None:
        """Adds one record."""
        batch, size = self._open, len(record)
        if batch is None or len(batch.records) >= BATCH_RECORDS or batch.bytes >= BATCH_BYTES:
            batch = self._open = Batch([])
            self._batches.append(batch)
        # An interrupt comes after a call: the one that adds it is the last step, here as in `extend`.
        batch.bytes += size
        self.added += 1
        self.bytes += size
        batch.records.append(record)

    def extend(self, records: list[bytes]) -> None:
        """Adds records, which are not changed any more, as a batch of their own."""
        if not records:
            return
        batch, count = Batch(records), len(records)
        self._open = None
        self.added += count
        self.bytes += batch.bytes
        self._batches.append(batch)

    def opened(self) -> None:
        """A new connection: it is given everything that is not receipted, and counts from here."""
        if self._ended_of_first:
            first = self._batches[0]
            self._batches[0] = Batch(first.records[self._ended_of_first :])
            self.bytes += self._batches[0].bytes - first.bytes
            self._ended_of_first = 0
        self.resent += self.given - self.receipted
        self._given_batches = 0
        self.given = self._at_opening = self.receipted

    def take(self, about_bytes: int) -> Sequence[Batch]:
        """The next batches for the connection, until they have about so many bytes; none if nothing waits."""
        taken: list[Batch] = []
        size = 0
        while self._given_batches < len(self._batches) and size < about_bytes:
            batch = self._batches[self._given_batches]
            self._given_batches += 1
            taken.append(batch)
            size += batch.bytes
            self.given += len(batch.records)
        if taken and taken[-1] is self._open:
            self._open = None
        return taken

    def receipt(self, count: int) -> bool:
        """Forgets what a receipt of the present connection says. Whether that can be: it never shrinks nor exceeds."""
        receipted = self._at_opening + count
        if not self.receipted <= receipted <= self.given:
            return False
        ended = self._ended_of_first + receipted - self.receipted
        while self._batches and ended >= len(self._batches[0].records):
            batch = self._batches.popleft()
            ended -= len(batch.records)
            self._given_batches -= 1
            self.bytes -= batch.bytes
        self._ended_of_first, self.receipted = ended, receipted
        return True

    def all_given(self) -> None:
        """Without receipts: what was given is out of the sender's hands."""
        self.receipt(self.given - self._at_opening)
