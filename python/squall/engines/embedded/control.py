"""Commands from other processes, passed on to the worker; its answers go back to who asked."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable
from typing import Any

from squall.engines.embedded import sockets


class Control:
    """The connections to the control socket.

    Bound: a connection whose peer does not take its answer within a second is closed.
    """

    def __init__(self, listener: socket.socket, ask: Callable[[dict[str, Any]], None]) -> None:
        self._listener, self._ask = listener, ask
        self._askers: dict[int, socket.socket] = {}
        self._next_id = 1

    def register(self, selector: selectors.BaseSelector) -> None:
        """Has the selector call this object when something comes."""
        selector.register(self._listener, selectors.EVENT_READ, lambda: self._accept(selector))

    def answered(self, answer: dict[str, Any]) -> None:
        """Passes an answer of the worker on."""
        asker = self._askers.pop(answer["id"], None)
        if asker is not None:
            with contextlib.suppress(OSError):
                asker.sendall(sockets.line(answer))

    def _accept(self, selector: selectors.BaseSelector) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(1)
        buffer = sockets.LineBuffer()
        selector.register(connection, selectors.EVENT_READ, lambda: self._read(connection, buffer, selector))

    def _read(self, connection: socket.socket, buffer: sockets.LineBuffer, selector: selectors.BaseSelector) -> None:
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            selector.unregister(connection)
            connection.close()
            self._askers = {number: asker for number, asker in self._askers.items() if asker is not connection}
        for request in buffer.feed(data):
            self._askers[self._next_id] = connection
            self._ask(request | {"id": self._next_id})
            self._next_id += 1
