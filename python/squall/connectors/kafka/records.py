"""From tuples to records, many at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, cast

from squall._core import Tuple
from squall.connectors.contract import Unavailable
from squall.connectors.kafka.client import wrong
from squall.connectors.kafka.schemas import Avro, JsonSchema, Protobuf, Schema
from squall.connectors.record_encoders import Encoder, encoder_of
from squall.errors import DeadLetter, repr_of

Mapper: TypeAlias = str | Callable[[Tuple], Any]
"""A field of the tuple by its name, or a function of the tuple."""
MAPPED = ("topic_of", "key", "partition", "headers", "timestamp")
"""The parts of a record that a `Mapper` may give."""
Encoding: TypeAlias = Encoder | Avro | JsonSchema | Protobuf


class Record(NamedTuple):
    """What is produced, in the order in which the client takes it."""

    topic: str
    value: bytes | str | None
    key: bytes | str | None
    partition: int
    timestamp_ms: int
    headers: list[tuple[str, bytes]] | None


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which parts of a record come from where; None: it has none, or the client chooses."""

    topic: str | None
    topic_of: Mapper | None
    value: Encoding
    key: Mapper | None
    partition: Mapper | None
    headers: Mapper | None
    timestamp: Mapper | None

    @property
    def fields(self) -> dict[str, tuple[str, ...]]:
        """The fields that it names, by the options that do."""
        mappers: list[tuple[str, Any]] = [(name, getattr(self, name)) for name in MAPPED]
        return {name: (mapper,) for name, mapper in mappers if isinstance(mapper, str)}

    def check(self) -> None:
        """Refuses what cannot be.

        Raises:
            TopologyError: `kafka_option`, `encoder_unknown` or `extra_missing`.
        """
        if self.topic is not None and (not isinstance(self.topic, str) or not self.topic):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise wrong(f"KafkaSink has topic={repr_of(self.topic)}", "give the name of a topic")
        if self.topic is None and self.topic_of is None:
            raise wrong("KafkaSink has no topic", 'give one, KafkaSink("alerts", …), or topic_of=…')
        for name in MAPPED:
            mapper: object = getattr(self, name)
            if mapper is not None and not isinstance(mapper, str) and not callable(mapper):
                raise wrong(f"KafkaSink has {name}={repr_of(mapper)}", "name a field, or give a function of the tuple")
        if isinstance(self.value, Schema):
            self.value.check()
        else:
            encoder_of(self.value, "KafkaSink")


class Records:
    """Makes records. It may reach for a schema registry."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        value = mapping.value
        self._encode = None if isinstance(value, Schema) else encoder_of(value, "KafkaSink")
        self._by_schema = value.encoder(is_key=False) if isinstance(value, Schema) else None
        self._is_plain = all(
            getattr(mapping, name) is None for name in ("topic_of", "partition", "headers", "timestamp")
        )

    def made(self, rows: Sequence[Tuple], failures: dict[int, Exception]) -> list[tuple[int, Record]]:
        """The records, with the places of their rows.

        Args:
            failures: gets why a row cannot be one.

        Raises:
            RegistryAway: the schema registry cannot be reached.
        """
        records: list[tuple[int, Record]] = []
        for at, row in enumerate(rows):
            try:
                records.append((at, self._record(row)))
            except Unavailable:
                raise
            except Exception as error:
                failures[at] = error
        return records

    def plain(self, rows: Sequence[Tuple]) -> tuple[list[Any], list[Any]] | None:
        """Values and keys, if nothing else varies and all rows are well; else None."""
        mapping = self._mapping
        if not self._is_plain or self._encode is None:
            return None
        try:
            if mapping.value in ("text", "raw") and len(rows[0]) == 1:
                values = [row[0] for row in rows]
                kinds = {*map(type, values)}
                if mapping.value == "text" and kinds <= {str, int, float}:
                    values = [*map(str, values)]
                elif mapping.value == "text" or not kinds <= {str, bytes, type(None)}:
                    return None
            else:
                encode = self._encode
                values = [encode(row) for row in rows]
            if mapping.key is None:
                return values, []
            if not isinstance(mapping.key, str):
                keys = [_bytes(mapping.key(row), "key") for row in rows]
            else:
                at = rows[0].fields.index(mapping.key)
                keys = [row[at] for row in rows]
                if not {*map(type, keys)} <= {str, bytes, type(None)}:
                    keys = [_bytes(key, "key") for key in keys]
        except Exception:
            return None  # which row it was is found one by one
        return values, keys

    def _record(self, row: Tuple) -> Record:
        mapping = self._mapping
        topic = (_mapped(mapping.topic_of, row) if mapping.topic_of is not None else None) or mapping.topic
        if not isinstance(topic, str):
            raise DeadLetter(f"the topic of the record is {repr_of(topic)}")
        return Record(
            topic,
            self._value(row, topic),
            _bytes(_mapped(mapping.key, row), "key"),
            _partition(_mapped(mapping.partition, row)),
            _timestamp_ms(_mapped(mapping.timestamp, row)),
            _headers(_mapped(mapping.headers, row)),
        )

    def _value(self, row: Tuple, topic: str) -> bytes | str | None:
        if self._by_schema is not None:
            return self._by_schema(row[0] if len(row) == 1 else dict(zip(row.fields, row.values, strict=True)), topic)
        if len(row) == 1 and row[0] is None and self._mapping.value in ("raw", "text"):
            return None  # a tombstone
        assert self._encode is not None
        value = self._encode(row)
        if not isinstance(value, str | bytes):
            raise DeadLetter(f"the value of the record is {repr_of(value)}, and not bytes or text")
        return value if isinstance(value, bytes) else value.encode("utf-8", "backslashreplace")


def _mapped(mapper: Mapper | None, row: Tuple) -> Any:
    if mapper is None:
        return None
    return row[mapper] if isinstance(mapper, str) else mapper(row)


def _bytes(value: Any, what: str) -> bytes | str | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value).encode("utf-8", "backslashreplace")
    raise DeadLetter(f"the {what} of the record is {repr_of(value)}, and not bytes, text or a whole number")


def _partition(value: Any) -> int:
    if value is None:
        return -1
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise DeadLetter(f"the partition of the record is {repr_of(value)}")
    return value


def _timestamp_ms(value: Any) -> int:
    if value is None:
        return 0
    stamp: Any = value.timestamp() * 1000 if hasattr(value, "timestamp") else value
    if not isinstance(stamp, int | float) or isinstance(stamp, bool) or not 0 < stamp < 1 << 53:
        raise DeadLetter(f"the timestamp of the record is {repr_of(value)}, and not a datetime or milliseconds")
    return int(stamp)


def _headers(value: Any) -> list[tuple[str, bytes]] | None:
    if value is None:
        return None
    try:
        pairs = [*(value.items() if hasattr(value, "items") else value)]
        return [(str(name), cast("bytes", _bytes(one, "header"))) for name, one in pairs]
    except (TypeError, ValueError) as error:
        raise DeadLetter(f"the headers of the record are {repr_of(value)}: {error}") from error
