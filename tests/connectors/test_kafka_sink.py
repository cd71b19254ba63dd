"""`KafkaSink` against a broker: records, refusals, outages, and the three calls of semantics 34."""

from __future__ import annotations

import time
from textwrap import dedent
from typing import Any

import pytest
from component.conftest import Running, Squall, squall, wait_until
from servers import Kafka, KafkaAddress, RegistryAddress
from squall.connectors.kafka import KafkaSink
from squall.connectors.kafka.records import Record
from squall.connectors.kafka.transactions import Transactions, packed
from squall.errors import StateError

from .kafka_places import NOTED, Noted, ended, errors, feed, metrics, read, values

__all__ = ["squall"]

WRITES = """
class Numbers(Spout):
    outputs = {outputs!r}
    rate_per_s = {rate!r}

    def open(self, context):
        self.rows = iter({rows})

    def next_batch(self, limit):
        import itertools
        rows = list(itertools.islice(self.rows, limit))
        if not rows:
            raise Exhausted
        return rows

topology = Topology("writes")
topology.bolt("sink", {sink}).shuffle(topology.spout("numbers", Numbers))
"""


def writing(
    squall: Squall, servers: str, sink: str, rows: str, outputs: Any = ("n",), rate: float | None = None
) -> Running:
    """A run that writes rows with a sink."""
    head = NOTED.format(here=str(squall.folder), servers=servers).replace(
        "import Bolt", "import Bolt, Exhausted, Spout"
    )
    return squall.run(dedent(head) + WRITES.format(sink=sink, rows=rows, outputs=outputs, rate=rate))


def test_parts_of_a_record_come_from_fields_and_functions(squall: Squall, kafka: KafkaAddress) -> None:
    topic, other = kafka.topic("parts", partitions=3), kafka.topic("other")
    now_ms = int(time.time() * 1000)
    outputs = ("text", "user", "part", "at", "to")
    rows = [("a", "anna", 2, now_ms, None), ("b", None, 0, now_ms, other), ("c", 7, 1, now_ms, "")]
    sink = f"""KafkaSink({topic!r}, servers=SERVERS, topic_of="to", key="user", partition="part", timestamp="at",
        headers=lambda tup: {{"from": tup["text"]}}, value="json")"""
    run = writing(squall, kafka.address, sink, repr(rows), outputs)
    assert run.end() == 0, run.err
    found = {
        (one.topic(), one.partition()): (one.key(), one.timestamp()[1], one.headers(), one.value()[:11])
        for one in [*read(kafka, topic), *read(kafka, other)]
    }
    assert found == {
        (topic, 2): (b"anna", now_ms, [("from", b"a")], b'{"text":"a"'),
        (other, 0): (None, now_ms, [("from", b"b")], b'{"text":"b"'),
        (topic, 1): (b"7", now_ms, [("from", b"c")], b'{"text":"c"'),
    }


def test_a_record_that_is_too_large_is_a_dead_letter_alone(squall: Squall, kafka: KafkaAddress) -> None:
    """By the client's bound, and by the topic's, which the broker tells of a whole batch."""
    topic = kafka.topic("large", max_message_bytes=20_000)
    rows = "[*'ab', 'x' * 30_000, *'cd', 'y' * 3_000_000, *'ef']"
    options = {"message.max.bytes": 1_000_000, "compression.type": "none"}
    run = writing(squall, kafka.address, f"KafkaSink({topic!r}, servers=SERVERS, options={options})", rows, ("text",))
    assert run.end() == 0, run.err
    assert run.summary()["dead"] == 2
    assert sorted(set(values(kafka, topic))) == [*"abcdef"]


def test_a_wrong_topic_or_password_ends_the_run(squall: Squall, kafka: KafkaAddress) -> None:
    run = writing(squall, kafka.address, "KafkaSink('no-such-topic', servers=SERVERS)", "range(3)")
    assert run.end() == 1
    assert "kafka_topic_unknown" in run.out + run.err
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "alice"}
    wrong = {**login, "sasl.password": "guessed-wrongly"}
    run = writing(squall, kafka.sasl_address, f"KafkaSink('t', servers=SERVERS, options={wrong})", "range(3)")
    assert run.end() == 1
    assert "kafka_refused" in run.out + run.err
    assert "guessed-wrongly" not in run.out + run.err


@pytest.mark.servers
def test_an_outage_slows_and_then_all_goes_through_once(squall: Squall, own_kafka: Kafka) -> None:
    topic = own_kafka.topic("outage", partitions=2)
    run = writing(squall, own_kafka.address, f"KafkaSink({topic!r}, servers=SERVERS)", "range(6000)", rate=2000)
    wait_until(lambda: len(read(own_kafka, topic)) > 500, what="the first records")
    own_kafka.kill()
    wait_until(lambda: errors(run, "sink"), what="the error")
    assert "is not available" in errors(run, "sink")[-1]
    assert metrics(run, "sink")["waiting_s"] > 0
    own_kafka.start()
    assert run.end(60) == 0, run.err
    assert sorted(map(int, values(own_kafka, topic))) == list(range(6000))  # the producer is idempotent
    summary = run.summary()
    assert (summary["acked"], summary["failed"]) == (6000, 0)


def test_kafka_to_kafka_and_back_with_keys(squall: Squall, kafka: KafkaAddress) -> None:
    source, sink = kafka.topic("from", partitions=2), kafka.topic("to", partitions=2)
    feed(kafka, source, range(5000), key="k")
    noted = Noted(squall, kafka)
    text = noted.text(
        f"KafkaSpout({source!r}, servers=SERVERS, group={source!r}, fields=('key','value'), value='text')"
    )
    text = text.replace(
        'topology.bolt("note", Note)',
        f'topology.bolt("note", KafkaSink({sink!r}, servers=SERVERS, key="key", value=lambda t: t["value"]))',
    )
    run = squall.run(text)
    wait_until(lambda: len(read(kafka, sink)) == 5000)
    ended(run)
    found = read(kafka, sink)
    assert [int(one.value()) for one in found] == list(range(5000))
    assert {one.key() for one in found} == {b"k"}


# -- the three calls ---------------------------------------------------------------------------------------------------


class Context:
    """What a sink asks of its task, for calls that no topology makes yet."""

    def __init__(self) -> None:
        self.topology, self.component, self.task_index = f"t{time.time_ns()}", "sink", 0


def transactions(kafka: KafkaAddress, marks: str, task: str) -> Transactions:
    return Transactions(KafkaSink("x", servers=kafka.address)._access, marks, task)


def record(topic: str, value: str) -> Record:
    return Record(topic, value.encode(), b"k", -1, 0, [("h", b"1")])


def test_34_an_epoch_is_published_once_whoever_commits_it(kafka: KafkaAddress) -> None:
    topic, marks, task = kafka.topic("once"), "squall-marks", f"t/{time.time_ns()}/0"
    first = transactions(kafka, marks, task)
    assert first.committed() == 0
    staged = packed([record(topic, "a"), record(topic, "b")])
    first.commit(1, staged)
    first.commit(1, staged)
    assert values(kafka, topic) == ["a", "b"]
    second = transactions(kafka, marks, task)  # after a crash: another process, which was told the same epoch
    assert second.committed() == 1
    second.commit(1, staged)
    second.commit(2, packed([record(topic, "c")]))
    assert values(kafka, topic) == ["a", "b", "c"]
    assert read(kafka, topic)[0].headers() == [("h", b"1")]
    with pytest.raises(StateError, match="fenced"):
        first.commit(3, packed([record(topic, "late")]))
    assert values(kafka, topic) == ["a", "b", "c"]
    second.close()
    assert transactions(kafka, marks, task).committed() == 2


def test_34_what_was_produced_and_not_committed_is_seen_by_nobody(kafka: KafkaAddress) -> None:
    topic, task = kafka.topic("torn"), f"t/{time.time_ns()}/0"
    first = transactions(kafka, "squall-marks", task)
    assert first.committed() == 0
    first._producer.begin_transaction()  # and dies before the commit
    first._producer.produce(topic, b"torn")
    first._producer.flush(10)
    second = transactions(kafka, "squall-marks", task)
    second.commit(1, packed([record(topic, "whole")]))
    assert values(kafka, topic) == ["whole"]


# -- schemas -----------------------------------------------------------------------------------------------------------

AVRO = (
    '{"type": "record", "name": "Order", "fields": [{"name": "user", "type": "string"}, {"name": "n", "type": "int"}]}'
)
JSON = (
    '{"$schema": "http://json-schema.org/draft-07/schema#", "title": "Order", "type": "object", '
    '"properties": {"user": {"type": "string"}, "n": {"type": "integer"}}, "required": ["user", "n"]}'
)


@pytest.mark.parametrize(("kind", "schema"), [("Avro", AVRO), ("JsonSchema", JSON)])
def test_records_by_a_schema_of_the_registry(
    squall: Squall, kafka: KafkaAddress, registry: RegistryAddress, kind: str, schema: str
) -> None:
    topic = kafka.topic(kind.lower())
    rows = [("anna", 1), ("bert", "none"), ("cora", 3)]  # one does not fit
    sink = f"KafkaSink({topic!r}, servers=SERVERS, value={kind}({registry.url!r}, schema={schema!r}))"
    run = writing(squall, kafka.address, sink, repr(rows), ("user", "n"))
    assert run.end() == 0, run.err
    assert run.summary()["dead"] == 1
    feed(kafka, topic, [b"\x00\x00\x00\xff\xffnonsense"])
    noted = Noted(squall, kafka)
    spout = f"KafkaSpout({topic!r}, servers=SERVERS, value={kind}({registry.url!r}), fields=('value',))"
    again = noted.run(spout)
    assert noted.wait(2, again) == [[{"user": "anna", "n": 1}], [{"user": "cora", "n": 3}]]
    wait_until(lambda: (again.events("progress") or [{}])[-1].get("dead_letters", {}).get("open"), what="the letter")
    ended(again)


PROTO = """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

file = descriptor_pb2.FileDescriptorProto(name="order.proto", package="shop", syntax="proto3")
message = file.message_type.add(name="Order")
message.field.add(name="user", number=1, type=9, label=1)
message.field.add(name="n", number=2, type=5, label=1)
descriptor_pool.Default().Add(file)
Order = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName("shop.Order"))
"""


def test_records_by_protobuf(squall: Squall, kafka: KafkaAddress, registry: RegistryAddress) -> None:
    topic = kafka.topic("protobuf")
    schema = f"Protobuf({registry.url!r}, message=Order)"
    rows = "((Order(user=user, n=n),) for user, n in [('anna', 1), ('bert', 2)])"
    head = NOTED.format(here=str(squall.folder), servers=kafka.address)
    head = dedent(head).replace("import Bolt", "import Bolt, Exhausted, Spout") + PROTO
    sink = f"KafkaSink({topic!r}, servers=SERVERS, value={schema})"
    run = squall.run(head + WRITES.format(sink=sink, rows=rows, outputs=("message",), rate=None))
    assert run.end() == 0, run.err
    assert run.summary()["dead"] == 0, run.err
    noted = Noted(squall, kafka)
    text = noted.text(f"KafkaSpout({topic!r}, servers=SERVERS, value={schema}, fields='value')", PROTO)
    again = squall.run(text.replace('value.decode("latin-1")', "[value.user, value.n]"))
    assert noted.wait(2, again) == [[["anna", 1]], [["bert", 2]]]
    ended(again)
