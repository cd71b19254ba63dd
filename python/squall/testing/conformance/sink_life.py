"""One life of a sink: a topology that gives it rows, and notes what becomes of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Protocol, Self

from squall._core import Batch, Tuple
from squall.api.components import Bolt, Spout
from squall.api.topology import Topology
from squall.errors import RetryTuple
from squall.testing.cluster import LocalCluster
from squall.testing.conformance.described import Row, SinkUnderTest
from squall.testing.conformance.shown import Shown

RETRIES = 2
PASS_S = 0.005
FAILS_RATIO = 0.15


class Told(Protocol):
    """Who is told what becomes of rows."""

    def acked(self, number: int) -> None:
        """A row has ended well."""
        ...

    def dead(self, number: int) -> None:
        """A row was given up."""
        ...


class Rows(Spout):
    """Emits rows as they are given."""

    def __init__(self, told: Told) -> None:
        self.waiting, self._told = deque[tuple[int, Row]](), told
        self.trouble: BaseException | None = None
        self._copies = 0

    def next_batch(self, limit: int) -> Batch | None:
        """What was given."""
        taken = [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]
        ids: list[Any] = []
        for number, _ in taken:
            self._copies += 1
            ids.append((number, self._copies))
        return Batch([row for _, row in taken], ids=ids) if taken else None

    def ack(self, message_id: tuple[int, int]) -> None:
        """Tells it."""
        self._tell(self._told.acked, message_id)

    def dead(self, message_id: tuple[int, int]) -> None:
        """Tells it."""
        self._tell(self._told.dead, message_id)

    def _tell(self, tell: Callable[[int], None], message_id: tuple[int, int]) -> None:
        try:
            tell(message_id[0])
        except BaseException as error:  # the engine would only report it
            self.trouble = self.trouble or error


class Before(Bolt):
    """Passes rows on to the sink, and fails now and then."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def process(self, row: Tuple) -> Row:
        """Fails, or passes it on."""
        _fail_sometimes(self._random)
        return row.values


class Beside(Bolt):
    """Gets the rows that the sink gets, and fails now and then, so that they come again when they are there already."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def process(self, row: Tuple) -> None:
        """Fails, or not."""
        _fail_sometimes(self._random)


def _fail_sometimes(random: Random) -> None:
    if random.random() < FAILS_RATIO:
        raise RetryTuple("a failure of the bolts around the sink", after=0.0, counts=False)


class SinkLife:
    """A sink in a cluster of real time; a context manager that opens and closes it.

    Args:
        shown: looks for secrets at the end.
        is_disturbed: whether bolts before and beside the sink fail at random.
    """

    def __init__(
        self, under_test: SinkUnderTest, told: Told, random: Random, shown: Shown, *, is_disturbed: bool = False
    ) -> None:
        self._under_test, self._shown = under_test, shown
        self._rows = Rows(told)
        self.sink = under_test.make()
        topology = Topology("conformance")
        rows = topology.spout("rows", lambda: self._rows, outputs=under_test.fields)
        if is_disturbed:
            before = topology.bolt("before", lambda: Before(random), outputs=under_test.fields).shuffle(rows)
            topology.bolt("sink", lambda: self.sink).shuffle(before)
            topology.bolt("beside", lambda: Beside(random)).shuffle(rows)
        else:
            topology.bolt("sink", lambda: self.sink).shuffle(rows)
        settings = {"topology.retries": RETRIES}
        self._cluster = LocalCluster(topology, simulated_time=False, settings=settings)

    def __enter__(self) -> Self:
        self._cluster.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self._shown.look([self.sink], self._cluster)
        self._cluster.close()

    def give(self, rows: Iterable[tuple[int, Row]]) -> None:
        """Has rows emitted in the next run."""
        self._rows.waiting.extend(rows)

    def run(self, for_s: float = PASS_S) -> None:
        """Runs for a while.

        Raises:
            BaseException: what those who are told of rows raised.
        """
        self._cluster.advance(for_s)
        if self._rows.trouble is not None:
            raise self._rows.trouble

    def run_until(self, done: Callable[[], bool]) -> bool:
        """Runs until it is so; False if it was not in time."""
        deadline_s = time.monotonic() + self._under_test.patience_s
        while not done():
            if time.monotonic() > deadline_s:
                return False
            self.run()
        return True
