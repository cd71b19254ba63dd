"""Values of dead letters as JSON, so that people can read them and a topology can take them again.

What JSON has stays as it is; every other type becomes `{"$": type, "v": ...}`. Subclasses are kept as the type that
they derive from. A value of any other type is kept by its `repr`, for people only.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

MAX_REPR = 10_000
"""Characters that are kept of a `repr`."""
MAX_DEPTH = 100
"""Containers in each other; a value with more is kept by its `repr`."""
DECIMAL_BITS = 2048
"""Longer integers are written in hexadecimal: Python may refuse decimals of more than 640 digits, whose cost is
quadratic."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that was kept only by its `repr`; a letter with one cannot be replayed."""

    text: str

    def __repr__(self) -> str:
        return self.text


def encode(value: object) -> Any:
    """A value as what `json.dumps` takes. Never raises: what cannot be kept is kept by its `repr`."""
    try:
        return _encode(value, frozenset())
    except Exception:  # it holds itself, is nested too deeply, or is of a class whose methods raise
        return _unknown(value)


def encode_row(values: tuple[object, ...]) -> Any:
    """The values of a tuple; one that cannot be kept does not spoil the others."""
    return _tagged("tuple", [encode(value) for value in values])


def decode(value: Any) -> Any:
    """The value that `encode` was given.

    Raises:
        ValueError: it gave no such thing.
    """
    try:
        return _decode(value)
    except Exception as error:  # a tag that is none, or that does not fit what it stands before
        raise ValueError(f"no value of a letter: {type(error).__name__}") from error


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        tagged = cast("dict[str, Any]", value)
        return _DECODERS[tagged["$"]](tagged["v"])
    return value


def shown(value: Any) -> str:
    """A value for people: its `repr`, cut. Never raises."""
    try:
        text = hex(value) if _is_long(value) else repr(value)
    except Exception as error:
        text = f"<{type(value).__qualname__}, whose repr raised {type(error).__name__}>"
    return text[:MAX_REPR]


def is_known(value: object) -> bool:
    """Whether nothing in a decoded value is kept by its `repr` only."""
    if isinstance(value, Unknown):
        return False
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_known, cast("Iterable[object]", value)))
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value)
        return all(map(is_known, pairs)) and all(map(is_known, pairs.values()))
    return True


def _encode(value: Any, around: frozenset[int]) -> Any:
    """`around`: ids of the containers that the value is in."""
    if _is_long(value):
        return _tagged("int", hex(value))
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _tagged("float", repr(value))
    for cls, tag in _CONTAINERS:
        if isinstance(value, cls):
            if id(value) in around or len(around) > MAX_DEPTH:
                raise ValueError("nested in itself or too deeply")
            items = _items(value, around | {id(value)})
            return items if tag is None else _tagged(tag, items)
    for classes, tag, encoder in _SCALARS:
        if isinstance(value, classes):
            return _tagged(tag, encoder(value))
    return _unknown(value)


def _items(value: Any, around: frozenset[int]) -> list[Any]:
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value)
        return [[_encode(key, around), _encode(item, around)] for key, item in pairs.items()]
    return [_encode(item, around) for item in value]


def _tagged(tag: str, value: Any) -> dict[str, Any]:
    return {"$": tag, "v": value}


def _unknown(value: object) -> dict[str, Any]:
    return _tagged("repr", shown(value))


def _is_long(value: object) -> bool:
    return isinstance(value, int) and value.bit_length() > DECIMAL_BITS


def _iso(value: Any) -> str:
    return value.isoformat()


_CONTAINERS: tuple[tuple[type, str | None], ...] = (
    (list, None),
    (tuple, "tuple"),
    (dict, "dict"),
    (set, "set"),
    (frozenset, "frozenset"),
)

_SCALARS: tuple[tuple[type | tuple[type, ...], str, Callable[[Any], Any]], ...] = (
    ((bytes, bytearray), "bytes", lambda value: base64.b64encode(value).decode()),
    (datetime, "datetime", _iso),  # before date, which it derives from
    (date, "date", _iso),
    (time, "time", _iso),
    (timedelta, "timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    (Decimal, "decimal", str),
    (UUID, "uuid", str),
)

_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda v: int(v, 16),
    "float": float,
    "tuple": lambda v: tuple(map(_decode, v)),
    "dict": lambda v: {_decode(key): _decode(item) for key, item in v},
    "set": lambda v: set(map(_decode, v)),
    "frozenset": lambda v: frozenset(map(_decode, v)),
    "bytes": base64.b64decode,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda v: timedelta(*v),
    "decimal": Decimal,
    "uuid": UUID,
    "repr": Unknown,
}
