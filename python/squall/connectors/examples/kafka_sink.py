"""Writes alarms to a topic by their device, so that those of one device stay in their order."""

from collections.abc import Iterator

from squall import Topology
from squall.connectors.kafka import KafkaSink


def alarms() -> Iterator[tuple[str, int]]:
    """Made up."""
    for number in range(10_000):
        yield f"elevator-{number % 7}", number


topology = Topology("kafka-alarms")
source = topology.spout("alarms", alarms, outputs={"device": str, "number": int})
sink = KafkaSink("alarms", servers="localhost:9092", key="device", value="json")
topology.bolt("write", sink).fields(source, "device")
