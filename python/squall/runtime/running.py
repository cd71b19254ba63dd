"""Whose code runs here: for log records and for prints."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar

from squall import _core
from squall.runtime.build import Built, Task

_living: ContextVar[Task | None] = ContextVar("squall_living", default=None)
"""The task whose `open`, `drain` or `close` is running."""


@contextmanager
def living(task: Task):
    """Inside, code of the task's life runs."""
    token = _living.set(task)
    try:
        yield
    finally:
        _living.reset(token)


class Running:
    """Finds component and task of the code that asks.

    The core knows the component that its loop runs but not the task; with several tasks that stays open.
    """

    def __init__(self, current_component: Callable[[], int | None], built: Built) -> None:
        self._current_component = current_component
        self._built = built
        self._components = [*(spout.name for spout in built.plan.graph.spouts), *built.plan.graph.order]
        self._loop_thread = threading.get_ident()

    def __call__(self) -> tuple[str, int | None] | None:
        """Component and task id; None in code that belongs to no component."""
        if task := _living.get():
            return task.spec.name, task.task.task_id
        call: _core.Call | None = _core.current_call.get(None)
        if call is not None:
            task = self._built.tasks[call.task]
            return task.spec.name, task.task.task_id
        if threading.get_ident() != self._loop_thread or (number := self._current_component()) is None:
            return None
        name = self._components[number]
        tasks = self._built.of(name)
        return name, tasks[0].task.task_id if len(tasks) == 1 else None
