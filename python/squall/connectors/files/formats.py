"""How rows become the text of a file, and how much of a file that was cut off is whole records."""

from __future__ import annotations

import csv
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from squall.connectors.files.options import refused
from squall.errors import DeadLetter

Row: TypeAlias = tuple[Any, ...]
Seal: TypeAlias = Callable[[Path, Any], None]
"""Makes the published file, open for writing, from the hidden one."""
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


class Format(Protocol):
    """What a `FileSink` asks of a format."""

    extra: ClassVar[tuple[str, str] | None]
    """The extra and the package that it needs."""

    @property
    def seal(self) -> Seal | None:
        """Makes the file that is published; None: it is what was written row by row."""
        ...

    def encoder(self, is_begun: bool) -> Encoder:
        """The encoder of a file; `is_begun`: it has rows already."""
        ...

    def whole(self, data: mmap.mmap) -> int:
        """How many bytes at the beginning are whole records; 0 if there is no record."""
        ...

    def ending(self, data: mmap.mmap) -> bytes:
        """What ends the last record, if it is not ended."""
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


@dataclass(frozen=True, slots=True)
class Text:
    """One line a row: the value, or the values with `separator` between; line feeds in values are not escaped."""

    separator: str = "\t"

    seal = None
    extra: ClassVar[tuple[str, str] | None] = None

    def encoder(self, is_begun: bool) -> Encoder:
        """The encoder of a file."""
        return _Lines(self._bytes)

    def whole(self, data: mmap.mmap) -> int:
        """Up to the last line feed."""
        return data.rfind(b"\n") + 1

    def ending(self, data: mmap.mmap) -> bytes:
        """A line feed, if there is none."""
        return b"" if data[-1:] == b"\n" else b"\n"

    def _bytes(self, _fields: tuple[str, ...], rows: Sequence[Row]) -> bytes:
        line = self.separator.replace("%", "%%").join(["%s"] * len(rows[0])) + "\n"  # quicker than a join of each row
        return "".join([line % row for row in rows]).encode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class JsonLines:
    """One JSON object a row, by the names of its fields.

    Dates and times are written as ISO 8601, `Decimal` and `UUID` as strings, bytes as base64.
    """

    seal = None
    extra: ClassVar[tuple[str, str] | None] = None

    def encoder(self, is_begun: bool) -> Encoder:
        """The encoder of a file."""
        import msgspec

        encoder = msgspec.json.Encoder()

        def encode(fields: tuple[str, ...], rows: Sequence[Row]) -> bytes:
            return encoder.encode_lines([dict(zip(fields, row, strict=True)) for row in rows])

        return _Lines(encode)

    def whole(self, data: mmap.mmap) -> int:
        """Up to the last line feed: JSON has none inside."""
        return data.rfind(b"\n") + 1

    def ending(self, data: mmap.mmap) -> bytes:
        """A line feed, if there is none."""
        return b"" if data[-1:] == b"\n" else b"\n"


@dataclass(frozen=True, slots=True)
class _Lines:
    """Rows that are written the same wherever they stand."""

    bytes_of: Callable[[tuple[str, ...], Sequence[Row]], bytes]

    def encode(self, fields: tuple[str, ...], rows: Sequence[Row]) -> tuple[bytes, Refused]:
        try:
            return self.bytes_of(fields, rows), {}
        except Exception:
            return one_by_one(lambda row: self.bytes_of(fields, [row]), rows)

    def written(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Csv:
    """Comma-separated values as in RFC 4180, with line feeds at the ends of rows.

    Args:
        header: the names of the fields stand first in each file; names of your own, or False for none. With a header,
            rows of other fields than those of the file's first row are refused.
        delimiter: one character between the values.
        quote: what is quoted: only what needs it, or all.
    """

    header: bool | tuple[str, ...] = True
    delimiter: str = ","
    quote: Literal["needed", "all"] = "needed"

    seal = None
    extra: ClassVar[tuple[str, str] | None] = None

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise refused(f"Csv has delimiter={self.delimiter!r}", "give one character, such as ; or \\t")
        if self.quote not in ("needed", "all"):
            raise refused(f"Csv has quote={self.quote!r}", 'give "needed" or "all"')

    def encoder(self, is_begun: bool) -> Encoder:
        """The encoder of a file."""
        return _CsvRows(self, is_begun)

    def whole(self, data: mmap.mmap) -> int:
        """Up to the last line feed outside of quotes, that is with an even number of quotes before it."""
        quotes, end = _quotes(data), len(data)
        before = end
        while (at := data.rfind(b"\n", 0, before)) >= 0:
            quotes -= data[at + 1 : end].count(b'"')
            if quotes % 2 == 0:
                return at + 1 if not self.header or data.rfind(b"\n", 0, at) >= 0 else 0
            end, before = at + 1, at
        return 0

    def ending(self, data: mmap.mmap) -> bytes:
        """A quote if one is open, and a line feed."""
        is_quoted = _quotes(data) % 2 == 1
        return (b'"' if is_quoted else b"") + (b"\n" if is_quoted or data[-1:] != b"\n" else b"")


def _quotes(data: mmap.mmap) -> int:
    return sum(data[at : at + (1 << 20)].count(b'"') for at in range(0, len(data), 1 << 20))


class _CsvRows:
    """The rows of one file, led by its header."""

    def __init__(self, format: Csv, is_begun: bool) -> None:
        self._format, self._needs_header = format, bool(format.header) and not is_begun
        self._fields: tuple[str, ...] | None = None
        self._new_fields: tuple[str, ...] | None = None

    def encode(self, fields: tuple[str, ...], rows: Sequence[Row]) -> tuple[bytes, Refused]:
        if self._format.header and self._fields not in (None, fields):
            why = f"the file has the columns {', '.join(self._fields or ())}"
            return b"", {place: unwritable(ValueError(why)) for place in range(len(rows))}
        self._new_fields = fields
        try:
            data, failures = self._bytes(rows), Refused()
        except Exception:
            data, failures = one_by_one(lambda row: self._bytes([row]), rows)
        return (self._header(fields) if data and self._needs_header else b"") + data, failures

    def written(self) -> None:
        self._needs_header, self._fields = False, self._new_fields

    def _header(self, fields: tuple[str, ...]) -> bytes:
        names = fields if self._format.header is True else self._format.header or ()
        return self._bytes([names])

    def _bytes(self, rows: Sequence[Row]) -> bytes:
        lines = _Collected()
        quoting = csv.QUOTE_ALL if self._format.quote == "all" else csv.QUOTE_MINIMAL
        csv.writer(lines, delimiter=self._format.delimiter, quoting=quoting, lineterminator="\r\n").writerows(rows)
        return "".join([line[:-2] + "\n" for line in lines]).encode("utf-8", "backslashreplace")


class _Collected(list[str]):
    """Takes the rows of a `csv.writer`, which quotes carriage returns in values only if lines end by them too."""

    write = list[str].append
