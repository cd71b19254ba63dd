"""Values of letters in the words of JSON, for people who read and edit them, and back to the types that they had.

`letter_codec` keeps every type by a tag; here a tag stands only where plain JSON would lose what the value is. What is
plain gets the type of the value whose place it takes: a list becomes a tuple again, a text a date.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from squall.runtime.letter_codec import DECIMAL_BITS, Unknown, decode, encode

_TEXTS: Mapping[type, Callable[[str], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    Decimal: Decimal,
    UUID: UUID,
    bytes: str.encode,
}
"""Types whose values are plain as a text, and how that is read."""


def plain(value: Any) -> Any:
    """A value as JSON and YAML can write it."""
    match value:
        case None | bool() | str():
            return value
        case int() if value.bit_length() <= DECIMAL_BITS:
            return value
        case float() if math.isfinite(value):
            return value
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in cast("list[Any]", value)]
        case dict() if all(isinstance(key, str) and key != "$" for key in cast("dict[Any, Any]", value)):
            return {key: plain(item) for key, item in cast("dict[str, Any]", value).items()}
        case bytes() if (text := _text_of(value)) is not None:
            return text
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal() | UUID() | Unknown():
            return str(value) if not isinstance(value, Unknown) else value.text
        case _:
            return encode(value)


def like(old: Any, new: Any) -> Any:
    """A plain value with the type of the one that it replaces, where it can have it; else as it is."""
    if _is_same(plain(old), new):
        return old
    try:
        return decode(new) if _is_tagged(new) else _like(old, new)
    except (ValueError, ArithmeticError):
        return new


def _is_tagged(new: Any) -> bool:
    return isinstance(new, dict) and cast("dict[Any, Any]", new).keys() == {"$", "v"}


def from_text(old: Any, text: str) -> Any:
    """A value that was written on a command line: JSON, or text as it stands."""
    try:
        new = json.loads(text)
    except ValueError:
        new = text
    is_text = isinstance(old, str | bytes)
    return like(old, text if is_text and not isinstance(new, str) else new)


def _like(old: Any, new: Any) -> Any:
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        return float(new)
    if isinstance(old, Decimal) and isinstance(new, int | float) and not isinstance(new, bool):
        return Decimal(str(new))
    if isinstance(old, list | tuple | set | frozenset) and isinstance(new, list):
        return _items_like(cast("Any", old), cast("list[Any]", new))
    if isinstance(old, dict) and isinstance(new, dict):
        before, after = cast("dict[Any, Any]", old), cast("dict[Any, Any]", new)
        return {key: like(before[key], item) if key in before else item for key, item in after.items()}
    read = _TEXTS.get(_type(cast("object", old)))
    return read(new) if read is not None and isinstance(new, str) else new


def _type(value: object) -> type[Any]:
    return type(value)


def _items_like(old: Any, new: list[Any]) -> Any:
    """Items take the types of those in the same place; further ones, that of the last."""
    before = list(old)
    items = [like(before[min(place, len(before) - 1)], item) if before else item for place, item in enumerate(new)]
    try:
        return type(old)(items)
    except TypeError:  # an item that no set can hold, or a named tuple
        return items


def _is_same(old: Any, new: Any) -> bool:
    """Equal, with the types of JSON: 1 is not true, and not 1.0."""
    if isinstance(old, list) and isinstance(new, list):
        pairs = zip(cast("list[Any]", old), cast("list[Any]", new), strict=False)
        return len(cast("list[Any]", old)) == len(cast("list[Any]", new)) and all(_is_same(a, b) for a, b in pairs)
    if isinstance(old, dict) and isinstance(new, dict):
        before, after = cast("dict[Any, Any]", old), cast("dict[Any, Any]", new)
        return before.keys() == after.keys() and all(_is_same(item, after[key]) for key, item in before.items())
    return _type(cast("object", old)) is _type(cast("object", new)) and bool(old == new)


def _text_of(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None
