"""`SqlSpout` against real databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from squall import Bolt, Topology
from squall.connectors.sql import SqlSpout
from squall.connectors.sql.polling import Polling
from squall.errors import SquallError
from squall.testing import LocalCluster

from .sql_places import DATABASES, Place, place_of, run_until

NOON = datetime(2025, 3, 1, 12)


@pytest.fixture(params=DATABASES)
def place(request: pytest.FixtureRequest) -> Place:
    return place_of(request.param, request)


@pytest.fixture
def orders(place: Place) -> str:
    moment = {"sqlite": "DATETIME", "postgresql": "TIMESTAMP", "mariadb": "DATETIME(6)"}[place.kind]
    return place.table(f"id INTEGER PRIMARY KEY, name VARCHAR(20), at {moment}")


def add(place: Place, table: str, ids: Any, at: Callable[[int], datetime] = lambda _n: NOON) -> None:
    values = [f"({n}, 'name {n}', '{at(n).isoformat(' ', 'microseconds')}')" for n in ids]
    place.run(f"INSERT INTO {table} VALUES {', '.join(values)}")


def reading(spout: SqlSpout, tasks: int = 1) -> LocalCluster:
    topology = Topology("reading")
    source = topology.spout("rows", spout, parallelism=tasks)
    topology.bolt("take", lambda id: id, outputs=("id",)).shuffle(source)
    return LocalCluster(topology, simulated_time=False)


def ids(cluster: LocalCluster) -> list[int]:
    return [row[0] for row in cluster.emitted("take")]


def test_all_rows_are_read_by_pages_and_those_that_come_later(place: Place, orders: str) -> None:
    add(place, orders, range(25))
    spout = SqlSpout(place.url, orders, columns=("name", "id"), cursor="id", page=10, every=0.02)
    with reading(spout) as cluster:
        run_until(cluster, lambda: len(ids(cluster)) == 25, "the rows that were there")
        add(place, orders, range(25, 30))
        run_until(cluster, lambda: len(ids(cluster)) == 30, "the rows that came")
        assert ids(cluster) == list(range(30))


def test_equal_cursors_are_told_apart_by_the_key_over_pages(place: Place, orders: str) -> None:
    add(place, orders, range(25), lambda n: NOON + timedelta(seconds=n // 10))
    spout = SqlSpout(place.url, orders, columns=("id",), cursor="at", page=3, every=None)
    with reading(spout) as cluster:
        cluster.run_until_idle()
        assert ids(cluster) == list(range(25))


def test_a_row_that_is_committed_late_is_found_within_the_lag_and_once(place: Place, orders: str) -> None:
    add(place, orders, [5])
    spout = SqlSpout(place.url, orders, columns=("id",), cursor="at", lag=60, every=0.02)
    with reading(spout) as cluster:
        run_until(cluster, lambda: ids(cluster) == [5], "the first row")
        add(place, orders, [1])  # an equal cursor, and a key before
        add(place, orders, [2], lambda _n: NOON - timedelta(seconds=59))
        add(place, orders, [3], lambda _n: NOON - timedelta(seconds=61))
        run_until(cluster, lambda: len(ids(cluster)) == 3, "the late rows")
        add(place, orders, [9], lambda _n: NOON + timedelta(seconds=1))
        run_until(cluster, lambda: 9 in ids(cluster), "a new row")
        assert sorted(ids(cluster)) == [1, 2, 5, 9]


def test_a_changed_row_comes_again_with_its_new_cursor(place: Place, orders: str) -> None:
    add(place, orders, [1, 2])
    spout = SqlSpout(place.url, orders, columns=("id",), cursor="at", every=0.02)
    with reading(spout) as cluster:
        run_until(cluster, lambda: len(ids(cluster)) == 2, "the rows")
        place.run(f"UPDATE {orders} SET at = '2025-03-01 12:00:01.000000' WHERE id = 1")
        run_until(cluster, lambda: ids(cluster) == [1, 2, 1], "the changed row")


def test_a_query_is_read_from_where_it_is_told_to_begin(place: Place, orders: str) -> None:
    add(place, orders, range(10))
    query = f"SELECT id AS number, name AS id FROM {orders} WHERE id <> 7"
    spout = SqlSpout(place.url, query, columns=("id",), cursor="number", key="number", begin=5, every=None)
    with reading(spout) as cluster:
        cluster.run_until_idle()
        assert ids(cluster) == ["name 5", "name 6", "name 8", "name 9"]


def test_tasks_share_the_rows(place: Place, orders: str) -> None:
    add(place, orders, range(-5, 25))
    spout = SqlSpout(place.url, orders, columns=("id",), cursor="id", every=None)
    with reading(spout, tasks=3) as cluster:
        cluster.run_until_idle()
        assert sorted(ids(cluster)) == list(range(-5, 25))


def test_wrong_tables_columns_and_keys_are_refused_when_it_opens(place: Place, orders: str) -> None:
    def refusal(source: str, tasks: int = 1, **options: Any) -> SquallError:
        spout = SqlSpout(place.url, source, **{"columns": ("id",), "cursor": "id", **options})
        with pytest.raises(SquallError) as ended, reading(spout, tasks):
            pass
        return ended.value

    keyless = place.table("id INTEGER, name VARCHAR(20)")
    assert refusal("nowhere").code == "sql_table_missing"
    assert refusal(orders, columns=("id", "nmae")).code == "sql_columns"
    assert refusal(orders, cursor="updated").code == "sql_columns"
    assert "no primary key" in str(refusal(keyless))
    assert "whole number" in str(refusal(orders, key="name", tasks=2))
    assert "is neither a number" in str(refusal(orders, cursor="name", lag=1))


class Hold(Bolt):
    """Acks nothing, so that no more is read than may be pending."""

    manual_ack = True
    hold_max = 3600.0

    def process(self, id: int) -> None:
        pass


@pytest.mark.parametrize("cursor", ["id", "at"])
def test_lag_says_how_far_the_newest_row_is_ahead_while_there_are_more_pages(
    place: Place, orders: str, cursor: str
) -> None:
    add(place, orders, range(100), lambda n: NOON + timedelta(seconds=n))
    topology = Topology("reading", settings={"topology.max.spout.pending": 10})
    spout = SqlSpout(place.url, orders, columns=("id",), cursor=cursor, page=10, every=0.02)
    topology.bolt("hold", Hold).shuffle(topology.spout("rows", spout))
    with LocalCluster(topology, simulated_time=False) as cluster:
        run_until(cluster, lambda: cluster.metrics()["rows"]["user"]["lag"] == 90, "the lag")
    with reading(spout) as cluster:
        run_until(cluster, lambda: len(ids(cluster)) == 100, "all rows")
        run_until(cluster, lambda: cluster.metrics()["rows"]["user"]["lag"] == 0, "no lag")


def test_text_cursors_have_no_lag(place: Place, orders: str) -> None:
    add(place, orders, range(10))
    with reading(SqlSpout(place.url, orders, columns=("id",), cursor="name", every=None)) as cluster:
        run_until(cluster, lambda: len(ids(cluster)) == 10, "all rows")
        assert "lag" not in cluster.metrics()["rows"]["user"]


def test_a_position_of_another_key_goes_on_with_all_rows_of_its_cursor(place: Place, orders: str) -> None:
    add(place, orders, range(10), lambda n: NOON + timedelta(seconds=n // 5))
    old = Polling(0)
    old.take([(NOON + timedelta(seconds=1), 7, "name 7")], is_full=False)
    old.ended(1)
    topology = Topology("reading")
    source = topology.spout("rows", SqlSpout(place.url, orders, columns=("id",), cursor="at", every=None))
    topology.bolt("take", lambda id: id, outputs=("id",)).shuffle(source)
    with LocalCluster(topology, simulated_time=False, positions={"rows": old.encode()}) as cluster:
        run_until(cluster, lambda: len(ids(cluster)) == 5, "the rows of the cursor")
        assert ids(cluster) == [5, 6, 7, 8, 9]
