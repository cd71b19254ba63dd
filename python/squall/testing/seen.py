"""What a cluster saw: rows, ends of roots, dead letters, and what a test wants to fail; over all its workers' lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from squall import _core
from squall.runtime.build import Built
from squall.runtime.letters import Letter
from squall.testing.injections import Injections

BEGAN_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""The wall clock at the start of simulated time."""
OBSERVE_EVERY_S = 30.0
"""How often the windows of the counters want to be looked at."""


@dataclass
class Seen:
    """What a test can ask for."""

    acked: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    failed: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    rows: dict[tuple[str, str], list[tuple[Any, ...]]] = field(
        default_factory=dict[tuple[str, str], list[tuple[Any, ...]]]
    )
    letters: list[Letter] = field(default_factory=list[Letter])
    _injections: dict[str, Injections] = field(default_factory=dict[str, Injections])

    def watch(self, worker: _core.Worker, built: Built) -> None:
        """Notes what the tasks of a worker emit, and what becomes of their roots."""
        for task in built.tasks:
            for number, stream in enumerate(task.spec.streams):
                worker.tap(task.index, number, self.rows.setdefault((task.spec.name, stream), []).append)
        worker.observe(True)
        worker.every(-1, OBSERVE_EVERY_S, worker.snapshot, ())

    def observe(self, event: str, spout: str, message_id: Any) -> None:
        """A root has ended well, or a try of it failed."""
        kept = self.acked if event == "acked" else self.failed
        kept.setdefault(spout, []).append(message_id)

    def injections(self, component: str) -> Injections:
        """The failures that a test wants of a component."""
        return self._injections.setdefault(component, Injections())

    def at(self, virtual_s: float) -> datetime:
        """The wall clock at a virtual time."""
        return BEGAN_AT + timedelta(seconds=virtual_s)
