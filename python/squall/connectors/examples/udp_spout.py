"""Shows the log lines that devices send: `logger --server 127.0.0.1 --port 5140 --udp hello`."""

from squall import Topology
from squall.connectors.standard import Print
from squall.connectors.udp import UdpSpout

topology = Topology("udp-syslog")
lines = topology.spout("lines", UdpSpout.listen("127.0.0.1:5140", field="line", text=True))
topology.bolt("show", Print).shuffle(lines)
