"""The kinds of keys, and how a row is written to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from squall._core import Tuple
from squall.connectors.redis.keys import Key, check_key, fields_in, key_of, picked
from squall.connectors.redis.options import check_name, names_of, refused, seconds_of
from squall.model.durations import Seconds

Command: TypeAlias = tuple[Any, ...]
Named: TypeAlias = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class String:
    """One value a key. `SET`, so that a row which is written twice changes nothing.

    Args:
        key: `"user:{user}"`, or a function of the tuple.
        value: the field with the value.
        ttl: how long the key lives; None: for ever.
    """

    key: Key
    value: str = "value"
    ttl: Seconds | None = None

    def __post_init__(self) -> None:
        check_key("String", "key", self.key)
        check_name("String", "value", self.value)
        if self.ttl is not None:
            seconds_of("String", "ttl", self.ttl)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields with values."""
        return (self.value,)

    @property
    def named(self) -> Named:
        """The fields of the row that it is made of, by its arguments."""
        return {"key": fields_in(self.key), "value": (self.value,)}

    def command(self, tup: Tuple) -> Command:
        """Writes a row."""
        command = ("SET", key_of(self.key)(tup), *picked(tup, self.names))
        return command if self.ttl is None else (*command, "PX", max(1, round(1000 * seconds_of("", "", self.ttl))))


@dataclass(frozen=True, slots=True)
class Hash:
    """Fields of a hash: those of the row, by their names (`fields`), or one that the row names (`field`, `value`).

    `Hash("user:{user}", fields=["name", "city"])` has a key for each user; `Hash("counts", field="{word}",
    value="count")` one key, with a field for each word. `HSET`, so that a row which is written twice changes nothing.

    Args:
        key: `"user:{user}"`, or a function of the tuple.
        fields: fields of the row that are fields of the hash.
        field: the field of the hash, as `key`.
        value: with `field`: the row's field with the value.
    """

    key: Key
    fields: Sequence[str] | None = None
    field: Key | None = None
    value: str = "value"

    def __post_init__(self) -> None:
        check_key("Hash", "key", self.key)
        if (self.fields is None) == (self.field is None):
            raise refused("Hash has both fields and a field, or neither", "give one of them")
        if self.fields is not None:
            names_of("Hash", "fields", self.fields)
        else:
            check_key("Hash", "field", self.field)
            check_name("Hash", "value", self.value)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields with values."""
        return names_of("Hash", "fields", self.fields) if self.fields is not None else (self.value,)

    @property
    def named(self) -> Named:
        """The fields of the row that it is made of, by its arguments."""
        values = "fields" if self.fields is not None else "value"
        return {"key": fields_in(self.key), "field": fields_in(self.field), values: self.names}

    def command(self, tup: Tuple) -> Command:
        """Writes a row."""
        key, values = key_of(self.key)(tup), picked(tup, self.names)
        if self.field is not None:
            return "HSET", key, key_of(self.field)(tup), *values
        return "HSET", key, *(part for pair in zip(self.names, values, strict=True) for part in pair)


@dataclass(frozen=True, slots=True)
class List:
    """A value of each row at the end of a list. `RPUSH`: a row that is written twice is there twice.

    Args:
        key: `"orders:{user}"`, or a function of the tuple.
        value: the field with the value.
    """

    key: Key
    value: str = "value"

    def __post_init__(self) -> None:
        check_key("List", "key", self.key)
        check_name("List", "value", self.value)

    @property
    def named(self) -> Named:
        """The fields of the row that it is made of, by its arguments."""
        return {"key": fields_in(self.key), "value": (self.value,)}

    def command(self, tup: Tuple) -> Command:
        """Writes a row."""
        return "RPUSH", key_of(self.key)(tup), *picked(tup, (self.value,))


@dataclass(frozen=True, slots=True)
class Set:
    """A value of each row as a member of a set. `SADD`: a row that is written twice changes nothing.

    Args:
        key: `"visitors:{day}"`, or a function of the tuple.
        value: the field with the member.
    """

    key: Key
    value: str = "value"

    def __post_init__(self) -> None:
        check_key("Set", "key", self.key)
        check_name("Set", "value", self.value)

    @property
    def named(self) -> Named:
        """The fields of the row that it is made of, by its arguments."""
        return {"key": fields_in(self.key), "value": (self.value,)}

    def command(self, tup: Tuple) -> Command:
        """Writes a row."""
        return "SADD", key_of(self.key)(tup), *picked(tup, (self.value,))


@dataclass(frozen=True, slots=True)
class SortedSet:
    """A value of each row as a member of a sorted set. `ZADD`: a row that is written twice changes nothing.

    Args:
        key: `"scores:{game}"`, or a function of the tuple.
        value: the field with the member.
        score: the field with the number that it is sorted by.
    """

    key: Key
    value: str = "value"
    score: str = "score"

    def __post_init__(self) -> None:
        check_key("SortedSet", "key", self.key)
        check_name("SortedSet", "value", self.value)
        check_name("SortedSet", "score", self.score)

    @property
    def named(self) -> Named:
        """The fields of the row that it is made of, by its arguments."""
        return {"key": fields_in(self.key), "value": (self.value,), "score": (self.score,)}

    def command(self, tup: Tuple) -> Command:
        """Writes a row."""
        return "ZADD", key_of(self.key)(tup), *picked(tup, (self.score, self.value))


@dataclass(frozen=True, slots=True)
class HyperLogLog:
    """Counts different values, about. `PFADD`: a row that is written twice changes nothing.

    Args:
        key: `"visitors:{day}"`, or a function of the tuple.
        value: the field with what is counted.
    """

    key: Key
    value: str = "value"

    def __post_init__(self) -> None:
        check_key("HyperLogLog", "key", self.key)
        check_name("HyperLogLog", "value", self.value)

    @property
    def named(self) -> Named:
        """The fields of the row that it is made of, by its arguments."""
        return {"key": fields_in(self.key), "value": (self.value,)}

    def command(self, tup: Tuple) -> Command:
        """Writes a row."""
        return "PFADD", key_of(self.key)(tup), *picked(tup, (self.value,))


Kind: TypeAlias = String | Hash | List | Set | SortedSet | HyperLogLog
