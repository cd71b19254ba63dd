"""The Kafka connectors pass the conformance kit against a real broker, which is suspended where it is to be away."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import pytest
from servers import Kafka, fresh
from squall.connectors.kafka import KafkaSink, KafkaSpout
from squall.testing import conformance
from squall.testing.conformance import (
    EpochSchedule,
    SinkSchedule,
    SinkUnderTest,
    SourceSchedule,
    SourceUnderTest,
)

from .kafka_places import committed, feed, values

SEED = 5
QUICK = {"session.timeout.ms": 1000, "heartbeat.interval.ms": 200}
"""A member that was killed is missed soon."""


@pytest.fixture(scope="module")
def shaken_kafka() -> Iterator[Kafka]:
    """A broker that is suspended now and then."""
    with Kafka() as server:
        yield server


IN_FULL = {
    EpochSchedule.COMMITTED_TWICE,
    EpochSchedule.CRASH_BEFORE_PREPARE,
    EpochSchedule.CRASH_IN_COMMIT,
    EpochSchedule.CRASH_AFTER_COMMIT,
    EpochSchedule.LATE_COMMIT,
    SinkSchedule.ONE_BY_ONE,
    SinkSchedule.SLOW,
    SourceSchedule.KILLS,
    SourceSchedule.ONE_BY_ONE,
    SourceSchedule.RESTARTS,
    SourceSchedule.SLOW,
}
"""What takes its time, and so is of `make test-servers`."""


def some_in_full(schedules: Sequence[StrEnum]) -> list[Any]:
    """Schedules to parametrize with."""
    return [pytest.param(one, marks=pytest.mark.servers) if one in IN_FULL else one for one in schedules]


@contextmanager
def suspended(server: Kafka) -> Iterator[None]:
    server.suspend()
    yield
    server.resume()


def sink_of(server: Kafka, *, marks: str = "squall-marks") -> SinkUnderTest:
    topic = server.topic("conforming")
    return SinkUnderTest(
        make=lambda: KafkaSink(topic, servers=server.address, value="json", marks=marks),
        read_back=lambda: [json.loads(value)["number"] for value in values(server, topic)],
        poison=lambda number: (number, "x" * 2_000_000),
        outage=lambda: suspended(server),
    )


@pytest.mark.parametrize("schedule", some_in_full(conformance.epoch_schedules()))
def test_epochs(schedule: EpochSchedule, shaken_kafka: Kafka) -> None:
    conformance.check_epochs(sink_of(shaken_kafka, marks=fresh("marks")), schedule, SEED)


@pytest.mark.parametrize("schedule", some_in_full(conformance.sink_schedules()))
def test_sink(schedule: SinkSchedule, shaken_kafka: Kafka) -> None:
    conformance.check_sink(sink_of(shaken_kafka), schedule, SEED)


def source_of(server: Kafka, *, is_group: bool, **more: Any) -> SourceUnderTest:
    topic = server.topic("conforming")
    given = {"group": topic if is_group else None, "commit_every": 0.05, **more}

    def put(numbers: Sequence[int]) -> None:
        feed(server, topic, numbers)

    return SourceUnderTest(
        make=lambda: KafkaSpout(topic, servers=server.address, value="text", fields="value", **given),
        put=put,
        number_of=lambda row: int(row[0]),
        done=(lambda: range(committed(server, topic, topic).get(0, 0))) if is_group else None,
        outage=lambda: suspended(server),
    )


@pytest.mark.parametrize("schedule", some_in_full(conformance.source_schedules()))
def test_spout_of_a_group(schedule: SourceSchedule, shaken_kafka: Kafka) -> None:
    conformance.check_source(source_of(shaken_kafka, is_group=True, options=QUICK), schedule, SEED)


@pytest.mark.servers  # most of it is what the spout of a group does too
@pytest.mark.parametrize("is_group", [True, False], ids=["assigned", "alone"])
@pytest.mark.parametrize("schedule", conformance.source_schedules())
def test_spout_that_joins_no_group(schedule: SourceSchedule, shaken_kafka: Kafka, is_group: bool) -> None:
    conformance.check_source(source_of(shaken_kafka, is_group=is_group, assigned=is_group), schedule, SEED)
