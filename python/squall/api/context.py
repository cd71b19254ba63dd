"""What a task knows of itself and of its topology, and what it can ask for."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from logging import Logger, LoggerAdapter
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeVar

from squall.errors import Defect, TopologyError
from squall.model.durations import Seconds, seconds

_T = TypeVar("_T")

RESERVOIR = 1024
"""How many of a histogram's newest values its percentiles are of."""
BUCKETS = (*(float(f"{digit}e{decade}") for decade in range(-3, 6) for digit in (1, 2, 5)), 1e6)
"""Upper bounds of a histogram's buckets where none are given: three a decade, for whatever unit."""
MOST_BUCKETS = 200


class Timer:
    """A timer that can be cancelled."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Ends the timer; nothing happens if it has run already."""
        self._cancel()


class Counter:
    """A user's counter; exact."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self, n: int = 1, /) -> None:
        """Adds `n`. Any thread."""
        with self._lock:
            self.value += n


class Histogram:
    """A user's distribution: exact count, sum, maximum and buckets; percentiles of the newest values.

    Args:
        buckets: upper bounds, ascending; each counts the values up to it and over the one before.

    Bound: keeps 1,024 values and a number for each bucket.

    Raises:
        TopologyError: `histogram_buckets`.
    """

    def __init__(self, buckets: Sequence[float] = BUCKETS) -> None:
        self.count = 0
        self.sum = 0.0
        self.max = -math.inf
        self.buckets = _checked(buckets)
        self._counts = [0] * (len(self.buckets) + 1)
        self._newest: list[float] = []
        self._lock = threading.Lock()

    def record(self, value: float, /) -> None:
        """Records one value. Any thread."""
        bucket = bisect_left(self.buckets, value)
        with self._lock:
            self.count += 1
            self.sum += value
            self.max = max(self.max, value)
            self._counts[bucket] += 1
            self._newest.append(value)
            if len(self._newest) > RESERVOIR:
                del self._newest[: RESERVOIR // 2]

    def state(self) -> tuple[int, float, list[int]]:
        """Count, sum, and for each bucket how many values are not over its bound; all of one moment."""
        with self._lock:
            return self.count, self.sum, list(accumulate(self._counts[:-1]))

    def percentile(self, percent: float) -> float:
        """The value that `percent` of the newest ones do not exceed; 0 when there is none."""
        with self._lock:
            ordered = sorted(self._newest)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def _checked(buckets: Sequence[float]) -> tuple[float, ...]:
    bounds = tuple(map(float, buckets))
    ascending = all(low < high for low, high in pairwise(bounds))
    if not ascending or not all(map(math.isfinite, bounds)) or not 1 <= len(bounds) <= MOST_BUCKETS:
        fix = f"give 1 to {MOST_BUCKETS} finite numbers, each larger than the one before"
        facts = (("buckets", str(bounds)[:200]),)
        raise TopologyError(Defect("histogram_buckets", "the buckets of a histogram are not ascending", facts, fix))
    return bounds


class TaskRuntime(Protocol):
    """What a context asks of the worker that runs its task."""

    topology: str
    topology_id: str
    component: str
    task_id: int
    task_index: int
    task_count: int
    worker: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, object]]
    log: LoggerAdapter[Logger]
    random: Random

    @property
    def work_dir(self) -> Path: ...
    def tasks(self, component: str) -> tuple[int, ...]: ...
    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    def after(self, delay_s: float, call: Callable[..., object], args: tuple[object, ...]) -> Timer: ...
    def every(self, period_s: float, call: Callable[..., object], args: tuple[object, ...]) -> Timer: ...
    def shared(self, key: str, make: Callable[[], Any]) -> Any: ...
    def pause(self, delay_s: float) -> None: ...
    def ended_prefix(self) -> int: ...
    def unended(self) -> tuple[int, list[int]]: ...
    def busy(self) -> dict[str, int]: ...
    def dead_letter(self, values: tuple[object, ...], error: BaseException, id: Hashable | None) -> None: ...
    def report_error(self, error: BaseException) -> None: ...
    def counter(self, name: str) -> Counter: ...
    def histogram(self, name: str, buckets: Sequence[float] | None) -> Histogram: ...
    def gauge(self, name: str, read: Callable[[], float]) -> None: ...
    def table(self, name: str, read: Callable[[], Mapping[str, float]]) -> None: ...


class TopologyContext:
    """A task's place in its topology and the services of its worker."""

    def __init__(self, runtime: TaskRuntime) -> None:
        self._runtime = runtime

    @property
    def topology(self) -> str:
        """Name of the topology."""
        return self._runtime.topology

    @property
    def topology_id(self) -> str:
        """Id of this run of the topology: name, counter and start in epoch seconds."""
        return self._runtime.topology_id

    @property
    def component(self) -> str:
        """Name of the component."""
        return self._runtime.component

    @property
    def task_id(self) -> int:
        """Id of the task, unique in the topology."""
        return self._runtime.task_id

    @property
    def task_index(self) -> int:
        """Place of the task among its component's, from 0."""
        return self._runtime.task_index

    @property
    def task_count(self) -> int:
        """How many tasks the component has."""
        return self._runtime.task_count

    @property
    def worker(self) -> int:
        """Number of the worker."""
        return self._runtime.worker

    @property
    def settings(self) -> Mapping[str, Any]:
        """The component's settings, by key."""
        return self._runtime.settings

    @property
    def inputs(self) -> Mapping[str, Mapping[str, object]]:
        """The fields of each stream that comes in, with the types that are declared for them, else None.

        Streams are called `COMPONENT/STREAM`; a spout has none.
        """
        return self._runtime.inputs

    @property
    def work_dir(self) -> Path:
        """A folder of the task's own; it lasts as long as the run."""
        return self._runtime.work_dir

    @property
    def log(self) -> LoggerAdapter[Logger]:
        """A logger whose records carry component, task and worker."""
        return self._runtime.log

    @property
    def random(self) -> Random:
        """A random generator of the task's own, seeded by the run."""
        return self._runtime.random

    def tasks(self, component: str, /) -> tuple[int, ...]:
        """Ids of a component's tasks, ascending."""
        return self._runtime.tasks(component)

    def now(self) -> datetime:
        """The wall clock, aware, in UTC; virtual in simulated time."""
        return self._runtime.now()

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps; virtual in simulated time."""
        return self._runtime.monotonic()

    def after(self, delay: Seconds, call: Callable[..., object], /, *args: object) -> Timer:
        """Runs `call(*args)` once after `delay`, on the task's executor, between tuples; it emits unanchored."""
        return self._runtime.after(seconds(delay), call, args)

    def every(self, period: Seconds, call: Callable[..., object], /, *args: object) -> Timer:
        """Runs `call(*args)` each `period`, on the task's executor, between tuples."""
        return self._runtime.every(seconds(period), call, args)

    def shared(self, key: str, make: Callable[[], _T], /) -> _T:
        """What `make` returned when a task of this worker first asked for `key` (a model, a pool)."""
        return self._runtime.shared(key, make)

    def pause(self, delay: Seconds, /) -> None:
        """Delivers nothing to this task for `delay`."""
        self._runtime.pause(seconds(delay))

    def ended_prefix(self) -> int:
        """How many of this spout task's outputs, counted from `open`, have ended such that all before them have.

        Ended: acked, or safe in the dead letters. A failed output keeps its place until a later try has ended. It is
        what `position` needs: the source before the output of this number need not be read again.

        Raises:
            RuntimeError: the spout has no `position`, or it has `fail` and so keeps account of its outputs itself.
        """
        return self._runtime.ended_prefix()

    def unended(self) -> tuple[int, list[int]]:
        """How many of this spout task's outputs have begun, and the numbers of those that have not ended, ascending.

        Outputs are counted from `open`, as in `ended_prefix`; what `next_batch` has returned just now has not begun. A
        source of several parts, each with a prefix of its own, needs this: a slow output of one holds back no other.

        Raises:
            RuntimeError: as `ended_prefix`.

        Cost: in proportion to what is under way.
        """
        return self._runtime.unended()

    def busy(self) -> dict[str, int]:
        """How many tuples the other components of this worker have queued or in hand, by component; idle ones left out.

        It is for telling people why an output takes so long.
        """
        return self._runtime.busy()

    def dead_letter(self, *values: object, error: BaseException, id: Hashable | None = None) -> None:
        """Makes a dead letter of a record that this spout cannot emit, and reports the error.

        It counts as an output, failed at its only try: towards the `limit` of `next_batch`, and in `ended_prefix`,
        where it has ended when the letter is on disk. Then `dead(id)` or `ack(id)` is called too, if an id is given.
        """
        self._runtime.dead_letter(values, error, id)

    def report_error(self, error: BaseException, /) -> None:
        """Shows an error among the component's, without failing anything."""
        self._runtime.report_error(error)

    def counter(self, name: str, /) -> Counter:
        """The counter called `name`, made at first use.

        Bound: 200 counters, histograms and gauges of a task are shown; a later one counts and is not.
        """
        return self._runtime.counter(name)

    def histogram(self, name: str, /, *, buckets: Sequence[float] | None = None) -> Histogram:
        """The histogram called `name`, made at first use.

        Args:
            buckets: upper bounds, ascending; if not given 0.001, 0.002, 0.005, 0.01, … 1,000,000.

        Raises:
            TopologyError: `histogram_buckets`: they are not ascending, or the histogram has others already.
        """
        return self._runtime.histogram(name, buckets)

    def gauge(self, name: str, read: Callable[[], float], /) -> None:
        """Shows what `read()` returns at each report, once a second, under `name`."""
        self._runtime.gauge(name, read)

    def table(self, name: str, read: Callable[[], Mapping[str, float]], /) -> None:
        """Shows the few rows that `read()` returns at each report under `name` in the live view."""
        self._runtime.table(name, read)
