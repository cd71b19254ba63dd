"""Counts the words of the lines that clients send: `echo to be or not to be | nc -N 127.0.0.1 9999`."""

from collections import Counter

from squall import Bolt, Topology
from squall.connectors.standard import Print
from squall.connectors.tcp import TcpSpout


class Count(Bolt):
    """Counts words."""

    outputs = ("word", "count")

    def __init__(self) -> None:
        self.counts = Counter[str]()

    def process(self, line: str) -> list[tuple[str, int]]:
        """The words of a line, with how often each came so far."""
        self.counts.update(line.split())
        return [(word, self.counts[word]) for word in line.split()]


topology = Topology("tcp-words")
lines = topology.spout("lines", TcpSpout.listen("127.0.0.1:9999", receipts="processed"))
counts = topology.bolt("count", Count).shuffle(lines)
topology.bolt("show", Print).shuffle(counts)
