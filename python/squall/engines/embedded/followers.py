"""Other processes that follow a run's events."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from squall.engines.embedded import sockets
from squall.engines.embedded.outgoing import Outgoing

LAST_WORD_S = 0.3
"""How long a run that has ended waits for one who has not taken its last event."""
KEPT = ("started", "progress")
"""Events that who comes later gets first, the newest of each."""
PRIVATE = ("log",)
"""Events that are for the run's own terminal only."""


class Followers:
    """Connections that get each event of a run as a line.

    Bound: what its `Outgoing` lets wait; one with more is dropped.
    """

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}
        self._viewers: list[Outgoing] = []

    def add(self, viewer: Outgoing) -> None:
        """Takes a connection that asked for events."""
        if viewer in self._viewers:
            return
        self._viewers.append(viewer)
        self._keep(viewer, viewer.show(b"".join(map(sockets.line, self._kept.values()))))

    def drop(self, viewer: Outgoing) -> None:
        """Forgets a connection that was closed."""
        self._viewers = [other for other in self._viewers if other is not viewer]

    def tell(self, event: dict[str, Any]) -> None:
        """Tells everyone of one event."""
        kind = event["event"]
        if kind in KEPT:
            self._kept[kind] = event
        if self._viewers and kind not in PRIVATE:
            line = sockets.line(event)
            for viewer in [*self._viewers]:
                self._keep(viewer, viewer.show(line))

    def pass_time(self) -> None:
        """Sends what waited; called a few times a second."""
        for viewer in [*self._viewers]:
            self._keep(viewer, viewer.flush())

    def close(self) -> None:
        """The run is over."""
        for viewer in self._viewers:
            viewer.end(b"", LAST_WORD_S)
        self._viewers = []

    def _keep(self, viewer: Outgoing, is_there: bool) -> None:
        if not is_there:
            self._viewers.remove(viewer)
            with contextlib.suppress(OSError):
                viewer.connection.shutdown(socket.SHUT_RDWR)  # who reads from it finds the end, and closes it
