"""Names values of types that the core does not know by a value that it knows, so that equal keys hash alike.

`squall.register_type(cls, key=…)` adds a type of the user's. Everything else that has no stable meaning is refused.
"""

from __future__ import annotations

import dataclasses
import numbers
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, cast
from uuid import UUID

from squall import _core
from squall.api.registered import KEYS
from squall.errors import Defect, TopologyError

Named = tuple[int, Any]


def reduce(value: object) -> Named:
    """(tag, known value) for a value that the core asked about.

    Raises:
        TopologyError: `key_type_unstable`, for a type without a stable key.
    """
    for cls in type(value).__mro__:
        if cls in KEYS:
            return _core.TAG_REGISTERED, (cls.__qualname__, KEYS[cls](value))
    match value:
        case Enum():
            return _core.TAG_SAME, value.value
        case datetime() if value.utcoffset() is not None:
            return _core.TAG_INSTANT, _ticks(value - datetime.fromisoformat("1970-01-01T00:00:00+00:00"))
        case datetime():
            return _core.TAG_DATETIME, value.isoformat()
        case date():
            return _core.TAG_DATE, value.toordinal()
        case time():
            return _core.TAG_TIME, value.isoformat()
        case timedelta():
            return _core.TAG_DURATION, _ticks(value)
        case UUID():
            return _core.TAG_UUID, value.bytes
        case _:
            return _structural(value)


def _ticks(duration: timedelta) -> int:
    return (duration.days * 86_400 + duration.seconds) * 1_000_000 + duration.microseconds


_BASES: tuple[Any, ...] = (str, bytes, int, float, tuple, list, dict)


def _structural(value: Any) -> Named:
    if isinstance(value, numbers.Number) and not isinstance(value, complex):
        if value != value:
            return _core.TAG_NAN, None
        return _core.TAG_NUMBER, hash(value)
    for base in _BASES:
        if isinstance(value, base):
            return _core.TAG_SAME, base(value)
    if isinstance(value, bytearray | memoryview):
        return _core.TAG_SAME, bytes(cast("bytearray", value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _core.TAG_DATACLASS, (type(value).__qualname__, fields)
    if type(value).__module__ == "numpy":
        return _numpy(value)
    raise TopologyError(
        Defect(
            "key_type_unstable",
            f"a value of type {type(value).__module__}.{type(value).__qualname__} is used as a key",
            (("value", repr(value)[:200]),),
            "group by a field of a plain type, or register one: squall.register_type(cls, key=...)",
        )
    )


def _numpy(value: Any) -> Named:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return _core.TAG_SAME, value.item()
    raise TopologyError(
        Defect(
            "key_type_unstable",
            f"a numpy {type(value).__name__} is used as a key",
            (("value", repr(value)[:200]),),
            "group by a scalar, or by a tuple made of the array",
        )
    )


def install() -> None:
    """Tells the core to ask here."""
    _core.set_key_reducer(reduce)
