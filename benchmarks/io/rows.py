"""Sentences whose words are counted, a row for each into PostgreSQL or a file, over the bare client that does the same.

Both run in this process, one after the other, in pairs; CPU is that of the process. The bare client takes the same
sentences, counts by the same function, makes its rows known to the same server by the same statement, or to the disk by
the same call, and does so for as many rows at once as the sink does.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from servers import PostgresqlAddress, fresh
from squall import Bolt, Topology
from squall.connectors.files import FileSink
from squall.connectors.sql import SqlSink

from benchmarks.files import run
from benchmarks.harness import Ratio, paired
from benchmarks.io.clients.timing import Words
from benchmarks.workloads import MASK, PICK

BATCH = 1024

IDS = 20_000

Row = tuple[int, str, int]


def sentences(count: int) -> Iterator[tuple[int, str]]:
    """The source of both. An id comes again, later than in the same batch."""
    for number in range(count):
        yield number % IDS, PICK[number & MASK]


class Count(Bolt):
    """Counts the words of a sentence, and says how often it saw the last one."""

    outputs = ("id", "sentence", "seen")

    def __init__(self) -> None:
        self.count = Words().count

    def process(self, id, sentence):
        return id, sentence, self.count(sentence)


class Same(Bolt):
    """Does nothing: what is left is what the sink, and all around it, costs."""

    outputs = ("id", "sentence", "seen")

    def process(self, id, sentence):
        return id, sentence, 1


def counted(count: int, *, works: bool) -> Iterator[Row]:
    """The rows of the bare client."""
    seen = Words().count if works else lambda _: 1
    for number, sentence in sentences(count):
        yield number, sentence, seen(sentence)


def batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows, as many as are confirmed at once."""
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def topology(count: int, sink: Bolt, *, works: bool) -> Topology:
    """Sentences, what counts them, and a sink."""
    made = Topology("rows")
    source = made.spout("sentences", lambda: sentences(count), outputs=("id", "sentence"))
    made.bolt("sink", sink).shuffle(made.bolt("count", Count if works else Same).shuffle(source))
    return made


# -- files ---------------------------------------------------------------------------------------------------------


def plain_file(path: Path, count: int, works: bool) -> None:
    """Writes lines, and syncs each batch."""
    path.unlink(missing_ok=True)
    with path.open("wb", buffering=0) as file:
        for batch in batches(counted(count, works=works)):
            file.write("".join([f"{number}\t{sentence}\t{seen}\n" for number, sentence, seen in batch]).encode())
            os.fsync(file.fileno())


def squall_file(path: Path, work: Path, count: int, works: bool) -> float:
    """The same by `FileSink`; CPU seconds."""
    path.unlink(missing_ok=True)
    seconds = run(topology(count, FileSink(path), works=works), work)
    written = path.read_bytes().count(b"\n")
    assert written == count, f"{written} of {count} rows"
    return seconds


def files(count: int, pairs: int, *, works: bool = True) -> Ratio:
    """CPU of `FileSink` over the plain loop."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = functools.partial(plain_file, folder / "plain.txt", count, works)
        variant = functools.partial(squall_file, folder / "out.txt", folder / "work", count, works)
        return paired(plain, variant, pairs)


# -- PostgreSQL ----------------------------------------------------------------------------------------------------

TABLE = "CREATE TABLE {} (id bigint PRIMARY KEY, sentence text NOT NULL, seen bigint NOT NULL)"
CONFLICT = "ON CONFLICT (id) DO UPDATE SET sentence = excluded.sentence, seen = excluded.seen"


def all_at_once(cursor, table: str, batch: list[Row]) -> None:
    """One statement with a parameter for each column: the cheapest way that there is."""
    rows = "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[])"
    columns = [list(column) for column in zip(*batch, strict=True)]
    cursor.execute(f"INSERT INTO {table} (id, sentence, seen) {rows} {CONFLICT}", columns)


def one_by_one(cursor, table: str, batch: list[Row]) -> None:
    """The way that most programs have, which psycopg sends without waiting for each."""
    cursor.executemany(f"INSERT INTO {table} (id, sentence, seen) VALUES (%s, %s, %s) {CONFLICT}", batch)


def plain_sql(postgresql: PostgresqlAddress, table: str, count: int, upsert: Callable[..., None]) -> None:
    """Upserts rows with psycopg, and commits each batch."""
    import psycopg

    with psycopg.connect(postgresql.dsn) as connection, connection.cursor() as cursor:
        for batch in batches(counted(count, works=True)):
            upsert(cursor, table, batch)
            connection.commit()


def sql(postgresql: PostgresqlAddress, count: int, pairs: int, upsert: Callable[..., None] = all_at_once) -> Ratio:
    """CPU of `SqlSink` over psycopg."""
    import psycopg

    tables = fresh("plain"), fresh("squall")
    with psycopg.connect(postgresql.dsn, autocommit=True) as connection, tempfile.TemporaryDirectory() as name:
        for table in tables:
            connection.execute(TABLE.format(table))

        def variant() -> float:
            connection.execute(f"TRUNCATE {tables[1]}")
            sink = SqlSink(postgresql.dsn, tables[1], upsert=("id",), batch=BATCH)
            seconds = run(topology(count, sink, works=True), Path(name))
            plain_rows, our_rows = (
                connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in tables
            )
            assert our_rows == plain_rows, "rows differ"
            return seconds

        return paired(lambda: plain_sql(postgresql, tables[0], count, upsert), variant, pairs)
