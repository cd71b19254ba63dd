"""The parent of simulated workers: the crew that ships, and what it is told and asks for."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from squall.cluster.settling import Kind, Stage
from squall.engines.embedded.crew import Crew
from squall.engines.embedded.outcome import death_told
from squall.engines.embedded.seat import Event
from squall.engines.embedded.worker_process import Wanted
from squall.errors import Defect
from squall.model.graph import Plan
from squall.runtime.positions import StoredPosition
from squall.testing.simulation.agenda import Agenda
from squall.testing.simulation.faults import Strikes
from squall.testing.simulation.life import Given
from squall.testing.simulation.process import SimulatedProcess

Start = Callable[[Given], SimulatedProcess]


class Unlinked(Wanted):
    """What simulated workers are to run: nobody calls them."""

    def listener_of(self, worker: int) -> socket.socket | None:
        """None."""
        return None


class Parent:
    """Leads the run of a simulation.

    Args:
        start: begins a life.
    """

    def __init__(
        self, plan: Plan, folder: Path, agenda: Agenda, strikes: Strikes, random: Random, start: Start
    ) -> None:
        self._agenda, self._strikes, self._random, self._start = agenda, strikes, random, start
        self._selector = selectors.PollSelector()
        self._positions: dict[tuple[str, int], StoredPosition] = {}
        self.failure: Defect | None = None
        wanted = Unlinked(
            file="",
            name=None,
            parameters=[],
            described={},
            placed={},
            settings={},
            topology_id=f"{plan.graph.name}-1-0",
            run_dir=folder,
            log_file=folder / "run.log",
            dead_log=folder / "dead",
            drain_s=0.0,
            stdout_fd=-1,
        )
        self.crew = Crew(wanted, plan, self._selector, self, self, self._process, lambda: agenda.now_s)

    def _process(
        self, _wanted: Wanted, *, number: int, workers: int, incarnation: int, **given: Any
    ) -> SimulatedProcess:
        few = {name: given[name] for name in ("positions", "ended", "suspects")}
        return self._start(Given(number, workers, incarnation, **few, was_ready=self.crew.was_ready(number)))

    def listen(self) -> None:
        """Hears what its workers have said, and of their ends."""
        while ready := self._selector.select(0):
            for key, _ in ready:
                key.data()

    def close(self) -> None:
        """Lets go of everything."""
        self.crew.close()
        self._selector.close()

    # -- what a new life is given ------------------------------------------------------------------------------------

    def listeners(self) -> Mapping[str, socket.socket]:
        """There are none in simulated time."""
        return {}

    def standard_input(self) -> socket.socket | None:
        """Nobody reads it."""
        return None

    def positions(self) -> Sequence[Mapping[str, Any]]:
        """Where the spouts had got to."""
        return [position.json() for position in self._positions.values()]

    # -- news of the crew --------------------------------------------------------------------------------------------

    def said(self, worker: int, event: Event) -> None:
        """A worker said something."""
        match event.get("event"):
            case "position":
                self._store(worker, StoredPosition.of_json(event["record"]), event["number"], event["ended"])
            case "ended":
                died = death_told(event, was_ready=self.crew.was_ready(worker))
                assert died is not None
                component, why = died
                self.crew.will_end(worker, why, component)
            case _:
                pass

    def _store(self, worker: int, position: StoredPosition, number: int, ended: int | None) -> None:
        """Keeps a position after the time that a disk takes, as the parent of a run does."""
        life = self.crew.incarnation(worker)

        def stored() -> None:
            if self.crew.incarnation(worker) != life:
                return
            self._positions[position.component, position.task] = position
            if ended is not None:
                self.crew.positioned(position.component, position.task, ended)
            told = {"component": position.component, "task": position.task, "number": number, "done": True}
            self.crew.tell_worker(worker, {"cmd": "position-stored", **told})

        self._agenda.at(self._agenda.now_s + self._random.uniform(0.001, 0.03), stored)

    def changed(self, worker: int, pid: int, state: str, cause: Defect | None) -> None:
        """A worker is started, ready or lost."""

    def answered(self, answer: Event) -> None:
        """Nobody asks."""

    def began(self, stage: Stage) -> None:
        """A stage of the run has begun; in the last one nothing is left that a fault could lose."""
        self._strikes.is_on &= stage.kind is not Kind.CLOSE

    def gave_up(self, why: Defect) -> None:
        """A worker cannot be had, or cannot go on."""
        self.failure = why
