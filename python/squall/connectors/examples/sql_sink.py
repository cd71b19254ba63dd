"""Keeps the newest price of each article in a table; run again, or killed and run again, it stays what it should be."""

from collections.abc import Iterator

from squall import Topology
from squall.connectors.sql import SqlSink


def prices() -> Iterator[tuple[str, float]]:
    """Made up."""
    for number in range(10_000):
        yield f"article-{number % 50}", number / 100


topology = Topology("sql-prices")
source = topology.spout("prices", prices, outputs={"article": str, "price": float})
sink = SqlSink("sqlite:///prices.db", "prices", upsert=("article",), create=True)
topology.bolt("write", sink).fields(source, "article")
