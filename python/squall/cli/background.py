"""Outputs that are written by a thread of their own, so that who does not read them holds up nothing else.

A pager that is not scrolled, a terminal after Ctrl-S: the run goes on, its dead are replaced, and what it tells waits.
One thread for all of them keeps the order in which people see results and complaints.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from threading import Condition, Thread

from squall.runtime.output import StandardOutput

BEHIND_BYTES = 64 << 10
"""Bytes that may wait before what comes again anyway is left out: several reports, or screens."""
MOST_BYTES = 1 << 20


class BackgroundOutput:
    """What is written to a descriptor, and what to others meanwhile, comes there in order, at some time.

    `caught_up_fd` can be read when it is not behind any more.

    Bound: with more than 1 MiB waiting `write` waits for the reader; with half of that `offer` leaves out.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._changed = Condition()
        self._waiting: deque[tuple[StandardOutput, bytes]] = deque()
        self._bytes = 0
        self._error: OSError | None = None
        self._thread: Thread | None = None
        self._closed = False
        self.caught_up_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def is_behind(self) -> bool:
        """Whether much that was written has not been taken yet."""
        return self._bytes > BEHIND_BYTES

    def write(self, data: bytes, to: int | None = None) -> None:
        """Has it written; `to`: another descriptor.

        Raises:
            BrokenPipeError: nobody reads any more.
            OSError: what is behind it cannot take it, or could not take what was written before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < MOST_BYTES or self._error is not None)
            self._raise()
            self._waiting.append((StandardOutput(self._fd if to is None else to), data))
            self._bytes += len(data)
            self._changed.notify_all()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="squall-output", daemon=True)
            self._thread.start()

    def offer(self, data: bytes, to: int | None = None) -> None:
        """Has it written, as `write` does, unless much waits already: it can be left out."""
        if self._bytes < MOST_BYTES // 2:
            self.write(data, to)

    def flush(self) -> None:
        """Waits until all is written.

        Raises:
            OSError: as of `write`.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes or self._error is not None)
            self._raise()

    def close(self) -> None:
        """Waits until all is written, and ends. May be called again.

        Raises:
            OSError: as of `write`.
        """
        if self._closed:
            return
        try:
            self.flush()
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            if self._thread is not None:
                self._thread.join()
            os.close(self.caught_up_fd)

    def caught_up(self) -> None:
        """Takes note that `caught_up_fd` could be read."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.caught_up_fd)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                out, data = self._waiting.popleft()
            try:
                out.write(data)
            except OSError as error:
                return self._end(error)
            with self._changed:
                was_behind, self._bytes = self.is_behind, self._bytes - len(data)
                if was_behind and not self.is_behind:
                    os.eventfd_write(self.caught_up_fd, 1)
                self._changed.notify_all()

    def _end(self, error: OSError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
