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

    Bound: a connection whose peer does not take its answer within a second is closed. A command of more than 64 KiB is
        refused here, as it would be by the worker.
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
            _answer(asker, answer)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(1)
        buffer = sockets.LineBuffer(sockets.MAX_COMMAND_BYTES, lambda: _refuse(connection))
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
            self._pass_on(connection, request)

    def _pass_on(self, connection: socket.socket, request: dict[str, Any]) -> None:
        numbered = request | {"id": self._next_id}
        if len(sockets.line(numbered)) > sockets.MAX_COMMAND_BYTES:  # the number and escapes have made it longer
            return _refuse(connection)
        self._askers[self._next_id] = connection
        self._next_id += 1
        self._ask(numbered)


def _refuse(asker: socket.socket) -> None:
    _answer(asker, {"error": f"a command of more than {sockets.MAX_COMMAND_BYTES} bytes"})


def _answer(asker: socket.socket, answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        asker.sendall(sockets.line(answer))
