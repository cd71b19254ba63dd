"""Prints squares."""

from collections.abc import Iterator

from squall import Topology
from squall.connectors.standard import Print


def squares() -> Iterator[tuple[int, int]]:
    """Ten of them."""
    for number in range(10):
        yield number, number * number


topology = Topology("squares")
topology.bolt("show", Print).shuffle(topology.spout("squares", squares, outputs=("number", "square")))
