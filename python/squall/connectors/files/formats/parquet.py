"""Apache Parquet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from squall.connectors.extras import need
from squall.connectors.files.formats.checks import (
    are_named,
    are_names,
    check,
    check_read,
    check_written,
    is_flag,
    is_text,
)
from squall.connectors.files.reading.chunks import Place, Reader
from squall.connectors.files.reading.format import Opening
from squall.connectors.files.reading.row_groups import ParquetReader, columns_of
from squall.connectors.files.writing.arrow_rows import ArrowRows, ColumnType, schema_of
from squall.connectors.files.writing.rows import Encoder
from squall.connectors.files.writing.staged import ARROW
from squall.errors import because

COMPRESSIONS = ("zstd", "snappy", "gzip", "none")


@dataclass(frozen=True, slots=True)
class Parquet:
    """Rows of Apache Parquet files; needs `pip install "squall[parquet]"`.

    Args:
        fields: which columns, in this order, and no others; all if not given. Names, or name → type: a Python type, the
            name of an Arrow type (`"int32"`), or an Arrow type. Types are for what is written. Without them a file's
            types are those of its first rows; a column that was only null, or only whole numbers, and gets another type
            begins a new file.
        compression: written: of the columns.
        batches: read: one Arrow record batch (up to 65,536 rows) a tuple, in the field `batch`, and not a row.

    A row that does not fit into the columns goes to the dead letters, alone.
    """

    fields: Sequence[str] | Mapping[str, ColumnType] | None = None
    compression: Literal["zstd", "snappy", "gzip", "none"] = "zstd"
    batches: bool = False

    grows = False
    log = ARROW

    def __post_init__(self) -> None:
        need("parquet", "pyarrow", "Parquet")
        check(
            self.fields is None or are_names(self.fields) or are_named(self.fields),
            self,
            "`fields` is a list of names, or name → type",
        )
        is_known = is_text(self.compression) and self.compression in COMPRESSIONS
        check(is_known, self, f"`compression` is one of {', '.join(COMPRESSIONS)}")
        check(is_flag(self.batches), self, "`batches` is True or False")

    @property
    def _names(self) -> tuple[str, ...] | None:
        return None if self.fields is None else tuple(self.fields)

    # -- read ------------------------------------------------------------------------------------------------------

    def outputs(self, first: Callable[[], str | None], opening: Opening) -> tuple[str, ...]:
        """The columns."""
        if self.batches:
            return ("batch",)
        if self._names is not None:
            return self._names
        path = first()
        check_read(path is not None, self, "there is no file whose schema names the columns: give `fields`")
        return tuple(columns_of(opening.files.source(cast("str", path))))

    def reader(self, path: str, place: Place, opening: Opening) -> Reader | None:
        """Rows of a file."""
        have = columns_of(opening.files.source(path))
        columns = list(self._names or have)
        if missing := [name for name in columns if name not in have]:
            raise ValueError(f"it has no column {', '.join(missing)}; it has {', '.join(have)}")
        return ParquetReader(opening.files.source(path), place, columns, batches=self.batches)

    # -- written ---------------------------------------------------------------------------------------------------

    @property
    def seal(self) -> str:
        """How the columns are compressed when the file is made."""
        return self.compression

    def check_written(self) -> None:
        """Refuses batches, as rows are written, and types that no column can have."""
        check_written(not self.batches, self, "leave out `batches`, which says how files are read")
        if isinstance(self.fields, Mapping):
            try:
                schema_of(self.fields)
            except Exception as error:
                check_written(False, self, f'give types such as int, "int32", datetime, Decimal: {because(error)}')

    def encoder(self, is_begun: bool) -> Encoder:
        """The encoder of a file."""
        if isinstance(self.fields, Mapping):
            return ArrowRows(schema_of(self.fields))
        return ArrowRows(None, self._names)
