"""A receiver with receipts, as small as semantics rule 32 allows: it can be told to lag, to break, to be silent."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path

Cut = Callable[[bytes], tuple[list[bytes], bytes]]
"""The whole records of what has come, and the rest."""


def lines(data: bytes) -> tuple[list[bytes], bytes]:
    *records, rest = data.split(b"\n")
    return records, rest


class Receiver:
    """Takes connections on a port (or path) that it keeps, and counts every record of a connection as ended at once.

    Args:
        breaks_after: chooses after how many records a connection is reset, before they are receipted.
        receipts: whether it sends any.
        reads: while this is not set nothing is read.
    """

    def __init__(
        self,
        *,
        cut: Cut = lines,
        path: Path | None = None,
        tls: ssl.SSLContext | None = None,
        receipts: bool = True,
        breaks_after: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._cut, self._path, self._tls = cut, path, tls
        self.receipts, self.breaks_after = receipts, breaks_after
        self.reads = threading.Event()
        self.reads.set()
        self.records: list[bytes] = []
        self.connections = 0
        self.garbage = b""
        self._kept_port = _bound(0)  # never listens: the port is nobody else's while this one is stopped
        self._port = self._kept_port.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"unix:{self._path}" if self._path is not None else f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listens, again at the same address."""
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._path))
        else:
            listener = _bound(self._port)
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def stop(self) -> None:
        """Listens no more and resets what is connected: as if it was killed."""
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in list(self._open):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)  # its thread, which may wait for it, closes it

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.reads.set()
        self.stop()
        self._kept_port.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        self._open.add(link)
        with contextlib.suppress(OSError):
            if self._tls is not None:
                secured = self._tls.wrap_socket(link, server_side=True)
                self._open.discard(link)
                link = secured
                self._open.add(link)
            self.connections += 1
            if self.garbage:
                link.sendall(self.garbage)
            self._take(link)
        self._open.discard(link)
        with contextlib.suppress(OSError):
            link.close()

    def _take(self, link: socket.socket) -> None:
        rest, count, break_at = b"", 0, self.breaks_after()
        while True:
            self.reads.wait()
            data = link.recv(1 << 16)
            if not data:
                return
            records, rest = self._cut(rest + data)
            self.records += records
            count += len(records)
            if break_at is not None and count >= break_at:
                _reset(link)
                return
            if self.receipts and records:
                link.sendall(b"%d\n" % count)


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _reset(link: socket.socket) -> None:
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


def at_random(seed: int, most: int, times: int = 4) -> Callable[[], int | None]:
    """Breaks so many times, after a random number of records."""
    chance = random.Random(seed)
    breaks = iter([chance.randrange(1, most) for _ in range(times)])
    return lambda: next(breaks, None)
