"""CSV: records that may go over several lines, parsed by Python's own `csv`."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from itertools import chain, islice
from typing import Any

from squall.connectors.files.reading.blocks import BOM, Blocks
from squall.connectors.files.reading.chunks import Bad, Chunk, Place, bad_record

ROWS = 1000
"""Records of a chunk."""
FIELD_BYTES = 1 << 20
"""Longest value; `csv` refuses longer ones, so that a quote that is never closed does not take the whole file."""


class Columns:
    """Makes records into rows: picks columns by name, converts them."""

    def __init__(self, header: Sequence[str], fields: Sequence[str], types: Mapping[str, Callable[[str], Any]]) -> None:
        self.width = len(header)
        if missing := [name for name in fields if name not in header]:
            raise ValueError(f"its header has no {', '.join(missing)}; it has {', '.join(header)}")
        self._picked = [list(header).index(name) for name in fields]
        self._all = self._picked == list(range(self.width))
        self._fields, self._types = fields, [types.get(name) for name in fields]

    def rows(self, records: Sequence[Sequence[str]]) -> list[tuple[Any, ...]]:
        """All records as rows.

        Raises:
            Exception: one of them is none.
        """
        if not records:
            return []
        if self._all and not any(self._types) and set(map(len, records)) == {self.width}:
            return list(map(tuple, records))
        columns: list[Sequence[Any]] = list(zip(*records, strict=True))
        if len(columns) != self.width:
            raise ValueError(f"{len(columns)} values, where {self.width} are wanted")
        if not self._all:
            columns = [columns[at] for at in self._picked]
        converted = [
            column if of is None else list(map(of, column)) for of, column in zip(self._types, columns, strict=True)
        ]
        return list(zip(*converted, strict=True))

    def row(self, record: Sequence[str]) -> tuple[Any, ...]:
        """One record as a row.

        Raises:
            ValueError: it is none, and why.
        """
        if len(record) != self.width:
            raise ValueError(f"{len(record)} values, where {self.width} are wanted")
        row: list[Any] = []
        for name, at, of in zip(self._fields, self._picked, self._types, strict=True):
            try:
                row.append(record[at] if of is None else of(record[at]))
            except Exception as error:
                raise ValueError(f"{name}: {error}") from error
        return tuple(row)


class CsvReader:
    """One CSV file from a place on, which is never within its header.

    Lines are counted from the start of the file: `_line` of them are parsed.
    """

    def __init__(
        self, path: str, blocks: Blocks, place: Place, encoding: str, dialect: Mapping[str, Any], columns: Columns
    ) -> None:
        csv.field_size_limit(max(csv.field_size_limit(), FIELD_BYTES))
        self._path, self._blocks, self._encoding, self._columns = path, blocks, encoding, columns
        self._dialect = dialect
        self._to_the_end = self._is_dirty = self._has_run_out = False
        self._begin(place)
        self.disk_bytes, self.close = blocks.disk_bytes, blocks.close

    def _begin(self, place: Place) -> None:
        """Begins anew at a place; the next block is the one that the place is in."""
        self._begun = [Place(place.offset, number=place.number)]
        """The places of the newest blocks, of which the last one is being parsed."""
        self._text, self._end = "", place.number
        self._has_run_out = False
        lines = chain.from_iterable(self._line_blocks())
        next(islice(lines, place.lines, place.lines), None)
        self._before = place.number + place.lines
        self._records: Any = csv.reader(lines, **self._dialect)

    @property
    def _line(self) -> int:
        return self._before + self._records.line_num

    def _line_blocks(self) -> Iterator[Iterator[str]]:
        """The lines of each block, as an iterator of their own."""
        while (found := self._blocks.read(to_the_end=self._to_the_end)) is not None:
            offset, block, is_too_long = found
            self._begun.append(Place(offset, number=self._end))
            self._end += 1 if is_too_long else block.count(b"\n") + (not block.endswith(b"\n"))
            self._text = self._decoded(block.removeprefix(BOM) if offset == 0 else block)
            yield self._too_long() if is_too_long else StringIO(self._text, newline="\n")
        self._has_run_out = True

    def _too_long(self) -> Iterator[str]:
        """A line that the parser is not given, so that it does not count it."""
        self._before += 1
        raise csv.Error("a line that is too long")
        yield

    def _decoded(self, block: bytes) -> str:
        try:
            return block.decode(self._encoding)
        except UnicodeDecodeError:
            self._is_dirty = True
            return block.decode(self._encoding, "surrogateescape")

    def _place(self, line: int) -> Place:
        """Where the lines after so many begin."""
        if line == self._end:
            return Place(self._blocks.offset, number=line)
        block = next(block for block in reversed(self._begun) if block.number <= line)
        return block._replace(lines=line - block.number)

    def read(self, *, to_the_end: bool) -> Chunk | None:
        """The next records."""
        self._to_the_end = to_the_end
        del self._begun[:-1]
        records: list[list[str]] = []
        ends = [self._line]
        before = self._place(ends[0])
        broken: dict[int, str] = {}
        while len(records) < ROWS and not self._has_run_out:
            try:
                for record in islice(self._records, ROWS - len(records)):
                    if self._has_run_out and not to_the_end:
                        break  # the file ends within the record, for now
                    if record:  # else the line is blank
                        records.append(record)
                        ends.append(self._line)
            except csv.Error as error:
                broken[len(records)] = str(error)
                ends.append(self._line)
                records.append(self._lines_of(ends[-2], ends[-1]))
        waits = self._has_run_out and not to_the_end
        after = self._place(ends[-1] if waits else self._line)
        rows, bad = self._rows(records, ends[1:], broken)
        if waits:
            if after.offset != self._blocks.offset:
                self._blocks.go_back(after.offset)
            self._begin(after)
        return Chunk(rows, before, after, bad) if records else None

    def _lines_of(self, first: int, end: int) -> list[str]:
        """The lines of a record that cannot be parsed, as far as they are in this block."""
        number = self._begun[-1].number
        return self._text.split("\n")[max(0, first - number) : end - number]

    def _rows(
        self, records: list[list[str]], ends: list[int], broken: Mapping[int, str]
    ) -> tuple[list[Any], dict[int, Bad]]:
        if not broken and not self._is_dirty:
            try:
                return self._columns.rows(records), {}
            except Exception:
                pass  # one by one it shows which
        rows: list[Any] = []
        bad: dict[int, Bad] = {}
        for at, record in enumerate(records):
            try:
                if at in broken:
                    raise ValueError(broken[at])
                if self._is_dirty:
                    _check_text(record)
                rows.append(self._columns.row(record))
            except ValueError as error:
                bad[at] = bad_record(self._path, ends[at], error, *map(_shown, record))
                rows.append(None)
        self._is_dirty = False
        return rows, bad


def first_record(
    blocks: Blocks, encoding: str, dialect: Mapping[str, Any], *, to_the_end: bool
) -> tuple[list[str], Place] | None:
    """The header of a file, and the place after it; None: there is none yet."""
    has_run_out = False

    def lines() -> Iterator[str]:
        nonlocal has_run_out
        while (found := blocks.read(to_the_end=to_the_end)) is not None:
            offset, block, is_too_long = found
            if is_too_long:
                raise csv.Error("its header has a line that is too long")
            text = (block.removeprefix(BOM) if offset == 0 else block).decode(encoding, "replace")
            yield from StringIO(text, newline="\n")
        has_run_out = True

    records: Any = csv.reader(lines(), **dialect)
    header: list[str] | None = next(records, None)
    if header is None or (has_run_out and not to_the_end):  # the file ends within the header, for now
        return None
    return header, Place(0, lines=records.line_num)


def _check_text(record: Sequence[str]) -> None:
    for value in record:
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise ValueError(f"no text: {value!r}") from error


def _shown(value: str) -> str | bytes:
    """A value as it can be kept: bytes, if it is no text."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape")
    return value
