"""Adds readings to a Redis stream that keeps about the last 100,000: `redis-cli XREAD COUNT 5 STREAMS readings 0`."""

from collections.abc import Iterator

from squall import Topology
from squall.connectors.redis import RedisStreamSink


def readings() -> Iterator[tuple[str, float]]:
    """Made up."""
    for number in range(1000):
        yield f"sensor-{number % 7}", 20 + number % 80 / 8


topology = Topology("redis-readings")
source = topology.spout("readings", readings, outputs=("sensor", "degrees"))
topology.bolt("add", RedisStreamSink("readings", maxlen=100_000, url="redis://127.0.0.1:6379/0")).shuffle(source)
