"""Records dealt to several connections, and how many of them, from the first one on, are receipted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

from squall.connectors.tcp_feeder import TcpFeeder

SLICES_A_SECOND = 20
"""How finely a rate is kept."""


@dataclass(frozen=True, slots=True)
class Dealt:
    """How it stands."""

    sent: int
    receipted: int
    """Of the records in order: everything before this one is receipted."""
    resent: int
    breaks: int
    connected: int
    trouble: str | None


class Dealing:
    """Gives each slice of records to the connection that keeps the fewest.

    Threading: one thread deals; any may ask how it stands.
    """

    def __init__(self, feeders: Sequence[TcpFeeder]) -> None:
        self._feeders = feeders
        self._slices: deque[tuple[TcpFeeder, int, int]] = deque()
        self._receipted = 0
        self._lock = Lock()
        self.sent = 0

    def deal(self, records: list[bytes]) -> None:
        """Sends some records; waits while all windows are full."""
        feeder = min(self._feeders, key=lambda feeder: feeder.sending.added - feeder.receipted)
        feeder.send_many(records)
        with self._lock:
            self._slices.append((feeder, feeder.sending.added, len(records)))
            self.sent += len(records)

    def all(self, slices: Iterable[list[bytes]]) -> None:
        """Sends all records, waits until they are receipted, and ends the connections."""
        for records in slices:
            self.deal(records)
        for feeder in self._feeders:
            feeder.close()

    def dealt(self) -> Dealt:
        """How it stands now."""
        standing = [feeder.sending for feeder in self._feeders]
        with self._lock:
            return Dealt(
                sent=self.sent,
                receipted=self._in_order(),
                resent=sum(one.resent for one in standing),
                breaks=sum(one.breaks for one in standing),
                connected=sum(one.connected for one in standing),
                trouble=next((one.trouble for one in standing if one.trouble), None),
            )

    def abort(self) -> None:
        """Ends the connections now."""
        for feeder in self._feeders:
            feeder.abort()

    def _in_order(self) -> int:
        while self._slices:
            feeder, upto, count = self._slices[0]
            missing = max(0, upto - feeder.receipted)
            if missing:
                return self._receipted + max(0, count - missing)
            self._slices.popleft()
            self._receipted += count
        return self._receipted


def paced(slices: Iterator[list[bytes]], rate_per_s: float | None) -> Iterator[list[bytes]]:
    """The same records, so many a second."""
    if rate_per_s is None:
        yield from slices
        return
    most, began_s, given = max(1, int(rate_per_s / SLICES_A_SECOND)), time.monotonic(), 0
    for records in slices:
        for at in range(0, len(records), most):
            some = records[at : at + most]
            if (early_s := began_s + given / rate_per_s - time.monotonic()) > 0:
                time.sleep(early_s)
            yield some
            given += len(some)
