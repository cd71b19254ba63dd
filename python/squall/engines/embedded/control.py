"""Commands from other processes, passed on to the worker; its answers go back to who asked."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

from squall.engines.embedded import sockets

LATE_S = 5.0
"""How long the worker may take for an answer before the asker is told what it is busy with; less than askers wait."""
MAX_UNREAD_BYTES = 1 << 20
"""Bytes that wait for someone who looks at a tap and does not read."""
LAST_WORD_S = 0.3


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
        self, listener: socket.socket, ask: Callable[[dict[str, Any]], None], selector: selectors.BaseSelector
    ) -> None:
        self._listener, self._ask, self._selector = listener, ask, selector
        self._askers: dict[int, tuple[socket.socket, float]] = {}
        self._taps: dict[int, _Viewer] = {}
        self._next_id = 1
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def answered(self, answer: dict[str, Any]) -> None:
        """Passes an answer of the worker on."""
        number = answer["id"]
        asker, _ = self._askers.pop(number, (None, 0.0))
        if asker is not None:
            _answer(asker, answer)
        if "tap" in answer:
            if asker is None:  # it has gone, or was told that the worker is busy
                return self._untap(number)
            asker.setblocking(False)
            self._taps[number] = _Viewer(asker)

    def tapped(self, event: dict[str, Any]) -> None:
        """Passes the lines of a tap on."""
        if viewer := self._taps.get(event["tap"]):
            viewer.waiting += sockets.line({"rows": event["rows"], "counts": event["counts"]})
            self._show(viewer)

    def tell_stuck(self, component: str, running_s: float) -> None:
        """Tells those who look at taps why nothing comes, perhaps."""
        for viewer in list(self._taps.values()):
            viewer.waiting += sockets.line({"stuck": [component, round(running_s, 1)]})
            self._show(viewer)

    def pass_time(self, busy_with: Callable[[], list[str]]) -> None:
        """Looks at who waits; called a few times a second."""
        for viewer in list(self._taps.values()):
            self._show(viewer)
        late_s = time.monotonic() - LATE_S
        for number, (asker, since_s) in list(self._askers.items()):
            if since_s < late_s:
                del self._askers[number]
                _answer(asker, {"id": number, "busy_with": busy_with()})

    def end(self) -> None:
        """The run has ended: those who look at taps are told."""
        for viewer in self._taps.values():
            viewer.connection.settimeout(LAST_WORD_S)
            with contextlib.suppress(OSError):
                viewer.connection.sendall(viewer.waiting + sockets.line({"ended": True}))
            viewer.connection.close()

    def _show(self, viewer: _Viewer) -> None:
        if not viewer.shown():
            self._close(viewer.connection)

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
            self._pass_on(connection, request)

    def _close(self, connection: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        connection.close()
        self._askers = {number: asker for number, asker in self._askers.items() if asker[0] is not connection}
        for number in [number for number, viewer in self._taps.items() if viewer.connection is connection]:
            self._untap(number)

    def _untap(self, number: int) -> None:
        self._taps.pop(number, None)
        self._ask({"cmd": "untap", "tap": number})

    def _pass_on(self, connection: socket.socket, request: dict[str, Any]) -> None:
        numbered = request | {"id": self._next_id}
        if len(sockets.line(numbered)) > sockets.MAX_COMMAND_BYTES:  # the number and escapes have made it longer
            return _refuse(connection)
        self._askers[self._next_id] = connection, time.monotonic()
        self._next_id += 1
        self._ask(numbered)


class _Viewer:
    """Someone who looks at a tap, and the lines that wait for them."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.waiting = b""

    def shown(self) -> bool:
        """Sends what can be sent. Whether the other end still takes it."""
        while self.waiting:
            try:
                self.waiting = self.waiting[self.connection.send(self.waiting) :]
            except BlockingIOError:
                break
            except OSError:
                return False
        return len(self.waiting) <= MAX_UNREAD_BYTES


def _refuse(asker: socket.socket) -> None:
    _answer(asker, {"error": f"a command of more than {sockets.MAX_COMMAND_BYTES} bytes"})


def _answer(asker: socket.socket, answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        asker.sendall(sockets.line(answer))
