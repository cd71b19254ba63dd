"""Adds names to orders: `redis-cli HSET customer:c1 name Ann city Ulm`."""

from collections.abc import Iterator

from squall import Topology
from squall.connectors.redis import RedisLookup
from squall.connectors.standard import Print


def orders() -> Iterator[tuple[int, str]]:
    """Made up."""
    for number in range(10):
        yield number, f"c{number % 3}"


topology = Topology("redis-names")
source = topology.spout("orders", orders, outputs=("order", "customer"))
names = RedisLookup("customer:{customer}", outputs=("order", "name", "city"), missing="null", ttl=60)
topology.bolt("show", Print).shuffle(topology.bolt("names", names).shuffle(source))
