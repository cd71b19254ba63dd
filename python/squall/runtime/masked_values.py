"""Values without those of their parts whose names are those of secrets.

A dead letter is shown so. So is what an expression of a tap compares and cuts: what it looks up by name is masked where
it is looked up, but what takes a value as a whole (`==`, `<`, `in`, `min`, a slice) would tell of the parts that nobody
may look up, one guess after another. Values without named parts are given as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, cast

from squall.model.masking import HIDDEN, Masker
from squall.runtime.letter_codec import Unknown

PLAIN = (str, bytes, int, float, bool, type(None))
MAX_DEPTH = 120
"""Containers in each other; a dead letter has no more than 101."""


def hides(masker: Masker, key: object) -> bool:
    """Whether what a mapping has under this key is hidden."""
    if isinstance(key, bytes):
        key = key.decode("latin-1")
    return isinstance(key, str) and masker.hides(key)


def cuttable(value: Any, masker: Masker) -> Any:
    """A sequence without its own named secrets; those of its items are still there, under their names."""
    plain: Any = value
    if not (isinstance(value, tuple) and hasattr(plain, "_fields")):
        return plain
    items = cast("tuple[Any, ...]", plain)
    names = cast("tuple[str, ...]", plain._fields)
    return tuple(HIDDEN if masker.hides(name) else item for name, item in zip(names, items, strict=False))


def without_secrets(value: Any, masker: Masker, depth: int = 0) -> Any:
    """A value without any secrets.

    Raises:
        TypeError: it is nested too deeply.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, Unknown):
        return Unknown(masker.in_text(value.text))
    if depth > MAX_DEPTH:
        raise TypeError("it is nested too deeply")

    def inside(items: Iterable[Any]) -> Iterable[Any]:
        return (without_secrets(item, masker, depth + 1) for item in items)

    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value)
        return {
            without_secrets(key, masker, depth + 1): HIDDEN
            if hides(masker, key)
            else without_secrets(one, masker, depth + 1)
            for key, one in pairs.items()
        }
    if is_dataclass(value) and not isinstance(value, type):
        return without_secrets({field.name: getattr(value, field.name, None) for field in fields(value)}, masker, depth)
    if isinstance(value, tuple):
        return tuple(inside(cuttable(value, masker)))
    if isinstance(value, list):
        return list(inside(cast("Iterable[Any]", value)))
    if isinstance(value, frozenset):
        return frozenset(inside(cast("Iterable[Any]", value)))
    return set(inside(cast("Iterable[Any]", value))) if isinstance(value, set) else value
