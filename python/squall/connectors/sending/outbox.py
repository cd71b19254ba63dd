"""What a program and its sending thread share: what is kept, who waits for whom, how it stands.

A program's main thread may be interrupted (Ctrl-C) at the end of any call, and go on. `with` takes and leaves a plain
lock without such a moment between that and being bound to leave it; the methods of a `Condition` have several. So the
lock is a plain one, and nobody waits while holding it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import TIMEOUT_MAX, Lock, get_ident

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
    Threading: `lock` guards everything; who changes something that others wait for calls `tell`.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self._waiting: dict[int, Lock] = {}
        """By thread, what is let go of at the next change."""
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
        self.tell()
        self.wake()
        self.is_idle = False  # last: interrupted before, it is roused again by the next record

    def tell(self) -> None:
        """Has those who wait look again; the lock is held."""
        for change in self._waiting.values():
            if change.locked():  # else an interrupted `tell` was here before
                change.release()
        self._waiting.clear()

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Asks `is_so`, with the lock, now and after each change, until it says yes. Whether it did in time."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self.lock:
                if is_so():
                    return True
                left_s = -1.0 if deadline_s is None else deadline_s - time.monotonic()
                if deadline_s is not None and left_s <= 0:
                    return False
                change = self._next_change()
            change.acquire(timeout=min(left_s, TIMEOUT_MAX))

    def _next_change(self) -> Lock:
        """A lock that cannot be had before the next change."""
        change = Lock()
        change.acquire()
        self._waiting[get_ident()] = change
        return change

    def await_work(self) -> bool:
        """Waits until something is to be sent; False when nothing will be."""
        self.wait_until(self._has_work)
        return self.kept.records > 0 and not self.is_stopped

    def _has_work(self) -> bool:
        has_work = self.kept.records > 0 or self.is_ending or self.is_stopped
        self.is_idle = not has_work
        return has_work

    def rest(self, pause_s: float) -> None:
        """Waits before the next try, unless it is to stop."""
        self.wait_until(lambda: self.is_stopped, pause_s)

    def connected(self) -> None:
        """There is a new connection, which is given all that is kept."""
        with self.lock:
            self.kept.opened()
            self.is_connected, self.trouble = True, None
            self.tell()

    def disconnected(self, why: str | None) -> None:
        """There is no connection any more, or none was to be had."""
        with self.lock:
            self.breaks += self.is_connected and why is not None
            self.is_connected, self.trouble = False, why
            self.tell()

    def finished(self, error: SquallError | None) -> None:
        """The sending thread has ended."""
        with self.lock:
            self.is_connected, self.is_stopped, self.error = False, True, error
            self.wake.close()
            self.tell()

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
