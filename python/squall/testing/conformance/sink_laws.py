"""What must hold of a sink, whatever befalls it; pure. Each law gives the rows that break it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from squall.testing.conformance.report import Breach, numbers


@dataclass
class SinkSeen:
    """What was seen of a sink, over all its lives; rows are their numbers.

    Args:
        keeps_order: whether nothing happened that may change the order of rows.
        may_repeat: whether something happened after which a row may come twice.
        upserts: whether a row that comes twice should be there once.
        fed: in the order in which they were first given.
        unconfirmed: were not there when they were acked.
        early: given in an outage, and acked in it.
        there: read back at the end.
    """

    keeps_order: bool
    may_repeat: bool
    upserts: bool
    fed: list[int] = field(default_factory=list[int])
    poison: set[int] = field(default_factory=set[int])
    acked: list[int] = field(default_factory=list[int])
    dead: list[int] = field(default_factory=list[int])
    unconfirmed: list[int] = field(default_factory=list[int])
    early: list[int] = field(default_factory=list[int])
    there: Sequence[int] = ()

    @property
    def ended(self) -> set[int]:
        """Rows that need not be given again."""
        return {*self.acked, *self.dead}

    @property
    def open(self) -> list[int]:
        """Rows that were given and have not ended, in their order."""
        ended = self.ended
        return [number for number in self.fed if number not in ended]


def acked_rows_are_there(seen: SinkSeen) -> Iterable[int]:
    """Every row that was acked is in the other system."""
    return {*seen.acked} - {*seen.there} - seen.poison


def no_ack_before_it_is_there(seen: SinkSeen) -> Iterable[int]:
    """No row is acked before the other system has it."""
    return seen.unconfirmed


def no_ack_while_away(seen: SinkSeen) -> Iterable[int]:
    """No row that is given while the other system is away is acked before it is back."""
    return seen.early


def every_row_ends(seen: SinkSeen) -> Iterable[int]:
    """Every good row is acked in the end, and every poison row fails."""
    return seen.open


def good_rows_go_through(seen: SinkSeen) -> Iterable[int]:
    """No good row is given up: not for a poison row beside it, nor for an outage."""
    return {*seen.dead} - seen.poison


def poison_fails(seen: SinkSeen) -> Iterable[int]:
    """A row that the other system refuses is not acked as if it was there."""
    return seen.poison & {*seen.acked}


def order_is_kept(seen: SinkSeen) -> Iterable[int]:
    """Rows stand in the order in which they were given; of one that came again its first place counts."""
    if not seen.keeps_order:
        return ()
    place = {number: at for at, number in enumerate(seen.fed)}
    first = [number for number in dict.fromkeys(seen.there) if number in place]
    return [later for one, later in pairwise(first) if place[later] < place[one]]


def no_row_is_doubled(seen: SinkSeen) -> Iterable[int]:
    """A row is there once: always where rows are upserted, else unless it had to be given again."""
    if seen.may_repeat and not seen.upserts:
        return ()
    return [number for number, count in Counter(seen.there).items() if count > 1]


def nothing_else_is_there(seen: SinkSeen) -> Iterable[int]:
    """What is there was given, and is no poison."""
    return {*seen.there} - ({*seen.fed} - seen.poison)


LAWS: tuple[Callable[[SinkSeen], Iterable[int]], ...] = (
    acked_rows_are_there,
    no_ack_before_it_is_there,
    no_ack_while_away,
    every_row_ends,
    good_rows_go_through,
    poison_fails,
    order_is_kept,
    no_row_is_doubled,
    nothing_else_is_there,
)


def breaches(seen: SinkSeen) -> tuple[Breach, ...]:
    """The laws that do not hold."""
    found = ((law, sorted({*law(seen)})) for law in LAWS)
    return tuple(Breach(law.__name__, law.__doc__ or "", f"rows {numbers(rows)}") for law, rows in found if rows)
