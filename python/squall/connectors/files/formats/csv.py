"""Comma-separated values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from squall.connectors.files.formats.checks import (
    are_functions,
    are_names,
    check,
    check_encoding,
    check_read,
    check_written,
    is_flag,
    is_text,
)
from squall.connectors.files.reading.chunks import START, Place, Reader
from squall.connectors.files.reading.csv_records import Columns, CsvReader, first_record
from squall.connectors.files.reading.format import Opening
from squall.connectors.files.writing.csv_rows import CsvRows
from squall.connectors.files.writing.rows import Encoder
from squall.connectors.files.writing.staged import CsvLog
from squall.errors import because


@dataclass(frozen=True, slots=True)
class Csv:
    """Comma-separated values as in RFC 4180; a quoted value may hold line feeds. Blank lines are left out.

    Args:
        header: whether the first record of each file names its columns. Or names of your own: they are written, and a
            file that is read has a header, but the columns have these names, in this order.
        fields: the fields of the rows, in this order. Read: which columns, wherever they stand in a file (all columns
            of the first file if not given); without a header, names of all columns. Written: which fields (all if not
            given).
        types: read: field → what makes its text a value (`int`, `Decimal`, `datetime.fromisoformat`); text if not
            given.
        delimiter: one character between values.
        quote: the character around values that hold delimiters or ends of lines; None: there is none, and such a value
            cannot be written without `escape`.
        quote_all: written: all values are quoted, not only those that need it.
        escape: a character that takes the meaning of the next one away.
        encoding: of the text; one in which a line feed is one byte.

    A record with another number of values, or with one that `types` refuses, goes to the dead letters; so does a row
    that cannot be written, or whose fields are not those of the file's header. Rows are written with a line feed.
    """

    header: bool | Sequence[str] = True
    fields: Sequence[str] | None = None
    types: Mapping[str, Callable[[str], Any]] = field(default_factory=dict[str, Callable[[str], Any]])
    delimiter: str = ","
    quote: str | None = '"'
    quote_all: bool = False
    escape: str | None = None
    encoding: str = "utf-8"

    grows = True
    seal = ""

    def __post_init__(self) -> None:
        is_header = isinstance(self.header, bool) or are_names(self.header)
        check(is_header, self, "`header` is True, False, or names: header=[…]")
        check(self.fields is None or are_names(self.fields), self, "`fields` is a list of names")
        check_encoding(self, self.encoding)
        given = (self.delimiter, self.quote, self.escape)
        marks = [one for one in given if one is not None]
        are_marks = all(is_text(one) and len(one) == 1 and one not in "\0\r\n" for one in marks)
        check(self.delimiter is not None and are_marks, self, "delimiter, quote and escape are one character")  # pyright: ignore[reportUnnecessaryComparison]
        check(len(set(marks)) == len(marks), self, "delimiter, quote and escape are different characters")
        check(is_flag(self.quote_all), self, "`quote_all` is True or False")
        check(not (self.quote_all and self.quote is None), self, "`quote` says what all values are quoted with")
        check(are_functions(self.types), self, "`types` is name → function or class that makes a value of text")
        unknown = [str(name) for name in self.types if self.fields is not None and name not in self.fields]
        check(not unknown, self, f"`types` names {', '.join(unknown)}, which is no field")

    @property
    def _names(self) -> list[str]:
        """The names of columns that `header` gives; none if the files' headers do."""
        return [] if isinstance(self.header, bool) else list(self.header)

    @property
    def _dialect(self) -> dict[str, Any]:
        import csv

        quoting = csv.QUOTE_NONE if self.quote is None else csv.QUOTE_ALL if self.quote_all else csv.QUOTE_MINIMAL
        return {"delimiter": self.delimiter, "quotechar": self.quote, "escapechar": self.escape, "quoting": quoting}

    # -- read ------------------------------------------------------------------------------------------------------

    def outputs(self, first: Callable[[], str | None], opening: Opening) -> tuple[str, ...]:
        """The fields that are named, else the columns of the first file."""
        names = self._names
        fix = "without a header, name the columns: Csv(header=False, fields=[…])"
        check_read(bool(self.header) or self.fields is not None, self, fix)
        if self.fields is not None:
            missing = [name for name in self.fields if names and name not in names]
            check_read(not missing, self, f"name in `header` what is in `fields`: {', '.join(missing)}")
            return tuple(self.fields)
        if names:
            return tuple(names)
        path, header = first(), None
        why = "there is no file whose header names the columns"
        try:
            header = self._header(path, opening) if path is not None else None
        except Exception as error:
            why = f"the header of {path} cannot be read ({because(error)})"
        check_read(header is not None, self, f"{why}: give `fields`")
        return tuple(cast("tuple[list[str], Place]", header)[0])

    def reader(self, path: str, place: Place, opening: Opening) -> Reader | None:
        """Records of a file."""
        fields = list(self.fields or ())
        columns, after_header = fields, START
        if self.header:
            found = self._header(path, opening)
            if found is None:
                return None
            columns, after_header = self._names or found[0], found[1]
        begin = max(place, after_header)
        picked = Columns(columns, fields or columns, self.types)
        return CsvReader(path, opening.blocks(path, begin), begin, self.encoding, self._dialect, picked)

    def _header(self, path: str, opening: Opening) -> tuple[list[str], Place] | None:
        blocks = opening.blocks(path, START)
        try:
            return first_record(blocks, self.encoding, self._dialect, to_the_end=not opening.follow)
        finally:
            blocks.close()

    # -- written ---------------------------------------------------------------------------------------------------

    @property
    def log(self) -> CsvLog:
        """Records, which are told apart by what quotes and escapes the ends of lines."""
        return CsvLog(self.quote or "", "" if self.quote else self.escape or "", bool(self.header))

    def check_written(self) -> None:
        """Refuses what would tell nobody where a record ends, and a header of other columns than are written."""
        width = len(self._names)
        fix = "name in `header` as many columns as are in `fields`"
        check_written(not width or self.fields is None or len(self.fields) == width, self, fix)
        marks = "".join(mark for mark in (self.quote, self.escape) if mark is not None)
        check_written(marks.isascii(), self, "give a quote and an escape that are ASCII")
        # What is not ASCII must not be written in bytes of ASCII, or a quote could be a part of it.
        is_apart = all(byte >= 0x80 for byte in "üあ".encode(self.encoding, "ignore"))
        check_written(is_apart, self, "give an encoding that keeps ASCII apart: utf-8, latin-1, cp1252, …")

    def encoder(self, is_begun: bool) -> Encoder:
        """The encoder of a file."""
        fields = None if self.fields is None else tuple(self.fields)
        header = (self._names or True) if self.header and not is_begun else False
        return CsvRows(self._dialect, self.encoding, fields, header, has_columns=bool(self.header))
