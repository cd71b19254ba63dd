"""Log records of a cluster's code: component, task and worker, and in simulated time the virtual stamp."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from types import TracebackType

Running = Callable[[], "tuple[str, int | None] | None"]
"""Component and task of the code that asks, as far as they are known."""


class Stamps:
    """Inside, the root logger's handlers see records of the cluster's code as a worker's log file would show them.

    A filter of the handlers and no record factory: what `context.log` says itself as `extra` must not be there before.
    """

    def __init__(self, running: Running, now: Callable[[], datetime], worker: int = 1) -> None:
        self._running = running
        self._now = now
        self._worker = worker
        self._depth = 0
        self._handlers: list[logging.Handler] = []

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth == 1:
            self._handlers = logging.getLogger().handlers[:]
            for handler in self._handlers:
                handler.addFilter(self._fill)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._depth -= 1
        if self._depth == 0:
            for handler in self._handlers:
                handler.removeFilter(self._fill)

    def _fill(self, record: logging.LogRecord) -> bool:
        now_s = self._now().timestamp()
        record.created, record.msecs = now_s, now_s % 1 * 1000
        fields = record.__dict__
        if "component" not in fields and (found := self._running()):
            fields["component"], fields["task"] = found
        if "component" in fields:
            fields.setdefault("worker", self._worker)
        return True
