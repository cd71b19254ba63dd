"""Apache Kafka: one KRaft node, with a second listener that asks for a password."""

from __future__ import annotations

import shutil
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from servers import installing
from servers.java import QUICK, JavaServer, java
from servers.names import fresh
from servers.process import Process, run_once
from servers.server import Address

CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},SASL://127.0.0.1:{sasl}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL://127.0.0.1:{sasl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
num.network.threads=2
num.io.threads=2
# After a kill the controller waits for the session of the dead broker; 9 s by default.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# Groups settle at once, and their members may be short of patience.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
# Compaction and retention begin soon.
log.cleaner.dedupe.buffer.size=2097152
log.cleaner.backoff.ms=200
log.initial.task.delay.ms=1000
log.retention.check.interval.ms=1000
"""
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""The request that any broker answers: size, key, version, correlation id, no client id."""


class KafkaAddress(Address):
    """A broker: `address` takes everybody, `sasl_address` those who say `user` and `password` by SASL PLAIN."""

    user = "alice"
    password = "alice-secret"

    @property
    def sasl_address(self) -> str:
        """The listener that wants a password."""
        return f"127.0.0.1:{self.ports[2]}"

    def topic(self, name: str = "topic", partitions: int = 1, **settings: str | int) -> str:
        """Makes a topic of a fresh name that begins with `name`, and returns that.

        Args:
            name: what its name begins with.
            partitions: how many.
            settings: the topic's own, with `_` for `.`: `cleanup_policy="compact"`.
        """
        from confluent_kafka.admin import AdminClient, NewTopic

        topic = fresh(name)
        config = {key.replace("_", "."): str(value) for key, value in settings.items()}
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 4})
        admin.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(30)
        return topic

    def remove(self, topic: str) -> None:
        """Deletes a topic."""
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 4})
        admin.delete_topics([topic])[topic].result(30)


class Kafka(JavaServer, KafkaAddress):
    """Kafka 4.1.0. Topics are not made by those who ask for them."""

    name = "kafka"
    title = "Kafka 4.1.0"
    reach = KafkaAddress
    ports_needed = 3
    heap = "512m"

    @classmethod
    def install(cls) -> None:
        """Fetches its archives, and formats storage once, which every broker begins with."""
        installing.archives("kafka", f"{cls.title} (54 MB)")
        _formatted()
        cls.install_classes()

    @classmethod
    def is_installed(cls) -> bool:
        """Whether archives and Java are there."""
        return installing.has_archives("kafka") and installing.program("java") is not None

    def prepare(self) -> None:
        """Writes its settings and takes formatted storage."""
        plain, controller, sasl = self.ports
        text = SETTINGS.format(
            plain=plain,
            controller=controller,
            sasl=sasl,
            user=self.user,
            password=self.password,
            data=self.folder / "data",
        )
        (self.folder / "server.properties").write_text(text)
        shutil.copytree(_formatted(), self.folder / "data")

    def begin(self) -> dict[str, Process]:
        """Starts the broker."""
        command = _java(self.heap, "kafka.Kafka", str(self.folder / "server.properties"), options=self.options())
        return {"broker": Process(command, self.folder / "broker.log")}

    def answers(self) -> bool:
        """Whether it says which requests it knows."""
        with socket.create_connection(("127.0.0.1", self.port), 1) as broker:
            broker.settimeout(2)
            broker.sendall(API_VERSIONS)
            return len(broker.recv(4)) == 4


def _java(heap: str, main: str, *arguments: str, options: Sequence[str]) -> list[str]:
    logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return java(heap, installing.INSTALLED / "kafka", main, *arguments, options=(*options, logging))


def _formatted() -> Path:
    """Storage as a broker has it before its first start: it names no port and no folder, so all can begin with it."""
    folder = installing.INSTALLED / "kafka" / "formatted"
    if not folder.exists():
        work = installing.INSTALLED / "kafka" / "formatting"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        settings = work / "server.properties"
        settings.write_text(
            SETTINGS.format(plain=1, controller=2, sasl=3, user="nobody", password="none", data=work / "data")
        )
        arguments = ("format", "-t", CLUSTER_ID, "-c", str(settings))
        run_once(_java("128m", "kafka.tools.StorageTool", *arguments, options=QUICK), work / "log")
        (work / "data").rename(folder)
        shutil.rmtree(work)
    return folder
