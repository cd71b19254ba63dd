"""What of a value is shown to people who look at tuples: bounded, without secrets, and never an error.

A value becomes one of plain types that `repr` and `json.dumps` take: of the same structure where that is known, the
cut text of its `repr` where it is not. What it costs is bounded by what is shown, but for a `repr` of the user's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any, cast

from squall.model.masking import HIDDEN, Masker
from squall.runtime.letter_codec import shown

MAX_CHARS = 1024
"""Characters that are shown of a value."""
MAX_ROW_CHARS = 8 << 10
"""And of all values of a tuple."""
MAX_ITEMS = 64
MAX_DEPTH = 6
MAX_BITS = 512
CUT = "…"


class Bare(str):
    """A text that stands for something else: shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Braced(list[Any]):
    """The items of a set."""

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self))}}}"


class Named(dict[str, Any]):
    """An object with named fields."""

    def __init__(self, cls: str, pairs: Iterable[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self._cls = cls

    def __repr__(self) -> str:
        return f"{self._cls}({', '.join(f'{name}={value!r}' for name, value in self.items())})"


def row_glimpse(names: tuple[str, ...], row: tuple[Any, ...], masker: Masker) -> list[Any]:
    """The values of a tuple as they are shown."""
    most = max(32, min(MAX_CHARS, MAX_ROW_CHARS // max(1, len(row))))
    return [glimpse(name, value, masker, most) for name, value in zip(names, row, strict=False)]


def glimpse(name: str, value: object, masker: Masker, most: int = MAX_CHARS) -> Any:
    """A value of this name as it is shown. Never raises.

    Bound: about `most` characters, 64 items of a container, six containers in each other.
    """
    if masker.hides(name):
        return Bare(HIDDEN)
    try:
        return _Glimpse(masker, most).of(value, 0)
    except Exception as error:  # another thread changes it, or its class has methods that raise
        return Bare(f"<{type(value).__name__}, which cannot be shown: {type(error).__name__}>")


class _Glimpse:
    """One value on its way to being shown, with the characters that are left for it."""

    def __init__(self, masker: Masker, most: int) -> None:
        self._masker, self._left = masker, most

    def of(self, value: Any, depth: int) -> Any:
        """The value, or the part of it that there is room for."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if value.bit_length() <= MAX_BITS else Bare(f"<int of {value.bit_length()} bits>")
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else Bare(repr(float(value)))
        if isinstance(value, str):
            return self._text(str.__getitem__(value, slice(self._left + 1)))
        if isinstance(value, bytes | bytearray):
            return Bare(self._text(repr(bytes(value[: self._left + 1]))))
        if depth < MAX_DEPTH and (inside := self._structured(value, depth + 1)) is not None:
            return inside
        return Bare(self._text(_one_line(self._masker.in_text(shown(value)[: 2 * MAX_CHARS]))))

    def _text(self, text: str) -> str:
        left = max(0, self._left)
        self._left -= len(text)
        return text if len(text) <= left else text[:left] + CUT

    def _structured(self, value: Any, depth: int) -> Any:
        plain: Any = value
        if isinstance(value, dict):
            pairs = cast("dict[Any, Any]", value).items()
            return dict(self._pairs(((self._key(key), item) for key, item in pairs), len(pairs), depth))
        if isinstance(value, tuple) and hasattr(plain, "_fields"):
            return Named(type(plain).__name__, self._pairs(zip(plain._fields, plain, strict=False), len(plain), depth))
        if is_dataclass(plain) and not isinstance(plain, type):
            names = [field.name for field in fields(plain) if field.repr]
            pairs = ((name, getattr(plain, name, None)) for name in names)
            return Named(type(plain).__name__, self._pairs(pairs, len(names), depth))
        if isinstance(value, list | tuple | set | frozenset):
            items = list(self._items(cast("Iterable[Any]", value), len(cast("list[Any]", value)), depth))
            return tuple(items) if isinstance(value, tuple) else items if isinstance(value, list) else Braced(items)
        return None

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            return str.__getitem__(key, slice(100))
        return Bare(_one_line(self._masker.in_text(shown(key)[:MAX_CHARS]))[:100])

    def _pairs(self, pairs: Iterable[tuple[str, Any]], count: int, depth: int) -> Iterator[tuple[str, Any]]:
        taken = 0
        for name, item in islice(pairs, MAX_ITEMS):
            if self._left <= 0:
                break
            taken += 1
            self._left -= len(name) + 2
            yield name, Bare(HIDDEN) if self._masker.hides(name) else self.of(item, depth)
        if taken < count:
            yield CUT, Bare(f"{count - taken} more")

    def _items(self, items: Iterable[Any], count: int, depth: int) -> Iterator[Any]:
        taken = 0
        for item in islice(items, MAX_ITEMS):
            if self._left <= 0:
                break
            taken += 1
            self._left -= 2
            yield self.of(item, depth)
        if taken < count:
            yield Bare(f"{CUT} {count - taken} more")


def _one_line(text: str) -> str:
    """A text that cannot move the cursor of a terminal."""
    text = " ".join(text.split())
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
