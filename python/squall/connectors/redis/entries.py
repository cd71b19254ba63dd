"""Entries of streams as rows: pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, cast

from squall.connectors.decoders import Decoder, decoding_of
from squall.connectors.redis.options import check_name, names_of, refused
from squall.errors import Defect, StateError, repr_of

Fields: TypeAlias = Mapping[bytes, bytes]
Entry: TypeAlias = tuple[bytes, Fields]
Convert: TypeAlias = Callable[[Any], Any]


class Bad(NamedTuple):
    """An entry that cannot be a row: what it holds, and why."""

    values: tuple[object, ...]
    error: Exception


@dataclass(frozen=True, slots=True)
class Chunk:
    """Entries of one stream as rows, in order. `bad`: those that are none, by their place; their rows mean nothing."""

    stream: str
    ids: list[str]
    rows: list[Any]
    bad: Mapping[int, Bad]


@dataclass(frozen=True)
class Rows:
    """How entries become rows: `of` takes the fields of one; the stream and id stand before that, if wanted."""

    outputs: Any
    of: Callable[[Fields], tuple[Any, ...]]
    with_stream: bool
    with_id: bool

    def chunk(self, stream: str, entries: Sequence[Entry]) -> Chunk:
        """Entries as rows."""
        ids, of = [id.decode() for id, _ in entries], self.of
        try:
            rows, bad = [of(fields) for _, fields in entries], dict[int, Bad]()
        except Exception:
            rows, bad = self._one_by_one(stream, entries)
        if self.with_id:
            rows = [(id, *row) for id, row in zip(ids, rows, strict=True)]
        if self.with_stream:
            rows = [(stream, *row) for row in rows]
        return Chunk(stream, ids, rows, bad)

    def _one_by_one(self, stream: str, entries: Sequence[Entry]) -> tuple[list[tuple[Any, ...]], dict[int, Bad]]:
        rows: list[tuple[Any, ...]] = []
        bad: dict[int, Bad] = {}
        for at, (id, fields) in enumerate(entries):
            try:
                rows.append(self.of(fields))
            except Exception as error:
                rows.append(())
                bad[at] = _bad(stream, id.decode(), fields, error)
        return rows, bad


def _bad(stream: str, id: str, fields: Fields, error: Exception) -> Bad:
    why = f"it has no field {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
    message = f"the entry {id} of {stream} cannot be a row: {why}"
    fix = "let `fields` or `decoder` say what entries hold"
    defect = StateError(Defect("redis_entry_unreadable", message, (), fix))
    defect.__cause__ = error
    return Bad((stream, id, {shown(name): shown(value) for name, value in fields.items()}), defect)


def shown(data: bytes) -> str:
    """Bytes as text, whatever they are."""
    return data.decode("utf-8", "backslashreplace")


def rows_of(
    who: str,
    fields: Sequence[str] | Mapping[str, Convert] | None,
    field: str | None,
    decoder: Decoder | None,
    outputs: Any,
    stream_field: str | None,
    id_field: str | None,
) -> Rows:
    """What a spout was given, as what makes rows.

    Raises:
        TopologyError: `redis_option` or `decoder_invalid`.
    """
    for name, value in (("stream_field", stream_field), ("id_field", id_field)):
        if value is not None:
            check_name(who, name, value)
    if (field is None) != (decoder is None):
        raise refused(f"{who} has a field or a decoder, and not both", 'write field="data", decoder=Json(…)')
    if field is not None and fields is not None:
        raise refused(f"{who} has fields and a field", "give one of them: `field` is for entries that are one record")
    first = [name for name in (stream_field, id_field) if name is not None]
    if field is not None and decoder is not None:
        check_name(who, "field", field)
        declared, of = _decoded(field, decoder, outputs)
    elif outputs is not None:
        raise refused(f"{who} has outputs without a decoder", "say them by `fields`, or in the decoder")
    elif fields is not None:
        declared, of = _picked(who, fields)
    else:
        declared, of = ("fields",), _all
    return Rows(_with(first, declared), of, stream_field is not None, id_field is not None)


def _with(first: list[str], declared: Any) -> Any:
    if not first:
        return declared
    if hasattr(declared, "_fields"):
        declared = declared._fields
    if isinstance(declared, Mapping):
        return {**dict.fromkeys(first, str), **cast("Mapping[str, Any]", declared)}
    return (*first, *((declared,) if isinstance(declared, str) else declared))


def _all(fields: Fields) -> tuple[Any, ...]:
    return ({name.decode(): value.decode() for name, value in fields.items()},)


def _picked(who: str, fields: Sequence[str] | Mapping[str, Convert]) -> tuple[Any, Callable[[Fields], Any]]:
    if isinstance(fields, Mapping):
        try:
            fields = dict(fields)
        except Exception:  # a mapping of the caller's own
            raise refused(f"{who} has fields={repr_of(fields)}", "give names, or name → type") from None
    names = names_of(who, "fields", tuple(fields) if isinstance(fields, Mapping) else fields)
    if not isinstance(fields, Mapping):
        wanted = [name.encode() for name in names]
        return names, lambda entry: tuple([entry[name].decode() for name in wanted])
    if not all(callable(convert) for convert in fields.values()):
        fix = "give names, or name → a type or function of text: {'amount': float, 'data': bytes}"
        raise refused(f"{who} has fields={repr_of(fields)}", fix)
    converted = [(name.encode(), _bytes if convert is bytes else _of_text(convert)) for name, convert in fields.items()]
    return names, lambda entry: tuple([convert(entry[name]) for name, convert in converted])


def _bytes(data: bytes) -> bytes:
    return data


def _of_text(convert: Convert) -> Callable[[bytes], Any]:
    return bytes.decode if convert is str else lambda data: convert(data.decode())


def _decoded(field: str, decoder: Decoder, outputs: Any) -> tuple[Any, Callable[[Fields], Any]]:
    decoding, name = decoding_of(decoder, outputs, None), field.encode()
    match decoding.native:
        case ("row", decode, row):
            return decoding.outputs, lambda entry: row(decode(entry[name]))
        case ("value", decode):
            return decoding.outputs, lambda entry: (decode(entry[name]),)
        case (_, decode):
            return decoding.outputs, lambda entry: _as_row(decode(entry[name]))
        case other:
            raise AssertionError(other)


def _as_row(value: Any) -> tuple[Any, ...]:
    if value is None or isinstance(value, list):
        raise ValueError(f"the decoder gave {repr_of(cast('object', value))}: an entry is one row")
    return cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,)
