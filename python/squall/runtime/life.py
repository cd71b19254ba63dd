"""The life of a worker's tasks: open, run, drain, close (semantics 35), as plain code around the core's loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from squall import _core
from squall.model.graph import Kind, Mode
from squall.planner.order import reached
from squall.runtime.build import Built, Task
from squall.runtime.running import living

log = logging.getLogger("squall.worker")
LOOK_EVERY_S = 0.05
POLL_GRACE_S = 2.0
"""How long a drain waits for a blocking spout's last poll: it may wait for ever for what will not come any more."""
CALL_GRACE_S = 2.0
"""How long the end waits for the last calls of blocking bolts: that of a sink may wait for its other system."""
SPOUT_GRACE_S = 0.5
"""How long it waits for those of blocking spouts: a tick, or a poll that nobody waited for as there was no drain."""


@dataclass
class OpenFailed(Exception):
    """`open` of a component raised."""

    component: str
    task: int
    error: BaseException


def call(task: Task, name: str, *args: object) -> Any:
    """Calls a method of the task's life where its code runs; None if it has no such method."""
    method = getattr(task.instance, name, None)
    return run_as(task, method, *args) if callable(method) else None


def run_as(task: Task, function: Callable[..., Any], *args: object) -> Any:
    """Runs a function where the task's code runs, and waits for it."""
    run = task.offloader.run if task.offloader is not None else _here
    with living(task), task.runtime.life.of(task.spec.name):
        result: Any = run(task.runtime.life.run, function, *args)
        return run(run_coroutine, result) if hasattr(result, "__await__") else result


def _here(function: Callable[..., object], *args: object) -> object:
    return function(*args)


def run_coroutine(coroutine: Any) -> Any:
    """Runs an async `open` or `close` of a component whose `process` is not async."""
    import asyncio

    return asyncio.run(coroutine)


def open_all(worker: _core.Worker, built: Built, restore: Callable[[Task], None] = lambda _task: None) -> None:
    """Opens every bolt, then every spout, and lets the spouts begin; sets the ticks.

    Args:
        restore: gives an opened spout its position.

    Raises:
        OpenFailed: `open` of a component raised.
    """
    for task in [*_bolts(built), *_spouts(built)]:
        try:
            result = call(task, "open", task.context)
            if result is not None:
                worker.emit_result(task.index, result)
            if task.spec.kind is Kind.SPOUT:
                restore(task)
                call(task, "activate")
        except KeyboardInterrupt:  # of whoever runs a test
            raise
        except BaseException as error:
            raise OpenFailed(task.spec.name, task.task.task_id, error) from error
        if task.spec.tick_every is not None:
            worker.set_tick(task.index, task.spec.tick_every, task.instance.tick)
    worker.start_spouts()


@dataclass
class Drain:
    """The steps of a drain, taken when whoever leads it finds that the step before has come to its end."""

    worker: _core.Worker
    built: Built
    failures: list[tuple[Task, str, BaseException]] = field(default_factory=list[tuple[Task, str, BaseException]])
    _stopped: bool = False

    def stop_sources(self, polls_until: float = 0.0) -> None:
        """Stops the sources.

        Args:
            polls_until: on the worker's clock, how long the last polls of blocking spouts are waited for.
        """
        if self._stopped:
            return
        self._stopped = True
        self.worker.stop_spouts()
        while polling(self.built) and (now := self.worker.monotonic()) < polls_until:
            self.worker.run(until_idle=True, deadline=min(polls_until, now + LOOK_EVERY_S))
        waiting = polling(self.built)
        for task in _spouts(self.built):
            if task.index not in waiting:
                _attempt(self.failures, task, "deactivate")

    def resume(self) -> None:
        """A worker was lost in the drain: it will be done again, as if it had not begun."""
        self._stopped = False
        self.worker.resume_spouts()

    def component(self, name: str) -> None:
        """Calls `drain` of a component's tasks, and sends what they give."""
        again = not _is_in_loop(self.built, name)
        for task in self.built.of(name):
            self.worker.drained(task.index, again=again)
            if (result := _attempt(self.failures, task, "drain")) is not None:
                try:
                    self.worker.emit_result(task.index, result)
                except Exception as error:
                    self.failures.append((task, "drain", error))


def _is_in_loop(built: Built, name: str) -> bool:
    """Whether what a component sends may lead back to it: what comes of its drain is no reason for another."""
    edges = [(one.source.component, spec.name) for spec in built.plan.graph.components.values() for one in spec.inputs]
    return name in reached([target for source, target in edges if source == name], edges)


def drains(built: Built) -> list[str]:
    """The components with a `drain`, in topological order, as far as this worker has tasks of them."""
    having = (task.spec.name for task in _bolts(built) if callable(getattr(task.instance, "drain", None)))
    return list(dict.fromkeys(having))


def polling(built: Built) -> set[int]:
    """Spouts on threads of their own whose poll has not returned."""
    in_hands = {index for index, _, count in built.worker.busy() if count}
    return in_hands & {task.index for task in _spouts(built)}


def in_calls(built: Built) -> set[int]:
    """Tasks on threads of their own whose call has not returned: a poll, or a sink that waits for its other system."""
    in_hands = {index for index, _, count in built.worker.busy() if count}
    return in_hands & {
        task.index
        for task in built.tasks
        if task.spec.kind is Kind.SPOUT
        or (task.spec.mode is Mode.BLOCKING and not getattr(task.instance, "manual_ack", False))
    }


def close_all(built: Built, *, waits: bool = True) -> list[tuple[Task, str, BaseException]]:
    """Closes every task, spouts first; not those whose thread still waits for a call to return: nothing is asked anew.

    Args:
        waits: for calls that are about to return. Where a run is cut they are let go, and what they failed of is not
            told: nobody reads any more.
    """
    built.worker.end_emission()
    built.worker.stop_spouts()
    failures: list[tuple[Task, str, BaseException]] = []
    began = built.worker.monotonic()
    while waits and (calls := in_calls(built)):
        now = built.worker.monotonic()
        until = began + (CALL_GRACE_S if calls - polling(built) else SPOUT_GRACE_S)
        if now >= until:
            break
        built.worker.run(until_idle=True, deadline=min(until, now + LOOK_EVERY_S))
    waiting = in_calls(built)
    for task in built.tasks:
        if task.index in waiting:
            log.log(
                logging.WARNING if waits else logging.DEBUG,
                "event=not_closed reason=its_call_has_not_returned",
                extra={"component": task.spec.name},
            )
            continue
        _attempt(failures, task, "close")
    return failures


def _attempt(failures: list[tuple[Task, str, BaseException]], task: Task, name: str) -> Any:
    try:
        return call(task, name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        failures.append((task, name, error))
        return None


def _spouts(built: Built) -> list[Task]:
    return [task for task in built.tasks if task.spec.kind is Kind.SPOUT]


def _bolts(built: Built) -> list[Task]:
    return [task for task in built.tasks if task.spec.kind is Kind.BOLT]
