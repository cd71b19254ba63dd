"""`SqlLookup` against real databases."""

from __future__ import annotations

from typing import Any

import pytest
from squall import Topology
from squall.connectors.sql import SqlLookup
from squall.errors import SquallError
from squall.testing import LocalCluster

from .sql_places import DATABASES, Place, place_of, run_until

FIELDS = {"order": int, "customer": int}
OUTPUTS = ("order", "customer", "name", "city")


@pytest.fixture(params=DATABASES)
def place(request: pytest.FixtureRequest) -> Place:
    return place_of(request.param, request)


@pytest.fixture
def customers(place: Place) -> str:
    table = place.table("id INTEGER PRIMARY KEY, name VARCHAR(20), city VARCHAR(20), zone INTEGER", "customers")
    values = [f"({n}, 'name {n}', {'NULL' if n % 3 == 0 else repr(f'city {n}')}, {n % 4})" for n in range(20)]
    place.run(f"INSERT INTO {table} VALUES {', '.join(values)}")
    return table


def looking(bolt: SqlLookup, rows: list[Any], fields: Any = FIELDS) -> LocalCluster:
    topology = Topology("selling")
    source = topology.spout("rows", lambda: iter(()), outputs=fields)
    topology.bolt("sql", bolt).shuffle(source)
    return LocalCluster(topology, mock_sources={"rows": rows}, simulated_time=False)


def looked_up(bolt: SqlLookup, rows: list[Any], fields: Any = FIELDS) -> tuple[list[tuple[Any, ...]], list[str]]:
    """What comes out, and the errors of the dead letters."""
    with looking(bolt, rows, fields) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) + len(cluster.dead_letters()) == len(rows), "the end")
        return cluster.emitted("sql"), [one.error for one in cluster.dead_letters()]


def test_columns_are_added_and_keys_without_a_row_have_none(place: Place, customers: str) -> None:
    bolt = SqlLookup(place.url, customers, keys={"customer": "id"}, outputs=OUTPUTS, batch=7)
    out, _ = looked_up(bolt, [(n, n % 25) for n in range(100)] + [(100, None)])
    assert out[:100] == [
        (n, k, None if k >= 20 else f"name {k}", None if k >= 20 or k % 3 == 0 else f"city {k}")
        for n, k in ((n, n % 25) for n in range(100))
    ]
    assert out[100] == (100, None, None, None)


@pytest.mark.parametrize("missing", ["drop", "dead"])
def test_a_row_without_another_is_dropped_or_a_dead_letter(place: Place, customers: str, missing: Any) -> None:
    bolt = SqlLookup(place.url, customers, keys={"customer": "id"}, outputs=("name", "order"), missing=missing)
    out, letters = looked_up(bolt, [(1, 5), (2, 99), (3, 6)])
    assert out == [("name 5", 1), ("name 6", 3)]
    assert len(letters) == (missing == "dead")
    assert not letters or "customer 99" in letters[0]


def test_a_key_of_several_columns_may_have_several_rows_and_the_source_be_a_query(place: Place, customers: str) -> None:
    query = f"SELECT zone, city, id AS found FROM {customers} WHERE id < 12; "
    bolt = SqlLookup(place.url, query, keys=("zone", "city"), outputs=("n", "found"))
    out, _ = looked_up(bolt, [(1, 1, "city 1"), (2, 3, "city 7"), (3, 2, "city 1")], ("n", "zone", "city"))
    assert out == [(1, 1), (2, 7), (3, None)]
    several = SqlLookup(place.url, query, keys=("zone",), outputs=("n", "found"))
    out, _ = looked_up(several, [(1, 1)], ("n", "zone"))
    assert sorted(out) == [(1, 1), (1, 5), (1, 9)]


def test_what_is_cached_is_not_asked_for_again_before_its_time_is_over(place: Place, customers: str) -> None:
    """In simulated time, so that a minute passes at once."""
    topology = Topology("selling")
    source = topology.spout("rows", lambda: iter(()), outputs=FIELDS)
    bolt = SqlLookup(place.url, customers, keys={"customer": "id"}, outputs=("name",), ttl=60)
    topology.bolt("sql", bolt).shuffle(source)
    with LocalCluster(topology, mock_sources={"rows": []}) as cluster:

        def name_of(key: int) -> Any:
            cluster.feed("rows", [(0, key)])
            cluster.run_until_idle()
            return cluster.emitted("sql")[-1][0]

        assert (name_of(1), name_of(77)) == ("name 1", None)
        place.run(f"UPDATE {customers} SET name = 'new' WHERE id = 1", f"INSERT INTO {customers} (id) VALUES (77)")
        place.run(f"UPDATE {customers} SET name = 'late' WHERE id = 77")
        cluster.advance(59)
        assert (name_of(1), name_of(77)) == ("name 1", None)
        cluster.advance(1)
        assert (name_of(1), name_of(77)) == ("new", "late")


def test_a_key_that_the_database_cannot_compare_is_a_dead_letter_alone(place: Place, customers: str) -> None:
    bolt = SqlLookup(place.url, customers, keys={"customer": "id"}, outputs=("name",))
    out, letters = looked_up(bolt, [(1, 5), (2, [1]), (3, 6)], ("order", "customer"))
    assert out == [("name 5",), ("name 6",)]
    assert len(letters) == 1


def refusal(bolt: SqlLookup) -> SquallError:
    with pytest.raises(SquallError) as ended, looking(bolt, []):
        pass
    return ended.value


def test_wrong_tables_columns_fields_and_queries_are_refused_when_it_opens(place: Place, customers: str) -> None:
    key = {"customer": "id"}
    missing = refusal(SqlLookup(place.url, "nowhere", keys=key, outputs=("name",)))
    assert missing.code == "sql_table_missing"
    column = refusal(SqlLookup(place.url, customers, keys=key, outputs=("nmae",)))
    assert (column.code, "name" in str(column)) == ("sql_columns", True)
    field = refusal(SqlLookup(place.url, customers, keys={"client": "id"}, outputs=("name",)))
    assert (field.code, "order, customer" in str(field)) == ("sql_columns", True)
    query = refusal(SqlLookup(place.url, "SELECT id, name FROM nowhere", keys=key, outputs=("name",)))
    assert query.code == "sql_refused"
