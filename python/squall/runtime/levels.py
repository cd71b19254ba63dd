"""Log levels that change while a worker runs, also for a while only."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Temporary:
    """A level that ends with its timer, at `ends_s` on the monotonic clock; `lasting` comes back then."""

    lasting: int
    timer: threading.Timer
    ends_s: float


class Levels:
    """Log levels changed while running, some of them only for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._temporary: dict[logging.Logger, Temporary] = {}
        self._first: dict[logging.Logger, int] = {}

    def change(self, logger: str, level: str, for_s: float | None) -> dict[str, Any]:
        """Sets a logger's level; after `for_s` its last lasting one is back. Returns what was done."""
        target = _logger(logger)
        with self._lock:
            before = target.level
            self._first.setdefault(target, before)
            target.setLevel(level)
            ended = self._end(target)
            if for_s is not None:
                self._begin(target, ended.lasting if ended else before, for_s)
        return {"logger": target.name, "level": level, "before": logging.getLevelName(before), "for_s": for_s}

    def restore(self, logger: str, level: str, ends_s: float | None) -> None:
        """Sets a level that was in force in the life before; `ends_s` is on the monotonic clock, None: it lasts."""
        for_s = None if ends_s is None else ends_s - time.monotonic()
        if for_s is None or for_s > 0:
            self.change(logger, level, for_s)

    def reset(self, logger: str | None) -> dict[str, Any]:
        """Gives loggers the level that they had before the first change; all that were changed, if none is named."""
        with self._lock:
            targets = [*self._first] if logger is None else [_logger(logger)]
            done: list[dict[str, str]] = []
            for target in targets:
                before = target.level
                self._end(target)
                target.setLevel(self._first.pop(target, before))
                level = logging.getLevelName(target.level)
                done.append({"logger": target.name, "level": level, "before": logging.getLevelName(before)})
        return {"reset": done}

    def listed(self) -> dict[str, Any]:
        """The loggers that have a level of their own, the root first, and for how long those that end."""
        root = logging.getLogger()
        named = {logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)}
        with self._lock:
            own = sorted({logger for logger in named if logger.level} | self._first.keys() - {root}, key=_name)
            return {"levels": [self._told(logger) for logger in (root, *own)]}

    def _told(self, logger: logging.Logger) -> dict[str, Any]:
        temporary = self._temporary.get(logger)
        told: dict[str, Any] = {"logger": logger.name, "level": logging.getLevelName(logger.level)}
        if temporary is not None:
            left_s = max(0.0, temporary.ends_s - time.monotonic())
            told |= {"left_s": round(left_s, 1), "then": logging.getLevelName(temporary.lasting)}
        return told

    def _end(self, target: logging.Logger) -> Temporary | None:
        """Ends a logger's temporary level."""
        ended = self._temporary.pop(target, None)
        if ended is not None:
            ended.timer.cancel()
        return ended

    def _begin(self, target: logging.Logger, lasting: int, for_s: float) -> None:
        def end() -> None:
            with self._lock:
                if self._temporary.get(target) is temporary:  # else another change came first
                    del self._temporary[target]
                    target.setLevel(lasting)

        timer = threading.Timer(for_s, end)
        timer.daemon = True
        self._temporary[target] = temporary = Temporary(lasting, timer, time.monotonic() + for_s)
        timer.start()


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(None if name in ("root", "") else name)


def _name(logger: logging.Logger) -> str:
    return logger.name
