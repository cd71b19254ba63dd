"""What a `TopologyContext` asks of the worker, for one task."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from logging import Logger, LoggerAdapter, getLogger
from pathlib import Path
from random import Random
from threading import RLock
from typing import Any, TypeVar

from squall import _core
from squall.api.context import Counter, Histogram, Timer
from squall.errors import Defect, TopologyError
from squall.model.graph import ComponentSpec, Plan, StreamId, TaskSpec
from squall.runtime.watch import Life

_T = TypeVar("_T")

MOST_FIGURES = 200
"""Figures of its own that a task shows; names made of data would grow each report without end."""


@dataclass
class WorkerServices:
    """What the tasks of one worker have in common."""

    worker: _core.Worker
    plan: Plan
    topology_id: str
    number: int
    work_dir: Path
    seed: int
    began_at: datetime | None = None
    """Start of simulated time; None: the wall clock is real."""
    report_error: Callable[[int, str, BaseException], None] = lambda _task, _where, _error: None
    life: Life = field(default_factory=Life)
    ended: Mapping[str, int] | None = None
    """How many outputs of each task of a generator had ended in the worker's lives before, by component and index;
    None: nobody wants to know."""
    components: list[str] = field(default_factory=list[str])
    """Of the worker's own tasks, by their indexes in the core."""
    shared: dict[str, Any] = field(default_factory=dict[str, Any])
    shared_lock: RLock = field(default_factory=RLock)
    """May be taken again inside: what is shared may be made of other shared things."""

    def now(self) -> datetime:
        """The wall clock, or the virtual one."""
        if self.began_at is None:
            return datetime.now(UTC)
        return self.began_at + timedelta(seconds=self.worker.monotonic())


def _fields_of(plan: Plan, source: StreamId) -> Mapping[str, object]:
    """The fields of a stream with their declared types, else None."""
    stream = plan.graph.components[source.component].streams[source.stream]
    return {name: stream.types.get(name) for name in stream.fields}


class ContextRuntime:
    """The worker as one task's context sees it."""

    def __init__(self, services: WorkerServices, spec: ComponentSpec, task: TaskSpec) -> None:
        self._services = services
        self._index = -1
        self.topology = services.plan.graph.name
        self.topology_id = services.topology_id
        self.component = spec.name
        self.task_id = task.task_id
        self.task_index = task.index
        self.task_count = spec.tasks
        self.worker = services.number
        self.life = services.life
        self.settings: Mapping[str, Any] = spec.settings
        self.inputs: Mapping[str, Mapping[str, object]] = {
            str(one.source): _fields_of(services.plan, one.source) for one in spec.inputs
        }
        extra = {"component": spec.name, "task": task.task_id, "worker": services.number}
        self.log: LoggerAdapter[Logger] = LoggerAdapter(getLogger(f"squall.user.{spec.name}"), extra)
        self.random = Random(f"{services.seed}/{task.task_id}")
        self.counters: dict[str, Counter] = {}
        self.histograms: dict[str, Histogram] = {}
        self.gauges: dict[str, Callable[[], float]] = {}
        self.source_figures: Callable[[], Mapping[str, int]] = dict[str, int]
        """What the native half of a source has counted."""
        self._said_full = False
        self.tables: dict[str, Callable[[], Mapping[str, float]]] = {}

    def bind(self, index: int) -> None:
        """Learns the task's index in the core."""
        self._index = index

    @property
    def work_dir(self) -> Path:
        """A folder of the task's own, made when it is first asked for."""
        path = self._services.work_dir / f"{self.component}-{self.task_id}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def tasks(self, component: str) -> tuple[int, ...]:
        """Ids of a component's tasks."""
        return tuple(task.task_id for task in self._services.plan.tasks_of(component))

    def now(self) -> datetime:
        """The wall clock."""
        return self._services.now()

    def monotonic(self) -> float:
        """The worker's clock."""
        return self._services.worker.monotonic()

    def after(self, delay_s: float, call: Callable[..., object], args: tuple[object, ...]) -> Timer:
        """A timer of this task."""
        timer = self._services.worker.after(self._index, delay_s, call, args)
        return Timer(lambda: self._services.worker.cancel_timer(timer))

    def every(self, period_s: float, call: Callable[..., object], args: tuple[object, ...]) -> Timer:
        """A repeated timer of this task."""
        timer = self._services.worker.every(self._index, period_s, call, args)
        return Timer(lambda: self._services.worker.cancel_timer(timer))

    def shared(self, key: str, make: Callable[[], Any]) -> Any:
        """Made once a worker."""
        with self._services.shared_lock:
            if key not in self._services.shared:
                self._services.shared[key] = make()
            return self._services.shared[key]

    def pause(self, delay_s: float) -> None:
        """Holds this task's inputs back."""
        self._services.worker.pause(self._index, delay_s)

    def ended_prefix(self) -> int:
        """How many outputs have ended with all before them."""
        if (prefix := self._services.worker.ended_prefix(self._index)) is None:
            raise RuntimeError(
                f'"{self.component}" has no ended_prefix: it wants a spout with position and without fail'
            )
        return prefix

    def unended(self) -> tuple[int, list[int]]:
        """How many outputs have begun, and which of them have not ended."""
        if (unended := self._services.worker.unended(self._index)) is None:
            raise RuntimeError(f'"{self.component}" has no unended: it wants a spout with position and without fail')
        return unended

    def busy(self) -> dict[str, int]:
        """What is queued or held in this worker."""
        busy: dict[str, int] = {}
        for index, queued, held in self._services.worker.busy():
            if index != self._index and index < len(self._services.components):
                name = self._services.components[index]
                busy[name] = busy.get(name, 0) + queued + held
        return busy

    def dead_letter(self, values: tuple[object, ...], error: BaseException, id: Hashable | None) -> None:
        """A dead letter of a record that was never emitted."""
        self._services.worker.bury(self._index, values, error, id)

    def report_error(self, error: BaseException) -> None:
        """Adds to the component's errors."""
        self._services.report_error(self._index, "report_error", error)

    def counter(self, name: str) -> Counter:
        """The counter of this name."""
        return self._shown(self.counters, name, Counter)

    def histogram(self, name: str, buckets: Sequence[float] | None) -> Histogram:
        """The histogram of this name."""
        made = self._shown(self.histograms, name, lambda: Histogram() if buckets is None else Histogram(buckets))
        if buckets is not None and made.buckets != tuple(map(float, buckets)):
            facts = (("its buckets", str(made.buckets)[:200]),)
            fix = "give the same buckets wherever you ask for it, or give it another name"
            raise TopologyError(Defect("histogram_buckets", f'histogram "{name}" has other buckets', facts, fix))
        return made

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Shows a value at each report."""
        if self._shown(self.gauges, name, lambda: read) is not read:
            self.gauges[name] = read

    def _shown(self, figures: dict[str, _T], name: str, make: Callable[[], _T]) -> _T:
        """The figure of this name, made if there is none; it is not shown where there are too many."""
        if name in figures:
            return figures[name]
        made = make()
        if len(self.counters) + len(self.histograms) + len(self.gauges) < MOST_FIGURES:
            return figures.setdefault(name, made)  # another thread may have been quicker
        if not self._said_full:
            self._said_full = True
            self.report_error(ValueError(f"more than {MOST_FIGURES} figures of its own: {name!r} is not shown"))
        return made

    def table(self, name: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Shows a few rows at each report."""
        self.tables[name] = read
