"""Shows what is piped in, in capitals: `echo hello | squall run THIS_FILE`."""

from squall import Topology
from squall.connectors.standard import Print
from squall.connectors.stdin import StdinSpout


def shout(line: str) -> str:
    """In capitals."""
    return line.upper()


topology = Topology("shout")
lines = topology.spout("lines", StdinSpout())
topology.bolt("show", Print).shuffle(topology.bolt("shout", shout, outputs=("line",)).shuffle(lines))
