"""Counts words from live TCP connections: `squall run examples/word_count.py`, then `nc 127.0.0.1 7007 < file`."""

from collections import Counter

from squall import Bolt, Topology, TopologyContext
from squall.connectors.tcp import TcpSpout


def split(line: str) -> list[str]:
    return line.lower().split()


class Count(Bolt):
    def open(self, context: TopologyContext) -> None:
        self.counts: Counter[str] = Counter()
        context.gauge("words", self.counts.total)
        context.table("top words", lambda: dict(self.counts.most_common(10)))

    def process(self, word: str) -> None:
        self.counts[word] += 1


def word_count(address: str = "127.0.0.1:7007") -> Topology:
    topology = Topology("word-count")
    lines = topology.spout("lines", TcpSpout.listen(address))
    words = topology.bolt("split", split, outputs=("word",)).shuffle(lines)
    topology.bolt("count", Count, parallelism=2).fields(words, "word")
    return topology
