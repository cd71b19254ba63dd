"""Which workers know each other, and what each is told of the others. Pure.

Two workers get to know each other when both take tuples: each dials or waits for the other, in a session of their link
that nobody has used before. A life that was never ready is known to nobody, so its end is told to nobody. A link that
breaks for good between two living workers is given up by both and begun anew: what was on its way is sent again, where
one that went on by itself would lose it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """`ready`: the incarnations that take tuples, by worker. `sessions`: the newest of each two workers.

    Bound: `sessions` has an entry for each two workers of the run.
    """

    ready: Mapping[int, int] = field(default_factory=dict[int, int])
    sessions: Mapping[frozenset[int], int] = field(default_factory=dict[frozenset[int], int])
    last_session: int = 0


@dataclass(frozen=True, slots=True)
class Meet:
    """Tell worker `to` that it can send tuples to this life of another, in this session of their link."""

    to: int
    worker: int
    incarnation: int
    session: int


@dataclass(frozen=True, slots=True)
class Part:
    """Tell worker `to` that nothing more comes from this life of another: what waited for it fails (semantics 19)."""

    to: int
    worker: int
    incarnation: int


Word = Meet | Part


def ready(known: Acquaintance, worker: int, incarnation: int) -> tuple[Acquaintance, list[Word]]:
    """A life of a worker takes tuples: it and all others that do get to know each other."""
    others = sorted(known.ready.keys() - {worker})
    known = replace(known, ready={**known.ready, worker: incarnation})
    words: list[Word] = []
    for other in others:
        known, more = _meet(known, worker, other)
        words += more
    return known, words


def lost(known: Acquaintance, worker: int, incarnation: int) -> tuple[Acquaintance, list[Word]]:
    """A life has ended."""
    if known.ready.get(worker) != incarnation:
        return known, []
    known = replace(known, ready={other: one for other, one in known.ready.items() if other != worker})
    return known, [Part(other, worker, incarnation) for other in sorted(known.ready)]


def link_lost(known: Acquaintance, worker: int, incarnation: int, session: int) -> tuple[Acquaintance, list[Word]]:
    """A worker says that a session of its link to a life of another cannot go on; the other may say so too."""
    other = next((number for number, one in known.ready.items() if one == incarnation), None)
    if other is None or worker not in known.ready or session < known.sessions[frozenset({worker, other})]:
        return known, []
    parted: list[Word] = [Part(worker, other, known.ready[other]), Part(other, worker, known.ready[worker])]
    known, met = _meet(known, worker, other)
    return known, parted + met


def _meet(known: Acquaintance, one: int, other: int) -> tuple[Acquaintance, list[Word]]:
    session = known.last_session + 1
    sessions = {**known.sessions, frozenset({one, other}): session}
    words: list[Word] = [Meet(to, of, known.ready[of], session) for to, of in ((one, other), (other, one))]
    return replace(known, sessions=sessions, last_session=session), words
