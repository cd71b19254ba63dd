"""A table or a query that is read from, and its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from squall.connectors.sql.columns import Described, described, missing_column, table_missing
from squall.connectors.sql.database import Database
from squall.connectors.sql.options import is_query
from squall.errors import TopologyError

ALIAS = "source"


@dataclass(frozen=True, slots=True)
class Relation:
    """What is read from. `source`: for the FROM of a select; `key`: the columns of a table's primary key."""

    source: Any
    columns: dict[str, Any]
    key: tuple[str, ...]

    @classmethod
    def of(cls, database: Database, who: str, source: str, names: Sequence[str]) -> Relation:
        """The table or query with the columns that are needed.

        Raises:
            Unavailable: not now.
            TopologyError: `sql_table_missing` or `sql_columns`.
            ConfigError: `sql_refused`.
        """
        sqlalchemy: Any = import_module("sqlalchemy")
        if is_query(source):
            text = source.strip().rstrip(";").replace(":", "\\:")  # else a parameter's name
            found = database.checked(lambda: _names_of(database, text), f"the query of {who}")
            _check(who, Described("the query", (), ()), found, names)
            query = sqlalchemy.text(text).columns(*map(sqlalchemy.column, found)).subquery(ALIAS)
            return cls(query, {name: query.c[name] for name in found}, ())
        known = database.checked(lambda: database.table(source), f'to show table "{source}"')
        if known is None:
            raise TopologyError(table_missing(who, source, database.shown, database.names(source)))
        table = described(source, known, ())
        _check(who, table, [column.name for column in table.columns], names)
        relation = cls(
            known, {column.name: column for column in known.columns}, tuple(known.primary_key.columns.keys())
        )
        wanted = [relation.columns[name] for name in names]
        query = sqlalchemy.select(*wanted).where(sqlalchemy.false())
        database.checked(lambda: database.connection.execute(query).close(), f'to read table "{source}"')
        return relation


def _names_of(database: Database, text: str) -> list[str]:
    sqlalchemy: Any = import_module("sqlalchemy")
    query = sqlalchemy.text(f"SELECT * FROM ({text}) AS {ALIAS} WHERE 1 = 0")
    result = database.connection.execute(query)
    names = list(result.keys())
    result.close()
    return names


def _check(who: str, table: Described, known: Sequence[str], names: Sequence[str]) -> None:
    if defects := [missing_column(who, table, name, known) for name in names if name not in known]:
        raise TopologyError(*defects)
