"""A sink that writes rows to a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from squall._core import Tuple
from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery, Sink
from squall.connectors.sql.address import Address, shown
from squall.connectors.sql.database import Database
from squall.connectors.sql.dialects.base import Encoded
from squall.connectors.sql.marks import Marks
from squall.connectors.sql.options import (
    checked_count,
    checked_flag,
    checked_names,
    checked_pairs,
    checked_seconds,
    checked_text,
)
from squall.connectors.sql.target import Target, Targets, Wanted
from squall.errors import DeadLetter
from squall.model.durations import Seconds
from squall.model.masking import HIDDEN, Masker

DEFAULT_BATCH = 1024
CONNECT_S, ANSWER_S = 10.0, 30.0
TESTED = "PostgreSQL 15, MariaDB 10.11, SQLite 3.40"


class SqlSink(Sink):
    """Writes each input as a row of a table: `SqlSink("postgresql://app:env:DB_PASSWORD@db/shop", "orders")`.

    In: any stream; a field is written to the column of its name, if `columns` does not say otherwise.
    Delivery: at least once: a row is acked when the transaction with it, one for each batch, was committed. With
        `upsert` a row that comes again replaces itself, so each is there once. Without, one that comes again after a
        crash, or after a connection that broke while it was committed, is there twice. While the database is away, has
        no room, or does not let the sink in any more, the batch waits, and the topology slows down. A row that the
        database refuses (a constraint, a value that does not fit) goes to the dead letters with the database's words,
        alone: the batch is halved until it is found. Deadlocks and serialization failures are tried again.
    Order: rows of a task in their order; of several with one key the last one stays. Group by the key if there are
        several tasks. A row that failed and is tried again comes after those that did not.
    Bound: a batch has `batch` rows, and all that it holds is in memory twice.
    Metrics: counters `rows`, `batches` and `errors` (rows of which a try failed), gauge `waiting_s`: for how long the
        database has been away.
    Threading: on a thread of its own, with one connection for each task.
    Args:
        url: `postgresql://`, `mariadb://` or `sqlite:///FILE`. `env:NAME` for the password, the user or the whole is
            read from the environment of the worker, and shown nowhere.
        table: `orders` or `schema.orders`.
        columns: the fields that are written, or a mapping of fields to columns; all if not given.
        upsert: the columns of the key by which an older row is replaced; a primary key, or unique.
        create: makes the table if there is none, from the types that are declared for the fields, with `upsert` as its
            primary key.
        batch: the most rows of one transaction.
        timeout: for a statement: the server ends it then, and a server that says nothing for 5 s more is given up and
            connected to again.

    Values: times without a zone are UTC's. Containers go to JSON columns, and to PostgreSQL's arrays; a text in a JSON
        column is JSON.

    Raises:
        TopologyError: `sql_option` or `extra_missing`, when it is made; `sql_table_missing`, `sql_columns` or
            `sql_type_undeclared`, when it is opened.
        ConfigError: `sql_refused`, `secret_missing` or `secret_unusable`, when it is opened.
    """

    delivery = Delivery(
        guarantee='at least once; with upsert=("key",) each row once',
        order="rows of a task in their order, the last of a key stays; a row that is tried again comes later",
        restart="nothing is lost; without upsert the batch under way may be there twice",
        tested=TESTED,
    )

    def __init__(
        self,
        url: str,
        table: str,
        *,
        columns: Sequence[str] | Mapping[str, str] | None = None,
        upsert: Sequence[str] | None = None,
        create: bool = False,
        batch: int = DEFAULT_BATCH,
        timeout: Seconds = ANSWER_S,
    ) -> None:
        self._address = Address.of("SqlSink", url)
        pairs = None if columns is None else checked_pairs("SqlSink", "columns", columns)
        key = () if upsert is None else checked_names("SqlSink", "upsert", upsert)
        self._asked = (
            checked_text("SqlSink", "table", table, '"orders"'),
            pairs,
            key,
            checked_flag("SqlSink", "create", create),
        )
        self.batch_max = checked_count("SqlSink", "batch", batch)  # pyright: ignore[reportAttributeAccessIssue]
        self._answer_s = checked_seconds("SqlSink", "timeout", timeout)

    def where(self) -> str:
        """The database and the table."""
        return f'table "{self._asked[0]}" of {shown(self._address.text)}'

    def open(self, context: TopologyContext) -> None:
        """Connects, and sees that the table can take what comes."""
        self._database = Database(self._address, CONNECT_S, self._answer_s, context)
        self._wanted = Wanted(f'bolt "{context.component}"', *self._asked)
        self._targets: dict[tuple[str, ...], Target] = {}
        self._masker = Masker.of(context.settings.get("topology.mask.fields"))
        self._staged: list[dict[str, Any]] = []
        self._marks: Marks | None = None
        super().open(context)

    def connect(self) -> None:
        """Connects, looks at the table, and has the statements tried without doing them."""
        self._database.connect()
        try:
            self._targets = Targets(self._database, self._wanted).of(self.context.inputs)
        except BaseException:
            self._database.disconnect()
            raise

    def disconnect(self) -> None:
        """Closes the connection."""
        self._database.disconnect()

    def write(self, rows: Sequence[Tuple]) -> None:
        """Writes rows in one transaction."""
        target = self._target(rows[0].fields)
        try:
            self._database.run(lambda: self._do(target, target.encode(rows)))
        except DeadLetter as refusal:
            raise _masked(refusal, self._secrets(rows[:1])) from None  # of several it is told of each alone

    def _target(self, fields: tuple[str, ...]) -> Target:
        if fields not in self._targets:
            self._targets |= Targets(self._database, self._wanted).of({"": dict.fromkeys(fields)})
        return self._targets[fields]

    def _do(self, target: Target, encoded: Encoded) -> None:
        raw, write = self._database.raw, target.statement.write
        if target.statement.is_whole:
            write(raw, encoded)
            return
        with self._database.resolved.dialect.transaction(raw):
            write(raw, encoded)

    def _secrets(self, rows: Sequence[Tuple]) -> list[str]:
        """The values of fields whose names are those of secrets, each once."""
        at = [number for number, name in enumerate(rows[0].fields) if self._masker.hides(name)]
        return list({str(row.values[number]) for row in rows for number in at} - {""}) if at else []

    # -- exactly once (semantics 34) -------------------------------------------------------------------------------

    def stage(self, rows: Sequence[Tuple]) -> None:
        """Takes rows into the open epoch.

        Raises:
            Unavailable: the table's columns are not known yet.
            TypeError, ValueError: a value that no column can have.
        """
        self._reach(later=True)
        target = self._target(rows[0].fields)
        part = {"fields": list(rows[0].fields), "rows": target.encode(rows), "secrets": self._secrets(rows)}
        self._staged.append(part)

    def prepare(self, epoch: int) -> bytes:
        """The rows of the open epoch, as the statements take them."""
        msgspec: Any = import_module("msgspec")
        staged, self._staged = self._staged, []
        return msgspec.msgpack.encode(staged)

    def commit(self, epoch: int, staged: bytes) -> None:
        """Writes the rows and marks the epoch in one transaction; a row that is refused lets none through.

        Raises:
            Unavailable: not now.
            DeadLetter: the database refuses a row.
        """
        msgspec: Any = import_module("msgspec")
        parts = msgspec.msgpack.decode(staged)
        self._reach(later=True)
        try:
            self._database.run(lambda: self._publish(epoch, parts))
        except DeadLetter as refusal:
            self._drop()
            raise _masked(refusal, [secret for part in parts for secret in part["secrets"]]) from None
        except Exception:
            self._drop()
            raise

    def committed(self) -> int:
        """The newest epoch that is marked.

        Raises:
            Unavailable: not now.
        """
        self._reach(later=True)
        try:
            return self._database.run(lambda: self._marked().epoch() or 0)
        except Exception:
            self._drop()
            raise

    def _publish(self, epoch: int, parts: Sequence[Mapping[str, Any]]) -> None:
        marks, database = self._marked(), self._database
        with database.resolved.dialect.transaction(database.raw):
            if not marks.advance(epoch):
                return
            for part in parts:
                self._target(tuple(part["fields"])).statement.write(database.raw, part["rows"])

    def _marked(self) -> Marks:
        if self._marks is None:
            marks = Marks(self._database, self._asked[0].rpartition(".")[0] or None, self.context)
            marks.make()
            self._marks = marks
        return self._marks

    def _drop(self) -> None:
        """Has the next call connect anew."""
        self._is_connected = False
        self.disconnect()


def _masked(refusal: DeadLetter, secrets: Sequence[str]) -> DeadLetter:
    """The database's words without secrets; a longer one may hold a shorter."""
    text = str(refusal)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return DeadLetter(text)
