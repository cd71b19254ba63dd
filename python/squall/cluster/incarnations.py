"""Numbers of workers' lives: counted up over all workers of a run, 16 bits, so that a root tells whose it is.

A number that comes round again must not meet acks, frames or totals that still mean its old owner (semantics 14). So it
stays taken until each peer that knew its owner has said that it let go of it, or is gone itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

FIRST, LAST = 1, 0xFFFE
"""0 means none, and 65,535 is kept for what has to mean all; neither is ever given."""


@dataclass(frozen=True, slots=True)
class Incarnations:
    """`living`: those given and not lost. `remembered`: lost ones, each with the peers that may still hold it."""

    last: int = 0
    living: frozenset[int] = frozenset()
    remembered: Mapping[int, frozenset[int]] = field(default_factory=dict[int, frozenset[int]])


def given(known: Incarnations) -> tuple[Incarnations, int | None]:
    """The next number; None where all are taken, until a peer forgets one."""
    span = LAST - FIRST + 1
    for step in range(span):
        number = FIRST + (known.last - FIRST + 1 + step) % span
        if number not in known.living and number not in known.remembered:
            return replace(known, last=number, living=known.living | {number}), number
    return known, None


def lost(known: Incarnations, incarnation: int, peers: Iterable[int]) -> Incarnations:
    """A life is over: it remembers nobody, and these, which were told of its end, may remember it."""
    if incarnation not in known.living:
        return known
    living = known.living - {incarnation}
    remembered = {number: by - {incarnation} for number, by in known.remembered.items()}
    remembered[incarnation] = living.intersection(peers)
    return replace(known, living=living, remembered=_still(remembered))


def forgotten(known: Incarnations, peer: int, incarnations: Iterable[int]) -> Incarnations:
    """The peer has let go of these lost incarnations, and drops what may still come from them."""
    let_go = {number: known.remembered[number] - {peer} for number in incarnations if number in known.remembered}
    return replace(known, remembered=_still({**known.remembered, **let_go})) if let_go else known


def _still(remembered: Mapping[int, frozenset[int]]) -> dict[int, frozenset[int]]:
    return {number: peers for number, peers in remembered.items() if peers}
