"""MariaDB and MySQL, by PyMySQL."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from importlib import import_module
from typing import Any

from squall.connectors.sql import failures
from squall.connectors.sql.dialects.base import Dialect, Encoded, Limits, Row, Statement, assignments
from squall.connectors.sql.dialects.values import PLAIN, in_utc
from squall.connectors.sql.failures import Meaning


class MariaDb(Dialect):
    """MariaDB; MySQL speaks the same protocol, and is not tested."""

    shown = "MariaDB"
    driver = "mariadb+pymysql"
    package, extra = "pymysql", "mariadb"

    def engine(self, url: Any, limits: Limits) -> Any:
        """Values that do not fit are refused, whatever the server's own mode; times without a zone are UTC's."""
        sqlalchemy: Any = import_module("sqlalchemy")
        strict = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES,NO_ZERO_DATE'), time_zone = '+00:00'"
        arguments = {
            "connect_timeout": max(1, round(limits.connect_s)),
            "read_timeout": limits.silence_s,
            "write_timeout": limits.silence_s,
            "program_name": limits.name,
            "charset": "utf8mb4",
            "init_command": strict,
        }
        return sqlalchemy.create_engine(
            url,
            connect_args={name: value for name, value in arguments.items() if name not in url.query},
            poolclass=sqlalchemy.NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
        )

    def session(self, raw: Any) -> object:
        """The number of the connection; the server does not give one again while it runs."""
        return raw.thread_id()

    def end_session(self, connection: Any, session: object) -> None:
        """Kills it: it might write rows that are older than what comes now."""
        with suppress(Exception):  # it is gone
            connection.exec_driver_sql(f"KILL CONNECTION {session}")

    @contextmanager
    def _transaction(self, raw: Any) -> Generator[None]:
        raw.begin()
        try:
            yield
        except BaseException:
            with suppress(Exception):  # it is gone, and so is what was done
                raw.rollback()
            raise
        raw.commit()

    def transaction(self, raw: Any) -> AbstractContextManager[object]:
        """A transaction, of a connection that commits by itself otherwise."""
        return self._transaction(raw)

    def meaning(self, error: BaseException) -> Meaning:
        """By its number."""
        pymysql: Any = import_module("pymysql")
        if not isinstance(error, pymysql.MySQLError):
            return Meaning.OTHER
        if isinstance(error, pymysql.InterfaceError):  # used after it broke
            return Meaning.AWAY
        meaning = failures.mariadb(error.args[0] if error.args else None)
        if meaning is Meaning.OTHER and isinstance(error, pymysql.IntegrityError | pymysql.DataError):
            return Meaning.ROW
        return meaning

    def text(self, error: BaseException) -> str:
        """The message and its number."""
        number, message = (*error.args, "", "")[:2]
        return f"{message} ({number})" if message else str(error)

    def statement(self, connection: Any, table: Any, columns: Sequence[str], upsert: Sequence[str]) -> Statement:
        """A statement with many rows, as long as the driver makes it; a batch may take several, in one transaction."""
        preparer = connection.dialect.identifier_preparer
        quote = preparer.quote
        sql = (
            f"INSERT INTO {preparer.format_table(table)} ({', '.join(map(quote, columns))}) "
            f"VALUES ({', '.join(['%s'] * len(columns))})"
        )
        if upsert:
            names = assignments(columns, upsert) or upsert[:1]
            sql += f" ON DUPLICATE KEY UPDATE {', '.join(f'{quote(name)} = VALUES({quote(name)})' for name in names)}"

        def encode(rows: Sequence[Row]) -> Encoded:
            return [[value if type(value) in PLAIN else _value(value) for value in row] for row in rows]

        def write(raw: Any, encoded: Encoded) -> None:
            with raw.cursor() as cursor:
                cursor.executemany(sql, encoded)

        return Statement(encode, write, False, (f"EXPLAIN {sql}", [None] * len(columns)))


def _value(value: Any) -> Any:
    if isinstance(value, timedelta):
        sign, whole = ("-", -value) if value < timedelta(0) else ("", value)
        minutes, seconds = divmod(whole.days * 86_400 + whole.seconds, 60)
        return f"{sign}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{whole.microseconds:06}"
    return in_utc(value)
