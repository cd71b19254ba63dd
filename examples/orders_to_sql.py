"""Orders kept in a table, one row for each, whatever happens in between.

    $ squall run examples/orders_to_sql.py        # -p url=postgresql://app:env:DB_PASSWORD@host/shop -p orders=FILE
    o001    c1    20.75
    o002    c3    105.42

Needs `pip install "squall[sqlite]"`. Without another address the database is a SQLite file, `squall-orders.db` in the
folder for temporary ones. Kill it, run it again: the table is what it should be, since a row replaces the one that has
its key. Shows a sink with upserts that makes its table from declared types.
"""

from pathlib import Path
from tempfile import gettempdir

from squall import Topology
from squall.connectors.files import FileSpout, JsonLines
from squall.connectors.sql import SqlSink
from squall.connectors.standard import Print

ORDERS = Path(__file__).parent / "data" / "orders.jsonl"
TYPES = {"order": str, "customer": str, "euros": float}


def typed_row(order: str, customer: str, euros: float) -> tuple[str, str, float]:
    return order, customer, float(euros)


def build(url: str = f"sqlite:///{gettempdir()}/squall-orders.db", orders: Path = ORDERS) -> Topology:
    topology = Topology("orders_to_sql")
    rows = topology.spout("rows", FileSpout(orders, format=JsonLines(fields=[*TYPES])))
    typed = topology.bolt("typed", typed_row, outputs=TYPES).shuffle(rows)
    topology.bolt("table", SqlSink(url, "orders", upsert=("order",), create=True)).fields(typed, "order")
    topology.bolt("print", Print).shuffle(typed)
    return topology
