"""Positions on their way to the disk: a thread waits for it, so that nothing else in the parent does."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread
from typing import TypeAlias

from squall.engines.embedded.positions import PositionStore
from squall.errors import ClusterError
from squall.runtime.positions import StoredPosition

Why: TypeAlias = OSError | ClusterError | None
"""Why a position is not stored; None: it is."""
Told: TypeAlias = Callable[[Why], None]


class Storing:
    """The thread that stores.

    Those that come while others are being stored go in one group. `fd` can be read when `tell` has something to tell.

    Threading: the store is this thread's from the first `put` until `finish` returns.
    Bound: each task of a spout has one position under way.
    """

    def __init__(self, store: PositionStore) -> None:
        self._store = store
        self._changed = Condition()
        self._waiting: list[tuple[StoredPosition, Told]] = []
        self._done: deque[tuple[Told, Why]] = deque()
        self._is_over = False
        self._thread: Thread | None = None
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def put(self, position: StoredPosition, told: Told) -> None:
        """Has a position stored; `tell` calls `told` then."""
        with self._changed:
            self._waiting.append((position, told))
            self._changed.notify()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="squall-positions", daemon=True)
            self._thread.start()

    def tell(self) -> None:
        """Tells of all that was stored, or could not be."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        while self._done:
            told, why = self._done.popleft()
            told(why)

    def finish(self) -> None:
        """Stores what waits, and tells of it."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.tell()

    def close(self) -> None:
        """Ends, as `finish` does."""
        self.finish()
        os.close(self.fd)

    def _run(self) -> None:
        while group := self._next():
            try:
                results: list[Why] = [*self._store.put(*(position for position, _ in group))]
            except (OSError, ClusterError) as error:
                results = [error] * len(group)
            self._done += [(told, why) for (_, told), why in zip(group, results, strict=True)]
            os.eventfd_write(self.fd, 1)

    def _next(self) -> list[tuple[StoredPosition, Told]]:
        """The next group; empty: it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_over)
            group, self._waiting = self._waiting, []
            return group
