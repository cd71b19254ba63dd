"""The events of a topology that another process runs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from squall.cli.texts import Event
from squall.engines.embedded import sockets
from squall.engines.embedded.runs import running, topology_of
from squall.errors import ClusterError, Defect

WITHIN_S = 5.0


def the_run(base: Path, name: str | None) -> tuple[str, Path]:
    """The topology that is meant, and the control socket of its run; without a name the only one that runs.

    Raises:
        ClusterError: `nothing_running`, `several_running`, `not_running`, `running_twice`.
    """
    from squall.cli.commands import control_socket

    if name is not None:
        return name, control_socket(base, name)
    alive = running(base)
    if not alive:
        fix = "start one with squall run; storm.local.dir must be the same (-c)"
        raise ClusterError(Defect("nothing_running", "no topology is running here", (), fix), retryable=True)
    if len(alive) > 1:
        facts = (("running", ", ".join(alive)),)
        raise ClusterError(
            Defect("several_running", f"{len(alive)} topologies are running", facts, "name one of these")
        )
    ((key, path),) = alive.items()
    return topology_of(key), path


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
