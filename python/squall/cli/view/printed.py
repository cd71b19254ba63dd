"""What sinks print, on a terminal that also has the live view: it comes through a pipe and scrolls by above.

Bound: the pipe; a terminal that does not keep up holds up the sinks, and no line is left out. Order is as it was
written. A line that has no end yet waits for it, up to 1 MiB: what is longer is shown in parts, a line each.
"""

from __future__ import annotations

import os
from collections.abc import Callable

READ_BYTES = 1 << 16
LONGEST_BYTES = 1 << 20
"""Bytes of a line without an end at which what there is of it is shown."""


class Printed:
    """A pipe for a worker to write to; `show` gets whole lines."""

    def __init__(self, show: Callable[[bytes], None]) -> None:
        self._show = show
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_fd, False)
        self._rest = b""

    def take(self) -> None:
        """Shows what has come."""
        self._take()

    def _take(self) -> bool:
        """Whether something had come."""
        try:
            data = os.read(self.read_fd, READ_BYTES)
        except BlockingIOError:
            return False
        whole, feed, self._rest = (self._rest + data).rpartition(b"\n")
        if feed:
            self._show(whole + feed)
        if len(self._rest) >= LONGEST_BYTES:
            self._show(self._rest + b"\n")
            self._rest = b""
        return bool(data)

    def close(self) -> None:
        """Shows what is left; who still writes is told that nobody reads any more."""
        os.close(self.write_fd)
        try:
            while self._take():
                pass
            if self._rest:
                self._show(self._rest + b"\n")
        finally:
            os.close(self.read_fd)
