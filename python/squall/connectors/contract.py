"""What connectors have in common: what each promises, and how a sink behaves while the other system is away.

A connector is a file of this folder, or a package where one file would hold several things. Its client is an extra that
is imported when the component is opened; `extras.need` says what is missing when the topology is built.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Protocol, runtime_checkable

from squall._core import Tuple
from squall.api.components import Bolt, Spout
from squall.api.context import TopologyContext
from squall.api.waiting import Waits
from squall.connectors.sending.backoff import Backoff
from squall.errors import ClusterError, Defect, DropTuple

log = logging.getLogger("squall.connectors")
FOR_EVER_S = 1e9


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a connector promises; `squall connectors` and docs/connectors.md show it.

    Args:
        guarantee: by default, and by which option another.
        order: what keeps its order, and what does not.
        restart: what a restart, or the death of a worker, loses or repeats.
        tested: the servers and versions that its tests run against.
    """

    guarantee: str
    order: str
    restart: str
    tested: str


class Unavailable(Exception):
    """The other system cannot be reached, or takes nothing for now: nothing failed, and nothing is lost by waiting."""


class Source(Spout):
    """A spout that reads from another system.

    Failure: what `next_batch` raises, `Unavailable` too, is told, and it is called again after a pause that grows.
    """

    delivery: ClassVar[Delivery]


class RemoteBolt(Waits, Bolt):
    """A bolt that needs another system for what it does: a subclass says how to reach it and what to do with a batch.

    Delivery: while the other system is away the batch is kept and tried again after 0.1 s, doubled up to 5 s, in its
        order; the task takes nothing else, and the topology slows down. Of a batch that fails otherwise the rows that
        are to blame fail, the others go through: the other system says which they are, or it is halved to find them.
    Metrics: counters `rows`, `batches` and `errors` (rows of which a try failed), gauge `waiting_s`: for how long the
        other system has been away. A call that takes longer than `topology.stuck.secs` is shown as one that waits for
        it, and never restarted for that: `connect` and `handle` have time-outs of their own. That holds for functions
        of users that they call, too: one that never comes back is not told apart.
    Threading: on a thread of its own. What comes in during a call is the next batch.
    """

    blocking = True
    batch_max = 1024
    hold_max = FOR_EVER_S  # an outage slows and does not fail (semantics 16)

    delivery: ClassVar[Delivery]

    # -- what a subclass says --------------------------------------------------------------------------------------

    def where(self) -> str:
        """The other system as people know it, without secrets: `PostgreSQL at db:5432/shop`."""
        raise NotImplementedError

    def connect(self) -> None:
        """Makes what `handle` needs; called before the first row, and again after `Unavailable`.

        Raises:
            Unavailable: not now.
            Exception: it never will. When the run begins that ends it; later it may be mended, and is waited for.
        """
        raise NotImplementedError

    def handle(self, rows: Sequence[Tuple]) -> Sequence[object] | None:
        """Does what is to be done with rows of one stream.

        Returns:
            None, or an entry a row: None, or what it puts out; `Unavailable`: that row comes again when the other
            system is back; another exception: that row fails.

        Raises:
            Unavailable: not now; all come again when it is back.
            DeadLetter: the other system refuses one of them for good.
            Exception: something else failed.
        """
        raise NotImplementedError

    def disconnect(self) -> None:
        """Closes what `connect` made, as far as it is there: also after it raised. What this raises is left out."""
        raise NotImplementedError

    # -- life ------------------------------------------------------------------------------------------------------

    def open(self, context: TopologyContext) -> None:
        """Connects; where that is not possible for now the run begins and waits with its first row."""
        self._handled, self._batches = context.counter("rows"), context.counter("batches")
        self._errors = context.counter("errors")
        self._backoff = Backoff(None, Random())
        self._is_connected, self._away_since_s = False, None
        context.gauge("waiting_s", self._waiting_s)
        try:
            self._reach()
        except Unavailable as error:
            self._away(error, 0)

    _away_since_s: float | None

    def process_batch(self, tuples: list[Tuple]) -> list[object] | None:
        """Has a batch handled, whatever it takes."""
        outcome: list[object] = [None] * len(tuples)
        parts = deque[Sequence[int]]([range(len(tuples))])
        while parts:
            part = parts.popleft()
            try:
                self._reach(later=True)
                outputs = self.handle([tuples[at] for at in part] if len(part) < len(tuples) else tuples)
            except Unavailable as error:
                parts.appendleft(part)
                self._away(error, len(tuples))
            except Exception as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    parts.extendleft((part[middle:], part[:middle]))
                else:
                    outcome[part[0]] = error
                    self._errors.add()
            else:
                self._batches.add()
                if outputs is None:
                    self._is_back()
                    self._handled.add(len(part))
                elif again := self._taken(part, outputs, outcome):
                    parts.appendleft(again)
        return outcome if any(output is not None for output in outcome) else None

    def _taken(self, part: Sequence[int], outputs: Sequence[object], outcome: list[object]) -> Sequence[int]:
        """Notes what rows put out, or failed of; those that are to come again, after a while."""
        again = [at for at, output in zip(part, outputs, strict=True) if isinstance(output, Unavailable)]
        for at, output in zip(part, outputs, strict=True):
            if not isinstance(output, Unavailable):
                outcome[at] = output
        failed = sum(map(_is_failure, outputs))
        self._handled.add(len(part) - failed)
        self._errors.add(failed - len(again))
        if again:
            self._away(next(output for output in outputs if isinstance(output, Unavailable)), len(again))
        else:
            self._is_back()
        return again

    def close(self) -> None:
        """Disconnects."""
        self._leave()

    def waits_for(self) -> str:
        """The other system: all calls are about it, those of functions of users within them too."""
        return self.where()

    # -- while it is away ------------------------------------------------------------------------------------------

    def _reach(self, *, later: bool = False) -> None:
        if self._is_connected:
            return
        try:
            self.connect()
        except Unavailable:
            raise
        except Exception as error:
            if later:
                raise Unavailable(str(error)) from error
            self._leave()
            raise
        self._is_connected = True

    def _leave(self) -> None:
        self._is_connected = False
        with suppress(Exception):
            self.disconnect()

    def _away(self, error: Unavailable, waiting: int) -> None:
        """Disconnects, tells of an outage, and waits a while if rows do."""
        self._leave()
        self.tell_away(error, waiting)
        pause_s = self._backoff.pause_s(time.monotonic())
        assert pause_s is not None, "it never gives up"
        if waiting:
            time.sleep(pause_s)

    def tell_away(self, error: Unavailable, waiting: int) -> None:
        """Tells of an outage once, until it is over; for a `handle` that waits by itself."""
        if self._away_since_s is None:
            self._away_since_s = time.monotonic()
            why = str(error)
            more = (("because", why),) if "\n" in why else ()
            facts = (*more, ("waiting", f"{waiting} rows, and what comes after them"))
            fix = "nothing is lost: what waits goes on when it is back; see that it runs, and that it can be reached"
            message = f"{self.where()} is not available: {why.partition(chr(10))[0]}"  # what views show of an error
            defect = Defect("sink_unavailable", message, facts, fix)
            self.context.report_error(ClusterError(defect, retryable=True))

    def _is_back(self) -> None:
        if self._away_since_s is not None:
            log.info("event=available what=%r after_s=%.1f", self.where(), self._waiting_s())
            self._away_since_s = None
            self._backoff.succeeded()

    def _waiting_s(self) -> float:
        since_s = self._away_since_s  # read once: the loop asks while the sink's thread goes on
        return 0.0 if since_s is None else time.monotonic() - since_s


def _is_failure(output: object) -> bool:
    return isinstance(output, Exception) and not isinstance(output, DropTuple)


class Sink(RemoteBolt):
    """A bolt that gives its rows to another system: a subclass says how to reach it and how to write a batch.

    In: any stream.
    Delivery: at least once: a row is acked when `write` came back, so when the other system has confirmed it.
    """

    def write(self, rows: Sequence[Tuple]) -> Sequence[Exception | None] | None:
        """Writes rows of one stream, in their order; comes back when the other system has answered for all of them.

        Returns:
            None: all are confirmed. Or an entry a row: None, or why it is not; `Unavailable`: that one alone is
            written again.

        Raises:
            Unavailable: not now; all are written again when it is back.
            DeadLetter: the other system refuses one of them for good.
            Exception: something else failed.
        """
        raise NotImplementedError

    def handle(self, rows: Sequence[Tuple]) -> Sequence[object] | None:
        """Writes them."""
        return self.write(rows)


@runtime_checkable
class Transactional(Protocol):
    """What a sink has that can be exactly once (semantics 34). Checkpoints drive it; a task's epochs grow.

    Between two epochs rows are staged: `prepare` closes them into bytes that hold all that `commit` needs, since
    `commit` may be called by another process, after a crash, and more than once.
    """

    def stage(self, rows: Sequence[Tuple], /) -> None:
        """Takes rows into the epoch that is open; nobody sees them yet."""
        ...

    def prepare(self, epoch: int, /) -> bytes:
        """Closes the open epoch; what it comes to goes into the checkpoint. The next rows are of the next epoch."""
        ...

    def commit(self, epoch: int, staged: bytes, /) -> None:
        """Publishes the rows and the mark (task, epoch) in one transaction; nothing, if that epoch is marked already.

        Raises:
            Unavailable: not now; it is called again.
        """
        ...

    def committed(self) -> int:
        """The newest epoch of this task that is marked; 0: none."""
        ...
