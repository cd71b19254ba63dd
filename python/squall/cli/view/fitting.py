"""Bringing parts of a screen into its height: what matters most keeps its lines, and what is cut says how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that stand together.

    `rank`: 0 matters most. `least`: with fewer lines than this it says nothing, and is left out. `late`: it gets
    more lines than that only after all others. `focus`: a line that is to be seen, like the first.
    """

    lines: Sequence[Text]
    rank: int
    least: int = 1
    late: bool = False
    focus: int = 0


def fitted(parts: Sequence[Part], height: int) -> list[Text]:
    """The parts in their order, cut to `height` lines."""
    parts = [part for part in parts if part.lines]
    given = [0] * len(parts)
    by_rank = sorted(range(len(parts)), key=lambda number: parts[number].rank)
    left = height
    for number in by_rank:
        if (least := min(parts[number].least, len(parts[number].lines))) <= left:
            given[number], left = least, left - least
    for number in sorted(by_rank, key=lambda number: parts[number].late):
        if given[number]:
            more = min(len(parts[number].lines) - given[number], left)
            given[number], left = given[number] + more, left - more
    return [line for part, lines in zip(parts, given, strict=True) for line in _cut(part, lines)]


def _cut(part: Part, height: int) -> list[Text]:
    lines = part.lines
    if height >= len(lines):
        return list(lines)
    if height <= 1:
        return list(lines[:height])  # one line says more than that there are others
    skipped = max(0, part.focus - (height - 2))
    shown = [*lines[:1], *lines[1 + skipped : height - 1 + skipped]]
    return [*shown, Text(f"… {len(lines) - height + 1} more", "dim")]
