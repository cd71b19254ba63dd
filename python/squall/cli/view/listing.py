"""The table of components: as many columns as the width takes, the most telling ones first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from squall.cli.texts import compact
from squall.cli.view.words import NOTHING, ms, per_s, share

BUSY, TOO_BUSY = 0.7, 0.9
"""Capacities, and shares of blocked time, from which a component is coloured."""
NAMES = 12
"""Columns that names have at least, if they are as long."""

Figures = Mapping[str, Any]


def grade(ratio: float) -> str:
    """The colour of a ratio that should not be near one."""
    return "red" if ratio >= TOO_BUSY else "yellow" if ratio >= BUSY else ""


def held_up(figures: Figures) -> float:
    """The share of its time that a component is held up by others, not by what it asked for itself."""
    told = figures.get("blocked_ratio", {}).items()
    return sum(ratio for culprit, ratio in told if culprit not in ("rate limit", "own pause"))


@dataclass(frozen=True, slots=True)
class Column:
    """A column with its place in the order in which they are given room."""

    title: str
    rank: int
    shown: Callable[[Figures], str]
    style: Callable[[Figures], str] = lambda _figures: ""


def _bolts(shown: Callable[[Figures], str]) -> Callable[[Figures], str]:
    return lambda now: shown(now) if now["kind"] == "bolt" else NOTHING


COLUMNS = (
    Column("tasks", 10, lambda now: str(now["tasks"])),
    Column("capacity", 0, _bolts(lambda now: f"{now['capacity']:.2f}"), lambda now: grade(now["capacity"])),
    Column("held up", 4, lambda now: share(held_up(now)), lambda now: grade(held_up(now))),
    Column("queue", 1, _bolts(lambda now: compact(now["queue"]))),
    Column("in", 2, _bolts(lambda now: per_s(now["executed_per_s"]))),
    Column("out", 3, lambda now: per_s(now["emitted_per_s"])),
    Column("p50 ms", 7, _bolts(lambda now: ms(now["recent_execute_ms"], "p50"))),
    Column("p99 ms", 6, _bolts(lambda now: ms(now["recent_execute_ms"], "p99"))),
    Column("executed", 8, _bolts(lambda now: compact(now["executed"]))),
    Column("emitted", 9, lambda now: compact(now["emitted"])),
    Column("acked", 11, lambda now: compact(now["acked"])),
    Column("failed", 5, lambda now: compact(now["failed"]), lambda now: "yellow" if now["failed"] else ""),
)


def listing(components: Mapping[str, Figures], chosen: str | None, width: int) -> list[Text]:
    """A line of titles and one for each component."""
    cells = [(column, [column.shown(now) for now in components.values()]) for column in COLUMNS]
    widths = {column: max(len(column.title), *map(len, texts)) for column, texts in cells}
    longest = max(len("component"), *map(cell_len, components))
    kept = _kept(widths, width - min(longest, NAMES))
    names = min(longest, width - sum(widths[column] + 2 for column in kept))
    lines = [Text("component".ljust(names), "dim")]
    lines += [_name(name, names, name == chosen) for name in components]
    for column, texts in cells:
        if column in kept:
            lines[0].append(f"  {column.title:>{widths[column]}}", "dim")
            for line, text, now in zip(lines[1:], texts, components.values(), strict=True):
                line.append(f"  {text:>{widths[column]}}", column.style(now))
    return lines


def _kept(widths: Mapping[Column, int], room: int) -> set[Column]:
    kept: set[Column] = set()
    for column in sorted(widths, key=lambda column: column.rank):
        if (room := room - widths[column] - 2) < 0:
            break
        kept.add(column)
    return kept


def _name(name: str, width: int, is_chosen: bool) -> Text:
    short = name if cell_len(name) <= width else set_cell_size(name, width - 1) + "…"
    return Text(set_cell_size(short, width), "reverse" if is_chosen else "bold")
