"""Adds names of customers to orders; a name that was found is used for a minute."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

from squall import Topology
from squall.connectors.sql import SqlLookup
from squall.connectors.standard import Print

FILE = Path(gettempdir()) / "squall-customers.db"

with sqlite3.connect(FILE) as database:
    database.execute("CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, name TEXT)")
    database.execute("INSERT OR IGNORE INTO customers VALUES (0, 'Ann'), (1, 'Bob'), (2, 'Cid')")


def orders() -> Iterator[tuple[int, int]]:
    """Made up; nobody knows customer 3."""
    for number in range(100):
        yield number, number % 4


topology = Topology("sql-names")
source = topology.spout("orders", orders, outputs=("order", "customer"))
names = SqlLookup(f"sqlite:///{FILE}", "customers", keys={"customer": "id"}, outputs=("order", "name"), ttl=60)
topology.bolt("show", Print).shuffle(topology.bolt("names", names).shuffle(source))
