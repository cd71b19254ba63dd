"""What the Kafka tests have in common: topics with records, groups, and topologies that note what they saw."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from component.conftest import Running, Squall, wait_until
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from servers import KafkaAddress

NOTED = """
    import json
    import os
    import time
    from pathlib import Path
    from squall import Bolt, Topology, Tuple
    from squall.connectors.decoders import Json, MessagePack
    from squall.connectors.kafka import Avro, JsonSchema, KafkaSink, KafkaSpout, Protobuf

    HERE = Path({here!r})
    SERVERS = {servers!r}

    class Note(Bolt):
        blocking = True

        def open(self, context):
            self.file = (HERE / "noted").open("ab", buffering=0)

        def process_batch(self, tuples: list[Tuple]):
            lines = [json.dumps(tup.values, default=lambda value: value.decode("latin-1")) + "\\n" for tup in tuples]
            self.file.write("".join(lines).encode())
"""


class Noted:
    """Runs topologies of a spout and the bolt `Note`, and reads what was noted."""

    def __init__(self, squall: Squall, kafka: KafkaAddress) -> None:
        self.squall, self.kafka = squall, kafka
        self._names = iter(range(100))

    def text(self, spout: str, more: str = "", parallelism: int = 1, name: str = "noted") -> str:
        """A topology file."""
        head = NOTED.format(here=str(self.squall.folder), servers=self.kafka.address)
        tail = f"""
topology = Topology({name!r})
source = topology.spout("source", {spout}, parallelism={parallelism})
topology.bolt("note", Note).shuffle(source)
"""
        return dedent(head) + dedent(more) + tail

    def run(self, spout: str, *arguments: object, more: str = "", parallelism: int = 1, name: str = "noted") -> Running:
        """Starts a run of it."""
        path = self.squall.file(self.text(spout, more, parallelism, name), f"topology{next(self._names)}.py")
        return self.squall.start("run", path, "--json", *arguments)

    def rows(self) -> list[Any]:
        """What was noted so far."""
        path = self.squall.folder / "noted"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def wait(self, count: int, run: Running | None = None, within_s: float = 30.0) -> list[Any]:
        """What was noted, as soon as it is so much."""

        def there() -> bool:
            if run is not None and run.process.poll() not in (None, 0):
                raise AssertionError(f"the run ended:\n{run.out[-2000:]}\n{run.err[-3000:]}")
            return len(self.rows()) >= count

        wait_until(there, within_s, f"{count} rows, there are {len(self.rows())},")
        return self.rows()

    def forget(self) -> None:
        """Begins a new note."""
        (self.squall.folder / "noted").unlink(missing_ok=True)


def ended(run: Running) -> dict[str, Any]:
    """Interrupts a run; its summary."""
    run.interrupt()
    assert run.end() == 0, run.err[-3000:]
    return run.summary()


def feed(kafka: KafkaAddress, topic: str, values: Iterable[Any], **more: Any) -> None:
    """Produces records, acked by the broker; `more` as `produce` has it."""
    producer = Producer({"bootstrap.servers": kafka.address, "linger.ms": 5, "acks": "all"})
    failed: list[Any] = []
    for value in values:
        text = str(value) if isinstance(value, int) else value
        producer.produce(topic, text, on_delivery=lambda error, _: error and failed.append(error), **more)
        producer.poll(0)
    assert producer.flush(30) == 0
    assert not failed


@contextmanager
def consumer(kafka: KafkaAddress, group: str = "look", **settings: Any) -> Iterator[Consumer]:
    made = Consumer({"bootstrap.servers": kafka.address, "group.id": group, "enable.auto.commit": False, **settings})
    yield made
    made.close()


def read(kafka: KafkaAddress, topic: str) -> list[Any]:
    """All committed records of a topic."""
    with consumer(kafka, **{"enable.partition.eof": True, "fetch.queue.backoff.ms": 5}) as reader:
        partitions = len(reader.list_topics(topic, timeout=10).topics[topic].partitions)
        reader.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        keys = [TopicPartition(topic, number) for number in range(partitions)]
        left = {key.partition: reader.get_watermark_offsets(key, timeout=10)[1] for key in keys}
        found, deadline = [], time.monotonic() + 30 + sum(left.values()) / 10_000
        while left and time.monotonic() < deadline:
            for message in reader.consume(1000, 0.1):
                is_end = message.error() is not None and message.error().code() == KafkaError._PARTITION_EOF
                if message.error() is None:
                    found.append(message)
                if is_end or message.offset() + 1 >= left.get(message.partition(), 0):
                    left.pop(message.partition(), None)
        assert not left
        return found


def values(kafka: KafkaAddress, topic: str) -> list[str]:
    """The values of a topic as texts."""
    return [message.value().decode() for message in read(kafka, topic)]


def committed(kafka: KafkaAddress, group: str, topic: str, partitions: int = 1) -> dict[int, int]:
    """The offsets of a group that are there; none, while its broker has just begun again."""
    with consumer(kafka, group) as reader:
        try:
            found = reader.committed([TopicPartition(topic, number) for number in range(partitions)], timeout=10)
        except KafkaException as error:
            if error.args[0].code() not in (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS):
                raise
            return {}
    return {one.partition: one.offset for one in found if one.offset >= 0}


def wait_committed(kafka: KafkaAddress, group: str, topic: str, total: int, partitions: int = 1) -> None:
    """Waits until the group's offsets sum up."""
    wait_until(lambda: sum(committed(kafka, group, topic, partitions).values()) >= total, what=f"commit of {total}")


def errors(run: Running, component: str = "source") -> list[str]:
    """The newest errors of a component that the run has told."""
    told = [event.get("errors", {}).get(component) for event in run.events("progress")]
    return [one["last"] for one in told if one]


def metrics(run: Running, component: str = "source") -> dict[str, float]:
    """A component's own figures, as last told; none before that."""
    told = run.events("progress")
    return told[-1]["components"][component]["metrics"] if told else {}


def by_partition(rows: list[Any]) -> dict[int, list[int]]:
    """Offsets of (topic, partition, offset, …) rows."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for row in rows:
        found[row[1]].append(row[2])
    return found


def schema_folder() -> Path:
    return Path(__file__).parent / "schemas"
