"""Where the rows of one stream go: the table as it is, the columns that are written, and the statement that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from operator import itemgetter
from typing import Any

from squall._core import Tuple
from squall.connectors.sql.columns import Described, defects_of, described, table_missing
from squall.connectors.sql.creating import make_table
from squall.connectors.sql.database import Database
from squall.connectors.sql.dialects.base import Encoded, Row, Statement
from squall.errors import Defect, TopologyError


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a sink was asked for. `columns`: fields and their columns; None: each field has its own."""

    who: str
    table: str
    columns: Mapping[str, str] | None
    upsert: tuple[str, ...]
    create: bool

    def pairs(self, fields: Sequence[str]) -> Mapping[str, str]:
        """The fields of a stream that are written, and their columns."""
        return self.columns if self.columns is not None else {name: name for name in fields}


@dataclass(frozen=True, slots=True)
class Target:
    """Writes rows of one stream."""

    columns: tuple[str, ...]
    statement: Statement
    pick: Callable[[Row], Row] | None

    def encode(self, rows: Sequence[Tuple]) -> Encoded:
        """The rows as the statement takes them."""
        pick = self.pick
        return self.statement.encode(
            [row.values for row in rows] if pick is None else [pick(row.values) for row in rows]
        )


class Targets:
    """Makes targets, once the database is connected."""

    def __init__(self, database: Database, wanted: Wanted) -> None:
        self._database, self._wanted = database, wanted

    def of(self, inputs: Mapping[str, Mapping[str, object]]) -> dict[tuple[str, ...], Target]:
        """By the fields of the streams; `inputs`: their fields and declared types.

        Raises:
            Unavailable: not now.
            TopologyError: `sql_table_missing`, `sql_columns` or `sql_type_undeclared`.
            ConfigError: `sql_refused`.
        """
        wanted, database = self._wanted, self._database
        table = database.checked(lambda: self._table(inputs), f'to show table "{wanted.table}"')
        known = database.checked(lambda: self._described(table), f'to show table "{wanted.table}"')
        defects = [defect for types in inputs.values() for defect in self._defects(known, types)]
        if defects:
            raise TopologyError(*dict.fromkeys(defects))
        return {tuple(types): self._target(table, tuple(types)) for types in inputs.values()}

    def _table(self, inputs: Mapping[str, Mapping[str, object]]) -> Any:
        wanted, database = self._wanted, self._database
        table = database.table(wanted.table)
        if table is None and wanted.create and inputs:
            types = next(iter(inputs.values()))
            make_table(database.connection, wanted.who, wanted.table, wanted.pairs(list(types)), types, wanted.upsert)
            table = database.table(wanted.table)
        if table is None:
            others = database.names(wanted.table)
            raise TopologyError(table_missing(wanted.who, wanted.table, database.shown, others))
        return table

    def _described(self, table: Any) -> Described:
        sqlalchemy: Any = import_module("sqlalchemy")
        inspector = sqlalchemy.inspect(self._database.connection)
        uniques = [one["column_names"] for one in inspector.get_unique_constraints(table.name, schema=table.schema)]
        for index in inspector.get_indexes(table.name, schema=table.schema):
            is_partial = any("where" in option for option in index.get("dialect_options", {}))
            if index["unique"] and not is_partial and None not in index["column_names"]:
                uniques.append(index["column_names"])
        return described(self._wanted.table, table, uniques)

    def _defects(self, table: Described, types: Mapping[str, object]) -> list[Defect]:
        wanted = self._wanted
        pairs = wanted.pairs(list(types))
        if missing := [name for name in pairs if name not in types]:
            message = f"{wanted.who} writes field {', '.join(missing)}, which the stream that comes in does not have"
            fix = "name fields of the stream in columns=…"
            return [Defect("sql_columns", message, (("fields", ", ".join(types)), *table.facts), fix)]
        return defects_of(wanted.who, table, pairs, types, wanted.upsert)

    def _target(self, table: Any, fields: tuple[str, ...]) -> Target:
        database, pairs = self._database, self._wanted.pairs(fields)
        columns, places = tuple(pairs.values()), [fields.index(name) for name in pairs]

        def made() -> Statement:
            dialect = database.resolved.dialect
            statement = dialect.statement(database.connection, table, columns, self._wanted.upsert)
            cursor = database.raw.cursor()
            cursor.execute(*statement.explain)
            cursor.close()
            return statement

        statement = database.checked(made, f'to write to table "{self._wanted.table}"')
        return Target(columns, statement, None if places == list(range(len(fields))) else _picker(places))


def _picker(places: Sequence[int]) -> Callable[[Row], Row]:
    if len(places) == 1:
        (at,) = places
        return lambda row: (row[at],)
    return itemgetter(*places)
