"""What a program and its sending thread share: what is kept, who waits for whom, how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Condition, Lock

from squall.connectors.sending.kept import Kept
from squall.connectors.sending.link import Wake
from squall.errors import SquallError


@dataclass(frozen=True, slots=True)
class Sending:
    """How a sender stands; counts of records since its beginning."""

    added: int
    receipted: int
    """Receipted; without receipts, handed to the operating system."""
    resent: int
    """Sent again after a break: as many may have arrived twice."""
    kept_bytes: int
    connected: bool
    breaks: int
    trouble: str | None
    """Why there is no connection, while there should be one."""


class Outbox:
    """Records that are kept until they are receipted, and what is to be done with them.

    Bound: none; who adds looks at `kept` first.
    Threading: `lock` guards everything and is notified at each change.
    """

    def __init__(self) -> None:
        self.lock = Condition(Lock())
        self.kept = Kept()
        self.wake = Wake()
        self.is_idle = True
        """Whether the sending thread waits for something to send."""
        self.is_ending = False
        """Whether nothing more will be added."""
        self.is_stopped = False
        """Whether the sending thread is to end whatever is kept."""
        self.is_connected = False
        self.breaks = 0
        self.trouble: str | None = None
        self.error: SquallError | None = None
        """Why nothing will be sent any more."""

    def add(self, record: bytes) -> None:
        """Adds a record; the lock is held."""
        self.kept.add(record)
        if self.is_idle:
            self.rouse()

    def extend(self, records: list[bytes]) -> None:
        """Adds records, which are not changed any more; the lock is held."""
        self.kept.extend(records)
        if self.is_idle:
            self.rouse()

    def rouse(self) -> None:
        """Has the sending thread look again; the lock is held."""
        self.is_idle = False
        self.lock.notify_all()
        self.wake()

    def await_work(self) -> bool:
        """Waits until something is to be sent; False when nothing will be."""
        with self.lock:
            while not (self.kept.records or self.is_ending or self.is_stopped):
                self.is_idle = True
                self.lock.wait()
            self.is_idle = False
            return self.kept.records > 0 and not self.is_stopped

    def rest(self, pause_s: float) -> None:
        """Waits before the next try, unless it is to stop."""
        with self.lock:
            self.lock.wait_for(lambda: self.is_stopped, pause_s)

    def connected(self) -> None:
        """There is a new connection, which is given all that is kept."""
        with self.lock:
            self.kept.opened()
            self.is_connected, self.trouble = True, None
            self.lock.notify_all()

    def disconnected(self, why: str | None) -> None:
        """There is no connection any more, or none was to be had."""
        with self.lock:
            self.breaks += self.is_connected and why is not None
            self.is_connected, self.trouble = False, why
            self.lock.notify_all()

    def finished(self, error: SquallError | None) -> None:
        """The sending thread has ended."""
        with self.lock:
            self.is_connected, self.is_stopped, self.error = False, True, error
            self.wake.close()
            self.lock.notify_all()

    def sending(self) -> Sending:
        """How it stands now."""
        with self.lock:
            kept = self.kept
            return Sending(
                added=kept.added,
                receipted=kept.receipted,
                resent=kept.resent,
                kept_bytes=kept.bytes,
                connected=self.is_connected,
                breaks=self.breaks,
                trouble=self.trouble,
            )
