"""SQLite, by the module of the standard library."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import import_module
from typing import Any

from squall.connectors.sql import failures
from squall.connectors.sql.dialects.base import Dialect, Encoded, Limits, Row, Statement, assignments
from squall.connectors.sql.dialects.values import PLAIN, plain
from squall.connectors.sql.failures import Meaning


class Sqlite(Dialect):
    """A file of SQLite's."""

    shown = "SQLite"
    driver = "sqlite+pysqlite"
    package, extra = "sqlalchemy", "sqlite"

    def engine(self, url: Any, limits: Limits) -> Any:
        """A file that another connection has locked is waited for."""
        sqlalchemy: Any = import_module("sqlalchemy")
        return sqlalchemy.create_engine(
            url,
            connect_args={"timeout": limits.answer_s, "check_same_thread": False},
            poolclass=sqlalchemy.NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
        )

    def session(self, raw: Any) -> object:
        """None: nothing goes on without the process."""
        return None

    def end_session(self, connection: Any, session: object) -> None:
        """Nothing is to be ended."""

    @contextmanager
    def _transaction(self, raw: Any) -> Generator[None]:
        raw.execute("BEGIN IMMEDIATE")  # a lock for reading first could meet another's, and neither could write
        try:
            yield
            raw.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some errors have rolled back already
                raw.execute("ROLLBACK")
            raise

    def transaction(self, raw: Any) -> AbstractContextManager[object]:
        """A transaction that may write."""
        return self._transaction(raw)

    def meaning(self, error: BaseException) -> Meaning:
        """By its result code; without one the module itself refuses a value."""
        if not isinstance(error, sqlite3.Error):
            return Meaning.OTHER
        code = getattr(error, "sqlite_errorcode", None)
        return failures.sqlite(code) if code is not None else Meaning.ROW

    def text(self, error: BaseException) -> str:
        """The message and the name of its code."""
        name = getattr(error, "sqlite_errorname", "")
        return f"{error} ({name})" if name else str(error)

    def statement(self, connection: Any, table: Any, columns: Sequence[str], upsert: Sequence[str]) -> Statement:
        """A prepared statement that is run for each row of a batch, in one transaction."""
        preparer = connection.dialect.identifier_preparer
        quote = preparer.quote
        sql = (
            f"INSERT INTO {preparer.format_table(table)} ({', '.join(map(quote, columns))}) "
            f"VALUES ({', '.join('?' * len(columns))})"
        )
        if upsert:
            changed = [f"{quote(name)} = excluded.{quote(name)}" for name in assignments(columns, upsert)]
            action = f"UPDATE SET {', '.join(changed)}" if changed else "NOTHING"
            sql += f" ON CONFLICT ({', '.join(map(quote, upsert))}) DO {action}"

        def encode(rows: Sequence[Row]) -> Encoded:
            return [[value if type(value) in PLAIN else plain(value) for value in row] for row in rows]

        def write(raw: Any, encoded: Encoded) -> None:
            raw.executemany(sql, encoded)

        return Statement(encode, write, False, (f"EXPLAIN {sql}", [None] * len(columns)))
