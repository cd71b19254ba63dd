"""A bolt that adds columns of a table to each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, cast

from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery
from squall.connectors.lookup import Found, Key, Lookup, Missing
from squall.connectors.sql.address import Address, shown
from squall.connectors.sql.database import Database
from squall.connectors.sql.options import (
    checked_count,
    checked_names,
    checked_pairs,
    checked_seconds,
    checked_text,
    is_query,
    refused,
)
from squall.connectors.sql.relation import Relation
from squall.connectors.sql.sink import ANSWER_S, CONNECT_S, TESTED
from squall.errors import Defect, TopologyError, repr_of
from squall.model.durations import Seconds

DEFAULT_CACHE = 10_000
DEFAULT_TTL_S = 60.0
DEFAULT_BATCH = 500
MISSING = ("null", "drop", "dead")


class SqlLookup(Lookup):
    """Adds to each row the columns of another that has its key.

        SqlLookup(url, "customers", keys={"customer": "id"}, outputs=("order", "customer", "name", "city"))

    In: any stream with the fields of the key.
    Out: `outputs`: each is a field that comes in, or else a column of the table. A key that has several rows there puts
        out as many; one that has none is treated as `missing` says. A field that is None has none.
    Delivery: a row is acked with what it puts out. While the database is away rows wait, and the topology slows down.
    Bound: `cache` keys with their rows are kept, and `batch` more are asked for at a time.
    Cost: one query for the keys of a batch that the cache does not have, `batch` of them at a time. What the cache
        gives was asked for at most `ttl` ago, that there is nothing for a key too.
    Metrics: counters `rows`, `batches`, `hits` and `misses` (keys), gauges `cached` and `waiting_s`.
    Threading: on a thread of its own, with one connection for each task.
    Args:
        url: as `SqlSink` has it.
        source: a table, or a query, whose columns then are those of a table: `SELECT id, upper(name) AS name FROM …`.
        keys: the fields of the key, or a mapping of fields to columns; it should be indexed.
        missing: "null": the columns are None; "drop": the row is dropped, and counted; "dead": it is a dead letter.
        cache: how many keys; 0 for none.
        ttl: for how long what was found may be used.

    Raises:
        TopologyError: `sql_option` or `extra_missing`, when it is made; `sql_table_missing` or `sql_columns`, when it
            is opened.
        ConfigError: `sql_refused`, `secret_missing` or `secret_unusable`, when it is opened.
    """

    delivery = Delivery(
        guarantee="a row is acked with what it puts out",
        order="rows of a task in their order",
        restart="nothing is lost; the cache begins empty",
        tested=TESTED,
    )

    def __init__(
        self,
        url: str,
        source: str,
        *,
        keys: Sequence[str] | Mapping[str, str],
        outputs: Sequence[str],
        missing: Missing = "null",
        cache: int = DEFAULT_CACHE,
        ttl: Seconds = DEFAULT_TTL_S,
        batch: int = DEFAULT_BATCH,
        timeout: Seconds = ANSWER_S,
    ) -> None:
        who = "SqlLookup"
        self._address = Address.of(who, url)
        self._source = checked_text(who, "source", source, '"customers", or a query')
        self._keys = checked_pairs(who, "keys", keys)
        if not isinstance(cast("object", missing), str) or missing not in MISSING:
            raise refused(f"{who} has missing={repr_of(missing)}", f"choose among {', '.join(MISSING)}")
        self._chunk = checked_count(who, "batch", batch)
        self._answer_s = checked_seconds(who, "timeout", timeout)
        most = checked_count(who, "cache", cache, at_least=0)
        ttl_s = checked_seconds(who, "ttl", ttl)
        super().__init__(tuple(self._keys), checked_names(who, "outputs", outputs), missing, most, ttl_s)

    def where(self) -> str:
        """The database and the table."""
        what = "a query" if is_query(self._source) else f'table "{self._source}"'
        return f"{what} of {shown(self._address.text)}"

    def open(self, context: TopologyContext) -> None:
        """Connects, and sees that the columns are there."""
        self._database = Database(self._address, CONNECT_S, self._answer_s, context)
        self._relation: Relation | None = None
        super().open(context)

    def connect(self) -> None:
        """Connects, and looks at the table."""
        who = f'bolt "{self.context.component}"'
        self._database.connect()
        try:
            for types in self.context.inputs.values():
                if absent := [name for name in self._keys if name not in types]:
                    message = f"{who} has keys={tuple(self._keys)!r}, and no {', '.join(absent)} comes in"
                    fix = "name fields of the stream; keys={field: column} if the column is called otherwise"
                    raise TopologyError(Defect("sql_columns", message, (("fields", ", ".join(types)),), fix))
            added = {name for types in self.context.inputs.values() for name in self.added(types)}
            names = list(dict.fromkeys([*self._keys.values(), *added]))
            self._relation = Relation.of(self._database, who, self._source, names)
        except BaseException:
            self._database.disconnect()
            raise

    def disconnect(self) -> None:
        """Closes the connection."""
        self._database.disconnect()

    def find(self, keys: Sequence[Key], columns: Sequence[str]) -> dict[Key, Found]:
        """Asks for keys that differ."""
        found: dict[Key, list[tuple[Any, ...]]] = {}
        for at in range(0, len(keys), self._chunk):
            chunk = keys[at : at + self._chunk]
            for key, row in self._matched(chunk, columns):
                found.setdefault(key, []).append(row)
        return {**found}

    def _matched(self, keys: Sequence[Key], added: Sequence[str]) -> Iterator[tuple[Key, tuple[Any, ...]]]:
        """Rows with the keys that they were found by: what a database takes for equal Python need not."""
        alike: dict[Key, list[Key]] = {}
        exact = set(keys)
        for key in keys:
            alike.setdefault(_folded(key), []).append(key)
        count = len(self._keys)
        for row in self._database.run(lambda: self._asked(keys, added)):
            key = tuple(row[:count])
            for same in (key,) if key in exact else alike.get(_folded(key), ()):
                yield same, tuple(row[count:])

    def _asked(self, keys: Sequence[Key], added: Sequence[str]) -> list[Any]:
        sqlalchemy: Any = import_module("sqlalchemy")
        assert self._relation is not None, "connected"
        relation = self._relation
        columns = [relation.columns[name] for name in self._keys.values()]
        wanted = [relation.columns[name] for name in added]
        if len(columns) == 1:
            condition = columns[0].in_([key[0] for key in keys])
        else:
            condition = sqlalchemy.tuple_(*columns).in_(keys)
        query = sqlalchemy.select(*columns, *wanted).select_from(relation.source).where(condition)
        return list(self._database.connection.execute(query))


def _folded(key: Key) -> Key:
    return tuple([str(value).casefold().rstrip() for value in key])
