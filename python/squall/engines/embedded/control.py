"""Commands from other processes, passed on to the worker; its answers go back to who asked.

`{"cmd": "events"}` is answered here, by the run's events from then on: the first says how it was started, the second
how it stands.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable
from typing import Any

from squall.engines.embedded import sockets
from squall.engines.embedded.followers import Followers

Answered = Callable[[dict[str, Any]], None]


class Control:
    """The connections to the control socket.

    Bound: a connection whose peer does not take its answer within a second is closed; so is one that does not take
        events (see `Followers`). A command of more than 64 KiB is refused here, as it would be by the worker.
    """

    def __init__(self, listener: socket.socket, ask: Callable[[dict[str, Any]], None], followers: Followers) -> None:
        self._listener, self._ask, self._followers = listener, ask, followers
        self._askers: dict[int, tuple[socket.socket | None, Answered]] = {}
        self._next_id = 1

    def register(self, selector: selectors.BaseSelector) -> None:
        """Has the selector call this object when something comes."""
        selector.register(self._listener, selectors.EVENT_READ, lambda: self._accept(selector))

    def ask(self, request: dict[str, Any], answered: Answered, asker: socket.socket | None = None) -> None:
        """Passes a command on to the worker; `answered` gets what it says, if it says anything."""
        number, self._next_id = self._next_id, self._next_id + 1
        self._askers[number] = (asker, answered)
        self._ask(request | {"id": number})

    def answered(self, answer: dict[str, Any]) -> None:
        """Passes an answer of the worker on."""
        _, take = self._askers.pop(answer["id"], (None, None))
        if take is not None:
            take(answer)

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
            self._askers = {number: asked for number, asked in self._askers.items() if asked[0] is not connection}
        for request in buffer.feed(data):
            self._take(connection, request, selector)

    def _take(self, connection: socket.socket, request: dict[str, Any], selector: selectors.BaseSelector) -> None:
        if request.get("cmd") == "events":
            selector.unregister(connection)
            return self._followers.add(connection, selector)
        # Its number makes it longer, and so do escapes.
        if len(sockets.line(request | {"id": self._next_id})) > sockets.MAX_COMMAND_BYTES:
            return _refuse(connection)
        self.ask(request, lambda answer: _answer(connection, answer), connection)


def _refuse(asker: socket.socket) -> None:
    _answer(asker, {"error": f"a command of more than {sockets.MAX_COMMAND_BYTES} bytes"})


def _answer(asker: socket.socket, answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        asker.sendall(sockets.line(answer))
