"""What the parent keeps for the spouts of its workers over all their lives: sockets, standard input, positions."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from squall.engines.embedded.positions import PositionStore
from squall.engines.embedded.standard_input import StandardInput
from squall.engines.embedded.storing import Storing, Told
from squall.model.graph import Graph
from squall.runtime.positions import StoredPosition


class Sources:
    """What the spouts of one run are given when their worker begins a life."""

    def __init__(self, graph: Graph, local_dir: Path) -> None:
        self._graph = graph
        self._bound: dict[str, Any] = {}
        self._listeners: dict[str, socket.socket] = {}
        self._unheard: dict[str, tuple[int, int]] = {}
        """Spouts whose listeners are closed, with the family and type of these."""
        self._stdin: StandardInput | None = None
        self._positions = PositionStore(local_dir, graph.name)
        self._newest: dict[tuple[str, int], StoredPosition] = {}
        self.storing = Storing(self._positions)
        """Tells of what was stored when its `fd` can be read."""

    def take(self, *, from_start: bool) -> list[StoredPosition]:
        """Makes the positions of the topology this run's: where its last run stopped.

        Raises:
            ClusterError: another run has them.
            StateError: they cannot be read, or do not fit.
        """
        stored = self._positions.begin(self._graph, from_start=from_start)
        self._newest = {(one.component, one.task): one for one in stored}
        return stored

    def open(self) -> StandardInput | None:
        """Binds the listening sockets; standard input, if a spout reads it, which is not read yet."""
        for spec in self._graph.spouts:
            if spec.listens:
                spout = spec.make(None)
                self._listeners[spec.name] = spout.bind()
                self._bound[spec.name] = spout
        if any(spec.reads_stdin for spec in self._graph.spouts):
            self._stdin = StandardInput()
        return self._stdin

    def addresses(self) -> dict[str, str]:
        """Where each spout listens that does."""
        return {name: self._bound[name].bound_address(one) for name, one in self._listeners.items()}

    def listeners(self) -> Mapping[str, socket.socket]:
        """The listening sockets of the spouts that have one; in a drain such as nobody knows.

        Raises:
            OSError: there is none to be had.
        """
        for name, (family, kind) in self._unheard.items():
            if name not in self._listeners:
                self._listeners[name] = _unknown(family, kind)
        return self._listeners

    def standard_input(self) -> socket.socket | None:
        """Where it is passed on, if a spout reads it."""
        return None if self._stdin is None else self._stdin.connect()

    def positions(self) -> list[dict[str, Any]]:
        """Where the spouts had got to."""
        return [position.json() for position in self._newest.values()]

    def put(self, position: StoredPosition, told: Told) -> None:
        """Makes a position durable; `told` hears when that is done, or why it is not: the one before it still is.

        That of standard input dies with the run, so it is only kept.
        """
        if self._stdin is None or not self._graph.components[position.component].reads_stdin:
            return self.storing.put(position, told)
        if position.task == 0:  # the one that reads it
            self._stdin.ended(position.position)
        told(None)

    def keep(self, position: StoredPosition) -> None:
        """The next life goes on from a position that was stored."""
        self._newest[position.component, position.task] = position

    def forget(self) -> None:
        """All sources have given all, and nothing waits to be stored: the next run begins at their start."""
        self._positions.forget()

    def close_listeners(self) -> None:
        """From a drain on the sockets are the workers' alone: when those close them, who comes is refused.

        A life that begins in a drain finds nobody at its own: the real ones may still be another worker's.
        """
        if not self._unheard:
            self._unheard = {name: (one.family, one.type) for name, one in self._listeners.items()}
            self._let_go()

    def unbind(self) -> None:
        """Nobody listens any more."""
        self._let_go()
        for spout in self._bound.values():
            spout.unbind()

    def close(self) -> None:
        """Lets another run have the positions."""
        self.storing.close()
        self._positions.close()

    def _let_go(self) -> None:
        while self._listeners:
            self._listeners.popitem()[1].close()


def _unknown(family: int, kind: int) -> socket.socket:
    """A bound socket whose address nobody is told."""
    made = socket.socket(family, kind)
    made.bind("" if family == socket.AF_UNIX else ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        made.listen()
    return made
