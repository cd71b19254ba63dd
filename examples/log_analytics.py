"""Web server log: an alert when too many requests of a section fail, and the counts of each section at the end.

    $ squall run examples/log_analytics.py        # -p input=FILE -p window=1m -p limit=0.2
    2025-05-12 10:02:23+00:00: checkout RAISED, 23% of 22 requests failed
    2025-05-12 10:04:09+00:00: checkout cleared, 10% of 21 requests failed

Shows a function as a bolt whose output is a NamedTuple, a second stream for what it cannot read, state by key in two
tasks, a table in the live view, and `drain`. Time is that of the log: an old log gives the alerts that it gave then.
"""

import re
from collections import Counter, defaultdict, deque
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from squall import Bolt, Emit, Topology, TopologyContext
from squall.connectors.standard import Print

LOG = Path(__file__).parent / "data" / "access.log"
LINE = re.compile(r'\S+ \S+ \S+ \[(.+?)\] "\S+ /(\w*)[^"]*" (\d{3}) ')
AT_LEAST = 20  # a section with fewer requests in the window raises nothing


class Request(NamedTuple):
    at: datetime
    section: str
    status: int


def parse(line: str) -> Request | Emit:
    if not (found := LINE.match(line)):
        return Emit(f"unreadable: {line.rstrip()}", stream="unreadable")
    at, section, status = found.groups()
    return Request(datetime.strptime(at, "%d/%b/%Y:%H:%M:%S %z"), section or "home", int(status))


class Watch(Bolt):
    """Says when the share of failed requests of a section passes the limit, and when it is below half of it again."""

    outputs = ("line",)

    def __init__(self, window: timedelta, limit: float) -> None:
        self.window, self.limit = window, limit
        self.recent = defaultdict[str, tuple[deque[datetime], deque[datetime]]](lambda: (deque(), deque()))
        self.alerts: set[str] = set()
        self.requests, self.failed = Counter[str](), Counter[str]()

    def open(self, context: TopologyContext) -> None:
        context.table("failed requests", lambda: dict(self.failed.most_common(5)))

    def process(self, at: datetime, section: str, status: int) -> str | None:
        self.requests[section] += 1
        self.failed[section] += status >= 500
        all_times, failure_times = self.recent[section]
        all_times.append(at)
        if status >= 500:
            failure_times.append(at)
        for times in (all_times, failure_times):
            while times and times[0] <= at - self.window:
                times.popleft()
        share, is_raised = len(failure_times) / len(all_times), section in self.alerts
        if share < self.limit / 2 if is_raised else share >= self.limit and len(all_times) >= AT_LEAST:
            self.alerts ^= {section}
            state = "cleared" if is_raised else "RAISED"
            return f"{at}: {section} {state}, {share:.0%} of {len(all_times)} requests failed"
        return None

    def drain(self) -> list[str]:
        return [f"{name}: {n} requests, {self.failed[name]} failed" for name, n in sorted(self.requests.items())]


def build(input: Path = LOG, window: timedelta = timedelta(minutes=1), limit: float = 0.2) -> Topology:
    topology = Topology("log-analytics")
    lines = topology.spout("lines", lambda: input.open(encoding="utf-8"), outputs=("line",))
    requests = topology.bolt("parse", parse, outputs=Request, streams={"unreadable": ("line",)}).shuffle(lines)
    watch = topology.bolt("watch", lambda: Watch(window, limit), parallelism=2).fields(requests, "section")
    topology.bolt("print", Print).shuffle(watch).shuffle(requests["unreadable"])
    return topology
