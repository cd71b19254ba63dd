"""Logging in a worker: records carry topology, component, task and worker.

Everything goes to one file, user prints included, each line with the component's name; the parent shows the file's
lines. Nothing goes through pipes, so that a parent that does not read holds no worker up.

User code may configure logging as it likes. Prints have loggers of their own that lead to the file and nowhere else:
through the root a handler of the user's that writes to `sys.stderr` would be given its own output, without end. What a
configuration takes away is put back.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squall.runtime.log_lines import formatter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

OLDER_FILES = 3
"""How many log files of a run are kept beside the newest."""
LONGEST_PART = 1 << 16
"""Characters without a line feed that are kept of a print; with more they are shown as a line."""
ENCODING, ERRORS = "utf-8", "backslashreplace"
OWN = ("squall", "stdout", "stderr")
"""What the names of a worker's own loggers begin with."""


Running = Callable[[], "tuple[str, int | None] | None"]
"""Component and task of the code that asks, as far as they are known."""


class WorkerLog:
    """Where all records, prints and stray output of this process go from now on: the file at `path`.

    Bound: four files that together have `worker.log.max.bytes`, and a line more each.

    Args:
        stray: descriptors that lead to the newest file, for what C code and other processes write.
    """

    def __init__(
        self,
        path: Path,
        topology: str,
        worker: int,
        settings: Mapping[str, Any],
        running: Running,
        stray: Sequence[int] = (1, 2),
    ) -> None:
        # `extra` refuses keys that are there already, so the defaults are set by a filter, after it.
        self._handler = _File(path, stray)
        self._handler.addFilter(_defaults(topology, worker, running))
        # A record that a full disk refuses is lost; to report that would need another record.
        logging.raiseExceptions = False
        root = logging.getLogger()
        root.handlers[:] = [self._handler]
        level = settings["worker.log.level"]
        root.setLevel(level)
        self._out = PrintedLines(self._printing("stdout", level), logging.INFO, 1)
        self._err = PrintedLines(self._printing("stderr", level), logging.WARNING, 2)
        sys.stdout, sys.stderr = self._out, self._err
        self.use(settings)

    def use(self, settings: Mapping[str, Any]) -> None:
        """Writes as the settings say."""
        self._handler.setFormatter(formatter(settings["worker.log.format"]))
        self._handler.maxBytes = settings["worker.log.max.bytes"] // (OLDER_FILES + 1)

    def _printing(self, name: str, level: str) -> logging.Logger:
        logger = logging.getLogger(name)
        logger.handlers[:] = [self._handler]
        logger.propagate = False
        logger.setLevel(level)
        return logger

    def keep(self) -> None:
        """Puts back what user code has taken away by configuring logging: the way to the file, our own loggers."""
        root = logging.getLogger()
        if self._handler not in root.handlers:
            root.addHandler(self._handler)
        for name, logger in list(root.manager.loggerDict.items()):
            if isinstance(logger, logging.Logger) and name.partition(".")[0] in OWN:
                logger.disabled = False

    def close(self) -> None:
        """Shows what was printed last without a line feed, and writes everything out."""
        self._out.flush()
        self._err.flush()
        logging.shutdown()


class _File(RotatingFileHandler):
    """A file of which a new one is begun when it is full; `stray` descriptors follow."""

    def __init__(self, path: Path, stray: Sequence[int]) -> None:
        super().__init__(path, backupCount=OLDER_FILES, encoding=ENCODING, errors=ERRORS)
        self._stray = stray

    def doRollover(self) -> None:
        """Begins a new file."""
        super().doRollover()
        assert self.stream is not None
        for fd in self._stray:
            os.dup2(self.stream.fileno(), fd)

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Whether it is full; the record is not formatted for it, which would be done twice then."""
        return bool(self.stream) and self.stream.tell() >= self.maxBytes > 0


def _defaults(topology: str, worker: int, running: Running) -> Callable[[logging.LogRecord], bool]:
    def fill(record: logging.LogRecord) -> bool:
        fields = record.__dict__
        if "component" not in fields:
            component, task = running() or ("-", None)
            fields |= {"component": component, "task": "-" if task is None else task}
        fields.setdefault("task", "-")
        fields.setdefault("worker", worker)
        fields.setdefault("topology", topology)
        return True

    return fill


class _Here(threading.local):
    """What a stream keeps of one thread's prints."""

    part = ""
    is_showing = False


class PrintedLines(io.TextIOBase):
    """A text stream whose lines become log records; without a line feed at the next flush.

    `fd`: where what cannot be logged goes, and what asks for a descriptor.
    """

    encoding = ENCODING
    errors = ERRORS

    def __init__(self, logger: logging.Logger, level: int, fd: int) -> None:
        self._logger, self._level, self._fd = logger, level, fd
        self._here = _Here()
        self.buffer = PrintedBytes(self)

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """A descriptor that leads to the log too, for processes that user code starts."""
        return self._fd

    def write(self, text: str, /) -> int:
        """Shows each whole line; keeps the rest for this thread's next write."""
        *lines, part = (self._here.part + text).split("\n")
        if len(part) > LONGEST_PART:
            lines.append(part)
            part = ""
        self._here.part = part
        for line in lines:
            self._show(line)
        return len(text)

    def flush(self) -> None:
        """Shows what this thread has written of a line."""
        if part := self._here.part:
            self._here.part = ""
            self._show(part)

    def _show(self, line: str) -> None:
        if self._here.is_showing:  # who logs our lines prints himself; that would never end
            with suppress(OSError):
                os.write(self._fd, f"{line}\n".encode(ENCODING, ERRORS))
            return
        self._here.is_showing = True
        try:
            self._logger.log(self._level, "%s", line)
        finally:
            self._here.is_showing = False


class PrintedBytes(io.BufferedIOBase):
    """The bytes below a text stream, as `sys.stdout.buffer` has them."""

    def __init__(self, lines: PrintedLines) -> None:
        self._lines = lines

    def writable(self) -> bool:
        """They are."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Writes bytes as text."""
        taken = bytes(data)
        self._lines.write(taken.decode(ENCODING, ERRORS))
        return len(taken)

    def flush(self) -> None:
        """Shows what this thread has written of a line."""
        self._lines.flush()
