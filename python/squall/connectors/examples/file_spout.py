"""Counts the lines of log files by their level; a run that was interrupted goes on where it was."""

from collections import Counter

from squall import Bolt, Topology
from squall.connectors.files import FileSpout
from squall.connectors.standard import Print


class Levels(Bolt):
    """Counts lines by their first word."""

    outputs = ("level", "count")

    def __init__(self) -> None:
        self.counts = Counter[str]()

    def process(self, line: str) -> None:
        """Counts one."""
        self.counts[line.partition(" ")[0]] += 1

    def drain(self) -> list[tuple[str, int]]:
        """What was counted."""
        return self.counts.most_common()


topology = Topology("file-levels")
lines = topology.spout("lines", FileSpout("logs/*.log"))
topology.bolt("show", Print).shuffle(topology.bolt("levels", Levels).shuffle(lines))
