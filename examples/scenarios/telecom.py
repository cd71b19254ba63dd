"""Handover alarms of a mobile network: TCP, a sliding count for each subscriber, Kafka and PostgreSQL.

Probes send binary records of 883 bytes with 150 columns. What is no failed handover is left out; for each subscriber
the failures of the last 15 minutes are counted at every event, and from 20 on each is an alarm: a record for whoever
listens on a topic of Kafka, and a row for whoever asks later. `make telecom` runs all of it and checks what comes out.
"""

from __future__ import annotations

from collections import defaultdict
from struct import Struct
from typing import NamedTuple

from squall import Bolt, Topology
from squall.connectors.kafka import KafkaSink
from squall.connectors.sql import SqlSink
from squall.connectors.tcp import Fixed, TcpSpout

HEAD = ">QQQIIHBB"
"""Subscriber, serial number, time in ms, old cell, new cell, cause, status, kind."""
RECORD = Struct(f"{HEAD}{'6s' * 141}1s")
FIRST_COLUMNS = Struct(HEAD)
FAILED, RADIO_CAUSES = 2, range(100, 120)
WINDOW_MS = 15 * 60 * 1000
ALARM_FROM = 20


class Handover(NamedTuple):
    imsi: int
    serial: int
    at_ms: int
    cell: int
    cause: int
    status: int


class Failure(NamedTuple):
    imsi: int
    serial: int
    at_ms: int
    cell: int


class Alarm(NamedTuple):
    imsi: int
    serial: int
    at_ms: int
    cell: int
    failures: int


def decode(record: bytes) -> Handover:
    """The columns that matter."""
    imsi, serial, at_ms, _, cell, cause, status, _ = FIRST_COLUMNS.unpack_from(record)
    return Handover(imsi, serial, at_ms, cell, cause, status)


def failures(imsi: int, serial: int, at_ms: int, cell: int, cause: int, status: int) -> Failure | None:
    """Failed handovers with a cause in the radio network."""
    return Failure(imsi, serial, at_ms, cell) if status == FAILED and cause in RADIO_CAUSES else None


class SlidingCount(Bolt):
    """Counts the failures of each subscriber in the last 15 minutes, at each of them.

    An event that comes again (its tree failed further on) is counted once, and gives the same alarm again.
    """

    outputs = Alarm

    def __init__(self) -> None:
        self.events: defaultdict[int, dict[int, int]] = defaultdict(dict)

    def process(self, imsi: int, serial: int, at_ms: int, cell: int) -> Alarm | None:
        events = self.events[imsi]
        events[serial] = at_ms
        for old in [one for one, then_ms in events.items() if then_ms <= at_ms - WINDOW_MS]:
            del events[old]
        count = sum(then_ms <= at_ms for then_ms in events.values())
        return Alarm(imsi, serial, at_ms, cell, count) if count >= ALARM_FROM else None


def build(listen: str, kafka: str, topic: str, postgresql: str) -> Topology:
    topology = Topology("telecom")
    spout = TcpSpout.listen(listen, framing=Fixed(RECORD.size), decoder=decode, outputs=Handover, receipts="processed")
    handovers = topology.spout("handovers", spout)
    failed = topology.bolt("failures", failures, outputs=Failure).shuffle(handovers)
    alarms = topology.bolt("count", SlidingCount, parallelism=2).fields(failed, "imsi")
    topology.bolt("announce", KafkaSink(topic, servers=kafka, value="json", key="imsi")).shuffle(alarms)
    topology.bolt("store", SqlSink(postgresql, "alarms", upsert=("serial",), create=True)).shuffle(alarms)
    return topology
