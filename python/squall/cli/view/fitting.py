"""Bringing parts of a screen into its height: what matters most keeps its lines, and what is cut says how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that stand together.

    `rank`: 0 matters most. `least`: with fewer lines than this it says nothing, and is left out.
    """

    lines: Sequence[Text]
    rank: int
    least: int = 1


def fitted(parts: Sequence[Part], height: int) -> list[Text]:
    """The parts in their order, cut to `height` lines."""
    parts = [part for part in parts if part.lines]
    given = [0] * len(parts)
    by_rank = sorted(range(len(parts)), key=lambda number: parts[number].rank)
    left = height
    for wanted in (lambda part: min(part.least, len(part.lines)), lambda part: len(part.lines)):
        for number in by_rank:
            more = wanted(parts[number]) - given[number]
            if 0 < more <= left or (given[number] and more > 0):
                more = min(more, left)
                given[number] += more
                left -= more
    return [line for part, lines in zip(parts, given, strict=True) for line in _cut(part.lines, lines)]


def _cut(lines: Sequence[Text], height: int) -> list[Text]:
    if height >= len(lines):
        return list(lines)
    if height == 0:
        return []
    return [*lines[: height - 1], Text(f"… {len(lines) - height + 1} more", "dim")]
