"""Commands from other processes, passed on to the worker; its answers go back to who asked.

`{"cmd": "events"}` is answered here, by the run's events from then on: the first says how it was started, the second
how it stands.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from squall.engines.embedded import sockets
from squall.engines.embedded.followers import LAST_WORD_S, Followers
from squall.engines.embedded.viewer import Viewer

LATE_S = 5.0
"""How long the worker may take for an answer before the asker is told what it is busy with; less than askers wait."""
MAX_UNREAD_BYTES = 1 << 20
"""Bytes that wait for someone who looks at a tap and does not read."""

Answered = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that the worker has not answered yet. `connection` None: this very process asked."""

    answered: Answered
    since_s: float
    connection: socket.socket | None


class Control:
    """The connections to the control socket.

    A tap is a command whose answers go on: its connection gets lines of tuples until one of its ends closes it.

    Args:
        ask: sends a command to the worker.
        selector: has this object called when something comes.

    Bound: a connection whose peer does not take its answer within a second is closed, as is one that has let 1 MiB of
        a tap's lines wait. A command of more than 64 KiB is refused here, as it would be by the worker.
    """

    def __init__(
        self,
        listener: socket.socket,
        ask: Callable[[dict[str, Any]], None],
        selector: selectors.BaseSelector,
        followers: Followers,
    ) -> None:
        self._listener, self._ask, self._selector, self._followers = listener, ask, selector, followers
        self._asked: dict[int, Asked] = {}
        self._taps: dict[int, Viewer] = {}
        self._next_id = 1
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def ask(self, request: dict[str, Any], answered: Answered, connection: socket.socket | None = None) -> None:
        """Passes a command on to the worker; `answered` gets what it says, or what it is busy with."""
        number, self._next_id = self._next_id, self._next_id + 1
        self._asked[number] = Asked(answered, time.monotonic(), connection)
        self._ask(request | {"id": number})

    def answered(self, answer: dict[str, Any]) -> None:
        """Passes an answer of the worker on."""
        number = answer["id"]
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.answered(answer)
        if "tap" in answer:
            if asked is None or asked.connection is None:  # it has gone, or was told that the worker is busy
                return self._untap(number)
            self._taps[number] = Viewer(asked.connection, MAX_UNREAD_BYTES)

    def tapped(self, event: dict[str, Any]) -> None:
        """Passes the lines of a tap on."""
        viewer = self._taps.get(event["tap"])
        if viewer and not viewer.show(sockets.line({"rows": event["rows"], "counts": event["counts"]})):
            self._close(viewer.connection)

    def tell_stuck(self, component: str, running_s: float) -> None:
        """Tells those who look at taps why nothing comes, perhaps."""
        line = sockets.line({"stuck": [component, round(running_s, 1)]})
        for viewer in list(self._taps.values()):
            if not viewer.show(line):
                self._close(viewer.connection)

    def pass_time(self, busy_with: Callable[[], list[str]]) -> None:
        """Looks at who waits; called a few times a second."""
        for viewer in list(self._taps.values()):
            if not viewer.flush():
                self._close(viewer.connection)
        self._followers.pass_time()
        late_s = time.monotonic() - LATE_S
        for number, asked in list(self._asked.items()):
            if asked.since_s < late_s:
                del self._asked[number]
                asked.answered({"id": number, "busy_with": busy_with()})

    def end(self) -> None:
        """The run has ended: those who look at taps are told."""
        for viewer in self._taps.values():
            viewer.end(sockets.line({"ended": True}), LAST_WORD_S)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(1)
        buffer = sockets.LineBuffer(sockets.MAX_COMMAND_BYTES, lambda: _refuse(connection))
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(connection, buffer))

    def _read(self, connection: socket.socket, buffer: sockets.LineBuffer) -> None:
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._close(connection)
        for request in buffer.feed(data):
            self._take(connection, request)

    def _close(self, connection: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        connection.close()
        self._followers.drop(connection)
        self._asked = {number: asked for number, asked in self._asked.items() if asked.connection is not connection}
        for number in [number for number, viewer in self._taps.items() if viewer.connection is connection]:
            self._untap(number)

    def _untap(self, number: int) -> None:
        self._taps.pop(number, None)
        self._ask({"cmd": "untap", "tap": number})

    def _take(self, connection: socket.socket, request: dict[str, Any]) -> None:
        if request.get("cmd") == "events":
            return self._followers.add(connection)
        # Its number makes it longer, and so do escapes.
        if len(sockets.line(request | {"id": self._next_id})) > sockets.MAX_COMMAND_BYTES:
            return _refuse(connection)
        self.ask(request, lambda answer: _answer(connection, answer), connection)


def _refuse(asker: socket.socket) -> None:
    _answer(asker, {"error": f"a command of more than {sockets.MAX_COMMAND_BYTES} bytes"})


def _answer(asker: socket.socket, answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        asker.sendall(sockets.line(answer))
