"""The Redis connectors, and files of a store, pass the conformance kit against the real server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from servers import Redis, S3Address, fresh
from squall.connectors.files import FileSink, FileSpout, JsonLines, Rotation
from squall.connectors.redis import List, RedisStore, RedisStreamSink, RedisStreamSpout
from squall.testing import conformance
from squall.testing.conformance import SinkSchedule, SinkUnderTest, SourceSchedule, SourceUnderTest

from .redis_places import add, client
from .test_stores import s3_place

SEED = 5
TIMEOUT_S = 0.5


@pytest.fixture(scope="module")
def shaken_redis() -> Iterator[Redis]:
    """A server that is suspended now and then."""
    with Redis() as server:
        yield server


@contextmanager
def suspended(server: Redis) -> Iterator[None]:
    server.suspend()
    yield
    server.resume()


@pytest.mark.parametrize("schedule", conformance.sink_schedules())
def test_stream_sink(schedule: SinkSchedule, shaken_redis: Redis) -> None:
    stream = fresh("s")
    under_test = SinkUnderTest(
        make=lambda: RedisStreamSink(stream, url=shaken_redis.url, timeout=TIMEOUT_S),
        read_back=lambda: [int(entry[b"number"]) for _, entry in client(shaken_redis).xrange(stream)],
        poison=lambda number: (number, object()),
        outage=lambda: suspended(shaken_redis),
    )
    conformance.check_sink(under_test, schedule, SEED)


@pytest.mark.parametrize("schedule", conformance.sink_schedules(poison=False))
def test_store(schedule: SinkSchedule, shaken_redis: Redis) -> None:
    key = fresh("k")
    under_test = SinkUnderTest(
        make=lambda: RedisStore(List(key, value="number"), url=shaken_redis.url, timeout=TIMEOUT_S),
        read_back=lambda: [int(value) for value in client(shaken_redis).lrange(key, 0, -1)],
        outage=lambda: suspended(shaken_redis),
    )
    conformance.check_sink(under_test, schedule, SEED)


@pytest.mark.parametrize("schedule", conformance.source_schedules())
def test_stream_spout(schedule: SourceSchedule, shaken_redis: Redis) -> None:
    stream = fresh("s")
    under_test = SourceUnderTest(
        make=lambda: RedisStreamSpout(
            stream, group="g", fields={"n": int}, create=True, url=shaken_redis.url, timeout=TIMEOUT_S
        ),
        put=lambda numbers: add(shaken_redis, stream, numbers),
        number_of=lambda row: row[0],
        outage=lambda: suspended(shaken_redis),
    )
    conformance.check_source(under_test, schedule, SEED)


@pytest.mark.servers  # each file is an upload, and a row that is held takes an idle while
@pytest.mark.parametrize("schedule", conformance.sink_schedules(outage=False))
def test_file_sink_of_a_store(schedule: SinkSchedule, s3: S3Address) -> None:
    place = s3_place(s3)

    def make() -> FileSink:
        rotate = Rotation(rows=20, idle=0.1)
        return FileSink(f"{place.address}/part.jsonl", format=JsonLines(), rotate=rotate, storage=place.storage)

    under_test = SinkUnderTest(
        make=make,
        read_back=lambda: [json.loads(line)["number"] for line in place.read().splitlines()],
        poison=lambda number: (number, object()),
        ordered=False,
        rows=60,
    )
    conformance.check_sink(under_test, schedule, SEED)


@pytest.mark.servers
@pytest.mark.parametrize("schedule", conformance.source_schedules(outage=False))
def test_file_spout_of_a_store(schedule: SourceSchedule, s3: S3Address) -> None:
    place = s3_place(s3)

    def put(numbers: Sequence[int]) -> None:
        place.write(f"{min(numbers):09}.txt", b"".join(b"%d\n" % number for number in numbers))

    under_test = SourceUnderTest(
        make=lambda: FileSpout(f"{place.address}/*.txt", follow=True, look_every=0.1, storage=place.storage),
        put=put,
        number_of=lambda row: int(row[0]),
    )
    conformance.check_source(under_test, schedule, SEED)
