"""A JSON document a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squall.connectors.files.formats.checks import are_named, are_names, check, check_read, is_text
from squall.connectors.files.reading.blocks import Blocks, LineReader, Parse, RowsOf, json_lines
from squall.connectors.files.reading.chunks import Place, Reader
from squall.connectors.files.reading.format import Opening
from squall.connectors.files.writing.rows import Encoder, LineRows, Row, picked
from squall.connectors.files.writing.staged import LINES
from squall.errors import because

FIELD = "value"


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Each line is a JSON document; blank lines are left out.

    Args:
        type: what a document is. A NamedTuple: an object with these keys, which are the fields. A dataclass, TypedDict
            or `msgspec.Struct`: one value of it. Read: checked by `msgspec`.
        fields: the keys of an object that are the fields, in this order. Read: names (None where an object lacks one),
            or name → type, which is checked. Written: rows may have others, which are left out.
        field: the document is the value of this one field (`value`, if only `type` says that it is one value).

    Without any of them a row is written as an object by the names of all its fields, and a document of any kind is read
    as the one field `value`. Dates and times are written as ISO 8601, `Decimal` and `UUID` as strings, bytes as base64.
    A line that is no JSON, or of another type, goes to the dead letters as bytes; so does a row that JSON cannot have.
    """

    type: Any = None
    fields: Sequence[str] | Mapping[str, Any] | None = None
    field: str | None = None

    grows = True
    log = LINES
    seal = ""

    def __post_init__(self) -> None:
        check(self.type is None or self.fields is None, self, "give `type` or `fields`")
        is_row = self.fields is not None or self._row_type is not None
        check(
            self.fields is None or are_names(self.fields) or are_named(self.fields),
            self,
            "`fields` is a list of names, or name → type",
        )
        check(self.field is None or is_text(self.field), self, "`field` is a name")
        check(not (is_row and self.field is not None), self, "a row has several fields here: leave out `field`")

    @property
    def _row_type(self) -> Any:
        """The NamedTuple that rows are."""
        return self.type if isinstance(self.type, type) and hasattr(self.type, "_fields") else None

    @property
    def _names(self) -> tuple[str, ...] | None:
        """The keys that are fields; None: all, or the document is one value."""
        if self._row_type is not None:
            return tuple(self._row_type._fields)
        return None if self.fields is None else tuple(self.fields)

    # -- read ------------------------------------------------------------------------------------------------------

    def outputs(self, first: Callable[[], str | None], opening: Opening) -> tuple[str, ...]:
        """The keys, or the one field."""
        try:
            self._parse()
        except Exception as error:
            check_read(False, self, f"give types that msgspec knows: {because(error)}")
        return self._names or (self.field or FIELD,)

    def reader(self, path: str, place: Place, opening: Opening) -> Reader | None:
        """Documents of a file."""
        return self.records(path, opening.blocks(path, place), place, opening.max_record)

    def records(self, name: str, blocks: Blocks, place: Place, max_record: int) -> LineReader:
        """The documents of blocks."""
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

    # -- written ---------------------------------------------------------------------------------------------------

    def check_written(self) -> None:
        """Any can be written."""

    def encoder(self, is_begun: bool) -> Encoder:
        """The encoder of a file."""
        import msgspec

        encode_lines = msgspec.json.Encoder().encode_lines
        names = self._names
        document = None if names is not None or (self.type is None and self.field is None) else self.field or FIELD

        def documents(fields: tuple[str, ...], rows: Sequence[Row]) -> bytes:
            return encode_lines([row[0] for row in picked((document or FIELD,), fields, rows)])

        def objects(fields: tuple[str, ...], rows: Sequence[Row]) -> bytes:
            rows, keys = picked(names, fields, rows), names or fields
            return encode_lines([dict(zip(keys, row, strict=True)) for row in rows])

        return LineRows(objects if document is None else documents)


def _singles(records: list[Any]) -> list[Any]:
    """Rows of one value each: a bare list or None would be read as many outputs, or none."""
    return list(zip(records, strict=True))


def _values(records: list[Any]) -> list[Any]:
    """Rows of the values of objects."""
    from msgspec.structs import astuple

    return list(map(astuple, records))
