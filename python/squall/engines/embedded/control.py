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

from squall.cluster.stuck import Stuck
from squall.engines.embedded import sockets
from squall.engines.embedded.followers import LAST_WORD_S, Followers
from squall.engines.embedded.outgoing import Outgoing

LATE_S = 5.0
"""How long the worker may take for an answer before the asker is told what it is busy with; less than askers wait."""
MAX_UNREAD_BYTES = 1 << 20
"""Bytes that wait for someone who looks at a tap and does not read."""

Answered = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that the worker has not answered yet. `viewer` None: this very process asked."""

    answered: Answered
    since_s: float
    viewer: Outgoing | None


class Control:
    """The connections to the control socket.

    A tap is a command whose answers go on: its connection gets lines of tuples until one of its ends closes it.

    Args:
        ask: gives the workers a command with an `id`, which they answer as one.
        tell: gives the workers a command without an answer.
        selector: has this object called when something comes.

    Bound: what a peer does not read waits and holds up nobody: a connection that lets more than the longest answer wait
        is closed, as is one that lets 1 MiB of a tap's lines wait. A command of more than 64 KiB is refused here, as it
        would be by the worker. With no descriptors left, who comes waits until there is one.
    """

    def __init__(
        self,
        listener: socket.socket,
        ask: Callable[[dict[str, Any]], None],
        tell: Callable[[dict[str, Any]], None],
        selector: selectors.BaseSelector,
        followers: Followers,
    ) -> None:
        self._listener, self._selector, self._followers = listener, selector, followers
        self._ask, self._tell = ask, tell
        self._asked: dict[int, Asked] = {}
        self._viewers: set[Outgoing] = set()
        self._taps: dict[int, Outgoing] = {}
        self._next_id = 1
        self._is_accepting = False
        self._go_on_accepting()

    def ask(self, request: dict[str, Any], answered: Answered, viewer: Outgoing | None = None) -> None:
        """Passes a command on to the worker; `answered` gets what it says, or what it is busy with."""
        number, self._next_id = self._next_id, self._next_id + 1
        self._asked[number] = Asked(answered, time.monotonic(), viewer)
        self._ask(request | {"id": number})

    def answered(self, answer: dict[str, Any]) -> None:
        """Passes an answer of the worker on."""
        number = answer["id"]
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.answered(answer)
        if "tap" in answer:
            viewer = asked.viewer if asked is not None else None
            if viewer is None or viewer not in self._viewers:  # it has gone, or was told that the worker is busy
                return self._untap(number)
            self._taps[number] = viewer
            viewer.most_bytes = MAX_UNREAD_BYTES

    def tapped(self, event: dict[str, Any]) -> None:
        """Passes the lines of a tap on."""
        if viewer := self._taps.get(event["tap"]):
            self._show(viewer, {"rows": event["rows"], "counts": event["counts"]})

    def tell_stuck(self, stuck: Stuck, now_s: float) -> None:
        """Tells those who look at taps why nothing comes, perhaps."""
        about = {"component": stuck.component, "running_s": round(now_s - stuck.since_s, 1)}
        for viewer in list(self._taps.values()):
            self._show(viewer, {"stuck": about | {"waits_for": stuck.waits_for}})

    def pass_time(self, busy_with: Callable[[], list[str]]) -> None:
        """Looks at who waits; called a few times a second."""
        self._go_on_accepting()
        for viewer in list(self._viewers):
            if not viewer.flush():
                self._close(viewer)
        self._followers.pass_time()
        late_s = time.monotonic() - LATE_S
        for number, asked in list(self._asked.items()):
            if asked.since_s < late_s and number in self._asked:  # else its asker has just turned out to be gone
                del self._asked[number]
                asked.answered({"id": number, "busy_with": busy_with()})

    def end(self) -> None:
        """The run has ended: those who look at taps are told."""
        for viewer in self._taps.values():
            viewer.end(sockets.line({"ended": True}), LAST_WORD_S)

    def _go_on_accepting(self) -> None:
        if not self._is_accepting:
            self._is_accepting = True
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # no descriptors are left, or it has gone again: looked at when some time has passed
            self._is_accepting = False
            self._selector.unregister(self._listener)
            return
        viewer = Outgoing(connection, sockets.MAX_LINE_BYTES)
        self._viewers.add(viewer)
        buffer = sockets.LineBuffer(sockets.MAX_COMMAND_BYTES, lambda: self._refuse(viewer))
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(viewer, buffer))

    def _read(self, viewer: Outgoing, buffer: sockets.LineBuffer) -> None:
        try:
            data = viewer.connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(viewer)
        for request in buffer.feed(data):
            self._take(viewer, request)

    def _show(self, viewer: Outgoing, message: dict[str, Any]) -> None:
        if not viewer.show(sockets.line(message)):
            self._close(viewer)

    def _close(self, viewer: Outgoing) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(viewer.connection)
        viewer.connection.close()
        self._viewers.discard(viewer)
        self._followers.drop(viewer)
        self._asked = {number: asked for number, asked in self._asked.items() if asked.viewer is not viewer}
        for number in [number for number, one in self._taps.items() if one is viewer]:
            self._untap(number)

    def _untap(self, number: int) -> None:
        self._taps.pop(number, None)
        self._tell({"cmd": "untap", "tap": number})

    def _take(self, viewer: Outgoing, request: dict[str, Any]) -> None:
        if request.get("cmd") == "events":
            return self._followers.add(viewer)
        try:
            # Its number makes it longer, and so do escapes.
            if len(sockets.line(request | {"id": self._next_id})) > sockets.MAX_COMMAND_BYTES:
                return self._refuse(viewer)
            self.ask(request, lambda answer: self._show(viewer, answer), viewer)
        except RecursionError:  # it could just be read
            self._show(viewer, {"error": "a command that is nested too deeply"})

    def _refuse(self, viewer: Outgoing) -> None:
        self._show(viewer, {"error": f"a command of more than {sockets.MAX_COMMAND_BYTES} bytes"})
