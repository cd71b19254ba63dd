"""Clicks of a shop, put together to sessions: a user's session ends when nothing comes from them for the gap.

    $ squall run examples/click_sessions.py       # -p input=FILE -p gap=30m
    chloe   2025-05-12 08:54:00+00:00   1   search > teapots
    ada     2025-05-12 11:22:12+00:00   5   sale > rugs

Shows fields grouping, NamedTuples, a gauge, and `drain`: what is open at the end is a session too. Time is that of the
clicks. Open sessions are in memory: a worker that dies loses them. Bound: the users who clicked within the gap.
"""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from squall import Bolt, Topology, TopologyContext
from squall.connectors.standard import Print

CLICKS = Path(__file__).parent / "data" / "clicks.jsonl"


class Click(NamedTuple):
    user: str
    at: datetime
    page: str


class Session(NamedTuple):
    user: str
    began: datetime
    minutes: int
    path: str


def parse(line: str) -> Click:
    click = json.loads(line)
    return Click(click["user"], datetime.fromisoformat(click["at"]), click["page"])


class Sessions(Bolt):
    outputs = Session

    def __init__(self, gap: timedelta) -> None:
        self.gap = gap
        self.clock = datetime.min.replace(tzinfo=UTC)  # the newest click of anybody
        self.seen: dict[str, datetime] = {}  # by user, what the clock was at their last click; longest ago first
        self.clicks: defaultdict[str, list[Click]] = defaultdict(list)

    def open(self, context: TopologyContext) -> None:
        context.gauge("open sessions", lambda: len(self.seen))

    def process(self, user: str, at: datetime, page: str) -> list[Session]:
        self.clock = max(self.clock, at)
        ended: list[Session] = []
        while self.seen and self.clock - self.seen[quiet := next(iter(self.seen))] > self.gap:
            ended.append(self.end(quiet))
        self.seen.pop(user, None)  # so that it stands last
        self.seen[user] = self.clock
        self.clicks[user].append(Click(user, at, page))
        return ended

    def end(self, user: str) -> Session:
        del self.seen[user]
        clicks = sorted(self.clicks.pop(user), key=lambda click: click.at)
        minutes = round((clicks[-1].at - clicks[0].at) / timedelta(minutes=1))
        return Session(user, clicks[0].at, minutes, " > ".join(click.page for click in clicks))

    def drain(self) -> list[Session]:
        return [self.end(user) for user in list(self.seen)]


def build(input: Path = CLICKS, gap: timedelta = timedelta(minutes=30)) -> Topology:
    topology = Topology("click-sessions")
    lines = topology.spout("lines", lambda: input.open(encoding="utf-8"), outputs=("line",))
    clicks = topology.bolt("parse", parse, outputs=Click, on_error="dead").shuffle(lines)
    sessions = topology.bolt("sessions", lambda: Sessions(gap), parallelism=2).fields(clicks, "user")
    topology.bolt("print", Print).shuffle(sessions)
    return topology
