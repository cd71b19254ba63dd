"""Keeps the last reading of each sensor as a hash, and the sensors that were heard of as a set."""

from collections.abc import Iterator

from squall import Topology
from squall.connectors.redis import Hash, RedisStore, Set


def readings() -> Iterator[tuple[str, float, int]]:
    """Made up."""
    for number in range(1000):
        yield f"sensor-{number % 7}", 20 + number % 80 / 8, number


topology = Topology("redis-sensors")
source = topology.spout("readings", readings, outputs=("sensor", "degrees", "at"))
topology.bolt("last", RedisStore(Hash("last:{sensor}", fields=["degrees", "at"]))).fields(source, "sensor")
topology.bolt("sensors", RedisStore(Set("sensors", value="sensor"))).shuffle(source)
