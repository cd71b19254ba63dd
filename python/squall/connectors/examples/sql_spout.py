"""Shows the rows of a table, and those that come while it runs; the next run goes on where this one ended."""

import sqlite3
from pathlib import Path
from tempfile import gettempdir

from squall import Topology
from squall.connectors.sql import SqlSpout
from squall.connectors.standard import Print

FILE = Path(gettempdir()) / "squall-alarms.db"

with sqlite3.connect(FILE) as database:
    database.execute("CREATE TABLE IF NOT EXISTS alarms (id INTEGER PRIMARY KEY, text TEXT)")
    database.execute("INSERT OR IGNORE INTO alarms VALUES (1, 'door open'), (2, 'lamp broken')")

topology = Topology("sql-alarms")
source = topology.spout("alarms", SqlSpout(f"sqlite:///{FILE}", "alarms", columns=("id", "text"), cursor="id"))
topology.bolt("show", Print).shuffle(source)
