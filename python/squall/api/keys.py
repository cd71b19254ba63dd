"""Types of the user's own as keys of fields grouping; what other types mean as keys is known to the runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")

REGISTERED: dict[type, Callable[[Any], object]] = {}
"""What names an instance as a key, by its class."""


def register_type(cls: type[_T], *, key: Callable[[_T], object]) -> None:
    """Lets instances of `cls` be keys: two are equal as keys when `key(instance)` is."""
    REGISTERED[cls] = key
