"""From table to table in real runs, with a worker that is killed: each row is there, and a next run goes on."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.component.conftest import Squall, squall, wait_until

__all__ = ["squall"]

TOPOLOGY = """
    from squall import Topology
    from squall.connectors.sql import SqlLookup, SqlSink, SqlSpout

    URL = "sqlite:///{folder}/shop.db"
    topology = Topology("copying")
    spout = SqlSpout(URL, "orders", columns=("id", "customer"), cursor="id", page=50, every=0.05)
    orders = topology.spout("orders", spout)
    names = SqlLookup(URL, "customers", keys={{"customer": "id"}}, outputs=("id", "name"))
    named = topology.bolt("names", names, parallelism=2).shuffle(orders)
    topology.bolt("save", SqlSink(URL, "named", upsert=("id",))).fields(named, "id")
"""
ROWS = 10_000


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")
        database.executemany("INSERT INTO customers VALUES (?, ?)", [(n, f"name {n}") for n in range(10)])
        database.execute("CREATE TABLE named (id INTEGER PRIMARY KEY, name TEXT)")
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", [(n, n % 10) for n in range(ROWS)])
    return file


def named(shop: Path) -> list[tuple[int, str]]:
    with sqlite3.connect(shop) as database:
        return database.execute("SELECT id, name FROM named ORDER BY id").fetchall()


def test_every_row_is_there_over_a_kill_and_the_next_run_reads_only_what_is_new(squall: Squall, shop: Path) -> None:
    text = TOPOLOGY.format(folder=shop.parent)
    run = squall.run(text, "-c", "topology.max.spout.pending=20")
    wait_until(lambda: len(named(shop)) >= 200, what="some rows")
    os.kill(run.worker_pid(), signal.SIGKILL)
    wait_until(run.lost, what="the loss of the worker")
    assert len(named(shop)) < ROWS
    wait_until(lambda: len(named(shop)) == ROWS, what="all rows")
    run.interrupt()
    assert run.end() == 0
    assert named(shop) == [(n, f"name {n % 10}") for n in range(ROWS)]
    with sqlite3.connect(shop) as database:
        database.execute("DELETE FROM named")
        database.execute("INSERT INTO orders VALUES (?, 1)", (ROWS,))
    run = squall.run(text)
    wait_until(lambda: named(shop), what="the new row")
    run.interrupt()
    assert run.end() == 0
    assert named(shop) == [(ROWS, "name 1")]
