"""How a connector is described to the kit: how one is made, and how its other system is seen from outside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from squall.api.components import Bolt, Spout

Row = tuple[Any, ...]


def numbered(number: int) -> Row:
    """The row that the kit writes where nothing else is said."""
    return number, f"row {number}"


@dataclass(frozen=True, kw_only=True)
class SinkUnderTest:
    """A sink, and the place it writes to: a table, a topic, a file that is empty at first and nobody else's.

    Args:
        make: a new instance for that place; called for each life of the sink.
        read_back: numbers of the rows that are there now for any other reader, in the order of the place.
        fields: names of a row's fields.
        row: the row of a number.
        poison: a row of that number which the other system refuses for good, if there is such a row.
        outage: within it the other system cannot be reached, or takes nothing; it ends by itself after `outage_s`.
        ordered: whether the place keeps the order in which one task is given rows.
        upserts: whether a row that comes twice is there once.
        rows: how many a schedule writes that needs many.
        secrets: texts among its options that nobody may see; no log, error, dead letter or repr may have one.
        patience_s: how long anything may take until it counts as never.
    """

    make: Callable[[], Bolt]
    read_back: Callable[[], Sequence[int]]
    fields: tuple[str, ...] = ("number", "text")
    row: Callable[[int], Row] = numbered
    poison: Callable[[int], Row] | None = None
    outage: Callable[[], AbstractContextManager[object]] | None = None
    outage_s: float = 0.5
    ordered: bool = True
    upserts: bool = False
    rows: int = 300
    secrets: Collection[str] = ()
    patience_s: float = 30.0


@dataclass(frozen=True, kw_only=True)
class SourceUnderTest:
    """A source, and the place it reads from, which is empty at first and nobody else's.

    Args:
        make: a new instance for that place; called for each life of the source. It must not end by itself.
        put: adds the records of these numbers to the place, in this order.
        number_of: the number of the record that a row of the source's default stream came from.
        done: numbers of the records that the other system would not give to a new instance any more, where it keeps
            the place (a group's committed offsets); None where `position` does, or nobody.
        outage: within it the other system cannot be reached; it ends by itself after `outage_s`.
        ordered: whether records come in the order in which they were put.
        keeps_place: whether a new instance goes on where the last one was.
        replay_max: how many records that had ended may come again after a restart; None: any number.
        records: how many a schedule puts that needs many.
        secrets: texts among its options that nobody may see; no log, error, dead letter or repr may have one.
        patience_s: how long anything may take until it counts as never.
    """

    make: Callable[[], Spout]
    put: Callable[[Sequence[int]], object]
    number_of: Callable[[Row], int]
    done: Callable[[], Collection[int]] | None = None
    outage: Callable[[], AbstractContextManager[object]] | None = None
    outage_s: float = 0.5
    ordered: bool = True
    keeps_place: bool = True
    replay_max: int | None = 0
    records: int = 300
    secrets: Collection[str] = ()
    patience_s: float = 30.0
