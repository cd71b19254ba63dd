"""Shows the rows of a table, and those that come while it runs; the next run goes on where this one ended."""

import sqlite3

from squall import Topology
from squall.connectors.sql import SqlSpout
from squall.connectors.standard import Print

with sqlite3.connect("alarms.db") as database:
    database.execute("CREATE TABLE IF NOT EXISTS alarms (id INTEGER PRIMARY KEY, text TEXT)")
    database.execute("INSERT INTO alarms (text) VALUES ('door open'), ('lamp broken')")

topology = Topology("sql-alarms")
source = topology.spout("alarms", SqlSpout("sqlite:///alarms.db", "alarms", columns=("id", "text"), cursor="id"))
topology.bolt("show", Print).shuffle(source)
