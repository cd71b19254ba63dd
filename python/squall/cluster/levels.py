"""Log levels that were changed while a run goes on, and are in force over the lives of its workers.

A worker changes its own loggers, so what was changed is gone with it: its next life is told what is in force then.
Pure.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Level:
    """A change of a logger's level. `ends_s`: on the monotonic clock, when the one before is back; None: it lasts."""

    logger: str
    level: str
    ends_s: float | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """One logger: its last level that lasts, if that was changed, and one above it for a while."""

    lasting: Level | None = None
    temporary: Level | None = None


@dataclass(frozen=True, slots=True)
class Levels:
    """What is in force. Bound: one entry for each logger that somebody has named."""

    changed: Mapping[str, Changed] = field(default_factory=dict[str, Changed])


def told(levels: Levels, command: Mapping[str, Any], now_s: float) -> Levels:
    """After a command to workers; what they refuse, or what is about other things, changes nothing."""
    match command:
        case {"cmd": "log-level", "logger": str(logger), "level": str(level)} if (
            level in logging.getLevelNamesMapping()
        ):
            before = levels.changed.get(logger, Changed())
            match command.get("for_s"):
                case None:
                    now = Changed(Level(logger, level))
                case int() | float() as for_s:
                    now = replace(before, temporary=Level(logger, level, now_s + for_s))
                case _:
                    return levels
            return Levels({**levels.changed, logger: now})
        case {"cmd": "log-level-reset", "logger": str(logger)}:
            return Levels({name: one for name, one in levels.changed.items() if name != logger})
        case {"cmd": "log-level-reset"}:
            return Levels()
        case _:
            return levels


def in_force(levels: Levels, now_s: float) -> list[Level]:
    """The changes that lead to what is in force, in their order."""
    out: list[Level] = []
    for one in levels.changed.values():
        both = (one.lasting, one.temporary)
        out += [level for level in both if level is not None and (level.ends_s is None or level.ends_s > now_s)]
    return out
