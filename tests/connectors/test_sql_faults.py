"""SQL connectors while a server dies, is silent, is slow or full."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from servers import Mariadb, Postgresql
from squall import Topology
from squall.connectors.sql import SqlLookup, SqlSink, SqlSpout
from squall.testing import LocalCluster

from tests.component.conftest import wait_until

from .sql_places import Place, run_until, through

FIELDS = {"id": int, "name": str}
KEYS = 500
ROWS = [(n % KEYS, f"{n}") for n in range(40_000)]


def last(rows: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return sorted(dict(rows).items())


@contextlib.contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[threading.Event]:
    """Does something on another thread: this one drives the cluster, which waits while a bolt does."""
    done = threading.Event()

    def run() -> None:
        try:
            act()
        finally:
            done.set()

    with ThreadPoolExecutor(1) as thread:
        acting = thread.submit(run)
        yield done
        acting.result()


def mended(cluster: LocalCluster, words: str, mend: Callable[[], object]) -> contextlib.AbstractContextManager[Any]:
    """Mends what an error with these words was told of."""

    def act() -> None:
        (error, *_) = wait_until(cluster.errors, what="an error")
        assert words in f"{error.error}{error.traceback}"
        mend()

    return meanwhile(act)


def upserted_meanwhile(server: Any, place: Place, disturb: Any, **options: Any) -> list[str]:
    """Upserts rows while a server is disturbed; the errors that were told."""
    table = place.table("id INTEGER PRIMARY KEY, name VARCHAR(20)")
    sink = SqlSink(place.url, table, upsert=("id",), batch=200, **options)
    with through(sink, [], FIELDS) as cluster:
        cluster.feed("rows", ROWS[:5000])
        run_until(cluster, lambda: len(cluster.acked("rows")) >= 1000, "the first rows")
        with meanwhile(disturb) as done:
            at = 5000
            while not done.is_set() or at < len(ROWS):
                if at < len(ROWS):
                    cluster.feed("rows", ROWS[at : at + 1000])
                    at += 1000
                cluster.advance(0.01)
        run_until(cluster, lambda: len(cluster.acked("rows")) == len(ROWS), "the end of all rows", 60)
        assert cluster.dead_letters() == []
        assert cluster.failed("rows") == []
        told = [f"{report.error}{report.traceback}" for report in cluster.errors()]
    assert sorted(place.rows(f"SELECT id, name FROM {table}")) == last(ROWS)
    return told


def test_a_server_that_is_killed_and_comes_again_costs_nothing(own_postgresql: Postgresql) -> None:
    def disturb() -> None:
        for _ in range(2):
            own_postgresql.kill()
            own_postgresql.start()

    told = upserted_meanwhile(own_postgresql, Place("postgresql", own_postgresql.url), disturb)
    assert any("not available" in one for one in told)
    assert not any(own_postgresql.password in one for one in told)


def test_a_server_that_is_silent_is_given_up_and_what_it_still_had_is_not_written_later(
    own_postgresql: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is suspended for longer than the sink waits for an answer, and then goes on with what was sent to it."""
    monkeypatch.setattr("squall.connectors.sql.dialects.base.Limits.silence_s", 1.0)

    def disturb() -> None:
        own_postgresql.suspend()
        time.sleep(3)  # how long it is silent, not how long something takes
        own_postgresql.resume()

    told = upserted_meanwhile(own_postgresql, Place("postgresql", own_postgresql.url), disturb)
    assert any("no answer within 1 s" in one or "timeout" in one for one in told), told


def test_a_connection_that_was_given_up_is_ended_by_the_server_before_another_writes(
    own_postgresql: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each would wait for the lock, and write when it is gone: rows that are older than what was written since."""
    monkeypatch.setattr("squall.connectors.sql.dialects.base.Limits.silence_s", 0.3)
    place = Place("postgresql", own_postgresql.url)
    table = place.table("id INTEGER PRIMARY KEY, name TEXT")
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'squall selling/sql/0'"
    pids, most = set[int](), 0
    with psycopg.connect(own_postgresql.dsn) as other, through(SqlSink(place.url, table), [], FIELDS) as cluster:
        other.execute(f"LOCK TABLE {table}")

        def look() -> None:
            nonlocal most
            deadline_s = time.monotonic() + 20
            while len(pids) < 4 and time.monotonic() < deadline_s:
                found = place.rows(query)
                pids.update(pid for (pid,) in found)
                most = max(most, len(found))
            other.rollback()

        cluster.feed("rows", [(1, "a")])
        with meanwhile(look):
            run_until(cluster, lambda: cluster.acked("rows"), "the row")
    assert len(pids) >= 4
    assert most <= 2  # one that is about to be ended, and the one that ends it


@pytest.mark.servers
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", [Postgresql, Mariadb])
def test_a_server_that_is_silent_for_30_s_costs_nothing(kind: Any) -> None:
    with kind() as server:

        def disturb() -> None:
            server.suspend()
            time.sleep(30)
            server.resume()

        upserted_meanwhile(server, Place(server.name, server.url), disturb, timeout=5)


@pytest.mark.servers
def test_a_mariadb_that_is_killed_and_comes_again_costs_nothing(own_mariadb: Mariadb) -> None:
    def disturb() -> None:
        own_mariadb.kill()
        own_mariadb.start()

    upserted_meanwhile(own_mariadb, Place("mariadb", own_mariadb.url), disturb)


def test_lookups_and_polls_go_on_when_a_server_that_was_killed_is_back(own_postgresql: Postgresql) -> None:
    place = Place("postgresql", own_postgresql.url)
    table = place.table("id INTEGER PRIMARY KEY, name VARCHAR(20)")
    place.run(f"INSERT INTO {table} SELECT n, 'name ' || n FROM generate_series(0, 9999) AS n")
    topology = Topology("reading")
    rows = topology.spout("rows", SqlSpout(place.url, table, columns=("id",), cursor="id", page=100, every=0.1))
    looked = SqlLookup(place.url, table, keys=("id",), outputs=("id", "name"), cache=0)
    topology.bolt("sql", looked).shuffle(rows)
    with LocalCluster(topology, simulated_time=False) as cluster:
        run_until(cluster, lambda: len(cluster.emitted("sql")) >= 1000, "the first rows")
        own_postgresql.kill()
        with meanwhile(own_postgresql.start):
            run_until(cluster, lambda: len(cluster.emitted("sql")) == 10_000, "all rows", 60)
        assert sorted(cluster.emitted("sql")) == [(n, f"name {n}") for n in range(10_000)]
        assert cluster.dead_letters() == []


def test_a_statement_that_waits_for_a_lock_longer_than_it_may_is_tried_until_it_goes_through(
    own_postgresql: Postgresql,
) -> None:
    place = Place("postgresql", own_postgresql.url)
    table = place.table("id INTEGER PRIMARY KEY, name TEXT")
    sink = SqlSink(place.url, table, timeout=0.3)
    with psycopg.connect(own_postgresql.dsn) as other, through(sink, [], FIELDS) as cluster:
        other.execute(f"LOCK TABLE {table}")
        cluster.feed("rows", [(1, "a")])
        with mended(cluster, "statement timeout", other.rollback):
            run_until(cluster, lambda: cluster.acked("rows"), "the row")
        assert cluster.dead_letters() == []


def test_a_table_that_is_dropped_and_made_again_is_waited_for(own_postgresql: Postgresql) -> None:
    place = Place("postgresql", own_postgresql.url)
    table = place.table("id INTEGER PRIMARY KEY, name TEXT")
    with through(SqlSink(place.url, table, upsert=("id",)), [], FIELDS) as cluster:
        place.run(f"DROP TABLE {table}")
        cluster.feed("rows", [(1, "a")])
        again = f"CREATE TABLE {table} (name TEXT, id BIGINT PRIMARY KEY)"
        with mended(cluster, "does not exist", lambda: place.run(again)):
            run_until(cluster, lambda: cluster.acked("rows"), "the row")
    assert place.rows(f"SELECT id, name FROM {table}") == [(1, "a")]


def test_a_sink_begins_while_the_server_is_down_and_writes_when_it_is_there(own_postgresql: Postgresql) -> None:
    place = Place("postgresql", own_postgresql.url)
    table = place.table("id INTEGER PRIMARY KEY, name TEXT")
    own_postgresql.stop()
    with through(SqlSink(place.url, table), [], FIELDS) as cluster:
        cluster.feed("rows", [(1, "a")])
        with mended(cluster, "not available", own_postgresql.start):
            run_until(cluster, lambda: cluster.acked("rows"), "the row")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_rows_wait_while_the_disk_of_sqlite_is_full(small_disk: Path) -> None:
    place = Place("sqlite", f"sqlite:///{small_disk}/shop.db")
    table = place.table("id INTEGER PRIMARY KEY, name TEXT")
    rows = [(n, "x" * 1000) for n in range(700)]
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * (3 << 19))
    with through(SqlSink(place.url, table, batch=100), rows, FIELDS) as cluster:
        with mended(cluster, "full", ballast.unlink):
            run_until(cluster, lambda: len(cluster.acked("rows")) == 700, "all rows")
        assert cluster.dead_letters() == []
    assert place.rows(f"SELECT count(*) FROM {table}") == [(700,)]


def test_rows_wait_while_the_disk_of_postgresql_is_full(own_postgresql: Postgresql, small_disk: Path) -> None:
    place = Place("postgresql", own_postgresql.url)
    shutil.chown(small_disk, "nobody", "nogroup")
    for parent in small_disk.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    with psycopg.connect(own_postgresql.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        connection.execute("CREATE TABLE full_orders (id INTEGER, name TEXT) TABLESPACE small")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * (1 << 20))
    rows = [(n, os.urandom(500).hex()) for n in range(1200)]
    with through(SqlSink(place.url, "full_orders", batch=100), rows, FIELDS) as cluster:
        with mended(cluster, "No space left", ballast.unlink):
            run_until(cluster, lambda: len(cluster.acked("rows")) == 1200, "all rows")
        assert cluster.dead_letters() == []
    assert place.rows("SELECT count(*), count(DISTINCT id) FROM full_orders") == [(1200, 1200)]
    place.run("DROP TABLE full_orders")
