"""Stand-ins for mocked spouts: they emit what a test feeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from squall import Batch, Spout
from squall.errors import Defect, TopologyError
from squall.model.graph import StreamSpec

FOREVER_S = 1e9
"""A rest that only `Worker.wake_spout` ends."""


@dataclass(frozen=True, slots=True)
class Fed:
    """One row that a test wants a spout to emit."""

    stream: str
    row: tuple[Any, ...]
    message_id: Any


class FedSpout(Spout):
    """Stands in for one task of a mocked spout: emits what it is fed; the engine tries again what fails.

    Bound: none; holds what the test fed and `topology.max.spout.pending` held back.
    """

    idle_wait = FOREVER_S

    def __init__(self) -> None:
        self.waiting: deque[Fed] = deque()

    def append(self, fed: Fed) -> None:
        """One more."""
        self.waiting.append(fed)

    def next_batch(self, limit: int) -> Batch | None:
        """The oldest rows, as far as they are for one stream."""
        if not self.waiting:
            return None
        stream = self.waiting[0].stream
        taken: list[Fed] = []
        while self.waiting and len(taken) < limit and self.waiting[0].stream == stream:
            taken.append(self.waiting.popleft())
        return Batch([fed.row for fed in taken], ids=[fed.message_id for fed in taken], stream=stream)


class Taker(Protocol):
    """What stands in for one task."""

    def append(self, fed: Fed, /) -> None:
        """Has one more row emitted."""
        ...


@dataclass
class MockedSpout:
    """A spout that is never opened, with the stand-ins for its tasks."""

    name: str
    streams: Mapping[str, StreamSpec]
    tasks: list[Taker] = field(default_factory=list[Taker])
    fed: int = 0

    def feed(self, values: Iterable[object], stream: str, ids: Iterable[object] | None) -> list[Any]:
        """Gives the values to the tasks in turn; the message ids.

        Raises:
            TopologyError: the spout has no such stream (`stream_unknown`), a value does not fit it (`feed_shape`), or
                there are not as many ids as values (`feed_ids`).
        """
        rows = [_row(value) for value in values]
        for row in rows:
            self._check(stream, row)
        named = [row[0] if len(row) == 1 else row for row in rows] if ids is None else list(ids)
        if len(named) != len(rows):
            message = f'spout "{self.name}" was fed {len(rows)} values with {len(named)} ids'
            raise TopologyError(Defect("feed_ids", message, (), "give one id for each value"))
        for row, message_id in zip(rows, named, strict=True):
            self.tasks[self.fed % len(self.tasks)].append(Fed(stream, row, message_id))
            self.fed += 1
        return named

    def _check(self, stream: str, row: tuple[Any, ...]) -> None:
        spec = self.streams.get(stream)
        if spec is None:
            facts = (("declared", ", ".join(self.streams) or "no streams"),)
            message = f'spout "{self.name}" was fed on stream "{stream}", which it does not declare'
            raise TopologyError(Defect("stream_unknown", message, facts, "feed a stream that it declares"))
        if len(row) != len(spec.fields):
            message = f'spout "{self.name}" was fed {row!r}, which does not fit stream "{stream}"'
            facts = (("declared", ", ".join(spec.fields) or "no fields"),)
            fix = "feed one value for each field; a tuple is a row, so `((1, 2),)` is one value that is a tuple"
            raise TopologyError(Defect("feed_shape", message, facts, fix))


def _row(value: object) -> tuple[Any, ...]:
    return tuple(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else (value,)
