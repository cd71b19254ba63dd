"""Sends readings to a receiver of lines, and waits for it as long as it is away: `nc -lk 127.0.0.1 9998`."""

from collections.abc import Iterator

from squall import Topology
from squall.connectors.tcp import TcpSink


def readings() -> Iterator[tuple[str, float]]:
    """Made up."""
    for number in range(1000):
        yield f"sensor-{number % 7}", 20 + number % 80 / 8


topology = Topology("tcp-readings")
source = topology.spout("readings", readings, outputs=("sensor", "degrees"))
topology.bolt("send", TcpSink("127.0.0.1:9998", encoder="json")).shuffle(source)
