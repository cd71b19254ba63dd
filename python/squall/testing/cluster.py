"""`LocalCluster`: a whole topology in the test's own process, on the very core that ships.

With simulated time everything runs on the test's thread, deterministic from the seed: `run_until_idle` never moves the
clock, `advance` does, from one thing that is due to the next.
"""

from __future__ import annotations

import math
import socket
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

from squall import Spout, Topology, Tuple, _core
from squall.config.load import checked
from squall.config.table import DEFAULTS, Scope
from squall.errors import ConfigError, Defect, TopologyError, did_you_mean
from squall.model.durations import seconds
from squall.model.graph import DEAD_LETTERS, DEFAULT_STREAM, ComponentSpec, Graph, Kind, TaskSpec
from squall.planner.plan import plan
from squall.planner.validate import validate
from squall.runtime import life
from squall.runtime.build import Built, Task, build, core_settings
from squall.runtime.context import WorkerServices
from squall.runtime.dead_stream import DeadLetterSpout
from squall.runtime.hooks import Hooks
from squall.runtime.offload import Offloaders
from squall.runtime.positions import position_of, seek
from squall.runtime.running import Running
from squall.testing.figures import figures
from squall.testing.injections import Injection, Injections
from squall.testing.letters import MemoryLetters
from squall.testing.pace import REAL_IDLE_WITHIN_S, Pace, RealPace, SimulatedPace
from squall.testing.sources import FedSpout, MockedSpout
from squall.testing.stamps import Stamps
from squall.testing.virtual import VirtualLoop, VirtualOffloaders

_C = TypeVar("_C")

BEGAN_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""The wall clock at the start of simulated time."""
OBSERVE_EVERY_S = 30.0
"""How often the windows of the counters want to be looked at."""
END_WITHIN_S = 600.0
"""Simulated time that a topology has to come to its end: a root's four tries with held tuples take two minutes."""


class LocalCluster:
    """Runs a topology in this process; a context manager that opens and closes its components.

    With simulated time all code runs on the caller's thread: blocking components inline, async ones on an event loop
    whose sleeps pass when the clock is moved. `context.now()`, `context.monotonic()` and `context.random` are virtual;
    `time.time()` in user code is not patched and goes on with the real clock.

    Args:
        mock_sources: spouts that are never opened, and the values they are fed at the start.
        simulated_time: False: threads, sockets and clocks are real, and `run_until_idle` waits for what is running.
        seed: decides everything that is random.
        settings: as `-c` would give them: the topology's own code is stronger.
        positions: where spouts go on (semantics 31), by name: what `position` gave, or a list of one for each task.

    Raises:
        TopologyError: all defects of the definition; `simulated_world` for spouts that listen and are not mocked.
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
    ) -> None:
        graph = validate(topology, _settings(settings or {}))
        self._graph = graph
        self._mocked = {name: _mocked(graph, name) for name in mock_sources or {}}
        if simulated_time:
            _refuse_sockets(spec for spec in graph.spouts if spec.has_sockets and spec.name not in self._mocked)
        self._fed_at_start = {name: list(values) for name, values in (mock_sources or {}).items()}
        self._positions = dict(positions or {})
        self._acked: dict[str, list[Any]] = {}
        self._failed: dict[str, list[Any]] = {}
        self._rows: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        self._injections: dict[str, Injections] = {}
        self._figures: Mapping[str, Any] | None = None
        self._opened = self._closed = False
        self._letters = MemoryLetters()
        self._folder = tempfile.TemporaryDirectory(prefix="squall-test-")
        self._hooks = Hooks(graph.settings, self._now, self._monotonic, self._letters, self._observe)
        self.worker = _core.Worker(
            incarnation=1, seed=seed, hooks=self._hooks, virtual=simulated_time, settings=core_settings(graph.settings)
        )
        self._letters.worker = self.worker
        self._simulated = simulated_time
        self._listeners: dict[str, socket.socket] = {}
        self._bound: list[Any] = []
        self._pace, self._offloaders, self._built = self._virtual(seed) if simulated_time else self._real(seed)
        self._hooks.built = self._built
        self._stamps = Stamps(Running(self.worker.current_component, self._built), self._now)
        self._watch()

    def _virtual(self, seed: int) -> tuple[Pace, VirtualOffloaders, Built]:
        loop = VirtualLoop(self.worker.monotonic, self.worker.advance_to)
        offloaders = VirtualOffloaders(loop)
        built = build(self._services(seed), offloader=offloaders, replace_spout=self._replace)
        offloaders.serve(built.tasks)
        return SimulatedPace(self.worker, loop), offloaders, built

    def _real(self, seed: int) -> tuple[Pace, Offloaders, Built]:
        offloaders = Offloaders()
        try:
            built = build(self._services(seed), offloader=offloaders, replace_spout=self._replace)
        finally:
            for listener in self._listeners.values():  # from now on the sockets are the tasks'
                listener.close()
        return RealPace(self.worker), offloaders, built

    def _services(self, seed: int) -> WorkerServices:
        return WorkerServices(
            worker=self.worker,
            plan=plan(self._graph),
            topology_id=f"{self._graph.name}-1-0",
            number=1,
            work_dir=Path(self._folder.name),
            seed=seed,
            began_at=BEGAN_AT if self._simulated else None,
            report_error=self._hooks.error,
        )

    def _watch(self) -> None:
        for task in self._built.tasks:
            for number, stream in enumerate(task.spec.streams):
                self.worker.tap(task.index, number, self._rows.setdefault((task.spec.name, stream), []).append)
        self.worker.observe(True)
        self.worker.every(-1, OBSERVE_EVERY_S, self.worker.snapshot, ())

    # -- life ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def open(self) -> None:
        """Opens the components and feeds what `mock_sources` holds; the first call of anything else does it as well.

        Raises:
            Exception: what the `open` of a component raised; the cluster is closed then.
        """
        if self._opened:
            return
        self._refuse_if_closed()
        self._opened = True
        try:
            with self._stamps:
                life.open_all(self.worker, self._built, self._restore)
        except life.OpenFailed as failed:
            self._release()
            failed.error.add_note(f'in open of "{failed.component}", task {failed.task}')
            raise failed.error from failed.error.__cause__  # not from what it caused
        for name, values in self._fed_at_start.items():
            self.feed(name, values)

    def _restore(self, task: Task) -> None:
        stored = self._positions.get(task.spec.name, ())
        positions = [stored] if isinstance(stored, bytes) else stored
        if task.task.index < len(positions):
            seek(task, positions[task.task.index])

    def close(self) -> None:
        """Closes the components and lets go of everything; what was seen can still be asked for."""
        if self._closed:
            return
        if self.worker.is_running() or (
            isinstance(self._offloaders, VirtualOffloaders) and self._offloaders.loop.is_here()
        ):
            fix = "close it where it was made, when what you wait for has come"
            raise TopologyError(
                Defect("cluster_running", "the cluster cannot be closed by the code that it runs", (), fix)
            )
        with self._stamps:
            for task, place, error in life.close_all(self._built) if self._opened else []:
                self._hooks.error(task.index, place, error)
        for spout in self._bound:
            spout.unbind()
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
        self._figures = self.metrics()
        self._offloaders.close()
        self.worker.close()
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
        for task in self._built.of(spout):
            self.worker.wake_spout(task.index)
        return named

    def run_until_idle(self) -> None:
        """Runs until nothing can run without time moving and each spout has had nothing to give; a back-off is idle.

        Raises:
            Exception: what a component raised whose `on_error` says "die".
            TimeoutError: in real time, user code was still running after a minute.
        """
        self._begin()
        with self._stamps:
            came_back = self._pace.settle()
        if not came_back:
            self._never_ended(f"{REAL_IDLE_WITHIN_S:.0f} s")

    def advance(self, by: float | timedelta, /) -> None:
        """Moves time, running everything that comes due on the way; in real time, waits."""
        by_s = seconds(by)
        if not (math.isfinite(by_s) and by_s >= 0):
            message = f"`advance({by!r})` does not say how far"
            raise TopologyError(Defect("duration_invalid", message, (), "give seconds, or a timedelta, from 0"))
        self.run_until_idle()
        with self._stamps:
            self._pace.advance(by_s)

    def inject(
        self, component: str, error: BaseException, /, *, times: int = 1, when: Callable[[Tuple], bool] | None = None
    ) -> None:
        """Makes a bolt raise `error` for its next `times` inputs (that `when` accepts), before it sees them."""
        self._refuse_if_closed()
        tasks = self._tasks(component)
        if tasks[0].spec.kind is Kind.SPOUT:
            message = f'"{component}" is a spout: it has no inputs to fail'
            raise TopologyError(Defect("inject_spout", message, (), "let a bolt below it fail"))
        injections = self._injections.setdefault(component, Injections())
        injections.orders.append(Injection(error, times, when))
        for task in tasks:
            self.worker.intercept(task.index, injections.before)

    def drain(self) -> None:
        """Ends the run as a real one ends: sources stop, back-offs are cut short, what is left is worked off, `drain`
        is called in topological order. Time moves as far as sleeping async calls need it.
        """
        self._begin()
        if any(spout.waiting for mocked in self._mocked.values() for spout in mocked.tasks):
            self.run_until_idle()  # what was fed has left its source already
        bound = self.worker.monotonic() + END_WITHIN_S

        def settle() -> None:
            self.run_until_idle()
            while self._is_moving() and self._pace.move_to_next(bound):
                pass

        with self._stamps:
            drain = life.Drain(self.worker, self._built)
            drain.stop_sources()
            settle()
            for name in life.drains(self._built):
                drain.component(name)
                settle()
            for task, place, error in drain.failures:
                self._hooks.error(task.index, place, error)

    def finish(self) -> None:
        """Moves time until all that was fed has ended and the other spouts are exhausted; then drains.

        Raises:
            TimeoutError: that did not happen within ten minutes of simulated time; the text names what is left.
        """
        self.run_until_idle()
        bound = self.worker.monotonic() + END_WITHIN_S
        with self._stamps:
            while not self._has_ended():
                if not self._pace.move_to_next(bound):
                    self._never_ended(f"{END_WITHIN_S:.0f} s of simulated time")
        self.drain()

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

    def position(self, spout: str, index: int = 0) -> bytes:
        """What the `position` of a spout's task says now."""
        self.open()
        return position_of(self._tasks(spout)[index])

    def emitted(self, component: str, stream: str = DEFAULT_STREAM) -> list[tuple[Any, ...]]:
        """Every row that the component emitted on the stream, in order; each try of a root again."""
        if (component, stream) not in self._rows:
            streams = ", ".join(self._tasks(component)[0].spec.streams) or "no streams"
            message = f'"{component}" has no stream "{stream}"'
            raise TopologyError(Defect("stream_unknown", message, (("declared", streams),), "ask for one of these"))
        return list(self._rows[component, stream])

    def acked(self, spout: str) -> list[Any]:
        """Ids of the spout's roots that ended well, in order."""
        self._tasks(spout)
        return list(self._acked.get(spout, []))

    def failed(self, spout: str) -> list[Any]:
        """Ids of the spout's roots that failed, one entry for each failed try, in order."""
        self._tasks(spout)
        return list(self._failed.get(spout, []))

    def dead_letters(self) -> list[Any]:
        """The dead letters (`squall.runtime.letters.Letter`), oldest first."""
        return list(self._letters.letters)

    def errors(self) -> list[Any]:
        """The error reports that were kept (`squall.runtime.hooks.ErrorReport`), oldest first.

        Bound: the newest 10 of a component, and of a task 5 in 10 s, as its settings say.
        """
        reports = [report for kept in self._hooks.errors.values() for report in kept]
        return sorted(reports, key=lambda report: report.at)

    def metrics(self) -> Mapping[str, Any]:
        """Counters of each component, summed over its tasks; a user's own are under "user"."""
        return self._figures or figures(self.worker.snapshot(), self._built.tasks)

    # -- inside ----------------------------------------------------------------------------------------------

    def _replace(self, spec: ComponentSpec, task: TaskSpec) -> Spout | None:
        if spec.name == DEAD_LETTERS:
            self._letters.subscriber = DeadLetterSpout(spec.make(None))
            return self._letters.subscriber
        if mocked := self._mocked.get(spec.name):
            mocked.tasks.append(FedSpout())
            return mocked.tasks[-1]
        return self._listening(spec) if spec.listens else None

    def _listening(self, spec: ComponentSpec) -> Spout:
        """A task of a spout that listens; all tasks of its component share one socket, as in a run."""
        spout = spec.make(None)
        if spec.name not in self._listeners:
            self._listeners[spec.name] = spout.bind()
            self._bound.append(spout)
        spout.adopt(self._listeners[spec.name].fileno())
        return spout

    def _now(self) -> datetime:
        return BEGAN_AT + timedelta(seconds=self.worker.monotonic()) if self._simulated else datetime.now(UTC)

    def _monotonic(self) -> float:
        return self.worker.monotonic()

    def _observe(self, event: str, task: int, message_id: Any, _attempt: int) -> None:
        kept = self._acked if event == "acked" else self._failed
        kept.setdefault(self._built.tasks[task].spec.name, []).append(message_id)

    def _tasks(self, component: str) -> Sequence[Task]:
        if tasks := self._built.of(component):
            return tasks
        known = [spec.name for spec in self.components]
        near = did_you_mean(component, known)
        fix = f'did you mean "{near}"?' if near else "use the name of a component"
        facts = (("components", ", ".join(known)),)
        raise TopologyError(Defect("component_unknown", f'there is no component "{component}"', facts, fix))

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
            for task in self._built.tasks
            if task.spec.kind is Kind.SPOUT
            and not isinstance(task.instance, FedSpout | DeadLetterSpout)
            and not self.worker.spout_ended(task.index)
        ]

    def _never_ended(self, within: str) -> NoReturn:
        tasks = self._built.tasks
        left = [f'{count} roots of "{tasks[task].spec.name}" pending' for task, count in self.worker.pending()]
        for task, queued, held in self.worker.busy():
            left.append(f'"{tasks[task].spec.name}" has {queued} tuples queued and {held} in its hands')
        left += [f'spout "{task.spec.name}" is not exhausted' for task in self._going_on()]
        raise TimeoutError(f'topology "{self._graph.name}" did not end within {within}: ' + "; ".join(left))


def _settings(given: Mapping[str, object]) -> dict[str, Any]:
    settings, defects = dict(DEFAULTS), list[Defect]()
    for key, value in given.items():
        try:
            settings[key] = checked(key, value, "settings of LocalCluster", Scope.LOCAL)
        except ConfigError as error:
            defects += error.defects
    if defects:
        raise ConfigError(*defects)
    return settings


def _refuse_sockets(spouts: Iterable[ComponentSpec]) -> None:
    fix = "name it in mock_sources, or use LocalCluster(..., simulated_time=False)"
    defects = [
        Defect("simulated_world", f'spout "{spout.name}" {_does(spout)} in simulated time', (), fix) for spout in spouts
    ]
    if defects:
        raise TopologyError(*defects)


def _does(spout: ComponentSpec) -> str:
    return "listens on an address" if spout.listens else "connects to servers"


def _mocked(graph: Graph, name: str) -> MockedSpout:
    spec = graph.components.get(name)
    if spec is not None and spec.kind is Kind.SPOUT and name != DEAD_LETTERS:
        return MockedSpout(name, spec.streams)
    known = [spout.name for spout in graph.spouts if spout.name != DEAD_LETTERS]
    near = did_you_mean(name, known)
    fix = f'did you mean "{near}"?' if near else "name a spout"
    message = f'mock_sources names "{name}", which is no spout'
    raise TopologyError(Defect("mock_unknown", message, (("spouts", ", ".join(known)),), fix))
