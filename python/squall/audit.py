"""An audit of a topology by its ids: what went in and never came out, came out twice, or came late.

`Auditor` is a bolt like others, in a test as in production. It subscribes to the stream in which ids enter the part
that is looked at, and to the one in which they leave it:

    audit = topology.bolt("audit", Auditor(late_after=30))
    audit.fields(orders, "id", into=Auditor.enters)
    audit.fields(invoices, "id", into=Auditor.leaves)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from squall.api.components import Bolt, Seconds
from squall.api.context import TopologyContext
from squall.model.durations import seconds

SHOWN = 5
"""Ids that a message names."""


@dataclass
class Audit:
    """What an auditor has found.

    Attributes:
        entered: ids that went in, each once.
        left: ids that came out, each once.
        again: ids that went in again: tries after a failure.
        lost: ids that had not come out when the topology was drained.
        late: ids that had not come out after `late_after`; those that did in the end are counted in `left` too.
        duplicated: times that an id came out more often than `times` says.
        unknown: times that an id came out that never went in, as far as this life of the auditor knows.
    """

    entered: int = 0
    left: int = 0
    again: int = 0
    lost: list[Hashable] = field(default_factory=list[Hashable])
    late: int = 0
    duplicated: int = 0
    unknown: int = 0


@dataclass
class _Seen:
    """One id: when it went in (None: not yet), how often it came out."""

    entered_s: float | None
    came_out: int = 0
    is_late: bool = False


class Auditor(Bolt):
    """Compares ids that enter with ids that leave. Group both streams by the id.

    A duplicate is what at-least-once allows after a failure: the audit counts them, so that one can see whether what is
    behind takes them. Counters and gauges `audit_…` tell the same to metrics; what is late is logged with some ids.
    What an auditor knows is in its memory: after a death of its worker, ids that entered before come out as `unknown`.

    Args:
        late_after: how long an id may take, in seconds.
        times: how often each id is to come out.
        remember: ids that have left and are known as such, so that one that leaves again is seen.

    Bound: memory of the ids that are under way, and of `remember`.
    """

    def __init__(self, late_after: Seconds = 60.0, *, times: int = 1, remember: int = 100_000) -> None:
        self.late_after_s, self.times, self.remember = seconds(late_after), times, remember
        self.audit = Audit()
        self._under_way: OrderedDict[Hashable, _Seen] = OrderedDict()
        self._gone: OrderedDict[Hashable, None] = OrderedDict()

    def open(self, context: TopologyContext) -> None:
        """Shows in metrics what is found."""
        self._context = context
        for name in ("late", "duplicated", "unknown", "again", "entered", "left"):
            context.gauge(f"audit_{name}", lambda name=name: getattr(self.audit, name))
        context.gauge("audit_under_way", lambda: len(self._under_way))
        context.every(max(0.1, self.late_after_s / 4), self._look)

    def enters(self, id: Hashable) -> None:
        """An id goes in."""
        if id in self._gone:
            self.audit.again += 1
            return
        seen = self._under_way.get(id)
        if seen is not None and seen.entered_s is not None:
            self.audit.again += 1
            return
        self.audit.entered += 1
        now_s = self._context.monotonic()
        if seen is None:
            self._under_way[id] = _Seen(now_s)
        else:  # what leaves may overtake what enters: they are two channels
            seen.entered_s = now_s
            self._end_if_whole(id, seen)

    def leaves(self, id: Hashable) -> None:
        """An id comes out."""
        if id in self._gone:
            self.audit.duplicated += 1
            return
        seen = self._under_way.setdefault(id, _Seen(None))
        seen.came_out += 1
        self._end_if_whole(id, seen)

    def _end_if_whole(self, id: Hashable, seen: _Seen) -> None:
        if seen.entered_s is None or seen.came_out < self.times:
            return
        del self._under_way[id]
        self.audit.left += 1
        self.audit.duplicated += seen.came_out - self.times
        self._gone[id] = None
        if len(self._gone) > self.remember:
            self._gone.popitem(last=False)

    def _look(self) -> None:
        """Looks for what is late."""
        now_s = self._context.monotonic()
        late = [
            id
            for id, seen in self._under_way.items()
            if seen.entered_s is not None and not seen.is_late and now_s - seen.entered_s > self.late_after_s
        ]
        for id in late:
            self._under_way[id].is_late = True
        self.audit.late += len(late)
        if late:
            self._context.log.warning("event=audit_late ids=%d first=%r", len(late), late[:SHOWN])

    def drain(self) -> None:
        """What has not come out now never will."""
        for id, seen in self._under_way.items():
            if seen.entered_s is None:
                self.audit.unknown += seen.came_out
            else:
                self.audit.lost.append(id)
        self._under_way.clear()
        audit = self.audit
        say = self._context.log.error if audit.lost else self._context.log.info
        say(
            "event=audit entered=%d left=%d lost=%d duplicated=%d late=%d unknown=%d first_lost=%r",
            audit.entered, audit.left, len(audit.lost), audit.duplicated, audit.late, audit.unknown, audit.lost[:SHOWN],
        )  # fmt: skip
