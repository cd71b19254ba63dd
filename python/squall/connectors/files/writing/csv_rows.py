"""Rows as CSV, written by Python's own `csv`."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from squall.connectors.files.writing.rows import Refused, Row, one_by_one, picked, unwritable


class CsvRows:
    """The rows of one file, led by its header.

    Args:
        wanted: the fields that are written; None: all.
        header: whether one is still to be written; or its names, if they are not those of the fields.
        has_columns: whether the file has a header, so that all rows have its columns.
    """

    def __init__(
        self,
        dialect: Mapping[str, Any],
        encoding: str,
        wanted: tuple[str, ...] | None,
        header: bool | Sequence[str],
        *,
        has_columns: bool,
    ) -> None:
        self._dialect, self._encoding, self._wanted = dialect, encoding, wanted
        self._header, self._has_columns = header, has_columns
        self._columns: tuple[str, ...] | None = None
        self._new_columns: tuple[str, ...] | None = None

    def encode(self, fields: tuple[str, ...], rows: Sequence[Row]) -> tuple[bytes, Refused]:
        """The bytes of the rows, after those of the header if it is missing."""
        columns = self._wanted or fields
        try:
            self._check(columns)
            rows = picked(self._wanted, fields, rows)
        except ValueError as error:
            return b"", {place: unwritable(error) for place in range(len(rows))}
        self._new_columns = columns
        try:
            data, failures = self._bytes(rows), Refused()
        except Exception:
            data, failures = one_by_one(lambda row: self._bytes([row]), rows)
        if data and self._header is not False:
            data = self._bytes([columns if self._header is True else self._header]) + data
        return data, failures

    def written(self) -> None:
        """The header is there, and its columns with it."""
        self._header, self._columns = False, self._new_columns

    def _check(self, columns: tuple[str, ...]) -> None:
        if self._has_columns and self._columns not in (None, columns):
            raise ValueError(f"the file has the columns {', '.join(self._columns or ())}")
        if not isinstance(self._header, bool) and len(self._header) != len(columns):
            raise ValueError(f"the header has {len(self._header)} columns, the row {len(columns)}")

    def _bytes(self, rows: Sequence[Sequence[Any]]) -> bytes:
        lines = _Collected()
        csv.writer(lines, lineterminator="\r\n", **self._dialect).writerows(rows)
        return "".join([line[:-2] + "\n" for line in lines]).encode(self._encoding)


class _Collected(list[str]):
    """Takes the rows of a `csv.writer`, which quotes carriage returns in values only if lines end by them too."""

    write = list[str].append
