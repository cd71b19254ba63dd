"""Sends counts to a collector of statistics, which may miss some of them."""

from collections.abc import Iterator

from squall import Topology
from squall.connectors.udp import UdpSink


def counts() -> Iterator[str]:
    """Made up."""
    for number in range(1000):
        yield f"orders:{number % 7}|c"


topology = Topology("udp-counts")
source = topology.spout("counts", counts, outputs=("line",))
topology.bolt("send", UdpSink("127.0.0.1:8125")).shuffle(source)
