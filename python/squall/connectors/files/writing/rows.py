"""What a `FileSink` asks of a format, and rows that are lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from squall.connectors.files.writing.staged import Log
from squall.errors import DeadLetter

Row: TypeAlias = tuple[Any, ...]
Refused: TypeAlias = dict[int, Exception]
"""Rows that the format cannot take, by their place in what was given, and why."""


class Encoder(Protocol):
    """Makes the rows of one file into bytes; knows what the file has already."""

    def encode(self, fields: tuple[str, ...], rows: Sequence[Row]) -> tuple[bytes, Refused]:
        """The bytes of the rows; with what has to stand before them, until `written` is called.

        Raises:
            StartAnew: the file cannot take these rows, but a new one could.
        """
        ...

    def written(self) -> None:
        """Learns that what `encode` gave is in the file."""
        ...


class StartAnew(Exception):
    """The rows need a file of their own, since their columns are of other types."""


class WrittenFormat(Protocol):
    """A format that files can be written in."""

    @property
    def log(self) -> Log:
        """What rows are written as, one batch after the other."""
        ...

    @property
    def seal(self) -> str:
        """How the published file is made of that; empty: it is the log itself."""
        ...

    def check_written(self) -> None:
        """Refuses what is only good for reading.

        Raises:
            TopologyError: `file_format`.
        """
        ...

    def encoder(self, is_begun: bool) -> Encoder:
        """The encoder of a file; `is_begun`: it has rows already."""
        ...


def one_by_one(encode: Callable[[Row], bytes], rows: Sequence[Row]) -> tuple[bytes, Refused]:
    """The bytes of all rows that can be written alone, and what is wrong with the others."""
    parts: list[bytes] = []
    failures: Refused = {}
    for place, row in enumerate(rows):
        try:
            parts.append(encode(row))
        except Exception as error:
            failures[place] = unwritable(error)
    return b"".join(parts), failures


def unwritable(error: Exception) -> DeadLetter:
    """Another try would only write the row's neighbours in the topology again: it goes to the dead letters at once."""
    letter = DeadLetter(f"the row cannot be written: {type(error).__name__}: {error}")
    letter.__cause__ = error
    return letter


def picked(wanted: tuple[str, ...] | None, fields: tuple[str, ...], rows: Sequence[Row]) -> Sequence[Row]:
    """The rows with the wanted fields only, in their order; all if None are named.

    Raises:
        ValueError: the rows lack some.
    """
    if wanted is None or wanted == fields:
        return rows
    if missing := [name for name in wanted if name not in fields]:
        raise ValueError(f"it has no field {', '.join(missing)}; it has {', '.join(fields)}")
    at = [fields.index(name) for name in wanted]
    return [tuple([row[one] for one in at]) for row in rows]


@dataclass(frozen=True, slots=True)
class LineRows:
    """Rows that are written the same wherever they stand."""

    bytes_of: Callable[[tuple[str, ...], Sequence[Row]], bytes]

    def encode(self, fields: tuple[str, ...], rows: Sequence[Row]) -> tuple[bytes, Refused]:
        """The bytes of the rows."""
        try:
            return self.bytes_of(fields, rows), {}
        except Exception:
            return one_by_one(lambda row: self.bytes_of(fields, [row]), rows)

    def written(self) -> None:
        """Nothing depends on it."""
