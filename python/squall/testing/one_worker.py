"""The one worker of a cluster without others: in simulated time, or in the real one."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from squall import Spout, Tuple, _core
from squall.model.graph import DEAD_LETTERS, ComponentSpec, Graph, Kind, TaskSpec
from squall.planner.plan import plan
from squall.runtime import life
from squall.runtime.build import Built, Task, build, core_settings
from squall.runtime.context import WorkerServices
from squall.runtime.dead_stream import DeadLetterSpout
from squall.runtime.hooks import ErrorReport, Hooks
from squall.runtime.offload import Offloaders
from squall.runtime.positions import seek
from squall.runtime.running import Running
from squall.runtime.tracing import open_trace
from squall.testing.figures import figures
from squall.testing.letters import MemoryLetters
from squall.testing.pace import REAL_IDLE_WITHIN_S, Pace, RealPace, SimulatedPace
from squall.testing.seen import BEGAN_AT, Seen
from squall.testing.sources import FedSpout, MockedSpout
from squall.testing.stamps import Stamps
from squall.testing.virtual import VirtualLoop, VirtualOffloaders

END_WITHIN_S = 600.0
"""Simulated time that a topology has to come to its end: a root's four tries with held tuples take two minutes."""


class OneWorker:
    """Builds, opens, runs and closes all tasks in one worker."""

    def __init__(
        self,
        graph: Graph,
        seed: int,
        folder: Path,
        seen: Seen,
        mocked: Mapping[str, MockedSpout],
        positions: Mapping[str, Sequence[bytes]],
        *,
        simulated_time: bool,
    ) -> None:
        self._graph, self._seen, self._mocked, self._positions = graph, seen, mocked, positions
        self._letters = MemoryLetters(letters=seen.letters)
        self.hooks = Hooks(graph.settings, self._now, self.monotonic, self._letters, self._observe)
        self.worker = _core.Worker(
            incarnation=1,
            seed=seed,
            hooks=self.hooks,
            virtual=simulated_time,
            settings=core_settings(graph.settings),
            trace=open_trace(graph.settings, folder.name, 1, 1),
        )
        self._letters.worker = self.worker
        self._simulated = simulated_time
        self._listeners: dict[str, socket.socket] = {}
        self._bound: list[Any] = []
        self._pace: Pace
        self._offloaders: VirtualOffloaders | Offloaders
        services = WorkerServices(
            worker=self.worker,
            plan=plan(graph),
            topology_id=f"{graph.name}-1-0",
            number=1,
            work_dir=folder,
            seed=seed,
            began_at=BEGAN_AT if simulated_time else None,
            report_error=self.hooks.error,
        )
        self.built = self._virtual(services) if simulated_time else self._real(services)
        self.hooks.built = self.built
        self._stamps = Stamps(Running(self.worker.current_component, self.built), self._now)
        seen.watch(self.worker, self.built)

    def _virtual(self, services: WorkerServices) -> Built:
        loop = VirtualLoop(self.worker.monotonic, self.worker.advance_to)
        self._offloaders = offloaders = VirtualOffloaders(loop)
        self._pace = SimulatedPace(self.worker, loop)
        built = build(services, offloader=offloaders, replace_spout=self._replace)
        offloaders.serve(built.tasks)
        return built

    def _real(self, services: WorkerServices) -> Built:
        self._offloaders, self._pace = Offloaders(), RealPace(self.worker)
        try:
            return build(services, offloader=self._offloaders, replace_spout=self._replace)
        finally:
            for listener in self._listeners.values():  # from now on the sockets are the tasks'
                listener.close()

    def _replace(self, spec: ComponentSpec, task: TaskSpec) -> Spout | None:
        if spec.name == DEAD_LETTERS:
            self._letters.subscriber = DeadLetterSpout(spec.make(None))
            return self._letters.subscriber
        if mocked := self._mocked.get(spec.name):
            fed = FedSpout()
            mocked.tasks.append(fed)
            return fed
        return self._listening(spec) if spec.listens else None

    def _listening(self, spec: ComponentSpec) -> Spout:
        """A task of a spout that listens; all tasks of its component share one socket, as in a run."""
        spout = spec.make(None)
        if spec.name not in self._listeners:
            self._listeners[spec.name] = spout.bind()
            self._bound.append(spout)
        spout.adopt(self._listeners[spec.name].fileno())
        return spout

    # -- life ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Opens the components.

        Raises:
            life.OpenFailed: `open` of one raised.
        """
        with self._stamps:
            life.open_all(self.worker, self.built, self._restore)

    def _restore(self, task: Task) -> None:
        positions = self._positions.get(task.spec.name, ())
        if task.task.index < len(positions):
            seek(task, positions[task.task.index])

    @property
    def is_running(self) -> bool:
        """Whether code of the topology runs now."""
        return self.worker.is_running() or (
            isinstance(self._offloaders, VirtualOffloaders) and self._offloaders.loop.is_here()
        )

    def close(self) -> None:
        """Closes the components."""
        with self._stamps:
            for task, place, error in life.close_all(self.built):
                self.hooks.error(task.index, place, error)

    def release(self) -> None:
        """Lets go of everything."""
        for spout in self._bound:
            spout.unbind()
        self._offloaders.close()
        self.worker.close()

    # -- time ------------------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        """The worker's clock."""
        return self.worker.monotonic()

    def wake(self, spouts: frozenset[str]) -> None:
        """Has these spouts asked."""
        for name in spouts:
            for task in self.built.of(name):
                self.worker.wake_spout(task.index)

    def settle(self) -> None:
        """Runs until nothing can run without time moving.

        Raises:
            TimeoutError: in real time, user code was still running after a minute.
        """
        with self._stamps:
            came_back = self._pace.settle()
        if not came_back:
            raise self._never_ended(f"{REAL_IDLE_WITHIN_S:.0f} s")

    def advance(self, by_s: float) -> None:
        """Moves time, or waits."""
        with self._stamps:
            self._pace.advance(by_s)

    def intercept(self, component: str, before: Callable[[Tuple], None]) -> None:
        """Has `before` called with each input of a bolt."""
        for task in self.built.of(component):
            self.worker.intercept(task.index, before)

    def drain(self) -> None:
        """Ends the run as a real one ends."""
        if any(isinstance(task.instance, FedSpout) and task.instance.waiting for task in self.built.tasks):
            self.settle()  # what was fed has left its source already
        bound = self.worker.monotonic() + END_WITHIN_S

        def settle() -> None:
            self.settle()
            while self._is_moving() and self._pace.move_to_next(bound):
                pass

        with self._stamps:
            drain = life.Drain(self.worker, self.built)
            drain.stop_sources()
            settle()
            self._drain_bolts(drain, settle)
            while self.worker.standing()["undrained"]:
                self._drain_bolts(drain, settle)
            for task, place, error in drain.failures:
                self.hooks.error(task.index, place, error)

    def _drain_bolts(self, drain: life.Drain, settle: Callable[[], None]) -> None:
        for name in life.drains(self.built):
            drain.component(name)
            settle()

    def finish(self) -> None:
        """Moves time until all that was fed has ended and the other spouts are exhausted; then drains.

        Raises:
            TimeoutError: that did not happen within ten minutes.
        """
        bound = self.worker.monotonic() + END_WITHIN_S
        with self._stamps:
            while not self._has_ended():
                if not self._pace.move_to_next(bound):
                    raise self._never_ended(f"{END_WITHIN_S:.0f} s of simulated time")
        self.drain()

    # -- what is looked at -----------------------------------------------------------------------------------

    @property
    def tasks(self) -> Sequence[Task]:
        """All tasks."""
        return self.built.tasks

    def errors(self) -> list[ErrorReport]:
        """The errors that were kept."""
        return [report for kept in self.hooks.errors.values() for report in kept]

    def figures(self) -> Mapping[str, Any]:
        """What components counted."""
        return figures(self.worker.snapshot(), self.built.tasks, self.hooks.error)

    # -- inside ----------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self._seen.at(self.worker.monotonic()) if self._simulated else datetime.now(UTC)

    def _observe(self, event: str, task: int, message_id: Any, _attempt: int) -> None:
        self._seen.observe(event, self.built.tasks[task].spec.name, message_id)

    def _is_moving(self) -> bool:
        """Whether something is on its way that user code does not hold on purpose."""
        moving = ("queue", "in_flight", "retrying", "burying")
        return any(row.get(name) for row in self.worker.snapshot() for name in moving)

    def _has_ended(self) -> bool:
        """Whether nothing is pending and no spout will give anything; asked when idle."""
        return not self.worker.pending() and not self.worker.busy() and not self._going_on()

    def _going_on(self) -> list[Task]:
        """The spouts that may still give something by themselves; stand-ins only pass on."""
        return [
            task
            for task in self.built.tasks
            if task.spec.kind is Kind.SPOUT
            and not isinstance(task.instance, FedSpout | DeadLetterSpout)
            and not self.worker.spout_ended(task.index)
        ]

    def _never_ended(self, within: str) -> TimeoutError:
        tasks = self.built.tasks
        left = [f'{count} roots of "{tasks[task].spec.name}" pending' for task, count in self.worker.pending()]
        for task, queued, held in self.worker.busy():
            left.append(f'"{tasks[task].spec.name}" has {queued} tuples queued and {held} in its hands')
        left += [f'spout "{task.spec.name}" is not exhausted' for task in self._going_on()]
        return TimeoutError(f'topology "{self._graph.name}" did not end within {within}: ' + "; ".join(left))
