"""Writes orders as CSV, a folder a country; a file appears whole with 1,000 rows, or a minute old."""

from collections.abc import Iterator

from squall import Topology
from squall.connectors.files import Csv, FileSink, Rotation


def orders() -> Iterator[tuple[int, str, float]]:
    """Made up."""
    for number in range(10_000):
        yield number, ("de", "fr", "pl")[number % 3], number / 100


topology = Topology("file-orders")
source = topology.spout("orders", orders, outputs=("number", "country", "total"))
sink = FileSink("orders/{country}/part.csv", format=Csv(), rotate=Rotation(rows=1000, every=60))
topology.bolt("write", sink).shuffle(source)
