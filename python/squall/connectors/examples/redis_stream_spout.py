"""Counts orders of a Redis stream: `redis-cli XADD orders '*' article tea euros 3.50`."""

from squall import Bolt, Topology
from squall.connectors.redis import RedisStreamSpout
from squall.connectors.standard import Print


class Total(Bolt):
    """The euros of each article so far."""

    outputs = ("article", "euros")

    def __init__(self) -> None:
        self.euros: dict[str, float] = {}

    def process(self, article: str, euros: float) -> tuple[str, float]:
        """Adds an order."""
        self.euros[article] = self.euros.get(article, 0.0) + euros
        return article, self.euros[article]


topology = Topology("redis-orders")
source = RedisStreamSpout("orders", group="totals", fields={"article": str, "euros": float}, create=True)
orders = topology.spout("orders", source)
topology.bolt("show", Print).shuffle(topology.bolt("total", Total).fields(orders, "article"))
