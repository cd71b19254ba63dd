"""What bolts that look things up have in common: what was found is kept for a while, and what is missing is decided."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Literal, TypeAlias

Missing: TypeAlias = Literal["null", "drop", "dead"]
"""What becomes of a row for which nothing is found: nulls in the place of it, no output, or the dead letters."""
MISSING = ("null", "drop", "dead")


class Cache:
    """What was found, by key; what was used longest ago goes first. What is missing is not kept: it may come.

    Bound: `entries_max`; 0 keeps nothing.

    Args:
        ttl_s: how long after it was found something is believed; None: for ever.
    """

    def __init__(self, entries_max: int, ttl_s: float | None) -> None:
        self._max, self._ttl_s = entries_max, ttl_s
        self._found: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self.hits = 0

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: Hashable, now_s: float) -> Any | None:
        """What was found for a key; None: it has to be looked up."""
        if (kept := self._found.get(key)) is None:
            return None
        at_s, value = kept
        if self._ttl_s is not None and now_s - at_s >= self._ttl_s:
            del self._found[key]
            return None
        self._found.move_to_end(key)
        self.hits += 1
        return value

    def put(self, key: Hashable, value: Any, now_s: float) -> None:
        """Keeps what was found."""
        if not self._max:
            return
        self._found[key] = now_s, value
        self._found.move_to_end(key)
        if len(self._found) > self._max:
            self._found.popitem(last=False)
