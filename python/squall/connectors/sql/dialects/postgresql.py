"""PostgreSQL, by psycopg 3.

A server that is suspended keeps its connections, and the kernel answers for it: neither keepalives nor a time-out of
the server's end such a wait. So the connection itself counts how long nothing was heard (`wait`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from importlib import import_module
from typing import Any

from squall.connectors.sql import failures
from squall.connectors.sql.dialects.arrays import array, array_array, json_array
from squall.connectors.sql.dialects.base import Dialect, Encoded, Limits, Row, Statement, assignments
from squall.connectors.sql.dialects.values import in_utc
from squall.connectors.sql.failures import Meaning

ENDED_WITHIN_S = 5.0
TYPES = """
    SELECT a.attname, format_type(a.atttypid, -1), t.typcategory
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
"""Types without length or precision: a cast to `varchar(3)` cuts silently, the assignment to such a column does not."""


class PostgreSql(Dialect):
    """PostgreSQL, and what speaks its protocol and language."""

    shown = "PostgreSQL"
    driver = "postgresql+psycopg"
    package, extra = "psycopg", "postgresql"

    def engine(self, url: Any, limits: Limits) -> Any:
        """Times without a zone are UTC's."""
        sqlalchemy: Any = import_module("sqlalchemy")
        psycopg: Any = import_module("psycopg")
        arguments = {
            "connect_timeout": max(2, round(limits.connect_s)),  # libpq's least
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": round(limits.silence_s * 1000),
            "application_name": limits.name[:63],
        }
        arguments = {name: value for name, value in arguments.items() if name not in url.query}
        engine = sqlalchemy.create_engine(
            url,
            connect_args=arguments,
            poolclass=sqlalchemy.NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
        )
        kind = _bounded(psycopg, limits.silence_s)

        def connect(_dialect: Any, _record: Any, args: Any, kwargs: Any) -> Any:
            raw = kind.connect(*args, **kwargs, autocommit=True)
            settings = {"statement_timeout": f"{round(limits.answer_s * 1000)}", "TimeZone": "UTC"}
            for name, value in settings.items():
                raw.execute("SELECT set_config(%s, %s, false)", (name, value))
            return raw

        sqlalchemy.event.listen(engine, "do_connect", connect)
        return engine

    def session(self, raw: Any) -> object:
        """Its process, and when that began: numbers of processes come again."""
        query = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        with suppress(Exception):
            return raw.execute(query).fetchone()
        return None

    def end_session(self, connection: Any, session: object) -> None:
        """Ends the process and waits until it is gone: it might write rows that are older than what comes now."""
        raw, until_s = connection.connection.driver_connection, time.monotonic() + ENDED_WITHIN_S
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"
        while session and raw.execute(query, session).fetchone() and time.monotonic() < until_s:
            time.sleep(0.02)

    def transaction(self, raw: Any) -> AbstractContextManager[object]:
        """A transaction, of a connection that commits by itself otherwise."""
        return raw.transaction()

    def meaning(self, error: BaseException) -> Meaning:
        """By its SQLSTATE."""
        psycopg: Any = import_module("psycopg")
        if isinstance(error, psycopg.OperationalError) and getattr(error, "sqlstate", None) is None:
            return failures.postgresql_refusal(str(error))
        if isinstance(error, psycopg.Error):
            state = getattr(error, "sqlstate", None)
            is_value = state is None and isinstance(error, psycopg.DataError | psycopg.ProgrammingError)
            return Meaning.ROW if is_value else failures.postgresql(state)
        return Meaning.OTHER

    def text(self, error: BaseException) -> str:
        """The message alone: its detail has the row, and so whatever is secret in it."""
        diagnosis = getattr(error, "diag", None)
        message = getattr(diagnosis, "message_primary", None)
        return f"{message} ({getattr(error, 'sqlstate', '')})" if message else str(error)

    def statement(self, connection: Any, table: Any, columns: Sequence[str], upsert: Sequence[str]) -> Statement:
        """One statement for a batch, with an array for each column."""
        preparer = connection.dialect.identifier_preparer
        quote: Callable[[str], str] = preparer.quote
        named = preparer.format_table(table)
        # Not as a parameter of its own kind: what doubles percents for one statement does for all.
        types = {name: rest for name, *rest in connection.connection.driver_connection.execute(TYPES, (_plain(named),))}
        encoders, casts, selected = list[Callable[[Sequence[Any]], str]](), list[str](), list[str]()
        for name in columns:
            shown, category = types[name]
            alias = f"c{len(casts)}"
            is_array = category in ("A", b"A")
            casts.append("%s::text[]" if is_array else f"%s::{shown.replace('%', '%%')}[]")
            selected.append(f"{alias}::{shown.replace('%', '%%')}" if is_array else alias)
            encoders.append(_encoder(shown, is_array=is_array))
        aliases = ", ".join(f"c{number}" for number in range(len(columns)))
        sql = (
            f"INSERT INTO {named} ({', '.join(map(quote, columns))}) SELECT {', '.join(selected)} "
            f"FROM unnest({', '.join(casts)}) AS rows ({aliases})"
        )
        if upsert:
            changed = [f"{quote(name)} = EXCLUDED.{quote(name)}" for name in assignments(columns, upsert)]
            action = f"UPDATE SET {', '.join(changed)}" if changed else "NOTHING"
            sql += f" ON CONFLICT ({', '.join(map(quote, upsert))}) DO {action}"
        key = [columns.index(name) for name in upsert]

        def encode(rows: Sequence[Row]) -> Encoded:
            newest = _newest(rows, key) if key else rows
            return [encoder(values) for encoder, values in zip(encoders, zip(*newest, strict=True), strict=True)]

        def write(raw: Any, encoded: Encoded) -> None:
            raw.execute(sql, encoded)

        return Statement(encode, write, True, (f"EXPLAIN {sql}", ["{}"] * len(columns)))


def _newest(rows: Sequence[Row], key: Sequence[int]) -> Sequence[Row]:
    """The last row of each key: one statement must not meet a key twice."""
    if len(key) == 1:
        (at,) = key
        newest = {row[at]: row for row in rows}
    else:
        newest = {tuple([row[at] for at in key]): row for row in rows}
    return rows if len(newest) == len(rows) else list(newest.values())


def _encoder(shown: str, *, is_array: bool) -> Callable[[Sequence[Any]], str]:
    if is_array:
        return array_array
    if shown in ("json", "jsonb"):
        return json_array
    if shown == "timestamp without time zone":
        return _naive_array
    return array


def _naive_array(values: Sequence[Any]) -> str:
    """Times of a column without a zone: the server would leave an offset out of account."""
    return array([in_utc(value) if isinstance(value, datetime) else value for value in values])


def _plain(named: str) -> str:
    return named.replace("%%", "%")


def _bounded(psycopg: Any, silence_s: float) -> Any:
    """A connection that waits so long for an answer, and no longer."""

    class Bounded(psycopg.Connection):
        def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
            bounded = _until(gen, time.monotonic() + silence_s)
            base: Any = super()
            return base.wait(bounded, *args, **kwargs)

    def _until(steps: Any, until_s: float) -> Generator[Any, Any, Any]:
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > until_s:
                    raise psycopg.OperationalError(f"no answer within {silence_s:g} s")
                wanted = steps.send(ready)
        except StopIteration as end:
            return end.value

    return Bounded
