"""The events of a topology that another process runs."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from squall.cli.texts import Event
from squall.engines.embedded import sockets
from squall.errors import ClusterError, Defect

WITHIN_S = 5.0


class Following:
    """A connection to a run that gives its events. How it was started comes first, then how it stands.

    Raises:
        ClusterError: `run_lost`: it ended meanwhile.
    """

    def __init__(self, topology: str, path: Path) -> None:
        self._topology, self._path = topology, path
        self._lines = sockets.LineBuffer()
        try:
            self._connection = sockets.connect(path, WITHIN_S)
            self._connection.sendall(sockets.line({"cmd": "events"}))
        except OSError:
            raise self._lost() from None

    @property
    def fd(self) -> int:
        """Where events come in."""
        return self._connection.fileno()

    def read(self) -> list[Event]:
        """What has come, or comes within some seconds.

        Raises:
            ClusterError: `run_lost`.
        """
        return self._read(WITHIN_S)

    def _read(self, within_s: float) -> list[Event]:
        self._connection.settimeout(within_s)
        try:
            data = self._connection.recv(1 << 16)
        except TimeoutError:
            return []
        except OSError:
            data = b""
        if not data:
            raise self._lost()
        return self._lines.feed(data)

    def events(self) -> Iterator[Event]:
        """All events, until the summary.

        Raises:
            ClusterError: `run_lost`.
        """
        while True:
            for event in self.read():
                yield event
                if event["event"] == "summary":
                    return

    def events_within(self, seconds: float) -> Iterator[Event]:
        """The events of the next seconds.

        Raises:
            ClusterError: `run_lost`.
        """
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            yield from self._read(left_s)

    def close(self) -> None:
        """Leaves; the run goes on."""
        self._connection.close()

    def _lost(self) -> ClusterError:
        message = f'"{self._topology}" has ended without a summary'
        fix = "its process was killed; the newest log is in the folder logs of storm.local.dir"
        return ClusterError(Defect("run_lost", message, (("run", self._path.parent.name),), fix))


class Question:
    """One command to a run on a connection of its own; its answer comes when `ready` is called by a loop."""

    def __init__(self, path: Path, request: Event, answered: Callable[[Event], None]) -> None:
        self._answered = answered
        self._lines = sockets.LineBuffer()
        self.connection: socket.socket = sockets.connect(path, WITHIN_S)
        self.connection.sendall(sockets.line(request))

    def ready(self) -> bool:
        """Takes what has come; whether the answer is complete or will never be."""
        data = b""
        with suppress(OSError):
            data = self.connection.recv(1 << 16)
        for answer in self._lines.feed(data):
            self._answered(answer)
            return True
        return not data
