"""What files hold, as users say it: lines, CSV, JSON lines, Parquet."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from squall.connectors.extras import need
from squall.connectors.file_source.blocks import Blocks, LineReader, Parse, RowsOf, json_lines, text_lines
from squall.connectors.file_source.chunks import START, Place, Reader
from squall.connectors.file_source.csv_rows import Columns, CsvReader, first_record
from squall.connectors.file_source.raw import Compression, compression_of, open_raw
from squall.connectors.file_source.row_groups import ParquetReader, columns_of
from squall.errors import Defect, TopologyError


@dataclass(frozen=True, slots=True)
class Opening:
    """How files are opened."""

    compression: Compression
    max_record: int
    follow: bool

    def is_compressed(self, path: str) -> bool:
        """Whether a file is compressed."""
        return compression_of(path, self.compression) is not None

    def blocks(self, path: str, place: Place) -> Blocks:
        """The blocks of a file from a place on.

        Raises:
            OSError: it cannot be opened.
        """
        return Blocks(open_raw(path, self.compression, place.offset), place.offset, self.max_record)


class Format(Protocol):
    """What a `FileSpout` asks of a format."""

    @property
    def grows(self) -> bool:
        """Whether a file of it can be read while it grows."""
        ...

    def outputs(self, first: Callable[[], str | None], opening: Opening) -> tuple[str, ...]:
        """The fields of the rows; `first` finds a file that has them, if the format does not say."""
        ...

    def reader(self, path: str, place: Place, opening: Opening) -> Reader | None:
        """A reader of a file from a place on; None: the file does not have yet what it needs to begin."""
        ...


@dataclass(frozen=True, slots=True)
class Lines:
    """Each line as text, without its end (line feed, or carriage return and line feed).

    Args:
        field: name of the field.
        encoding: of the text; one in which a line feed is one byte.
        errors: what becomes of a line that is no text: `"strict"`: it goes to the dead letters as bytes; `"replace"`,
            `"ignore"`, `"surrogateescape"`, `"backslashreplace"`: as in `bytes.decode`.
    """

    field: str = "line"
    encoding: str = "utf-8"
    errors: str = "strict"
    grows = True

    def __post_init__(self) -> None:
        _check_encoding(self, self.encoding)
        _check(self.errors in ERRORS, self, f"`errors` is one of {', '.join(ERRORS)}")

    def outputs(self, first: Callable[[], str | None], opening: Opening) -> tuple[str, ...]:
        """The one field."""
        return (self.field,)

    def reader(self, path: str, place: Place, opening: Opening) -> Reader | None:
        """Lines of a file."""
        return self.records(path, opening.blocks(path, place), place, opening.max_record)

    def records(self, name: str, blocks: Blocks, place: Place, max_record: int) -> LineReader:
        """The lines of blocks."""
        return LineReader(name, blocks, place, max_record, text_lines(self.encoding, self.errors))


@dataclass(frozen=True, slots=True)
class Csv:
    """Records of comma-separated values; a quoted value may hold line feeds. Blank lines are left out.

    Args:
        header: whether the first record of each file names its columns.
        fields: the fields of the rows. With a header: which columns, in this order, wherever they stand in a file; all
            columns of the first file if not given. Without: names of all columns.
        types: field → what makes its text a value (`int`, `Decimal`, `datetime.fromisoformat`); text if not given.
        delimiter: one character between values.
        quote: the character around values that hold delimiters; None: there is none.
        escape: a character that takes the meaning of the next one away.
        encoding: of the text; one in which a line feed is one byte.

    A record with another number of values, or with one that `types` refuses, goes to the dead letters.
    """

    header: bool = True
    fields: Sequence[str] | None = None
    types: Mapping[str, Callable[[str], Any]] = field(default_factory=dict[str, Callable[[str], Any]])
    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"
    grows = True

    def __post_init__(self) -> None:
        _check(
            self.header or bool(self.fields), self, "without a header, name the columns: Csv(header=False, fields=[…])"
        )
        _check_encoding(self, self.encoding)
        single = [self.delimiter, *(one for one in (self.quote, self.escape) if one is not None)]
        _check(
            all(len(one) == 1 and one not in "\r\n" for one in single),
            self,
            "delimiter, quote and escape are one character",
        )
        unknown = [name for name in self.types if self.fields is not None and name not in self.fields]
        _check(not unknown, self, f"`types` names {', '.join(unknown)}, which is no field")

    @property
    def _dialect(self) -> dict[str, Any]:
        import csv

        quoting = csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL
        return {"delimiter": self.delimiter, "quotechar": self.quote, "escapechar": self.escape, "quoting": quoting}

    def outputs(self, first: Callable[[], str | None], opening: Opening) -> tuple[str, ...]:
        """The fields that are named, else the columns of the first file."""
        if self.fields is not None:
            return tuple(self.fields)
        path = first()
        header = self._header(path, opening) if path is not None else None
        _check(header is not None, self, "there is no file whose header names the columns: give `fields`")
        return tuple(cast("tuple[list[str], Place]", header)[0])

    def reader(self, path: str, place: Place, opening: Opening) -> Reader | None:
        """Records of a file."""
        fields = list(self.fields or ())
        columns, after_header = fields, START
        if self.header:
            found = self._header(path, opening)
            if found is None:
                return None
            columns, after_header = found
        begin = max(place, after_header)
        picked = Columns(columns, fields or columns, self.types)
        return CsvReader(path, opening.blocks(path, begin), begin, self.encoding, self._dialect, picked)

    def _header(self, path: str, opening: Opening) -> tuple[list[str], Place] | None:
        blocks = opening.blocks(path, START)
        try:
            return first_record(blocks, self.encoding, self._dialect, to_the_end=not opening.follow)
        finally:
            blocks.close()


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Each line that is not blank as a JSON value.

    Args:
        type: what a line must be, as `msgspec` checks it. A NamedTuple: an object with these keys, its fields are the
            fields. A dataclass, TypedDict or `msgspec.Struct`: one value of it. Anything if not given.
        fields: names of keys, for rows of their values (None where an object lacks one); or name → type, which is
            checked. Not together with `type`.
        field: name of the one field, if the rows have one.

    A line that is no JSON, or of another type, goes to the dead letters as bytes.
    """

    type: Any = None
    fields: Sequence[str] | Mapping[str, Any] | None = None
    field: str = "value"
    grows = True

    def __post_init__(self) -> None:
        _check(self.type is None or self.fields is None, self, "give `type` or `fields`")
        _check(self.fields is None or bool(self.fields), self, "`fields` names none")

    @property
    def _row_type(self) -> Any:
        """The NamedTuple that rows are."""
        return self.type if isinstance(self.type, type) and hasattr(self.type, "_fields") else None

    def outputs(self, first: Callable[[], str | None], opening: Opening) -> tuple[str, ...]:
        """The keys, or the one field."""
        if self._row_type is not None:
            return tuple(self._row_type._fields)
        return tuple(self.fields) if self.fields is not None else (self.field,)

    def reader(self, path: str, place: Place, opening: Opening) -> Reader | None:
        """Records of a file."""
        return self.records(path, opening.blocks(path, place), place, opening.max_record)

    def records(self, name: str, blocks: Blocks, place: Place, max_record: int) -> LineReader:
        """The records of blocks."""
        return LineReader(name, blocks, place, max_record, self._parse())

    def _parse(self) -> Parse:
        import msgspec

        if (keys := self._keys()) is None:
            wanted = Any if self.type is None else self.type
            rows: RowsOf = _singles
        else:
            wanted = msgspec.defstruct("Record", keys, kw_only=True)
            rows = _values

        return json_lines(msgspec.json.Decoder(wanted).decode, rows)

    def _keys(self) -> list[Any] | None:
        """What the keys of an object must be: (name, type) or (name, type, default)."""
        if self._row_type is not None:
            from typing import get_type_hints

            hints = get_type_hints(self._row_type)
            defaults: Mapping[str, Any] = self._row_type._field_defaults
            return [
                (name, hints.get(name, Any), *([defaults[name]] if name in defaults else []))
                for name in self._row_type._fields
            ]
        if self.fields is None:
            return None
        if isinstance(self.fields, Mapping):
            return list(self.fields.items())
        return [(name, Any, None) for name in self.fields]


@dataclass(frozen=True, slots=True)
class Parquet:
    """Rows of Apache Parquet files; needs `pip install "squall[parquet]"`.

    Args:
        columns: which columns, in this order; all of the first file if not given.
        batches: one Arrow record batch (up to 65,536 rows) a tuple, in the field `batch`, and not a row.
    """

    columns: Sequence[str] | None = None
    batches: bool = False
    grows = False

    def __post_init__(self) -> None:
        need("parquet", "pyarrow", "FileSpout with Parquet")

    def outputs(self, first: Callable[[], str | None], opening: Opening) -> tuple[str, ...]:
        """The columns."""
        if self.batches:
            return ("batch",)
        if self.columns is not None:
            return tuple(self.columns)
        path = first()
        _check(path is not None, self, "there is no file whose schema names the columns: give `columns`")
        return tuple(columns_of(cast("str", path)))

    def reader(self, path: str, place: Place, opening: Opening) -> Reader | None:
        """Rows of a file."""
        have = columns_of(path)
        columns = list(self.columns) if self.columns is not None else have
        if missing := [name for name in columns if name not in have]:
            raise ValueError(f"it has no column {', '.join(missing)}; it has {', '.join(have)}")
        return ParquetReader(path, place, columns, batches=self.batches)


ERRORS = ("strict", "replace", "ignore", "surrogateescape", "backslashreplace")


def _singles(records: list[Any]) -> list[Any]:
    """Rows of one value each: a bare list or None would be read as many outputs, or none."""
    return list(zip(records, strict=True))


def _values(records: list[Any]) -> list[Any]:
    """Rows of the values of objects."""
    from msgspec.structs import astuple

    return list(map(astuple, records))


def _check(is_right: bool, format_: object, fix: str) -> None:
    if not is_right:
        raise TopologyError(Defect("file_format", f"files cannot be read as {format_!r}", (), fix))


def _check_encoding(format_: object, encoding: str) -> None:
    try:
        is_right = codecs.encode("\n", encoding) == b"\n"
    except (LookupError, TypeError):
        is_right = False
    _check(is_right, format_, "give an encoding in which a line feed is one byte: utf-8, latin-1, cp1252, …")
