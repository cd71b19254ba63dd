"""Logging in a worker: records carry component, task and worker; levels change while it runs, also for a while only.

Everything goes to one file, user prints included, each line with the component's name; the parent shows the file's
lines. Nothing goes through pipes, so that a parent that does not read holds no worker up.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

FILE_BYTES, OLDER_FILES = 64 << 20, 3
"""Size of a log file from which a new one is begun, and how many older ones are kept of a run."""
FORMAT = (
    "%(asctime)s %(levelname)-7s worker=%(worker)s component=%(component)s task=%(task)s logger=%(name)s %(message)s"
)


Running = Callable[[], "tuple[str, int | None] | None"]
"""Component and task of the code that asks, as far as they are known."""


def install(path: Path, worker: int, level: str, running: Running) -> None:
    """Sends all records, prints and stray output of this process to `path`."""
    # `extra` refuses keys that are there already, so the defaults are set by a filter, after it.
    handler = RotatingFileHandler(
        path, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(_defaults(worker, running))
    # A record that a full disk refuses is lost; to report that would need another record.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    sys.stdout = PrintedLines(logging.getLogger("stdout"), logging.INFO)
    sys.stderr = PrintedLines(logging.getLogger("stderr"), logging.WARNING)


def _defaults(worker: int, running: Running) -> Callable[[logging.LogRecord], bool]:
    def fill(record: logging.LogRecord) -> bool:
        fields = record.__dict__
        if "component" not in fields:
            component, task = running() or ("-", None)
            fields |= {"component": component, "task": "-" if task is None else task}
        fields.setdefault("task", "-")
        fields.setdefault("worker", worker)
        return True

    return fill


class PrintedLines(io.TextIOBase):
    """A text stream whose lines become log records."""

    def __init__(self, logger: logging.Logger, level: int) -> None:
        self._logger, self._level = logger, level
        self._rest = threading.local()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Logs each whole line; keeps the rest for this thread's next write."""
        lines = (getattr(self._rest, "text", "") + text).split("\n")
        self._rest.text = lines.pop()
        for line in lines:
            self._logger.log(self._level, "%s", line)
        return len(text)


class Levels:
    """Log levels changed while running, some of them only for a while."""

    def __init__(self) -> None:
        self._timers: dict[str, threading.Timer] = {}

    def change(self, logger: str, level: str, for_s: float | None) -> dict[str, Any]:
        """Sets a logger's level; after `for_s` it is what it was before. Returns what was done."""
        target = logging.getLogger(None if logger in ("root", "") else logger)
        before = target.level
        if timer := self._timers.pop(logger, None):
            timer.cancel()
        target.setLevel(level)
        if for_s is not None:
            timer = threading.Timer(for_s, target.setLevel, [before])
            timer.daemon = True
            timer.start()
            self._timers[logger] = timer
        return {"logger": logger or "root", "level": level, "before": logging.getLevelName(before), "for_s": for_s}
