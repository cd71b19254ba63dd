"""Which epochs a task has committed, in a table beside the rows: `squall_commits`."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

from squall.api.context import TopologyContext
from squall.connectors.sql.database import Database

TABLE = "squall_commits"
LONGEST_NAME = 100
"""Of topologies and components."""


class Marks:
    """The newest epoch of one task; the table and the task's row are made when there is none.

    Args:
        schema: where the table of the rows is.
    """

    def __init__(self, database: Database, schema: str | None, context: TopologyContext) -> None:
        sqlalchemy: Any = import_module("sqlalchemy")
        column, text = sqlalchemy.Column, sqlalchemy.String(LONGEST_NAME)
        self._database = database
        self._table = sqlalchemy.Table(
            TABLE,
            sqlalchemy.MetaData(),
            column("topology", text, primary_key=True),
            column("component", text, primary_key=True),
            column("task", sqlalchemy.Integer, primary_key=True, autoincrement=False),
            column("epoch", sqlalchemy.BigInteger, nullable=False),
            schema=schema,
        )
        self._task = {"topology": context.topology, "component": context.component, "task": context.task_index}
        mine = [self._table.c[name] == value for name, value in self._task.items()]
        self._mine = sqlalchemy.and_(*mine)
        self._sqlalchemy = sqlalchemy

    def make(self) -> None:
        """Makes what is missing."""
        connection, sqlalchemy = self._database.connection, self._sqlalchemy
        with suppress(sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):  # another task was faster
            connection.execute(sqlalchemy.schema.CreateTable(self._table, if_not_exists=True))
        if self.epoch() is None:
            with suppress(sqlalchemy.exc.IntegrityError):
                connection.execute(sqlalchemy.insert(self._table).values(**self._task, epoch=0))

    def epoch(self) -> int | None:
        """The newest epoch; None: the task has no row yet."""
        query = self._sqlalchemy.select(self._table.c.epoch).where(self._mine)
        return self._database.connection.execute(query).scalar()

    def advance(self, epoch: int) -> bool:
        """In a transaction: marks an epoch, if it is newer. Another process that marks the same waits for our end."""
        newer = self._sqlalchemy.and_(self._mine, self._table.c.epoch < epoch)
        change = self._sqlalchemy.update(self._table).where(newer).values(epoch=epoch)
        return self._database.connection.execute(change).rowcount == 1
