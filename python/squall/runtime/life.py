"""The life of a worker's tasks: open, run, drain, close (semantics 35), as plain code around the core's loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from squall import _core
from squall.model.graph import Kind
from squall.runtime.build import Built, Task
from squall.runtime.running import living

log = logging.getLogger("squall.worker")
LOOK_EVERY_S = 0.05
POLL_GRACE_S = 2.0
"""How long a drain waits for a blocking spout's last poll: it may wait for ever for what will not come any more."""


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
class Drained:
    """How a drain ended: whether in time, and what user code raised in it."""

    in_time: bool
    failures: list[tuple[Task, str, BaseException]]


def drain(
    worker: _core.Worker,
    built: Built,
    bound_s: float,
    step: Callable[[], str] | None = None,
    give_up: Callable[[], bool] = lambda: False,
) -> Drained:
    """Stops the sources, empties everything, calls `drain` in topological order, and lets what it emitted end.

    Args:
        step: runs the loop until nothing moves or the deadline; the core's own loop if not given.
        give_up: whether to end at once, asked when the loop was stopped.
    """
    began = worker.monotonic()
    patience = Patience(began + bound_s, began + min(bound_s, POLL_GRACE_S), give_up)

    def settle() -> str:
        return step() if step else settled(built, patience)

    failures: list[tuple[Task, str, BaseException]] = []
    worker.stop_spouts()
    while not step and polling(built) and worker.monotonic() < patience.polls_until:
        worker.run(until_idle=True, deadline=min(patience.polls_until, worker.monotonic() + LOOK_EVERY_S))
    waiting = polling(built)
    for task in _spouts(built):
        if task.index not in waiting:
            _attempt(failures, task, "deactivate")
    in_time = settle() == "idle"
    for task in _bolts(built):
        if not in_time:
            break
        if callable(getattr(task.instance, "drain", None)):
            result = _attempt(failures, task, "drain")
            if result is not None:
                try:
                    worker.emit_result(task.index, result)
                except Exception as error:
                    failures.append((task, "drain", error))
            in_time = settle() == "idle"
    if in_time and worker.pending() and not step:
        in_time = settled(built, replace(patience, waits_for_held=True)) == "idle"
    return Drained(in_time and not worker.pending(), failures)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a drain waits for what: times on the worker's clock.

    `polls_until`: for a blocking spout's last poll.
    `waits_for_held`: also for what timers may still do with tuples in user hands.
    """

    deadline: float
    polls_until: float
    give_up: Callable[[], bool]
    waits_for_held: bool = False


def settled(built: Built, patience: Patience) -> str:
    """Runs the loop until nothing can move by itself ("idle"): what is left is in user hands."""
    worker = built.worker
    while True:
        look_at = min(patience.deadline, worker.monotonic() + LOOK_EVERY_S)
        reason = worker.run(until_idle=True, deadline=look_at)
        if reason == "exhausted":
            return "idle"
        if reason == "stopped" and not patience.give_up():
            continue  # told twice to stop
        if reason not in ("idle", "deadline"):
            return reason
        if _is_settled(built, patience):
            return "idle"
        if worker.monotonic() >= patience.deadline:
            return "deadline"
        if reason == "idle":
            worker.run(deadline=look_at)  # time has to pass


def _is_settled(built: Built, patience: Patience) -> bool:
    """Whether all that is pending waits for user code, and none of that is to be waited for."""
    worker = built.worker
    going_on = {task.index for task in _spouts(built) if not worker.spout_ended(task.index)}
    if worker.monotonic() >= patience.polls_until:
        going_on -= polling(built)
    bolts = {task.index for task in _bolts(built)}
    rows = worker.snapshot()
    if going_on or any(row["queue"] or row["in_flight"] for index, row in enumerate(rows) if index in bolts):
        return False
    due = worker.next_due()
    nothing_due = due is None or due > patience.deadline
    return not worker.pending() or nothing_due or (not patience.waits_for_held and _only_held(worker))


def _only_held(worker: _core.Worker) -> bool:
    """Whether everything that is pending waits for user code that holds it."""
    held = sum(held for _, _, held in worker.busy())
    return held > 0 and not any(
        row["in_flight"] or row.get("retrying") or row.get("burying") for row in worker.snapshot()
    )


def polling(built: Built) -> set[int]:
    """Spouts on threads of their own whose poll has not returned."""
    in_hands = {index for index, _, count in built.worker.busy() if count}
    return in_hands & {task.index for task in _spouts(built)}


def close_all(built: Built) -> list[tuple[Task, str, BaseException]]:
    """Closes every task, spouts first; not those whose thread still waits for a call to return."""
    built.worker.end_emission()
    failures: list[tuple[Task, str, BaseException]] = []
    waiting = polling(built)
    for task in built.tasks:
        if task.index in waiting:
            log.warning("event=not_closed reason=its_poll_has_not_returned", extra={"component": task.spec.name})
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
