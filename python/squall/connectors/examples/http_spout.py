"""Takes orders by POST, and answers when they are processed: `curl -d '{"total": 9}' http://127.0.0.1:8080/orders`."""

from squall import Topology
from squall.connectors.http import HttpSpout
from squall.connectors.standard import Print

topology = Topology("http-orders")
spout = HttpSpout.listen("127.0.0.1:8080", path="/orders", decode="json", field="order", receipts="processed")
orders = topology.spout("orders", spout)
topology.bolt("show", Print).shuffle(orders)
