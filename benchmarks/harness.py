"""Running a topology in this process, and pairing runs."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from squall import Topology, _core
from squall.planner.plan import plan
from squall.planner.validate import validate
from squall.runtime.build import Built, build, core_settings
from squall.runtime.context import WorkerServices


class Hooks:
    """A benchmark's topology must not fail: errors are raised."""

    def failed(self, task, error):
        raise error

    def error(self, task, where, error):
        raise error

    def spout_failed(self, task, error):
        from squall import Exhausted

        if not isinstance(error, Exhausted):
            raise error

    def dead(self, handle, letter):
        raise AssertionError(letter)

    def holding(self, *event):
        pass

    def replayed(self, handle):
        pass

    def observe(self, *event):
        raise AssertionError(event)


@dataclass
class Run:
    """A topology that has ended."""

    worker: _core.Worker
    built: Built

    def close(self) -> None:
        self.worker.close()


def prepare(topology: Topology) -> Run:
    """Builds everything; the loop has not run yet."""
    graph = validate(topology)
    worker = _core.Worker(incarnation=1, seed=1, hooks=Hooks(), virtual=False, settings=core_settings(graph.settings))
    services = WorkerServices(worker, plan(graph), "bench-1", 1, Path("/nonexistent"), 1)
    built = build(services, offloader=lambda _spec, _instance: None)
    for task in built.tasks:
        if hasattr(task.instance, "open"):
            task.instance.open(task.context)
    worker.start_spouts()
    return Run(worker, built)


def cpu_s(function: Callable[[], object]) -> float:
    """CPU seconds that a call takes."""
    began = time.process_time()
    function()
    return time.process_time() - began


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles of paired ratios."""

    ratio: float
    low: float
    high: float
    plain_s: float

    def json(self) -> dict[str, float]:
        return {"ratio": round(self.ratio, 3), "low": round(self.low, 3), "high": round(self.high, 3)}


def paired(plain: Callable[[], object], variant: Callable[[], float], pairs: int) -> Ratio:
    """CPU time of `variant` over that of `plain` run directly before it. `variant` returns its CPU seconds."""
    plain()
    variant()
    gc.collect()
    gc.disable()
    try:
        ratios, plains = [], []
        for _ in range(pairs):
            base = cpu_s(plain)
            ratios.append(variant() / base)
            plains.append(base)
            gc.collect()
    finally:
        gc.enable()
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Ratio(middle, low, high, statistics.median(plains))


def measured(topology: Callable[[], Topology], check: Callable[[Run], None]) -> Callable[[], float]:
    """A variant: builds (not timed), runs (timed), checks that nothing is missing."""

    def once() -> float:
        run = prepare(topology())
        try:
            seconds = cpu_s(lambda: run.worker.run())
            check(run)
        finally:
            run.close()
        return seconds

    return once
