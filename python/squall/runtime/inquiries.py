"""Commands that a component answers itself: `answer(request) -> dict`, on its task's executor, between tuples."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from typing import Any

from squall import _core
from squall.errors import SquallError
from squall.runtime.build import Built, Task

WITHIN_S = 4.0
"""How long the tasks may take; less than the parent waits for a worker."""

Answer = dict[str, Any]


def answered(built: Built, component: str, request: Answer) -> Answer:
    """What the component's tasks in this worker say, as a command is answered. Not on the loop's thread."""
    if component not in built.plan.graph.components:
        names = ", ".join(built.plan.graph.components)
        return _refused("component_unknown", f'there is no component "{component}"', (("components", names),))
    tasks = built.of(component)
    if any(not callable(getattr(task.instance, "answer", None)) for task in tasks):
        return _refused("component_silent", f'"{component}" is of a kind that answers no commands', ())
    try:
        asked = [_ask(built.worker, task, request) for task in tasks]
        return {"answers": [{"task": task.task.index, **future.result(WITHIN_S)} for task, future in asked]}
    except TooLate:
        return {"busy_with": [component]}
    except SquallError as error:
        return {"defects": [_told(error)]}


def _ask(worker: _core.Worker, task: Task, request: Answer) -> tuple[Task, Future[Answer]]:
    future: Future[Answer] = Future()

    def answer() -> None:
        try:
            future.set_result(task.instance.answer(request))
        except Exception as error:
            future.set_exception(error)

    worker.after(task.index, 0.0, answer, ())
    return task, future


def _told(error: SquallError) -> Answer:
    defect = error.defects[0]
    return {"code": defect.code, "message": defect.message, "facts": list(defect.facts), "fix": defect.fix}


def _refused(code: str, message: str, facts: tuple[tuple[str, str], ...]) -> Answer:
    fix = "name one that does; `squall kafka seek` is for a KafkaSpout"
    return {"defects": [{"code": code, "message": message, "facts": list(facts), "fix": fix}]}
