"""Kafka → count words → Kafka, one record out for each record in: squall, a bare loop and what people take instead.

All read the same topic of one broker in turns, each in a process of its own; CPU is that of the client alone, from its
first record to the confirmation of its last one. The broker has to share the machine, so rates are no client's best:
CPU a record is the firmer figure.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servers import KafkaAddress, fresh

from benchmarks.workloads import PICK

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
PEERS_PYTHON = ROOT / ".build" / "peers-venv" / "bin" / "python"
PARTITIONS = 2
WITHIN_S = 120.0


@dataclass(frozen=True)
class Client:
    """Who takes part.

    Args:
        name: of its file, `clients/with_NAME.py`.
        title: as people know it.
        guarantee: as it runs here.
        share: of the records, for those that would take too long with all.
    """

    name: str
    title: str
    guarantee: str
    share: float = 1.0

    @property
    def python(self) -> str:
        """The interpreter that has what it needs."""
        return sys.executable if self.name in ("bare", "squall") else str(PEERS_PYTHON)


BARE = Client("bare", "confluent-kafka, bare loop", "at least once, committing each second")
SQUALL = Client("squall", "squall", "at least once, each record acked")
BYTEWAX = Client("bytewax", "Bytewax", "none over a crash (recovery is off)")
QUIX = Client("quix", "Quix Streams", "at least once, committing each second", share=0.25)
FAUST = Client("faust", "faust-streaming", "at least once", share=0.1)


@dataclass(frozen=True)
class Figures:
    """What one run of a client came to."""

    records_per_s: float
    cpu_us: float


@dataclass(frozen=True)
class Compared:
    """The runs of all clients, in the order in which they ran."""

    runs: dict[str, list[Figures]]

    def rate(self, client: Client) -> float:
        """Records a second, median."""
        return statistics.median(run.records_per_s for run in self.runs[client.name])

    def cpu_us(self, client: Client) -> float:
        """CPU a record, median."""
        return statistics.median(run.cpu_us for run in self.runs[client.name])

    def cpu_ratio(self, client: Client) -> float:
        """CPU a record over that of the bare loop in the same round, median."""
        pairs = zip(self.runs[client.name], self.runs["bare"], strict=True)
        return statistics.median(run.cpu_us / bare.cpu_us for run, bare in pairs)

    def rate_over(self, client: Client) -> float:
        """Records a second of squall over those of another in the same round, median."""
        pairs = zip(self.runs["squall"], self.runs[client.name], strict=True)
        return statistics.median(ours.records_per_s / theirs.records_per_s for ours, theirs in pairs)


def compare(kafka: KafkaAddress, clients: Sequence[Client], records: int, rounds: int) -> Compared:
    """Runs all clients in turns, in another order each round."""
    source = kafka.topic("sentences", PARTITIONS)
    feed(kafka, source, records)
    once(kafka, BARE, source, records)  # the broker warms up
    runs: dict[str, list[Figures]] = {client.name: [] for client in clients}
    for number in range(rounds):
        order = list(clients)
        random.Random(number).shuffle(order)
        for client in order:
            run = once(kafka, client, source, records)
            runs[client.name].append(run)
            say(f"  {client.title:28} {run.records_per_s:9,.0f} records/s {run.cpu_us:7.2f} µs CPU a record")
    return Compared(runs)


def once(kafka: KafkaAddress, client: Client, source: str, records: int) -> Figures:
    """Runs one client over the first records of a topic."""
    count = int(records * client.share)
    target = kafka.topic(f"{client.name}_counts", PARTITIONS)
    command = [client.python, str(CLIENTS / f"with_{client.name}.py"), kafka.address, source, target, str(count)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=WITHIN_S, check=False)
    if ran.returncode:
        raise RuntimeError(f"{client.title} failed:\n{ran.stdout}{ran.stderr}")
    told = json.loads(next(line for line in reversed(ran.stdout.splitlines()) if line.startswith("{")))
    written = size(kafka, target)
    if client is not FAUST and written < told["records"]:
        raise RuntimeError(f"{client.title} wrote {written} records of {told['records']}")
    kafka.remove(target)
    return Figures(told["records"] / told["wall_s"], told["cpu_s"] / told["records"] * 1e6)


def feed(kafka: KafkaAddress, topic: str, records: int) -> None:
    """Fills a topic with sentences, evenly over its partitions."""
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": kafka.address, "linger.ms": 20, "queue.buffering.max.messages": 2_000_000}
    )
    sentences = [sentence.encode() for sentence in PICK]
    for number in range(records):
        producer.produce(topic, sentences[number % len(sentences)], partition=number % PARTITIONS)
        if not number % 1000:
            producer.poll(0)
    assert not producer.flush(60), "the broker took not all"


def size(kafka: KafkaAddress, topic: str) -> int:
    """How many records a topic holds that nobody wrote in transactions."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": fresh("size")})
    try:
        marks = [consumer.get_watermark_offsets(TopicPartition(topic, part), 10) for part in range(PARTITIONS)]
    finally:
        consumer.close()
    return sum(high - low for low, high in marks)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
