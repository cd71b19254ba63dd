"""Python's values as databases take them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, cast
from uuid import UUID

PLAIN = (int, float, str, bytes, bool, type(None))


def plain(value: Any) -> Any:
    """A value as one that every driver knows: bool, int, float, str, bytes or None.

    Times are written as ISO 8601 has them, with a space; those with a zone keep their offset. Containers become JSON.

    Raises:
        TypeError: no column can have it.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.days} days {value.seconds}.{value.microseconds:06} seconds"
    if isinstance(value, Decimal | UUID | IPv4Address | IPv4Network | IPv6Address | IPv6Network):
        return str(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(cast("bytearray", value))
    if isinstance(value, Mapping | list | tuple) or (is_dataclass(value) and not isinstance(value, type)):
        return json_text(value)
    item: Any = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        return plain(item())  # a scalar of numpy
    raise TypeError(f"no column can have a {type(value).__name__}")


def in_utc(value: Any) -> Any:
    """A time with a zone as one of UTC without, for columns that have none; anything else as `plain` has it."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
    return plain(value)


def json_text(value: Any) -> str:
    """A value as JSON; what JSON does not have is written as `plain` says.

    Raises:
        TypeError, ValueError: JSON cannot have it: no text is a key, it holds itself, not a number.
    """
    return json.dumps(value, default=_for_json, ensure_ascii=False, allow_nan=False)


def _for_json(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("JSON cannot have bytes")
    return plain(value)
