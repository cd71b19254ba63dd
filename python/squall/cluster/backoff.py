"""How long a worker that dies again and again is kept from starting."""

from __future__ import annotations

FIRST_S, LONGEST_S = 0.1, 2.0
ALIVE_S = 10.0
"""A life of this length ends a series of deaths."""


def pause_s(deaths: int) -> float:
    """The pause after the nth death of a series: none, then 0.1 s doubled each time to 2 s."""
    if deaths <= 1:
        return 0.0
    doublings = min(deaths - 2, 16)  # far beyond the longest; the power stays small
    return min(FIRST_S * 2.0**doublings, LONGEST_S)
