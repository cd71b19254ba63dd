"""From records to rows, many at a time: in C for each field, and no Python function for a record where C has one.

A batch is tried as a whole; only where that raises, its records are taken one by one, and those that are to blame are
told apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Literal, TypeAlias, cast

from squall.connectors.contract import Unavailable
from squall.connectors.decoders import Json, MessagePack, decoding_of
from squall.connectors.kafka.client import wrong
from squall.connectors.kafka.schemas import Avro, JsonSchema, Protobuf, Schema
from squall.errors import repr_of

Decoder: TypeAlias = (
    Literal["bytes", "text"] | Json | MessagePack | Avro | JsonSchema | Protobuf | Callable[[bytes], Any]
)
FIELDS = ("topic", "partition", "offset", "key", "value", "timestamp_ms", "headers")

Messages: TypeAlias = Sequence[Any]
Decode: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Decoded:
    """The rows of a batch, and why some of them are none, by their places."""

    rows: list[tuple[Any, ...]]
    bad: Mapping[int, Exception]


@dataclass(frozen=True, slots=True)
class PartDecoding:
    """How keys or values are decoded.

    Args:
        names: of the fields that one comes to.
        bulk: decodes all that are there, or raises.
        one: decodes one.
        is_row: a decoded one is a row of `names`, else one value.
        schema: what knows the registry; else None.
    """

    names: tuple[str, ...]
    bulk: Callable[[list[Any]], list[Any]] | None = None
    one: Decode | None = None
    is_row: bool = False
    schema: Schema | None = None

    def __deepcopy__(self, _memo: object) -> PartDecoding:
        return self  # nothing in it changes, and decoders of msgspec cannot be copied


def part_decoding(field: str, decoder: object) -> PartDecoding:
    """What a decoder of keys or values comes to.

    Raises:
        TopologyError: `kafka_option`, `decoder_invalid` or `extra_missing`.
    """
    if decoder == "bytes":
        return PartDecoding((field,))
    if decoder == "text":
        return PartDecoding((field,), lambda raws: [raw.decode() for raw in raws], bytes.decode)
    if isinstance(decoder, Schema):
        decoder.check()
        return PartDecoding((field,), schema=decoder)
    if isinstance(decoder, Json | MessagePack):
        made = decoding_of(decoder, None, None)
        if made.native[0] == "value":
            decode: Decode = made.native[1]
            return PartDecoding((field,), lambda raws: list(map(decode, raws)), decode)
        _, document, row = made.native
        return PartDecoding(
            _names(made.outputs),
            lambda raws: [row(document(raw)) for raw in raws],
            lambda raw: row(document(raw)),
            is_row=True,
        )
    if not callable(decoder) or inspect.iscoroutinefunction(decoder):
        fix = 'give "bytes", "text", Json(), MessagePack(), Avro(…), JsonSchema(…), Protobuf(…) or a function of bytes'
        raise wrong(f"KafkaSpout has {field}={repr_of(decoder)}", fix)
    function = cast("Decode", decoder)
    return PartDecoding((field,), lambda raws: list(map(function, raws)), function)


def _names(outputs: Any) -> tuple[str, ...]:
    return tuple(getattr(outputs, "_fields", outputs))


class Rows:
    """Makes rows of the chosen fields.

    Args:
        fields: which, in which order; a decoder with fields of its own has them stand in the place of its field.
    """

    def __init__(self, fields: Sequence[str], key: PartDecoding, value: PartDecoding) -> None:
        from confluent_kafka import Message

        self._fields, self._parts = tuple(fields), {"key": key, "value": value}
        self._read: dict[str, Callable[[Any], Any]] = {
            "topic": Message.topic,
            "partition": Message.partition,
            "offset": Message.offset,
            "key": Message.key,
            "value": Message.value,
            "headers": Message.headers,
        }
        self._decode = {name: _decoder_of(name, part) for name, part in self._parts.items()}

    def look(self, topic: str | None) -> None:
        """Sees whether the schema registries let this user in.

        Args:
            topic: the one that is read; None: there are several, or they are not known yet.

        Raises:
            RegistryAway: one does not answer.
            ConfigError: `kafka_registry_refused`.
        """
        for name in self._fields:
            part = self._parts.get(name)
            if part is not None and part.schema is not None:
                part.schema.look(topic, is_key=name == "key")

    def decoded(self, messages: Messages) -> Decoded:
        """The rows of a batch.

        Raises:
            RegistryAway: the schema registry cannot be reached.
        """
        bad: dict[int, Exception] = {}
        columns: list[Any] = []
        for field in self._fields:
            columns += self._columns(field, messages, bad)
        return Decoded(list(zip(*columns, strict=True)), bad)

    def _columns(self, field: str, messages: Messages, bad: dict[int, Exception]) -> list[Any]:
        if field == "timestamp_ms":
            return [[stamp[1] for stamp in [message.timestamp() for message in messages]]]
        column = map(self._read[field], messages)
        part = self._parts.get(field)
        if part is None or (part.bulk is None and part.schema is None):
            return [column]
        values = self._decode[field](list(column), messages, bad)
        if not part.is_row:
            return [values]
        nothing = (None,) * len(part.names)
        return list(zip(*[nothing if row is None else row for row in values], strict=True)) or [[] for _ in part.names]


def _decoder_of(field: str, part: PartDecoding) -> Callable[[list[Any], Messages, dict[int, Exception]], list[Any]]:
    """Decodes a column; a raw None (a tombstone, no key) stays None."""
    if part.schema is not None:
        decode_with_topic = part.schema.decoder(is_key=field == "key")
        return lambda raws, messages, bad: _one_by_one(
            raws, [message.topic() for message in messages], decode_with_topic, bad
        )
    bulk, decode_one = cast("Callable[[list[Any]], list[Any]]", part.bulk), cast("Decode", part.one)

    def decode(raws: list[Any], _messages: Messages, bad: dict[int, Exception]) -> list[Any]:
        try:
            if None not in raws:
                return bulk(raws)
        except Exception:
            pass  # which one it was is found below
        return _one_by_one(raws, repeat(None), lambda raw, _topic: decode_one(raw), bad)

    return decode


def _one_by_one(
    raws: list[Any], topics: Any, decode: Callable[[Any, Any], Any], bad: dict[int, Exception]
) -> list[Any]:
    values: list[Any] = []
    for at, (raw, topic) in enumerate(zip(raws, topics, strict=False)):
        value: Any = None
        if raw is not None:
            try:
                value = decode(raw, topic)
            except Unavailable:
                raise
            except Exception as error:
                bad[at] = error
        values.append(value)
    return values
