"""`LocalCluster`: a whole topology in the test's own process, on the very core that ships.

With simulated time everything runs on the test's thread, deterministic from the seed: `run_until_idle` never moves the
clock of one worker, `advance` does, from one thing that is due to the next. Several workers are a `simulation`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from squall import Topology, Tuple, _core
from squall.errors import Defect, TopologyError, did_you_mean
from squall.model.durations import seconds
from squall.model.graph import DEAD_LETTERS, DEFAULT_STREAM, ComponentSpec, Kind
from squall.planner.validate import validate
from squall.runtime import life
from squall.runtime.build import Built, Task
from squall.runtime.positions import position_of
from squall.testing.checks import check_workers, checked_settings, mocked_spout, refuse_sockets
from squall.testing.injections import Injection
from squall.testing.one_worker import OneWorker
from squall.testing.seen import Seen
from squall.testing.simulation.faults import Faults
from squall.testing.simulation.workers import Workers

_C = TypeVar("_C")


class LocalCluster:
    """Runs a topology in this process; a context manager that opens and closes its components.

    With simulated time all code runs on the caller's thread: blocking components inline, async ones on an event loop
    whose sleeps pass when the clock is moved. `context.now()`, `context.monotonic()` and `context.random` are virtual;
    `time.time()` in user code is not patched and goes on with the real clock.

    With several `workers`, or `faults`, the tasks are spread as in a run, and workers die, are replaced and lose their
    links as the seed says. Bytes and turns then take some virtual milliseconds, also in `run_until_idle`. What was fed
    and had not ended comes again after its worker's death. `emitted`, `acked` and `failed` tell of all lives, `task`
    gives the instance of the newest one. An exception that `on_error` lets end the worker ends its life, not the test.

    Args:
        mock_sources: spouts that are never opened, and the values they are fed at the start.
        simulated_time: False: threads, sockets and clocks are real, and `run_until_idle` waits for what is running.
        seed: decides everything that is random.
        settings: as `-c` would give them: the topology's own code is stronger.
        positions: where spouts go on (semantics 31), by name: what `position` gave, or a list of one for each task.
        workers: how many simulated workers; as in a run, never more than there are executors.
        faults: what strikes them, from when all components are open until the run has drained.

    Raises:
        TopologyError: all defects of the definition; `simulated_world` for spouts that listen and are not mocked;
            `workers_invalid` for less than one worker, and for several, or faults, in real time.
        ConfigError: all wrong settings.
        ClusterError: in real time, an address cannot be listened on.
    """

    def __init__(
        self,
        topology: Topology,
        /,
        *,
        mock_sources: Mapping[str, Iterable[object]] | None = None,
        simulated_time: bool = True,
        seed: int = 0,
        settings: Mapping[str, object] | None = None,
        positions: Mapping[str, bytes | Sequence[bytes]] | None = None,
        workers: int = 1,
        faults: Faults | None = None,
    ) -> None:
        check_workers(workers, faults, simulated_time=simulated_time)
        graph = validate(topology, checked_settings(settings or {}))
        self._graph, self._seed = graph, seed
        self._mocked = {name: mocked_spout(graph, name) for name in mock_sources or {}}
        if simulated_time:
            refuse_sockets(spec for spec in graph.spouts if spec.has_sockets and spec.name not in self._mocked)
        self._fed_at_start = {name: list(values) for name, values in (mock_sources or {}).items()}
        self._figures: Mapping[str, Any] | None = None
        self._opened = self._closed = False
        self._seen = Seen()
        self._folder = tempfile.TemporaryDirectory(prefix="squall-test-")
        begun = {name: [one] if isinstance(one, bytes) else one for name, one in (positions or {}).items()}
        parts = (seed, Path(self._folder.name), self._seen, self._mocked, begun)
        self._world = (
            Workers(graph, workers, faults or Faults(), *parts)
            if workers > 1 or faults is not None
            else OneWorker(graph, *parts, simulated_time=simulated_time)
        )

    @property
    def worker(self) -> _core.Worker:
        """The core of the one worker.

        Raises:
            TopologyError: `workers_invalid`: there are several, or many lives of one.
        """
        return self._one.worker

    @property
    def _built(self) -> Built:
        return self._one.built

    @property
    def _one(self) -> OneWorker:
        if isinstance(self._world, OneWorker):
            return self._world
        fix = "ask the cluster itself, or make it without workers and faults"
        raise TopologyError(
            Defect("workers_invalid", "a cluster with workers or faults has no one worker to give", (), fix)
        )

    # -- life ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def open(self) -> None:
        """Opens the components and feeds what `mock_sources` holds; the first call of anything else does it as well.

        Raises:
            Exception: what a component's `open`, or with several workers its constructor, raised; the cluster is
                closed then.
        """
        if self._opened:
            return
        self._refuse_if_closed()
        self._opened = True
        try:
            self._world.open()
        except life.OpenFailed as failed:
            self._release()
            failed.error.add_note(f'in open of "{failed.component}", task {failed.task}')
            raise failed.error from failed.error.__cause__  # not from what it caused
        except BaseException:  # of a constructor, perhaps: nobody closes what was never open
            self._release()
            raise
        for name, values in self._fed_at_start.items():
            self.feed(name, values)

    def close(self) -> None:
        """Closes the components and lets go of everything; what was seen can still be asked for."""
        if self._closed:
            return
        if self._world.is_running:
            fix = "close it where it was made, when what you wait for has come"
            raise TopologyError(
                Defect("cluster_running", "the cluster cannot be closed by the code that it runs", (), fix)
            )
        try:
            if self._opened:
                self._world.close()
        finally:
            self._release()

    def _begin(self) -> None:
        """Opens it for something to be done with it."""
        self._refuse_if_closed()
        self.open()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            fix = "do it inside of `with`, or before `close()`; what was seen can still be asked for"
            raise TopologyError(Defect("cluster_closed", "the cluster is closed, so nothing runs any more", (), fix))

    def _release(self) -> None:
        self._closed = True
        try:
            self._figures = self.metrics()
        finally:
            self._world.release()
            self._folder.cleanup()

    # -- what a test does ------------------------------------------------------------------------------------

    def feed(
        self,
        spout: str,
        values: Iterable[object],
        /,
        *,
        stream: str = DEFAULT_STREAM,
        ids: Iterable[object] | None = None,
    ) -> list[Any]:
        """Has a mocked spout emit each value (a tuple is a row) in the next run; returns the message ids.

        Args:
            ids: one for each value; if not given, the id is the value: bare if it is the only field, else the row.
        """
        self._begin()
        mocked = self._mocked.get(spout)
        if mocked is None:
            known = ", ".join(self._mocked) or "none"
            message = f'"{spout}" is not mocked, so it cannot be fed'
            raise TopologyError(Defect("feed_unmocked", message, (("mocked", known),), "name it in mock_sources"))
        named = mocked.feed(values, stream, ids)
        self._world.wake(frozenset((spout,)))
        return named

    def run_until_idle(self) -> None:
        """Runs until nothing can run without time moving and each spout has had nothing to give; a back-off is idle.

        Raises:
            Exception: what a component raised whose `on_error` says "die".
            TimeoutError: in real time, user code was still running after a minute.
        """
        self._begin()
        self._world.settle()

    def advance(self, by: float | timedelta, /) -> None:
        """Moves time, running everything that comes due on the way; in real time, waits."""
        by_s = seconds(by)
        if not (math.isfinite(by_s) and by_s >= 0):
            message = f"`advance({by!r})` does not say how far"
            raise TopologyError(Defect("duration_invalid", message, (), "give seconds, or a timedelta, from 0"))
        self.run_until_idle()
        self._world.advance(by_s)

    def inject(
        self, component: str, error: BaseException, /, *, times: int = 1, when: Callable[[Tuple], bool] | None = None
    ) -> None:
        """Makes a bolt raise `error` for its next `times` inputs (that `when` accepts), before it sees them."""
        self._refuse_if_closed()
        if self._spec(component).kind is Kind.SPOUT:
            message = f'"{component}" is a spout: it has no inputs to fail'
            raise TopologyError(Defect("inject_spout", message, (), "let a bolt below it fail"))
        injections = self._seen.injections(component)
        injections.orders.append(Injection(error, times, when))
        self._world.intercept(component, injections.before)

    def drain(self) -> None:
        """Ends the run as a real one ends: sources stop, back-offs are cut short, what is left is worked off, `drain`
        is called in topological order. Time moves as far as sleeping async calls need it.
        """
        self._begin()
        self._world.drain()

    def finish(self) -> None:
        """Moves time until all that was fed has ended and the other spouts are exhausted; then drains.

        Raises:
            TimeoutError: that did not happen within ten minutes of simulated time, or with several workers or faults
                within an hour; the text names what is left.
        """
        self.run_until_idle()
        self._world.finish()

    # -- what a test sees ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the topology."""
        return self._graph.name

    @property
    def components(self) -> tuple[ComponentSpec, ...]:
        """The components that the topology declares."""
        return tuple(spec for spec in self._graph.components.values() if spec.name != DEAD_LETTERS)

    def task(self, component: str, kind: type[_C], /, index: int = 0) -> _C:
        """The live instance of one task.

        Raises:
            TypeError: it is no `kind`.
        """
        self.open()
        instance = self._tasks(component)[index].instance
        if not isinstance(instance, kind):
            raise TypeError(f'task {index} of "{component}" is a {type(instance).__name__}, not a {kind.__name__}')
        return instance

    def position(self, spout: str, index: int = 0) -> bytes | None:
        """What the `position` of a spout's task says now; None: another system keeps it."""
        self.open()
        return self._position(self._tasks(spout)[index])

    def commit(self, spout: str, index: int = 0) -> bytes | None:
        """What `position` gives; the task's `commit` is told that this is kept, as in a run, if it is not None."""
        self.open()
        task = self._tasks(spout)[index]
        position = self._position(task)
        if position is not None:
            life.call(task, "commit", position)
        return position

    @staticmethod
    def _position(task: Task) -> bytes | None:
        return life.run_as(task, position_of, task)  # where its code runs: not while it polls

    def emitted(self, component: str, stream: str = DEFAULT_STREAM) -> list[tuple[Any, ...]]:
        """Every row that the component emitted on the stream, in order; each try of a root again."""
        spec = self._spec(component)
        if stream not in spec.streams:
            streams = ", ".join(spec.streams) or "no streams"
            message = f'"{component}" has no stream "{stream}"'
            raise TopologyError(Defect("stream_unknown", message, (("declared", streams),), "ask for one of these"))
        return list(self._seen.rows.get((component, stream), []))

    def acked(self, spout: str) -> list[Any]:
        """Ids of the spout's roots that ended well, in order."""
        self._spec(spout)
        return list(self._seen.acked.get(spout, []))

    def failed(self, spout: str) -> list[Any]:
        """Ids of the spout's roots that failed, one entry for each failed try, in order."""
        self._spec(spout)
        return list(self._seen.failed.get(spout, []))

    def dead_letters(self) -> list[Any]:
        """The dead letters (`squall.runtime.letters.Letter`), oldest first."""
        return list(self._seen.letters)

    def errors(self) -> list[Any]:
        """The error reports that were kept (`squall.runtime.hooks.ErrorReport`), oldest first.

        Bound: the newest 10 of a component, and of a task 5 in 10 s, as its settings say.
        """
        return sorted(self._world.errors(), key=lambda report: report.at)

    def metrics(self) -> Mapping[str, Any]:
        """Counters of each component, summed over its tasks; a user's own are under "user"."""
        return self._figures or self._world.figures()

    # -- inside ----------------------------------------------------------------------------------------------

    def _tasks(self, component: str) -> Sequence[Task]:
        spec = self._spec(component)
        return [task for task in self._world.tasks if task.spec.name == spec.name]

    def _spec(self, component: str) -> ComponentSpec:
        """What the topology declares, which is known before a worker is built."""
        if (spec := self._graph.components.get(component)) is not None:
            return spec
        known = [spec.name for spec in self.components]
        near = did_you_mean(component, known)
        fix = f'did you mean "{near}"?' if near else "use the name of a component"
        facts = (("components", ", ".join(known)),)
        raise TopologyError(Defect("component_unknown", f'there is no component "{component}"', facts, fix))
