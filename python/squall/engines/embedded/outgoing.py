"""Lines on their way to another process: they wait for it while it does not read."""

from __future__ import annotations

import contextlib
import socket


class Outgoing:
    """What is sent on a connection; all of it goes through here, so lines stay whole.

    Bound: `most_bytes` wait; with more the other end counts as gone, so that it holds up nobody.
    """

    def __init__(self, connection: socket.socket, most_bytes: int) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.most_bytes = most_bytes
        self._waiting = bytearray()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the other end has not taken yet."""
        return len(self._waiting)

    def show(self, line: bytes) -> bool:
        """Adds a line. Whether the other end is still there."""
        self._waiting += line
        return self.flush()

    def flush(self) -> bool:
        """Sends what can be sent. Whether the other end is still there."""
        try:
            while self._waiting:
                del self._waiting[: self.connection.send(self._waiting)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return len(self._waiting) <= self.most_bytes

    def end(self, line: bytes, within_s: float) -> None:
        """Sends what waits and a last line, if the other end takes it soon, and closes."""
        with contextlib.suppress(OSError):
            self.connection.settimeout(within_s)
            self.connection.sendall(self._waiting + line)
        self.connection.close()
