"""What databases do each in its own way: how they are reached, written to, and what their errors mean."""

from __future__ import annotations

from squall.connectors.sql.dialects.base import Dialect
from squall.connectors.sql.dialects.mariadb import MariaDb
from squall.connectors.sql.dialects.postgresql import PostgreSql
from squall.connectors.sql.dialects.sqlite import Sqlite

DIALECTS: dict[str, Dialect] = {
    "mariadb": MariaDb(),
    "mysql": MariaDb(),
    "postgres": PostgreSql(),
    "postgresql": PostgreSql(),
    "sqlite": Sqlite(),
}
"""By the scheme of an address."""
