"""`LocalCluster`: a whole topology in the test's own process, on the very core that ships.

With simulated time everything runs on the test's thread, deterministic from the seed: `run_until_idle` never moves the
clock, `advance` does, timer by timer.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from squall import Batch, Spout, Topology, Tuple, _core
from squall.api.context import seconds
from squall.config.load import checked
from squall.config.table import DEFAULTS, Scope
from squall.errors import Defect, TopologyError
from squall.model.graph import DEAD_LETTERS, DEFAULT_STREAM, ComponentSpec, Kind, TaskSpec
from squall.planner.plan import plan
from squall.planner.validate import validate
from squall.runtime import life
from squall.runtime.build import Built, Task, build, core_settings
from squall.runtime.context import WorkerServices
from squall.runtime.dead_stream import DeadLetterSpout
from squall.runtime.hooks import Hooks
from squall.runtime.letters import Letter
from squall.runtime.offload import Offloaders
from squall.testing.virtual import VirtualOffloaders

_C = TypeVar("_C")

BEGAN_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""The wall clock at the start of simulated time."""
COMPLETE_WITHIN_S = 3600.0
"""Simulated time that `complete_topology` gives a topology to end."""
REAL_IDLE_S = 0.05
"""In real time: how long nothing may happen until a cluster counts as idle."""


FOREVER_S = 1e9
"""A rest that only `wake_spout` ends."""


class FedSpout(Spout):
    """Stands in for a spout that is mocked: emits what is fed, keeps nothing to itself, never ends."""

    idle_wait = FOREVER_S

    def __init__(self) -> None:
        self.waiting: deque[tuple[str, tuple[Any, ...], Any]] = deque()

    def next_batch(self, limit: int) -> Batch | None:
        """The oldest values of one stream."""
        rows: list[tuple[Any, ...]] = []
        ids: list[Any] = []
        stream = self.waiting[0][0] if self.waiting else DEFAULT_STREAM
        while self.waiting and len(rows) < limit and self.waiting[0][0] == stream:
            _, row, message_id = self.waiting.popleft()
            rows.append(row)
            ids.append(message_id)
        return Batch(rows, ids=ids, stream=stream) if rows else None

    def ack(self, message_id: Any) -> None:
        """Nothing to forget."""


@dataclass
class Injection:
    """Failures that a test wants."""

    error: BaseException
    left: int
    when: Callable[[Tuple], bool] | None


@dataclass
class MemoryLetters:
    """Dead letters of a test: in memory, stored at once."""

    worker: _core.Worker | None = None
    letters: list[Letter] = field(default_factory=list[Letter])
    subscriber: DeadLetterSpout | None = None

    def put(self, handle: int, letter: Letter) -> None:
        """Keeps a letter."""
        self.letters.append(letter)
        if self.subscriber is not None:
            self.subscriber.offer(letter)
        self.discard(handle)

    def discard(self, handle: int) -> None:
        """Lets a root go without keeping a letter."""
        assert self.worker is not None
        self.worker.dead_stored(handle)


class LocalCluster:
    """Runs a topology in this process.

    Args:
        mock_sources: spouts that are never opened, and the values they are fed at the start.
        simulated_time: time stands still but for `advance`; else threads and clocks are real.
        seed: decides everything that is random.
        settings: on top of the topology's own.

    Raises:
        TopologyError: all defects of the definition.
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
    ) -> None:
        below = dict(DEFAULTS)
        for key, value in (settings or {}).items():
            below[key] = checked(key, value, "settings of LocalCluster", Scope.TOPOLOGY)
        graph = validate(topology, below)
        self._mocked: dict[str, list[FedSpout]] = {name: [] for name in mock_sources or {}}
        self._virtual = simulated_time
        self._folder = tempfile.TemporaryDirectory(prefix="squall-test-")
        self._letters = MemoryLetters()
        self._hooks = Hooks(graph.settings, self._now, self._monotonic, self._letters, self._observe)
        self._acked: dict[str, list[Any]] = {}
        self._failed: dict[str, list[Any]] = {}
        self._injections: dict[str, list[Injection]] = {}
        for name in self._mocked:
            if name not in graph.components or graph.components[name].kind is not Kind.SPOUT:
                known = ", ".join(spout.name for spout in graph.spouts)
                message = f'mock_sources names "{name}", which is no spout'
                raise TopologyError(Defect("mock_unknown", message, (("spouts", known),), "name a spout"))
        self.worker = _core.Worker(
            incarnation=1, seed=seed, hooks=self._hooks, virtual=simulated_time, settings=core_settings(graph.settings)
        )
        self._letters.worker = self.worker
        services = WorkerServices(
            worker=self.worker,
            plan=plan(graph),
            topology_id=f"{graph.name}-1-0",
            number=0,
            work_dir=Path(self._folder.name),
            seed=seed,
            began_at=BEGAN_AT if simulated_time else None,
            report_error=self._hooks.error,
        )
        self._offloaders = VirtualOffloaders(self.worker.monotonic) if simulated_time else Offloaders()
        self._built: Built = build(services, offloader=self._offloaders, replace_spout=self._replace)
        self._hooks.built = self._built
        self._rows: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        for task in self._built.tasks:
            for number, stream in enumerate(task.spec.streams):
                rows = self._rows.setdefault((task.spec.name, stream), [])
                self.worker.record(task.index, number, rows)
        self.worker.observe(True)
        self._closed = False
        self._opened = False
        self._fed = {name: list(values) for name, values in (mock_sources or {}).items()}

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        try:
            life.open_all(self.worker, self._built)
        except life.OpenFailed as failed:
            raise failed.error from failed
        for name, values in self._fed.items():
            self.feed(name, values)

    def close(self) -> None:
        """Closes the components and lets go of everything."""
        if self._closed:
            return
        self._closed = True
        for task, place, error in life.close_all(self._built) if self._opened else []:
            self._hooks.error(task.index, place, error)
        self._offloaders.close()
        self.worker.close()
        self._folder.cleanup()

    # -- what a test does ------------------------------------------------------------------------------------

    def feed(
        self, spout: str, values: Iterable[object], /, *, stream: str = DEFAULT_STREAM, ids: Iterable[object] | None = None
    ) -> list[Any]:
        """Has a mocked spout emit each value (a tuple is a row); returns the message ids.

        Args:
            ids: one for each value; the value itself if not given.
        """
        self._open()
        rows = [value if isinstance(value, tuple) else (value,) for value in values]
        named: list[Any] = list(ids) if ids is not None else [row[0] if len(row) == 1 else row for row in rows]
        if spout not in self._mocked:
            known = ", ".join(self._mocked) or "none"
            message = f'"{spout}" is not mocked, so it cannot be fed'
            raise TopologyError(Defect("feed_unmocked", message, (("mocked", known),), "name it in mock_sources"))
        tasks = self._mocked[spout]
        for number, (row, message_id) in enumerate(zip(rows, named, strict=True)):
            tasks[number % len(tasks)].waiting.append((stream, tuple(row), message_id))
        return named

    def run_until_idle(self) -> None:
        """Runs until nothing can run without time moving; a pending back-off is idle."""
        self._open()
        if not self._virtual:
            while True:
                before = self._activity()
                self._check(self.worker.run(until_idle=True, deadline=self.worker.monotonic() + REAL_IDLE_S))
                if before == self._activity() and not any(row["in_flight"] for row in self.worker.snapshot()):
                    return
        while True:
            self._check(self.worker.run(until_idle=True))
            assert isinstance(self._offloaders, VirtualOffloaders)
            if not self._offloaders.loop.run_ready() and self._spouts_asked():
                return

    def advance(self, by: float | timedelta, /) -> None:
        """Moves time, running everything that comes due on the way."""
        self.run_until_idle()
        target = self.worker.monotonic() + seconds(by)
        if not self._virtual:
            while self.worker.monotonic() < target:
                self._check(self.worker.run(deadline=target))
            return
        while True:
            due = [at for at in (self.worker.next_due(), self._loop_due()) if at is not None and at <= target]
            if not due:
                break
            self.worker.advance_to(max(min(due), self.worker.monotonic()))
            self.run_until_idle()
        self.worker.advance_to(target)
        self.run_until_idle()

    def inject(
        self, component: str, error: BaseException, /, *, times: int = 1, when: Callable[[Tuple], bool] | None = None
    ) -> None:
        """Makes a bolt raise `error` for its next `times` inputs (that `when` accepts)."""
        tasks = self._tasks(component)
        injections = self._injections.setdefault(component, [])
        injections.append(Injection(error, times, when))

        def before(tup: Tuple) -> None:
            for injection in injections:
                if injection.left > 0 and (injection.when is None or injection.when(tup)):
                    injection.left -= 1
                    raise injection.error

        for task in tasks:
            self.worker.intercept(task.index, before)

    # -- what a test sees ------------------------------------------------------------------------------------

    def task(self, component: str, kind: type[_C], /, index: int = 0) -> _C:
        """The live instance of one task."""
        self._open()
        instance = self._tasks(component)[index].instance
        if not isinstance(instance, kind):
            raise TypeError(f'task {index} of "{component}" is a {type(instance).__name__}, not a {kind.__name__}')
        return instance

    def emitted(self, component: str, stream: str = DEFAULT_STREAM) -> list[tuple[Any, ...]]:
        """Every row that the component emitted on the stream, in order."""
        self._tasks(component)
        return list(self._rows.get((component, stream), []))

    def acked(self, spout: str) -> list[Any]:
        """Ids of the spout's roots that ended well, in order."""
        return list(self._acked.get(spout, []))

    def failed(self, spout: str) -> list[Any]:
        """Ids of the spout's roots that failed, one entry for each failed try."""
        return list(self._failed.get(spout, []))

    def dead_letters(self) -> list[Any]:
        """The dead letters, oldest first; `str()` of one shows component, input and error."""
        return list(self._letters.letters)

    def errors(self) -> list[Any]:
        """The errors that were kept, by component."""
        return [report for reports in self._hooks.errors.values() for report in reports]

    def metrics(self) -> Mapping[str, Any]:
        """Counters of each component, summed over its tasks; a user's own under "user"."""
        summed: dict[str, dict[str, Any]] = {}
        for row in self.worker.snapshot():
            out = summed.setdefault(row["component"], {})
            for name in ("acked", "failed", "dropped", "dead", "errors", "queue", "held", "in_flight", "pending"):
                out[name] = out.get(name, 0) + row.get(name, 0)
            for name in ("emitted", "transferred", "executed"):
                out[name] = out.get(name, 0) + sum(row[name].values())
        for task in self._built.tasks:
            user = summed[task.spec.name].setdefault("user", {})
            for name, counter in task.runtime.counters.items():
                user[name] = user.get(name, 0) + counter.value
            for name, read in task.runtime.gauges.items():
                user[name] = read()
            for name, histogram in task.runtime.histograms.items():
                user[name] = {"count": histogram.count, "sum": histogram.sum, "p50": histogram.percentile(50)}
        return summed

    def drain(self) -> None:
        """Ends the run as a real one ends: sources stop, back-offs are cut short, `drain` is called."""
        self._open()

        def step() -> str:
            self.run_until_idle()
            return "idle"

        drained = life.drain(self.worker, self._built, COMPLETE_WITHIN_S, step)
        for task, place, error in drained.failures:
            self._hooks.error(task.index, place, error)

    # -- inside ----------------------------------------------------------------------------------------------

    def _replace(self, spec: ComponentSpec, task: TaskSpec) -> Spout | None:
        if spec.name == DEAD_LETTERS:
            self._letters.subscriber = DeadLetterSpout(spec.make(None))
            return self._letters.subscriber
        if spec.name in self._mocked:
            fed = FedSpout()
            self._mocked[spec.name].append(fed)
            return fed
        return None

    def _now(self) -> datetime:
        return BEGAN_AT + timedelta(seconds=self.worker.monotonic()) if self._virtual else datetime.now(UTC)

    def _monotonic(self) -> float:
        return self.worker.monotonic()

    def _observe(self, event: str, task: int, message_id: Any, _attempt: int) -> None:
        kept = self._acked if event == "acked" else self._failed
        kept.setdefault(self._built.tasks[task].spec.name, []).append(message_id)

    def _tasks(self, component: str) -> Sequence[Task]:
        tasks = self._built.of(component)
        if not tasks:
            known = ", ".join(self._built.plan.graph.components)
            message = f'there is no component "{component}"'
            raise TopologyError(Defect("component_unknown", message, (("components", known),), "use one of these"))
        return tasks

    def _check(self, reason: str) -> None:
        if reason == "died" and (death := self.worker.death()):
            raise death[1]

    def _loop_due(self) -> float | None:
        assert isinstance(self._offloaders, VirtualOffloaders)
        return self._offloaders.loop.next_due()

    def _spouts_asked(self) -> bool:
        """Whether no fed value waits for a spout that only rests for its `idle_wait`."""
        tasks = [task for task in self._built.tasks if isinstance(task.instance, FedSpout) and task.instance.waiting]
        return not any([self.worker.wake_spout(task.index) for task in tasks])

    def _activity(self) -> list[tuple[Any, ...]]:
        rows = self.worker.snapshot()
        return [(row["acked"], row["failed"], row["queue"], row["in_flight"], sum(row["emitted"].values())) for row in rows]


def complete_topology(
    topology: Topology, mock_sources: Mapping[str, Iterable[object]]
) -> dict[str, list[tuple[Any, ...]]]:
    """Feeds the mocked spouts, runs everything to its end, and returns what each component emitted.

    Time moves by itself. Keys are component names for default streams and "component/stream" for others.

    Raises:
        TimeoutError: something was still pending after an hour of simulated time; the text names it.
    """
    with LocalCluster(topology, mock_sources=mock_sources) as cluster:
        cluster.run_until_idle()
        deadline = cluster.worker.monotonic() + COMPLETE_WITHIN_S
        while cluster.worker.pending():
            due = cluster.worker.next_due()
            if due is None or due > deadline:
                break
            cluster.advance(max(due - cluster.worker.monotonic(), 0.0))
        cluster.drain()
        if pending := cluster.worker.pending():
            names = ", ".join(f'{count} of "{cluster._built.tasks[task].spec.name}"' for task, count in pending)
            raise TimeoutError(f"still pending after the topology was drained: {names}")
        return {
            component if stream == DEFAULT_STREAM else f"{component}/{stream}": list(rows)
            for (component, stream), rows in cluster._rows.items()
        }


