"""Kafka under faults: brokers that die, offsets that are gone, members that come and go, workers that are killed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from itertools import pairwise

import pytest
from component.conftest import Running, Squall, squall, wait_until
from servers import Kafka, KafkaAddress, Registry
from squall.connectors.kafka import Avro

from .kafka_places import Noted, by_partition, committed, ended, errors, feed, metrics, read, values, wait_committed

__all__ = ["squall"]

FAILING = """
PAUSE_S = {pause_s}

class Fails(Bolt):
    outputs = ("value",)

    def process(self, value: str):
        if self.context.random.random() < 0.01:
            raise ValueError("by chance")
        time.sleep(PAUSE_S)
        return value
"""


def through(noted: Noted, source: str, sink: str, servers: str, more: str, pause_s: float) -> Running:
    """A run from a topic to another, with a bolt that fails by chance between them."""
    text = noted.text(
        f"KafkaSpout({source!r}, servers=SERVERS, fields=('value',), value='text', {more})",
        FAILING.format(pause_s=pause_s),
    )
    text = text.replace(repr(noted.kafka.address), repr(servers))
    wired = f"""
fails = topology.bolt("fails", Fails, parallelism=2).shuffle(source)
topology.bolt("sink", KafkaSink({sink!r}, servers=SERVERS)).shuffle(fails)
"""
    text = text.replace('topology.bolt("note", Note).shuffle(source)\n', wired)
    return noted.squall.run(text, "-c", "topology.workers=2", "-c", "topology.retries=20")


def chaos(noted: Noted, kafka: Kafka, records: int, within_s: float, pause_s: float) -> None:
    """Every record at least once, offsets that never go back, and no stall."""
    source, sink = kafka.topic("source", partitions=8), kafka.topic("sink", partitions=2)
    for number in range(8):
        feed(kafka, source, range(number, records, 8), partition=number)
    run = through(noted, source, sink, kafka.address, f"group={source!r}, commit_every=0.2", pause_s)
    seen: list[dict[int, int]] = []
    killed = broken = False
    began = moved = time.monotonic()
    longest_s, deadline = 0.0, began + within_s
    while sum((offsets := committed(kafka, source, source, 8)).values()) < records:
        assert time.monotonic() < deadline, f"{offsets}\n{run.err[-3000:]}"
        assert run.process.poll() is None, run.err[-3000:]
        if not seen or offsets != seen[-1]:
            longest_s, moved = max(longest_s, time.monotonic() - moved), time.monotonic()
        seen.append(offsets)
        done = sum(offsets.values())
        if not killed and done > records // 5:
            killed = True
            pids = [worker["pid"] for worker in run.events("progress")[-1]["workers"]]
            os.kill(pids[-1], signal.SIGKILL)
        if not broken and done > records // 2:
            broken = True
            kafka.kill()
            kafka.start()
        time.sleep(0.2)
    took_s = time.monotonic() - began
    assert killed
    assert broken
    summary = ended(run)
    assert summary["dead"] == 0
    for before, after in pairwise(seen):
        assert all(after.get(number, 0) >= offset for number, offset in before.items()), (before, after)
    found = Counter(map(int, values(kafka, sink)))
    assert sorted(found) == list(range(records))
    again = f"{sum(found.values()) - records:,} of them again"
    print(f"{records:,} records in {took_s:.0f} s, {again}; commits stood still for {longest_s:.1f} s at most")


def test_every_record_comes_through_failures_a_killed_worker_and_a_killed_broker(
    squall: Squall, own_kafka: Kafka
) -> None:
    chaos(Noted(squall, own_kafka), own_kafka, 40_000, 100, 0.0004)


@pytest.mark.servers
@pytest.mark.timeout(900)
def test_a_million_records_come_through(squall: Squall, own_kafka: Kafka) -> None:
    chaos(Noted(squall, own_kafka), own_kafka, 1_000_000, 600, 0.0)


def test_a_broker_that_is_killed_is_waited_for(squall: Squall, own_kafka: Kafka) -> None:
    """STORM-2440: the spout stopped for good when brokers were away."""
    noted = Noted(squall, own_kafka)
    topic = own_kafka.topic("killed", partitions=2)
    feed(own_kafka, topic, range(1000))
    run = noted.run(f"KafkaSpout({topic!r}, servers=SERVERS, group={topic!r}, fields=('value',), value='text')")
    noted.wait(1000, run)
    own_kafka.kill()
    wait_until(lambda: any("is not available" in one for one in errors(run)), what="the error")
    wait_until(lambda: metrics(run).get("waiting_s", 0) > 0)
    own_kafka.start()
    feed(own_kafka, topic, range(1000, 2000))
    noted.wait(2000, run)
    wait_until(lambda: metrics(run).get("waiting_s", 0) == 0)
    wait_committed(own_kafka, topic, topic, 2000, 2)
    ended(run)
    assert sorted(int(row[0]) for row in noted.rows()) == list(range(2000))


@pytest.mark.parametrize("stands_s", [2.0, pytest.param(30.0, marks=[pytest.mark.servers, pytest.mark.timeout(180)])])
def test_a_broker_that_stands_still_is_waited_for(squall: Squall, own_kafka: Kafka, stands_s: float) -> None:
    """Its connections stay open, and nothing is answered."""
    noted = Noted(squall, own_kafka)
    source, sink = own_kafka.topic("still", partitions=2), own_kafka.topic("still-out")
    spout = f"KafkaSpout({source!r}, servers=SERVERS, group={source!r}, fields=('value',), value='text')"
    text = noted.text(spout) + f'topology.bolt("sink", KafkaSink({sink!r}, servers=SERVERS)).shuffle(source)\n'
    run = squall.run(text)
    feed(own_kafka, source, range(1000))
    noted.wait(1000, run)
    feed(own_kafka, source, range(1000, 5000))
    own_kafka.suspend()
    since = time.monotonic()
    wait_until(lambda: time.monotonic() - since > stands_s, stands_s + 10, "the while")
    if stands_s > 20:
        assert any("no record has been confirmed" in path.read_text() for path in squall.state.rglob("*.log*"))
    own_kafka.resume()
    feed(own_kafka, source, range(5000, 6000))
    noted.wait(6000, run, 60)
    wait_committed(own_kafka, source, source, 6000, 2)
    summary = ended(run)
    assert (summary["failed"], summary["dead"]) == (0, 0)
    assert {int(row[0]) for row in noted.rows()} == set(range(6000))
    assert {int(value) for value in values(own_kafka, sink)} == set(range(6000))


ORDER = '{"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}'
LATER = '{"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}, {"name": "m", "type": "int"}]}'


def test_a_schema_registry_that_goes_away_is_waited_for(
    squall: Squall, kafka: KafkaAddress, own_registry: Registry
) -> None:
    """Records whose schema is known go on; those of another wait until the registry says what it is. It stands still,
    since the one of the tests forgets its schemas when it ends."""
    noted, topic = Noted(squall, kafka), kafka.topic("registered")

    def written(schema: str, rows: list[dict[str, int]]) -> list[bytes]:
        encode = Avro(own_registry.url, schema).encoder(is_key=False)
        return [encode(row, topic) for row in rows]

    first, later = written(ORDER, [{"n": 1}, {"n": 2}]), written(LATER, [{"n": 3, "m": 3}])
    feed(kafka, topic, first)
    given = f"servers=SERVERS, group={topic!r}, commit_every=0.2, value=Avro({own_registry.url!r}), fields='value'"
    run = noted.run(f"KafkaSpout({topic!r}, {given})")
    noted.wait(2, run)
    own_registry.suspend()
    feed(kafka, topic, [*first, *later])
    wait_until(lambda: any("schema registry" in one for one in errors(run)), what="the error")
    wait_committed(kafka, topic, topic, 2)
    own_registry.resume()
    rows = noted.wait(5, run)
    wait_committed(kafka, topic, topic, 5)
    assert ended(run)["dead"] == 0
    assert [row[0]["n"] for row in rows] == [1, 2, 1, 2, 3]


def test_offsets_that_are_gone_are_told_and_gone_on_from(squall: Squall, kafka: KafkaAddress) -> None:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    noted = Noted(squall, kafka)
    topic = kafka.topic("gone")
    spout = f"KafkaSpout({topic!r}, servers=SERVERS, group={topic!r}, fields=('offset',))"
    feed(kafka, topic, range(10))
    run = noted.run(spout)
    noted.wait(10, run)
    ended(run)
    feed(kafka, topic, range(10, 30))
    admin = AdminClient({"bootstrap.servers": kafka.address})
    for future in admin.delete_records([TopicPartition(topic, 0, 20)]).values():
        future.result(10)
    again = noted.run(spout)
    rows = noted.wait(20, again)
    wait_until(lambda: errors(again), what="the error")
    ended(again)
    assert [row[0] for row in rows] == [*range(10), *range(20, 30)]
    assert "does not have the offset" in errors(again)[-1]
    assert committed(kafka, topic, topic) == {0: 30}


def test_compacted_records_leave_gaps_that_are_stepped_over(squall: Squall, kafka: KafkaAddress) -> None:
    noted = Noted(squall, kafka)
    topic = kafka.topic(
        "compacted", cleanup_policy="compact", min_cleanable_dirty_ratio=0.01, segment_ms=100, max_compaction_lag_ms=100
    )
    for round_ in range(3):
        for key in "abc":
            feed(kafka, topic, [f"{key}{round_}"], key=key)
        time.sleep(0.15)  # a segment is closed by its age, when the next record comes
    feed(kafka, topic, ["last"], key="z")
    wait_until(lambda: len(read(kafka, topic)) <= 4, what="the compaction")
    run = noted.run(f"KafkaSpout({topic!r}, servers=SERVERS, group={topic!r}, value='text', fields=('offset','value'))")
    rows = noted.wait(4, run)
    wait_committed(kafka, topic, topic, 10)
    ended(run)
    assert [value for _, value in rows] == ["a2", "b2", "c2", "last"]
    assert rows[0][0] == 6


@pytest.mark.servers
def test_members_that_come_and_go_every_few_seconds(squall: Squall, kafka: KafkaAddress) -> None:
    """Rebalances leave no partition that nobody reads, and repeat little."""
    noted = Noted(squall, kafka)
    topic = kafka.topic("restless", partitions=4)
    quick = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}
    spout = f"KafkaSpout({topic!r}, servers=SERVERS, group={topic!r}, commit_every=0.2, options={quick})"
    stays = noted.run(spout, name="stays")
    count = 0
    for turn in range(3):
        feed(kafka, topic, range(count, count := count + 4000))
        comes = noted.run(spout, name=f"comes-{turn}")
        wait_until(lambda comes=comes: metrics(comes).get("partitions") == 2, what="its partitions")
        feed(kafka, topic, range(count, count := count + 4000))
        if turn == 1:
            comes.process.kill()  # it says nothing to anybody; its workers die with it
        else:
            ended(comes)
    noted.wait(count, stays, 60)
    wait_committed(kafka, topic, topic, count, 4)
    ended(stays)
    offsets = by_partition(noted.rows())
    assert sum(len(set(found)) for found in offsets.values()) == count
    assert all(sorted(set(found)) == list(range(len(set(found)))) for found in offsets.values())


@pytest.mark.servers
def test_a_topology_that_is_held_up_stays_in_its_group(squall: Squall, kafka: KafkaAddress) -> None:
    """A spout that waits for room and does not poll would be put out of its group."""
    noted = Noted(squall, kafka)
    topic = kafka.topic("waits")
    feed(kafka, topic, range(2000))
    waits = """
    class Waits(Note):
        def process_batch(self, tuples: list[Tuple]):
            while not (HERE / "let-go").exists():
                time.sleep(0.05)
            super().process_batch(tuples)
    """
    short = {"max.poll.interval.ms": 6000, "session.timeout.ms": 6000}
    given = f"group={topic!r}, options={short}, value='text', fields=('offset',)"
    text = noted.text(f"KafkaSpout({topic!r}, servers=SERVERS, {given})", waits)
    run = squall.run(text.replace('bolt("note", Note)', 'bolt("note", Waits)'), "-c", "topology.max.spout.pending=300")
    wait_until(lambda: metrics(run).get("partitions") == 1)
    since = time.monotonic()
    wait_until(lambda: time.monotonic() - since > 8, what="longer than a member may be silent")
    assert metrics(run)["partitions"] == 1
    (squall.folder / "let-go").touch()
    noted.wait(2000, run)
    wait_committed(kafka, topic, topic, 2000)
    ended(run)
    assert noted.rows() == [[n] for n in range(2000)]
