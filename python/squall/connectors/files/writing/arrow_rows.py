"""Rows as Arrow batches, and Parquet files, made of a log of rows in Arrow's own format.

A Parquet file can be read only when it is finished. So the rows go into an Arrow stream first, in which each batch
stands for itself: it can be synced, and cut at its last whole batch after a crash. The Parquet file is made of it when
it is published. The alternative, to ack rows only then, keeps all rows of a file pending for as long as it grows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib import import_module
from operator import index
from pathlib import Path
from typing import Any, TypeAlias

from squall.connectors.files.writing.rows import Refused, Row, StartAnew, picked, unwritable

ColumnType: TypeAlias = type | str | Any
"""A Python type, the name of an Arrow type (`"int32"`, `"timestamp[us]"`), or an Arrow type."""

ARROW_NAMES: Mapping[type, str] = {
    bool: "bool",
    int: "int64",
    float: "float64",
    str: "string",
    bytes: "binary",
    date: "date32",
    time: "time64[us]",
    timedelta: "duration[us]",
}
DECIMAL_DIGITS, DECIMAL_SCALE = 38, 9
GROUP_ROWS = 128 << 10
GROUP_BYTES = 64 << 20


def _arrow() -> Any:
    """The package, which has no types."""
    return import_module("pyarrow")


def to_parquet(compression: str, source: Path, sealed: Any) -> None:
    """Makes the Parquet file of a log of rows. `compression`: of its columns."""
    pa, parquet = _arrow(), import_module("pyarrow.parquet")

    with (
        pa.OSFile(str(source), "rb") as file,
        pa.ipc.open_stream(file) as batches,
        parquet.ParquetWriter(sealed, batches.schema, compression=compression) as writer,
    ):
        group = _Group()
        for batch in batches:
            if group.add(batch):
                writer.write_table(group.taken(batches.schema))
        if group.rows:
            writer.write_table(group.taken(batches.schema))


@dataclass
class _Group:
    """Batches that will be one row group. Bound: `GROUP_ROWS` rows or `GROUP_BYTES` bytes, whichever is less."""

    batches: list[Any] = field(default_factory=list[Any])
    rows: int = 0
    size: int = 0

    def add(self, batch: Any) -> bool:
        """Takes a batch; whether the group is full."""
        self.batches.append(batch)
        self.rows, self.size = self.rows + batch.num_rows, self.size + batch.nbytes
        return self.rows >= GROUP_ROWS or self.size >= GROUP_BYTES

    def taken(self, schema: Any) -> Any:
        """The group as a table; it is empty afterwards."""
        pa = _arrow()

        table = pa.Table.from_batches(self.batches, schema)
        self.batches, self.rows, self.size = [], 0, 0
        return table.combine_chunks()


def schema_of(columns: Mapping[str, ColumnType]) -> Any:
    """The Arrow schema of named types."""
    pa = _arrow()

    return pa.schema([pa.field(name, _arrow_type(kind)) for name, kind in columns.items()])


def _arrow_type(kind: ColumnType) -> Any:
    pa = _arrow()

    if kind is datetime:
        return pa.timestamp("us", tz="UTC")
    if kind is Decimal:
        return pa.decimal128(DECIMAL_DIGITS, DECIMAL_SCALE)
    if isinstance(kind, type):
        kind = ARROW_NAMES.get(kind, kind.__name__)
    return pa.type_for_alias(kind) if isinstance(kind, str) else kind


class ArrowRows:
    """The rows of one file as Arrow batches.

    Args:
        schema: the columns with their types; None: those of the first rows.
        wanted: then, which fields are written; None: all.
    """

    def __init__(self, schema: Any, wanted: tuple[str, ...] | None = None) -> None:
        self._schema, self._wanted, self._is_given = schema, wanted, schema is not None
        self._new_schema: Any = None
        self._is_begun = False

    def encode(self, fields: tuple[str, ...], rows: Sequence[Row]) -> tuple[bytes, Refused]:
        """The bytes of the rows as a batch, after those of the schema if it is missing."""
        try:
            fields, rows = self._wanted or fields, picked(self._wanted, fields, rows)
        except ValueError as error:
            return b"", {place: unwritable(error) for place in range(len(rows))}
        schema = self._schema if self._schema is not None else _common(fields, rows)
        failures: Refused = {}
        batch = self._batch(schema, fields, rows)
        if batch is None:
            kept = [row for place, row in enumerate(rows) if self._fits(schema, fields, row, place, failures)]
            batch = self._batch(schema, fields, kept) if kept else None
        if batch is None:
            return b"", failures
        self._new_schema = schema
        head = b"" if self._is_begun else schema.serialize().to_pybytes()
        return head + batch.serialize().to_pybytes(), failures

    def written(self) -> None:
        """The schema is there."""
        self._schema, self._is_begun = self._new_schema, True

    def _fits(self, schema: Any, fields: tuple[str, ...], row: Row, place: int, failures: Refused) -> bool:
        try:
            self._made(_types(fields, [row]) if schema is None else schema, fields, [row])
        except Exception as error:
            if self._is_begun and not self._is_given and self._would_fit(schema, fields, row):
                raise StartAnew from error
            failures[place] = unwritable(error)
            return False
        return True

    def _would_fit(self, schema: Any, fields: tuple[str, ...], row: Row) -> bool:
        """Whether a file with wider columns could take the row."""
        try:
            wider = _widened(schema, _types(fields, [row]))
            self._made(wider, fields, [row])
        except Exception:
            return False
        return not wider.equals(schema)

    def _batch(self, schema: Any, fields: tuple[str, ...], rows: Sequence[Row]) -> Any:
        """The rows as a batch; None if one of them does not fit."""
        try:
            return self._made(schema, fields, rows) if schema is not None else None
        except Exception:
            return None

    def _made(self, schema: Any, fields: tuple[str, ...], rows: Sequence[Row]) -> Any:
        pa = _arrow()

        columns = dict(zip(fields, zip(*rows, strict=True), strict=True))
        missing = [name for name in schema.names if name not in columns]
        if missing or (not self._is_given and len(columns) != len(schema.names)):
            raise KeyError(f"the columns are {', '.join(schema.names)}, the fields {', '.join(fields)}")
        return pa.record_batch([_column(columns[one.name], one.type) for one in schema], schema=schema)


def _column(values: Sequence[Any], kind: Any) -> Any:
    """The values as an Arrow array; Arrow alone would cut fractions off where whole numbers are wanted."""
    pa = _arrow()
    if pa.types.is_integer(kind):
        values = [value if value is None else index(value) for value in values]
    return pa.array(values, kind)


def _types(fields: tuple[str, ...], rows: Sequence[Row]) -> Any:
    """The types of the rows' columns, if they have some in common."""
    pa = _arrow()

    columns = zip(fields, zip(*rows, strict=True), strict=True)
    return pa.schema([(name, pa.array(column).type) for name, column in columns])


def _common(fields: tuple[str, ...], rows: Sequence[Row]) -> Any:
    """The types of the first rows of a file; where they disagree, those of the first row that can be written."""
    try:
        return _types(fields, rows)
    except Exception:
        common = None
    for row in rows:
        try:
            own = _types(fields, [row])
        except Exception:
            continue
        common = own if common is None else _widened(common, own)
    return common


def _widened(schema: Any, other: Any) -> Any:
    """The schema, with types for columns that had none, and fractions where there were whole numbers."""
    pa = _arrow()

    def wider(old: Any, new: Any) -> Any:
        widens = pa.types.is_null(old) or (pa.types.is_integer(old) and pa.types.is_floating(new))
        return new if widens else old

    return pa.schema([(one.name, wider(one.type, other.field(one.name).type)) for one in schema])
