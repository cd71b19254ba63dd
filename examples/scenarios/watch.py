"""Watch over logs: lines of three formats from Kafka, attacks found by regular expressions, hosts that are hit most.

Each line is parsed by its format; what no format fits goes to a stream of its own. Rules that fit a line make a hit,
which gets the name and owner of the host from a table; hits are rows of PostgreSQL, and every second the hosts with
most hits of the last minutes go to a topic. `make watch` runs all of it, debugs it and checks what comes out.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, deque
from pathlib import Path
from typing import NamedTuple

from squall import Bolt, Emit, Topology, TopologyContext
from squall.connectors.kafka import KafkaSink, KafkaSpout
from squall.connectors.sql import SqlSink

ACCESS = re.compile(r'(?P<client>\S+) \S+ \S+ \[[^\]]+\] "(?P<text>[^"]*)" \d+ \S+ host=(?P<host>\S+)')
SYSLOG = re.compile(r"\w{3} +\d+ [\d:]+ (?P<host>\S+) \w+\[\d+\]: (?P<text>.*? from (?P<client>[\d.]+)(?: .*)?)$")
BUCKETS, BUCKET_S = 300, 1.0
TOP = 5


class Line(NamedTuple):
    partition: int
    offset: int
    host: str
    client: str
    text: str


class Hit(NamedTuple):
    partition: int
    offset: int
    host: str
    client: str
    rule: str


class OwnedHit(NamedTuple):
    partition: int
    offset: int
    host: str
    client: str
    rule: str
    owner: str


def parse(partition: int, offset: int, value: str) -> Line | Emit:
    """A line of an access log, a system log, or an application's JSON."""
    if value.startswith("{"):
        record = json.loads(value)
        return Line(partition, offset, record["host"], record["client"], record["message"])
    found = ACCESS.match(value) or SYSLOG.match(value)
    if found is None:
        return Emit(value, stream="unparsed")
    return Line(partition, offset, found["host"], found["client"], found["text"])


class Match(Bolt):
    """Tries rules on a line; the first that fits makes a hit.

    All rules in one expression say quickly that none fits, as with nearly all lines.
    """

    outputs = Hit

    def __init__(self, rules: dict[str, str]) -> None:
        self.rules = rules

    def open(self, context: TopologyContext) -> None:
        self.any = re.compile("|".join(f"(?:{rule})" for rule in self.rules.values()), re.IGNORECASE)
        self.named = [(name, re.compile(rule, re.IGNORECASE)) for name, rule in self.rules.items()]

    def process(self, partition: int, offset: int, host: str, client: str, text: str) -> Hit | None:
        if self.any.search(text) is None:
            return None
        rule = next(name for name, one in self.named if one.search(text))
        self.context.log.debug("rule=%r client=%s text=%r", rule, client, text)
        return Hit(partition, offset, host, client, rule)


class Enrich(Bolt):
    """Adds the owner of the host, from a table that is read once a worker."""

    outputs = OwnedHit

    def __init__(self, hosts: Path) -> None:
        self.hosts = hosts

    def open(self, context: TopologyContext) -> None:
        self.owners: dict[str, str] = context.shared("owners", self.read)

    def read(self) -> dict[str, str]:
        with self.hosts.open(newline="") as file:
            return {row["host"]: row["owner"] for row in csv.DictReader(file)}

    def process(self, partition: int, offset: int, host: str, client: str, rule: str) -> OwnedHit:
        return OwnedHit(partition, offset, host, client, rule, self.owners.get(host, "nobody"))


class RollingTop(Bolt):
    """The hosts with most hits of the last five minutes, every second and at the end."""

    outputs = ("ranking",)
    tick_every = BUCKET_S

    def __init__(self) -> None:
        self.buckets = deque([Counter[str]()], maxlen=BUCKETS)

    def process(self, host: str) -> None:
        self.buckets[-1][host] += 1

    def tick(self) -> str:
        ranking = self.ranking()
        self.buckets.append(Counter())
        return ranking

    def drain(self) -> str:
        return self.ranking()

    def ranking(self) -> str:
        counts = Counter[str]()
        for bucket in self.buckets:
            counts.update(bucket)
        return json.dumps(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP])


def build(kafka: str, logs: str, top: str, postgresql: str, rules: Path, hosts: Path) -> Topology:
    topology = Topology("watch")
    spout = KafkaSpout(logs, servers=kafka, group="watch", value="text", fields=("partition", "offset", "value"))
    lines = topology.spout("lines", spout)
    parsed = topology.bolt("parse", parse, outputs=Line, streams={"unparsed": ("line",)}).shuffle(lines)
    match = Match(json.loads(rules.read_text()))
    hits = topology.bolt("match", match, parallelism=2).shuffle(parsed)
    owned = topology.bolt("enrich", Enrich(hosts)).shuffle(hits)
    key = ("partition", "offset")
    topology.bolt("store", SqlSink(postgresql, "hits", upsert=key, create=True)).shuffle(owned)
    ranked = topology.bolt("top", RollingTop).global_(owned)
    topology.bolt("announce", KafkaSink(top, servers=kafka)).shuffle(ranked)
    return topology
