"""A source that reads the new rows of a table again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from importlib import import_module
from random import Random
from typing import Any, ClassVar

from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery, Source, Unavailable
from squall.connectors.sending.backoff import Backoff
from squall.connectors.sql.address import Address
from squall.connectors.sql.database import Database
from squall.connectors.sql.options import (
    checked_count,
    checked_names,
    checked_seconds,
    checked_text,
    is_query,
    refused,
)
from squall.connectors.sql.polling import Mark, Polling, Start, behind, is_measured
from squall.connectors.sql.relation import Relation
from squall.connectors.sql.sink import ANSWER_S, CONNECT_S, TESTED
from squall.errors import ClusterError, Defect, Exhausted
from squall.model.durations import Seconds

DEFAULT_PAGE = 1000
DEFAULT_EVERY_S = 1.0
IDLE_S = 0.05
LOOK_EVERY_S = 1.0
"""How often the newest cursor is asked for while there are more rows than one page."""


class SqlSpout(Source):
    """Emits the rows of a table, and those that come later, by a column that grows.

        SqlSpout(url, "orders", columns=("id", "customer", "price"), cursor="id")
        SqlSpout(url, "customers", columns=("id", "name"), cursor="updated_at", lag=5)

    Out: `columns`.
    Delivery: at least once, over restarts too: a run goes on after the last row up to which all had ended, so those
        under way come again. Found is each row that is committed with a cursor that is newer than all that were read,
        and with `lag` each that is older by no more than that. Transactions end in another order than they begin: one
        that takes a number or a time and is committed late is missed without a lag that is longer than it lasts. Rows
        with equal cursors are told apart by their key; one that is committed after the others needs a lag too, if
        small. After a restart the rows within the lag come again. A row that is changed comes again if its cursor
        changed, with its newest values alone; one that is deleted is not told.
    Order: of the cursor, then of the key; late ones when they are found.
    Bound: a page of `page` rows, and a note for each row within the lag. The rows are read by an index on cursor and
        key, if there is one: it should be.
    Metrics: counters `rows` and `polls`, gauges `waiting_s`: for how long the database has been away, and `lag`, if the
        cursor is a number or a time: how far the last row that was read was behind the newest one when it was last
        looked, in the cursor's unit, of times in seconds; 0: the last poll read all there was.
    Threading: on a thread of its own, with one connection for each task.
    Args:
        url: as `SqlSink` has it.
        source: a table, or a query, whose columns then are those of a table.
        columns: what is emitted.
        cursor: a column of numbers, times or texts that grows with each new row, or with each change; rows in which it
            is null are not read.
        key: what tells rows with equal cursors apart; the primary key if not given. Of a query it has to be given.
        every: how long to wait when there is nothing new; None: the run ends there.
        lag: how much older than the newest a row may be that is still found; of times in seconds, of numbers a number.
        begin: the cursor of the first row that is wanted, when there is no position to go on from.

    Several tasks share the rows by the first column of the key, a whole number.

    Raises:
        TopologyError: `sql_option` or `extra_missing`, when it is made; `sql_table_missing`, `sql_columns` or
            `sql_option`, when it is opened.
        ConfigError: `sql_refused`, `secret_missing` or `secret_unusable`, when it is opened.
    """

    outputs: ClassVar[Any] = ()
    blocking = True
    delivery = Delivery(
        guarantee="at least once; rows that are committed later than lag after a newer one are missed",
        order="of the cursor; late rows when they are found",
        restart="rows that had not ended come again, and those within the lag",
        tested=TESTED,
    )

    def __init__(
        self,
        url: str,
        source: str,
        *,
        columns: Sequence[str],
        cursor: str,
        key: str | Sequence[str] | None = None,
        every: Seconds | None = DEFAULT_EVERY_S,
        lag: Seconds = 0.0,
        begin: Any = None,
        page: int = DEFAULT_PAGE,
        timeout: Seconds = ANSWER_S,
    ) -> None:
        who = "SqlSpout"
        self._address = Address.of(who, url)
        self._source = checked_text(who, "source", source, '"orders", or a query')
        self._columns = checked_names(who, "columns", columns)
        self._cursor = checked_text(who, "cursor", cursor, '"id"')
        self._key = None if key is None else checked_names(who, "key", [key] if isinstance(key, str) else key)
        if self._key is None and is_query(source):
            raise refused(f"{who} has a query and no key", 'name what tells rows with equal cursors apart: key="id"')
        self._every_s = None if every is None else checked_seconds(who, "every", every)
        self._lag = checked_seconds(who, "lag", lag, or_zero=True)
        self._begin = begin
        self._page = checked_count(who, "page", page)
        self._answer_s = checked_seconds(who, "timeout", timeout)
        object.__setattr__(self, "outputs", self._columns)
        object.__setattr__(self, "idle_wait", min(self._every_s or IDLE_S, IDLE_S))

    # -- life ------------------------------------------------------------------------------------------------------

    def open(self, context: TopologyContext) -> None:
        """Connects, and sees that the columns are there."""
        self._context = context
        self._database = Database(self._address, CONNECT_S, self._answer_s, context)
        self._polling = Polling(self._lag, self._begin)
        self._waiting = deque[tuple[Any, ...]]()
        self._relation: Relation | None = None
        self._due_s = 0.0
        self._away_since_s: float | None = None
        self._backoff = Backoff(None, Random())
        self._is_measured, self._behind, self._looked_s = True, 0.0, -LOOK_EVERY_S
        self._rows, self._polls = context.counter("rows"), context.counter("polls")
        context.gauge("waiting_s", self._waiting_s)
        try:
            self._reach()
        except Unavailable as error:
            self._lost(error)
        if self._is_measured:
            context.gauge("lag", lambda: self._behind)

    def close(self) -> None:
        """Closes the connection."""
        self._database.disconnect()

    def position(self) -> bytes:
        """The cursor and key up to which all rows have ended."""
        self._polling.ended(self._context.ended_prefix())
        return self._polling.encode()

    def seek(self, position: bytes) -> None:
        """Goes on at a position."""
        self._polling.restore(position)

    # -- emission --------------------------------------------------------------------------------------------------

    def next_batch(self, limit: int) -> list[tuple[Any, ...]]:
        """The next rows."""
        if not self._waiting and self._context.monotonic() >= self._due_s:
            self._load()
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    def _load(self) -> None:
        """Reads a page.

        Raises:
            Exhausted: there is nothing new, and nobody wants to wait for it.
        """
        try:
            self._reach()
            rows = self._database.run(self._read)
        except Unavailable as error:
            return self._lost(error)
        except Exception:
            self._forget()
            raise
        self._away_since_s = None
        self._backoff.succeeded()
        self._polls.add()
        count, is_full = len(self._columns), len(rows) == self._page
        if not is_full:
            self._behind = 0.0
        fresh = self._polling.take([tuple(row[count:]) for row in rows], is_full=is_full)
        self._waiting.extend([tuple(rows[number][:count]) for number in fresh])
        self._rows.add(len(fresh))
        if is_full:
            return
        if self._every_s is None:
            if not fresh:
                raise Exhausted
        else:
            self._due_s = self._context.monotonic() + self._every_s

    def _lost(self, error: Unavailable) -> None:
        """Tells that the database is away, once an outage, and waits."""
        is_told = self._away_since_s is not None
        self._forget()
        pause_s = self._backoff.pause_s(self._context.monotonic())
        assert pause_s is not None, "it never gives up"
        self._due_s = self._context.monotonic() + pause_s
        if not is_told:
            facts = (("because", str(error)),)
            fix = "nothing is lost: reading goes on when it is back; see that it runs, and that it can be reached"
            defect = Defect("source_unavailable", f"{self._database.shown} is not available", facts, fix)
            self._context.report_error(ClusterError(defect, retryable=True))

    def _forget(self) -> None:
        self._database.disconnect()
        self._relation = None
        if self._away_since_s is None:
            self._away_since_s = self._context.monotonic()

    def _reach(self) -> Relation:
        if self._relation is None:
            self._database.connect()
            try:
                self._relation = self._checked()
            except BaseException:
                self._database.disconnect()
                raise
        return self._relation

    def _checked(self) -> Relation:
        who = f'spout "{self._context.component}"'
        names = list(dict.fromkeys([*self._columns, self._cursor, *(self._key or ())]))
        relation = Relation.of(self._database, who, self._source, names)
        if not (self._key or relation.key):
            fix = 'name what tells rows with equal cursors apart: key="id"'
            raise refused(f'{who} reads table "{self._source}", which has no primary key', fix)
        key = relation.columns[(self._key or relation.key)[0]]
        if self._context.task_count > 1 and _python_of(key) not in (int, None):
            message = f'{who} has several tasks, which share rows by key "{key.name}", and that is no whole number'
            raise refused(message, "give it one task, or a key of whole numbers with key=…")
        cursor = _python_of(relation.columns[self._cursor])
        self._is_measured = is_measured(cursor)
        if self._lag and not self._is_measured:
            message = f'{who} has lag={self._lag:g}, and cursor "{self._cursor}" is neither a number nor has it a date'
            raise refused(message, "leave lag out")
        return relation

    def _read(self) -> list[Any]:
        sqlalchemy: Any = import_module("sqlalchemy")
        relation = self._reach()
        cursor = relation.columns[self._cursor]
        key = [relation.columns[name] for name in self._key or relation.key]
        marks = [cursor, *key]
        if self._polling.wants_newest:
            self._polling.begin(self._newest(relation))
        query = sqlalchemy.select(*[relation.columns[name] for name in self._columns], *_named_apart(marks))
        query = query.select_from(relation.source).where(cursor.is_not(None))
        if (start := self._polling.start()) is not None:
            query = query.where(_from(sqlalchemy, marks, start))
        if (tasks := self._context.task_count) > 1:
            share = (key[0] % tasks + tasks) % tasks
            query = query.where(share == self._context.task_index)
        rows = list(self._database.connection.execute(query.order_by(*marks).limit(self._page)))
        now_s = self._context.monotonic()
        if self._is_measured and len(rows) == self._page and now_s >= self._looked_s + LOOK_EVERY_S:
            self._looked_s = now_s
            self._behind = behind(self._newest(relation), rows[-1][len(self._columns)])
        return rows

    def _newest(self, relation: Relation) -> Any:
        """The greatest cursor of all rows; None: there is no row."""
        sqlalchemy: Any = import_module("sqlalchemy")
        query = sqlalchemy.select(sqlalchemy.func.max(relation.columns[self._cursor])).select_from(relation.source)
        return self._database.connection.execute(query).scalar()

    def _waiting_s(self) -> float:
        since_s = self._away_since_s  # read once: the loop asks while the spout's thread goes on
        return 0.0 if since_s is None else self._context.monotonic() - since_s


def _named_apart(columns: Sequence[Any]) -> list[Any]:
    """Columns under names of their own: what is emitted may have the same ones."""
    return [column.label(f"squall_mark_{number}") for number, column in enumerate(columns)]


def _from(sqlalchemy: Any, columns: Sequence[Any], start: Start) -> Any:
    """The condition for rows after a mark; of a cursor alone, or with a key that is not ours, for that cursor too.

    Written out, as not every database uses an index to compare rows of values.
    """
    mark: Mark = start.mark
    if len(mark) != len(columns):  # of one that was kept by a topology with another key
        return columns[0] >= mark[0]
    condition = columns[-1] > mark[-1]
    for column, value in reversed(list(zip(columns[:-1], mark[:-1], strict=True))):
        condition = sqlalchemy.or_(column > value, sqlalchemy.and_(column == value, condition))
    return sqlalchemy.and_(columns[0] >= mark[0], condition)


def _python_of(column: Any) -> type | None:
    try:
        return column.type.python_type
    except Exception:  # not every type has one
        return None
