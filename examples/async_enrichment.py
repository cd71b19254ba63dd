"""Orders, enriched by a customer service that is slow and flaky: many async calls at a time, under a rate limit.

    $ squall run examples/async_enrichment.py     # -p input=FILE -p customers=FILE -p per_s=100
    o001    20.75   Aino Laine      FI
    not enriched: o017: KeyError: 'c99'

Shows an async bolt with `max_in_flight` and `ordered`; a time-out that fails one call, which is tried again later;
`on_error`, which gives up orders of unknown customers at once; and the dead letters as a stream.
"""

import asyncio
import json
from pathlib import Path
from typing import NamedTuple

from squall import Bolt, Topology, TopologyContext
from squall.connectors.standard import Print

DATA = Path(__file__).parent / "data"


class Order(NamedTuple):
    order: str
    customer: str
    euros: float


class Directory:
    """Stands in for an HTTP client: every sixteenth answer takes a second."""

    def __init__(self, file: Path) -> None:
        self.customers, self.calls = json.loads(file.read_text()), 0

    async def get(self, customer: str) -> dict[str, str]:
        self.calls += 1
        await asyncio.sleep(0.02 if self.calls % 16 else 1.0)
        return self.customers[customer]


class Enrich(Bolt):
    outputs = ("order", "euros", "name", "country")
    max_in_flight = 20
    ordered = True
    on_error = {TimeoutError: "retry", KeyError: "dead"}

    def __init__(self, customers: Path, per_s: float) -> None:
        self.customers, self.per_s = customers, per_s

    def open(self, context: TopologyContext) -> None:
        self.directory = Directory(self.customers)
        self.next_at = context.monotonic()

    async def turn(self) -> None:
        """Lets calls begin one by one, evenly."""
        now = self.context.monotonic()
        begin_at = max(self.next_at, now)
        self.next_at = begin_at + 1 / self.per_s
        await asyncio.sleep(begin_at - now)

    async def process(self, order: str, customer: str, euros: float) -> tuple[str, float, str, str]:
        await self.turn()
        async with asyncio.timeout(0.25):
            found = await self.directory.get(customer)
        return order, euros, found["name"], found["country"]


def not_enriched(values: tuple[str, str, float], error: str) -> str:
    return f"not enriched: {values[0]}: {error}"


def build(
    input: Path = DATA / "orders.jsonl", customers: Path = DATA / "customers.json", per_s: float = 100
) -> Topology:
    topology = Topology("async-enrichment")
    orders = topology.spout("orders", lambda: (Order(**json.loads(line)) for line in input.open()), outputs=Order)
    enrich = topology.bolt("enrich", lambda: Enrich(customers, per_s)).shuffle(orders)
    lost = topology.bolt("not_enriched", not_enriched, outputs=("line",)).shuffle(topology.dead_letters(enrich))
    topology.bolt("print", Print).shuffle(enrich).shuffle(lost)
    return topology
