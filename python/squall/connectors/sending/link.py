"""One outgoing connection that does not block: waiting, reading, writing, its end."""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress

READ_BYTES = 64 << 10


class Wake:
    """Ends another thread's wait for a connection."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __call__(self) -> None:
        """Ends the wait, or the next one."""
        if self.fd >= 0:
            os.eventfd_write(self.fd, 1)

    def taken(self) -> None:
        """The wait has ended."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        """Nobody waits any more."""
        os.close(self.fd)
        self.fd = -1


class Link:
    """A plain connection."""

    reads_after_half_close = True
    """Whether what the other side still has to say is not lost by ending this half."""

    def __init__(self, sock: socket.socket, wake: Wake) -> None:
        self._sock, self._wake = sock, wake
        self._poll = select.poll()
        self._poll.register(wake.fd, select.POLLIN)
        self._reads_to_write = False

    def wait(self, writing: bool, timeout_s: float | None) -> None:
        """Waits until there is something to read, room to write if that is wanted, or someone wakes it."""
        writable = select.POLLOUT if writing and not self._reads_to_write else 0
        self._poll.register(self._sock, select.POLLIN | writable)
        ready = self._poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000)
        if any(fd == self._wake.fd for fd, _ in ready):
            self._wake.taken()

    def read(self) -> bytes | None:
        """What has come; None if nothing has, nothing in it if nothing more will.

        Raises:
            OSError: the connection is broken.
        """
        try:
            return self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return None

    def write(self, data: memoryview) -> int:
        """How many bytes of `data` the system took.

        Raises:
            OSError: the connection is broken.
        """
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def half_close(self) -> None:
        """Nothing more will be written; what the other side still has to say can be read."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Ends it."""
        self._sock.close()


class TlsLink(Link):
    """A connection with TLS."""

    reads_after_half_close = False  # OpenSSL looks for the other side's answer, and drops what comes before it

    def read(self) -> bytes | None:
        """As of a plain connection."""
        import ssl

        try:
            data = self._sock.recv(READ_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        self._reads_to_write = False
        return data

    def write(self, data: memoryview) -> int:
        """As of a plain connection."""
        import ssl

        try:
            return self._sock.send(data)
        except ssl.SSLWantWriteError:
            return 0
        except ssl.SSLWantReadError:
            self._reads_to_write = True
            return 0

    def half_close(self) -> None:
        """Tells the other side that nothing more will come."""
        import ssl

        assert isinstance(self._sock, ssl.SSLSocket)
        with suppress(OSError, ValueError):  # the other side's answer is not there yet, or it is gone
            self._sock.unwrap()

    def close(self) -> None:
        """Ends it, in a way that tells the other side that nothing was cut off."""
        self.half_close()
        super().close()
