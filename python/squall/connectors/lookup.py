"""A bolt that adds to each row what another system has for it, with a cache of a bounded size and age."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from squall._core import Tuple
from squall.api.context import TopologyContext
from squall.connectors.contract import RemoteBolt
from squall.errors import DeadLetter, DropTuple, repr_of

Missing: TypeAlias = Literal["null", "drop", "dead"]
Key: TypeAlias = tuple[Hashable, ...]
Found: TypeAlias = Sequence[Sequence[Any]]
"""What there is for a key: rows, none or several, each with the values of the columns that are added."""


class Cache:
    """What was found for keys, the empty too; pure.

    Args:
        most: keys that are kept; of more, those go that were longest not asked for.
        ttl_s: nothing older is given: age counts from before it was asked for.
    """

    def __init__(self, most: int, ttl_s: float) -> None:
        self._most, self._ttl_s = most, ttl_s
        self._entries = OrderedDict[Key, tuple[float, Found]]()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now_s: float) -> Found | None:
        """What was found; None if that is not known, or not any more."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now_s - entry[0] >= self._ttl_s:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Key, found: Found, asked_s: float) -> None:
        """Keeps what was found by a question that was asked then."""
        if self._most:
            self._entries[key] = (asked_s, found)
            self._entries.move_to_end(key)
            if len(self._entries) > self._most:
                self._entries.popitem(last=False)


class Lookup(RemoteBolt):
    """Looks rows up by a key: a subclass says how.

    Delivery: a row is acked with what it puts out. While the other system is away rows wait, but for those that the
        cache has all of.
    Metrics: counters `rows` (also those that the cache answered), `batches`, `hits`, `misses` (keys that were asked
        for), gauges `cached` and `waiting_s`.
    Args:
        fields: of the key.
        outputs: fields of the input that are passed on, and columns that are added; a field wins.
        missing: what becomes of a row for which there is nothing: "null" puts it out with None for what is added,
            "drop" drops it, "dead" makes it a dead letter.
        most, ttl_s: of the cache.
    """

    def __init__(
        self, fields: Sequence[str], outputs: Sequence[str], missing: Missing, most: int, ttl_s: float
    ) -> None:
        self._fields, self._missing, self._most, self._ttl_s = tuple(fields), missing, most, ttl_s
        self._outputs = tuple(outputs)
        self.outputs = self._outputs  # pyright: ignore[reportAttributeAccessIssue]  # of this bolt alone

    def find(self, keys: Sequence[Key], columns: Sequence[str]) -> Mapping[Key, Found]:
        """What there is for keys that differ, of the columns; a key for which there is nothing may be left out.

        Raises:
            Unavailable: not now.
            Exception: a key is of no use.
        """
        raise NotImplementedError

    def added(self, fields: Iterable[str]) -> tuple[str, ...]:
        """The outputs that a stream of these fields does not have."""
        own = set(fields)
        return tuple(name for name in self._outputs if name not in own)

    def open(self, context: TopologyContext) -> None:
        """Connects."""
        self._cache = Cache(self._most, self._ttl_s)
        self._hits, self._misses = context.counter("hits"), context.counter("misses")
        context.gauge("cached", lambda: float(len(self._cache)))
        super().open(context)

    def handle(self, rows: Sequence[Tuple]) -> list[object]:
        """What each row puts out."""
        keys = [tuple([row[name] for name in self._fields]) for row in rows]
        fields = rows[0].fields
        columns = self.added(fields)
        known = self._known(keys, columns)
        join, nothing = _joiner(self._outputs, fields), [None] * len(columns)
        outputs: list[object] = []
        for row, key in zip(rows, keys, strict=True):
            if found := known[key]:
                outputs.append(join(row, found[0]) if len(found) == 1 else [join(row, one) for one in found])
            elif self._missing == "null":
                outputs.append(join(row, nothing))
            elif self._missing == "drop":
                outputs.append(DropTuple("nothing was found"))
            else:
                outputs.append(DeadLetter(f"{self.where()} has nothing for {self._shown(key)}"))
        return outputs

    def _known(self, keys: Sequence[Key], columns: tuple[str, ...]) -> dict[Key, Found]:
        """What there is for each key: of the cache, and of one question for the others."""
        now_s = self.context.monotonic()
        known: dict[Key, Found] = {}
        asked: list[Key] = []
        for key in dict.fromkeys(keys):
            found = () if None in key else self._cache.get((columns, *key), now_s)  # nothing equals null
            if found is None:
                asked.append(key)
            else:
                known[key] = found
        self._hits.add(len(known))
        self._misses.add(len(asked))
        if asked:
            answer = self.find(asked, columns)
            for key in asked:
                known[key] = answer.get(key, ())
                self._cache.put((columns, *key), known[key], now_s)
        return known

    def _shown(self, key: Key) -> str:
        return ", ".join(f"{name} {repr_of(value)}" for name, value in zip(self._fields, key, strict=True))


def _joiner(outputs: Sequence[str], fields: Sequence[str]) -> Callable[[Tuple, Sequence[Any]], tuple[Any, ...]]:
    """Puts a row and what was found together, in the order of the outputs."""
    count = len(fields)
    added = iter(range(count, count + len(outputs)))
    places = [fields.index(name) if name in fields else next(added) for name in outputs]

    def join(row: Tuple, found: Sequence[Any]) -> tuple[Any, ...]:
        values = (*row.values, *found)
        return tuple([values[at] for at in places])

    return join
