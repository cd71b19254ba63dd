"""Parquet files, row group by row group."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import islice
from typing import Any

from squall.connectors.files.reading.chunks import Chunk, Place

ROWS = 2048
"""Rows of a chunk."""
BATCH_ROWS = 64 << 10
"""Rows of a record batch that is a value."""


class ParquetReader:
    """One Parquet file from a place on.

    Args:
        source: a path, or an open file that knows its `size`.
        batches: whether an output is an Arrow record batch, and not a row.
    """

    def __init__(self, source: Any, place: Place, columns: Sequence[str], *, batches: bool) -> None:
        self._file: Any = _parquet().ParquetFile(source)
        self._columns, self._batches = list(columns), batches
        self._bytes = os.path.getsize(source) if isinstance(source, str) else source.size
        self._groups = range(self._file.num_row_groups)
        self._chunks = self._read_from(place)
        self._group = place.offset

    def _read_from(self, place: Place) -> Iterator[Chunk]:
        at = place._replace(skip=0)
        for group in self._groups[place.offset :]:
            self._group = group
            size = BATCH_ROWS if self._batches else ROWS
            batches = self._file.iter_batches(batch_size=size, row_groups=[group], columns=self._columns)
            for batch in islice(batches, at.lines, None):
                after = at._replace(lines=at.lines + 1)
                yield Chunk([(batch,)] if self._batches else _rows(batch), at, after)
                at = after
            at = Place(group + 1)

    def read(self, *, to_the_end: bool) -> Chunk | None:
        """The next rows."""
        return next(self._chunks, None)

    def disk_bytes(self) -> int:
        """How far the file is read: row groups are taken to be of one size."""
        return self._bytes * self._group // max(1, len(self._groups))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def columns_of(source: Any) -> list[str]:
    """The columns that a file has: a path, or an open file."""
    return list(_parquet().read_schema(source).names)


def _parquet() -> Any:
    return import_module("pyarrow.parquet")


def _rows(batch: Any) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
