"""`squall log-level`: the levels of a running topology's loggers, looked at, changed, reset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from squall.cli.commands import command
from squall.errors import ConfigError, Defect
from squall.model.durations import parse_duration

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "NOTSET")
LONGEST_S = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Change:
    """One change; `level` None: as before all changes. `for_s` None: it lasts."""

    logger: str
    level: str | None
    for_s: float | None


def levels(base: Path, topology: str, changes: list[str], *, reset: bool) -> None:
    """Does what is asked for, or shows the levels.

    Raises:
        ConfigError: `log_level_invalid`: nothing was changed.
        ClusterError: the topology does not run or does not answer.
    """
    parsed = [_parsed(change) for change in changes]  # all before the first is made
    if reset:
        _reset(base, topology, {"cmd": "log-level-reset"})
    for change in parsed:
        _change(base, topology, change)
    if not parsed and not reset:
        for one in command(base, topology, {"cmd": "log-levels"})["levels"]:
            left = f" for {_span(one['left_s'])} more, then {one['then']}" if "left_s" in one else ""
            typer.echo(f"{one['logger']} is {one['level']}{left}")


def _change(base: Path, topology: str, change: Change) -> None:
    if change.level is None:
        return _reset(base, topology, {"cmd": "log-level-reset", "logger": change.logger})
    request = {"cmd": "log-level", "logger": change.logger, "level": change.level, "for_s": change.for_s}
    done = command(base, topology, request)
    while_ = f" for {change.for_s:g} s" if change.for_s is not None else ""
    typer.echo(f"{done['logger']} was {done['before']} and is {done['level']}{while_}")


def _reset(base: Path, topology: str, request: dict[str, Any]) -> None:
    done = command(base, topology, request)["reset"]
    for one in done:
        typer.echo(f"{one['logger']} was {one['before']} and is {one['level']}")
    if not done:
        typer.echo("no level was changed")


def _span(left_s: float) -> str:
    return f"{left_s:g} s" if left_s < 60 else f"{left_s // 60:.0f} min {left_s % 60:.0f} s"


def _parsed(change: str) -> Change:
    logger, equals, rest = change.partition("=")
    level, colon, duration = rest.partition(":")
    try:
        if not equals or not logger or (colon and not level):
            raise ValueError
        if not level:
            return Change(logger, None, None)
        if level.upper() not in LEVELS:
            raise ValueError
        for_s = parse_duration(duration) if colon else None
        if for_s is not None and not 0 < for_s <= LONGEST_S:
            raise ValueError
    except ValueError:
        fix = f"write LOGGER=LEVEL, LOGGER=LEVEL:30s or LOGGER= (as it was), with a level of {', '.join(LEVELS)}"
        raise ConfigError(Defect("log_level_invalid", f'"{change}" changes no log level', (), fix)) from None
    return Change(logger, level.upper(), for_s)
