"""The whole screen as lines of text: pure, for any width and height."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from rich.text import Text

from squall.cli.view import parts
from squall.cli.view.detail import detail
from squall.cli.view.drawing import Drawing
from squall.cli.view.fitting import Part, fitted
from squall.cli.view.listing import BUSY, grade, held_up, listing
from squall.cli.view.state import Known, Pane
from squall.cli.view.words import one_line

LEAST_WIDTH = 40
"""Columns that the parts are made for, at least; a narrower terminal shows their left."""
NARROW = str.maketrans("─│┬├╰▶×…–↺·", "-|+++>x~-@.")
"""What stands for the characters that a terminal without UTF-8 does not have."""
EMPTY = Part([Text("")], 10)


def screen(known: Known, width: int, height: int, now_s: float, *, keys: bool, narrow: bool = False) -> list[Text]:
    """The lines of the screen: at most `height`, each at most `width` columns.

    Args:
        keys: keys are taken, so they are named.
        narrow: the terminal has no UTF-8.
    """
    wide = max(width, LEAST_WIDTH)
    head = Part(parts.head(known, now_s), 0, 3)
    foot = Part(parts.foot(known, wide, keys=keys), 1)
    middle = _middle(known, wide) if known.shown is not None else []
    lines = _without_gaps(fitted([head, *middle, foot], height))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return [_narrowed(line) for line in lines] if narrow else lines


def _middle(known: Known, width: int) -> list[Part]:
    assert known.shown is not None
    components = {name: known.shown["components"][name] for name in known.names}
    graph: Mapping[str, Any] = known.started["graph"] if known.started else {}
    focus = known.names.index(known.chosen) + 1 if known.chosen in components else 0
    found = [Part(listing(components, known.chosen, width), 3, 4, focus=focus)] if components else []
    if graph:
        style = _style_of(components)
        drawn = Drawing(graph, known.shown["components"], style).lines(width)
        found = [EMPTY, Part(drawn, 5, 3), EMPTY, *found]
    blame = Part(parts.blame(components), 4, 2)
    return [*found, EMPTY, blame, *_below(known, components, graph)]


def _below(known: Known, components: Mapping[str, Any], graph: Mapping[str, Any]) -> list[Part]:
    """What the chosen pane shows."""
    event = known.shown
    assert event is not None
    match known.pane:
        case Pane.COMPONENT if (chosen := known.chosen) is not None and chosen in components:
            return [EMPTY, Part(detail(chosen, components, graph), 2, 8, late=True)]
        case Pane.ERRORS:
            return [EMPTY, Part(parts.errors(event, in_full=True), 2, 8, late=True)]
        case Pane.TAP:
            return [EMPTY, Part(parts.tap(known), 2, 8, late=True)]
        case Pane.HELP:
            return [EMPTY, Part(parts.help_lines(), 2, 8, late=True)]
        case Pane.STACKS:
            lines = [Text(one_line(line)) for line in known.stacks]
            return [EMPTY, Part(lines or [Text("asking …", "dim")], 2, 8, late=True)]
        case _:
            pass
    tables = [Part(lines, 9, 2) for lines in parts.users_tables(event)]
    return [
        Part(parts.errors(event), 6),
        Part(parts.dead_letters(event), 7),
        Part(parts.workers(event), 8),
        *(one for table in tables for one in (EMPTY, table)),
    ]


def _style_of(components: Mapping[str, Any]):
    """Colours of the names in the graph: who holds others up is red, who is held up yellow."""
    to_blame = {
        culprit
        for one in components.values()
        for culprit, ratio in one.get("blocked_ratio", {}).items()
        if ratio >= BUSY
    }

    def style(name: str) -> str:
        now = components.get(name)
        if now is None:
            return "bold"
        colour = "red" if name in to_blame else grade(now["capacity"]) or ("yellow" if held_up(now) >= BUSY else "")
        return f"bold {colour}".strip()

    return style


def _without_gaps(lines: list[Text]) -> list[Text]:
    """Without a second empty line after the first, where a part in between had nothing to say."""
    return [line for before, line in pairwise([Text("."), *lines]) if before.plain or line.plain]


def _narrowed(line: Text) -> Text:
    line.plain = line.plain.translate(NARROW).encode("ascii", "replace").decode()
    return line
