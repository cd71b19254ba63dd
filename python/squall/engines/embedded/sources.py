"""What the parent keeps for the spouts of its workers over all their lives: sockets, standard input, positions."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from squall.engines.embedded.positions import PositionStore
from squall.engines.embedded.standard_input import StandardInput
from squall.model.graph import Graph
from squall.runtime.positions import StoredPosition


class Sources:
    """What the spouts of one run are given when their worker begins a life."""

    def __init__(self, graph: Graph, local_dir: Path) -> None:
        self._graph = graph
        self._bound: dict[str, Any] = {}
        self._listeners: dict[str, socket.socket] = {}
        self._stdin: StandardInput | None = None
        self._unkept: StoredPosition | None = None
        self._positions = PositionStore(local_dir, graph.name)

    def take(self, *, from_start: bool) -> list[StoredPosition]:
        """Makes the positions of the topology this run's: where its last run stopped.

        Raises:
            ClusterError: another run has them.
            StateError: they cannot be read, or do not fit.
        """
        return self._positions.begin(self._graph, from_start=from_start)

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
        """The listening sockets of the spouts that have one."""
        return self._listeners

    def standard_input(self) -> socket.socket | None:
        """Where it is passed on, if a spout reads it."""
        return None if self._stdin is None else self._stdin.connect()

    def positions(self) -> list[dict[str, Any]]:
        """Where the spouts had got to."""
        return [position.json() for position in self._positions.newest() + ([self._unkept] if self._unkept else [])]

    def put(self, position: StoredPosition) -> None:
        """Makes a position durable.

        Raises:
            ClusterError: another run has them.
            OSError: it is not stored; the one before it still is.
        """
        if self._stdin is None or not self._graph.components[position.component].reads_stdin:
            self._positions.put(position)
        elif position.task == 0:  # the one that reads it
            self._stdin.ended(position.position)
            self._unkept = position

    def forget(self) -> None:
        """All sources have given all: the next run begins at their start."""
        self._positions.forget()

    def close_listeners(self) -> None:
        """From a drain on the sockets are the workers' alone: when those close them, who comes is refused."""
        while self._listeners:
            self._listeners.popitem()[1].close()

    def unbind(self) -> None:
        """Nobody listens any more."""
        self.close_listeners()
        for spout in self._bound.values():
            spout.unbind()

    def close(self) -> None:
        """Lets another run have the positions."""
        self._positions.close()
