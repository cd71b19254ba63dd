"""One life of a source: a topology with a bolt that holds what comes, and ends it as a schedule says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, Self

from squall._core import Tuple
from squall.api.components import Bolt
from squall.api.topology import Topology
from squall.errors import RetryTuple
from squall.testing.cluster import LocalCluster
from squall.testing.conformance.described import SourceUnderTest
from squall.testing.conformance.shown import Shown

RETRIES = 2
PASS_S = 0.005
FOR_EVER_S = 1e9


class Told(Protocol):
    """Who is told what becomes of records."""

    def came(self, number: int) -> None:
        """A record came."""
        ...

    def ended(self, number: int) -> None:
        """A record is about to be acked."""
        ...


class Hold(Bolt):
    """Holds what comes until it is told what to do with it.

    Args:
        decide: called again and again; looks at `held`, and calls `end` and `refuse`.
    """

    manual_ack = True
    hold_max = FOR_EVER_S
    tick_every = 0.002

    def __init__(self, number_of: Callable[[tuple[object, ...]], int], told: Told, decide: Decide) -> None:
        self._number_of, self._told, self._decide = number_of, told, decide
        self.held: dict[int, list[Tuple]] = {}
        self.trouble: BaseException | None = None

    def process(self, row: Tuple) -> None:
        """Holds one."""
        try:
            number = self._number_of(row.values)
            self._told.came(number)
        except BaseException as error:  # the engine would only report it
            self.trouble = self.trouble or error
            raise
        self.held.setdefault(number, []).append(row)

    def tick(self) -> None:
        """Has decided what becomes of what is held."""
        try:
            self._decide(self)
        except BaseException as error:
            self.trouble = self.trouble or error

    def end(self, number: int) -> None:
        """Acks a record."""
        self._told.ended(number)
        self.ack(*self.held.pop(number))

    def refuse(self, number: int, *, for_good: bool = False) -> None:
        """Fails a record, by itself or by a failure that costs no try."""
        what = "a record that fails whatever happens" if for_good else "a failure of the bolts behind the source"
        error = ValueError(what) if for_good else RetryTuple(what, after=0.0, counts=False)
        self.fail(*self.held.pop(number), error=error)


Decide = Callable[[Hold], None]


class SourceLife:
    """A source in a cluster of real time; a context manager that opens and closes it.

    Args:
        position: where it goes on, if sources of its kind have positions and there is one.
        shown: looks for secrets at the end.
    """

    def __init__(
        self, under_test: SourceUnderTest, told: Told, decide: Decide, position: bytes | None, shown: Shown
    ) -> None:
        self._under_test, self._shown = under_test, shown
        self.source = under_test.make()
        self._hold = Hold(under_test.number_of, told, decide)
        topology = Topology("conformance")
        source = topology.spout("source", lambda: self.source, outputs=self.source.outputs or None)
        topology.bolt("hold", lambda: self._hold).shuffle(source)
        positions = {} if position is None else {"source": position}
        settings = {"topology.retries": RETRIES}
        self._cluster = LocalCluster(topology, simulated_time=False, settings=settings, positions=positions)

    def __enter__(self) -> Self:
        self._cluster.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self._shown.look([self.source], self._cluster)
        self._cluster.close()

    def run(self, for_s: float = PASS_S) -> None:
        """Runs for a while.

        Raises:
            BaseException: what the description, or who is told of records, raised.
        """
        self._cluster.advance(for_s)
        if self._hold.trouble is not None:
            raise self._hold.trouble

    def run_until(self, done: Callable[[], bool], each: Callable[[], object] = lambda: None) -> bool:
        """Runs until it is so; False if it was not in time.

        Args:
            each: called after each pass.
        """
        deadline_s = time.monotonic() + self._under_test.patience_s
        while not done():
            if time.monotonic() > deadline_s:
                return False
            self.run()
            each()
        return True

    def drain(self) -> None:
        """Ends it in peace: nothing more is read, what is under way ends."""
        self._cluster.drain()

    def position(self) -> bytes | None:
        """Where it has got to, and tells it that this is kept; None: it has no positions."""
        return self._cluster.commit("source") if callable(getattr(self.source, "position", None)) else None

    def given_up(self) -> list[int]:
        """Records of the dead letters."""
        return [self._under_test.number_of(letter.values) for letter in self._cluster.dead_letters()]
