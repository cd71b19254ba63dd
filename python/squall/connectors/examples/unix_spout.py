"""Shows the lines that programs of this machine send: `echo hello | nc -UN /tmp/squall.sock`."""

from squall import Topology
from squall.connectors.standard import Print
from squall.connectors.unix import UnixSpout

topology = Topology("unix-lines")
lines = topology.spout("lines", UnixSpout.listen("/tmp/squall.sock"))
topology.bolt("show", Print).shuffle(lines)
