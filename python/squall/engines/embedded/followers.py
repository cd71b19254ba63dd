"""Other processes that follow a run's events."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from typing import Any

from squall.engines.embedded import sockets

MAX_WAITING_BYTES = sockets.MAX_LINE_BYTES
LAST_WORDS_S = 1.0
"""How long a run that has ended waits for those who have not taken its last event."""
KEPT = ("started", "progress")
"""Events that who comes later gets first, the newest of each."""
PRIVATE = ("log",)
"""Events that are for the run's own terminal only."""


class Followers:
    """Connections that get each event of a run as a line.

    Bound: `MAX_WAITING_BYTES` wait for one that does not read; with more it is dropped, so that it holds up nobody.
    """

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}
        self._followers: dict[socket.socket, bytearray] = {}
        self._selector: selectors.BaseSelector | None = None

    def add(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        """Takes a connection that asked for events; nothing is read from it any more."""
        connection.setblocking(False)
        self._selector = selector
        self._followers[connection] = bytearray()
        selector.register(connection, selectors.EVENT_READ, lambda: self._ready(connection))
        self._offer(connection, b"".join(map(sockets.line, self._kept.values())))

    def tell(self, event: dict[str, Any]) -> None:
        """Tells everyone of one event."""
        kind = event["event"]
        if kind in KEPT:
            self._kept[kind] = event
        if self._followers and kind not in PRIVATE:
            line = sockets.line(event)
            for follower in [*self._followers]:
                self._offer(follower, line)

    def end(self) -> None:
        """Nothing looks at the connections any more: what is told now is sent by `close`."""
        self._selector = None

    def close(self) -> None:
        """The run is over: what waits is sent to those who take it soon."""
        deadline_s = time.monotonic() + LAST_WORDS_S
        for follower, waiting in self._followers.items():
            with contextlib.suppress(OSError):
                follower.settimeout(max(0.01, deadline_s - time.monotonic()))
                follower.sendall(waiting)
            follower.close()
        self._followers.clear()

    def _offer(self, follower: socket.socket, line: bytes) -> None:
        waiting = self._followers[follower]
        waiting += line
        self._send(follower)
        if len(waiting) > MAX_WAITING_BYTES:
            self._drop(follower)

    def _send(self, follower: socket.socket) -> None:
        waiting = self._followers[follower]
        try:
            while waiting:
                del waiting[: follower.send(waiting)]
        except BlockingIOError:
            pass
        except OSError:
            return self._drop(follower)
        if self._selector is not None:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0)
            self._selector.modify(follower, wanted, lambda: self._ready(follower))

    def _ready(self, follower: socket.socket) -> None:
        """It takes more, or it has gone."""
        try:
            gone = follower.recv(1 << 12) == b""
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        self._drop(follower) if gone else self._send(follower)

    def _drop(self, follower: socket.socket) -> None:
        if self._followers.pop(follower, None) is not None:
            if self._selector is not None:
                self._selector.unregister(follower)
            follower.close()
