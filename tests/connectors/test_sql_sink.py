"""`SqlSink` against real databases."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from servers import PostgresqlAddress, fresh
from squall import Topology
from squall.connectors.contract import Transactional
from squall.connectors.sql import SqlSink
from squall.errors import ConfigError, DeadLetter, SquallError
from squall.testing import LocalCluster

from .sql_places import DATABASES, Place, place_of, run_until, send, through

FIELDS = {"id": int, "name": str}


@pytest.fixture(params=DATABASES)
def place(request: pytest.FixtureRequest) -> Place:
    return place_of(request.param, request)


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Place:
    return place_of("postgresql", request)


def refusal(sink: SqlSink, fields: Any = FIELDS) -> SquallError:
    """What a sink is refused with when it is opened."""
    with pytest.raises(SquallError) as ended, through(sink, [], fields):
        pass
    return ended.value


# -- rows --------------------------------------------------------------------------------------------------------------


def test_rows_are_inserted_in_their_order(place: Place) -> None:
    table = place.table("seen INTEGER, id INTEGER, name VARCHAR(20)")
    rows = [(n, f"name {n}") for n in range(2500)]
    assert send(SqlSink(place.url, table, columns={"name": "name", "id": "seen"}), rows, FIELDS) == []
    assert sorted(place.rows(f"SELECT seen, name FROM {table}")) == sorted(rows)


def test_an_upsert_replaces_and_the_last_of_a_batch_wins(place: Place) -> None:
    table = place.table("id INTEGER PRIMARY KEY, name VARCHAR(20)")
    rows = [(n % 7, f"{n}") for n in range(1000)]
    for _ in range(2):
        assert send(SqlSink(place.url, table, upsert=("id",)), rows, FIELDS) == []
    assert sorted(place.rows(f"SELECT id, name FROM {table}")) == sorted(dict(rows).items())


def test_an_upsert_by_several_columns_with_no_other_leaves_what_is_there(place: Place) -> None:
    table = place.table("id INTEGER, name VARCHAR(20), UNIQUE (name, id)")
    for _ in range(2):
        assert send(SqlSink(place.url, table, upsert=("id", "name")), [(1, "a"), (1, "b")] * 3, FIELDS) == []
    assert sorted(place.rows(f"SELECT id, name FROM {table}")) == [(1, "a"), (1, "b")]


def test_rows_that_the_database_refuses_are_dead_letters_and_the_others_of_the_batch_go_through(place: Place) -> None:
    table = place.table("id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL, CHECK (id <> 13)")
    rows: list[Any] = [(n, f"{n}") for n in range(20)]
    rows[5] = (5, None)
    rows[7] = (3, "again")
    letters = send(SqlSink(place.url, table), rows, FIELDS)
    assert len(letters) == 3
    assert any("name" in letter for letter in letters), letters
    assert [row[0] for row in place.rows(f"SELECT id, name FROM {table} ORDER BY id")] == [
        n for n in range(20) if n not in (5, 7, 13)
    ]


def test_a_value_that_does_not_fit_is_a_dead_letter(place: Place) -> None:
    table = place.table("id INTEGER PRIMARY KEY, name VARCHAR(5), CHECK (length(name) <= 5)")
    rows: list[Any] = [(1, "good"), (2, "too long for it"), (10**30, "big"), (4, object), (5, "end")]
    letters = send(SqlSink(place.url, table), rows, ("id", "name"))
    assert len(letters) == 3, letters
    assert place.rows(f"SELECT id, name FROM {table} ORDER BY id") == [(1, "good"), (5, "end")]


def test_a_value_of_a_secret_field_is_not_in_the_databases_words(postgres: Place) -> None:
    table = postgres.table("id INTEGER, api_key INTEGER")
    (letter,) = send(SqlSink(postgres.url, table), [(1, "hush-hush")], ("id", "api_key"))
    assert "hush-hush" not in letter
    assert "invalid input syntax" in letter


def test_values_of_all_kinds_come_back_as_they_went(place: Place) -> None:
    types = {"n": int, "x": float, "price": Decimal, "name": str, "raw": bytes, "day": date, "is_new": bool}
    values = (2**40, 0.1, Decimal("12.5000000000"), "ä\"\\%s:x'", b"\x00\xff\\", date(2025, 3, 1), True)
    table = fresh("kinds")
    assert send(SqlSink(place.url, table, create=True), [values, (None,) * 7], types) == []
    found, empty = place.rows(f"SELECT {', '.join(types)} FROM {table} ORDER BY n IS NULL")
    assert empty == (None,) * 7
    if place.kind == "sqlite":  # it has no such types
        found = (*found[:2], Decimal(str(found[2])), *found[3:5], date.fromisoformat(found[5]), bool(found[6]))
    assert tuple(found) == values


def test_postgresql_takes_json_arrays_uuids_and_times_with_and_without_a_zone(postgres: Place) -> None:
    table = postgres.table(
        "tags TEXT[], grid INTEGER[][], doc JSONB, id UUID, at TIMESTAMPTZ, local TIMESTAMP, code VARCHAR(3)[]", "kinds"
    )
    moment = datetime.fromisoformat("2025-03-01T12:00:00+02:00")
    naive = moment.astimezone(UTC).replace(tzinfo=None)
    rows: list[Any] = [
        (["a", 'b"', None], [[1, 2], [3, 4]], {"k": ["v", 1.5]}, UUID(int=7), moment, moment, ["abc"]),
        ([], None, [1], UUID(int=8), naive, naive, None),
        (["x"], None, None, UUID(int=9), moment, moment, ["too long"]),
    ]
    letters = send(SqlSink(postgres.url, table), rows, ("tags", "grid", "doc", "id", "at", "local", "code"))
    assert len(letters) == 1
    query = f"SELECT tags, grid, doc, id, at AT TIME ZONE 'UTC', local FROM {table} ORDER BY id"
    assert postgres.rows(query) == [
        (["a", 'b"', None], [[1, 2], [3, 4]], {"k": ["v", 1.5]}, UUID(int=7), naive, naive),
        ([], None, [1], UUID(int=8), naive, naive),
    ]


def test_names_with_blanks_quotes_and_percents_are_names(place: Place) -> None:
    quote = "`" if place.kind == "mariadb" else '"'
    table = fresh("odd name")
    odd = ("a b", "select", "50")
    place.run(f"CREATE TABLE {quote}{table}{quote} ({', '.join(f'{quote}{name}{quote} INTEGER' for name in odd)})")
    assert send(SqlSink(place.url, table), [(1, 2, 3)], odd) == []
    assert place.rows(f"SELECT * FROM {quote}{table}{quote}") == [(1, 2, 3)]


def test_a_table_of_another_schema_is_written(postgres: Place) -> None:
    schema = fresh("sales")
    postgres.run(f"CREATE SCHEMA {schema}", f"CREATE TABLE {schema}.orders (id INTEGER PRIMARY KEY, name TEXT)")
    assert send(SqlSink(postgres.url, f"{schema}.orders", upsert=("id",)), [(1, "a")], FIELDS) == []
    assert postgres.rows(f"SELECT id, name FROM {schema}.orders") == [(1, "a")]


def test_deadlocks_are_tried_again(postgres: Place) -> None:
    """Two tasks upsert the same keys, in opposite orders."""
    table = postgres.table("id INTEGER PRIMARY KEY, name TEXT")
    topology = Topology("selling")
    keys = list(range(300))
    for name in ("up", "down"):
        source = topology.spout(name, lambda: iter(()), outputs=FIELDS)
        topology.bolt(f"sql_{name}", SqlSink(postgres.url, table, upsert=("id",))).shuffle(source)
    rows = {name: [(key, f"{name} {n}") for n in range(10) for key in order]
            for name, order in (("up", keys), ("down", keys[::-1]))}  # fmt: skip
    with LocalCluster(topology, mock_sources=rows, simulated_time=False) as cluster:
        run_until(cluster, lambda: all(len(cluster.acked(name)) == 3000 for name in rows), "all rows")
        assert cluster.dead_letters() == []
    assert postgres.rows(f"SELECT count(*) FROM {table}") == [(300,)]


# -- what is refused when it opens -------------------------------------------------------------------------------------


def test_a_table_that_is_not_there_is_told_with_those_that_are(place: Place) -> None:
    table = place.table("id INTEGER")
    error = refusal(SqlSink(place.url, table + "s"))
    assert error.code == "sql_table_missing"
    assert f'did you mean "{table}"?' in str(error)


def test_columns_that_do_not_match_are_told_at_once_with_those_of_the_table(place: Place) -> None:
    table = place.table("id INTEGER PRIMARY KEY, day DATE NOT NULL")
    error = refusal(SqlSink(place.url, table, columns=("id", "name")))
    assert {defect.code for defect in error.defects} == {"sql_columns"}
    assert 'column "name"' in str(error)
    assert 'no value for column "day"' in str(error)
    assert "day date not null" in str(error)
    assert "does not have" in str(refusal(SqlSink(place.url, table, columns=("id", "day"))))
    wrong = refusal(SqlSink(place.url, table), {"id": int, "day": int})
    assert 'field "day", int' in str(wrong)


def test_a_key_that_nothing_makes_unique_is_refused(place: Place) -> None:
    table = place.table("id INTEGER, name VARCHAR(20)")
    assert "nothing makes that unique" in str(refusal(SqlSink(place.url, table, upsert=("id",))))


def test_a_table_is_made_of_declared_types_alone(place: Place) -> None:
    table = fresh("made")
    error = refusal(SqlSink(place.url, table, create=True), ("id", "name"))
    assert [defect.code for defect in error.defects] == ["sql_type_undeclared"] * 2
    for _ in range(2):
        assert send(SqlSink(place.url, table, create=True, upsert=("name",)), [(1, "a")], FIELDS) == []
    assert place.rows(f"SELECT id, name FROM {table}") == [(1, "a")]


def test_wrong_credentials_and_databases_are_refused_without_the_password(
    postgresql: PostgresqlAddress, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SHOP_PASSWORD", "not-the-password")
    right = postgresql.dsn
    urls = [
        right.replace(f":{postgresql.password}@", ":env:SHOP_PASSWORD@"),
        right.replace(f"/{postgresql.database}", "/nowhere"),
        right.replace(f"//{postgresql.user}:", "//nobody:"),
    ]
    for url in urls:
        error = refusal(SqlSink(url, "orders"))
        assert error.code == "sql_refused", error
        shown = str(error) + caplog.text
        assert "not-the-password" not in shown
        assert postgresql.password not in shown


def test_a_secret_that_is_not_there_is_told_by_its_name(postgresql: PostgresqlAddress) -> None:
    error = refusal(SqlSink(f"postgresql://app:env:NO_SUCH_SECRET@{postgresql.address}/postgres", "orders"))
    assert error.code == "secret_missing"
    assert isinstance(error, ConfigError)
    assert "NO_SUCH_SECRET" in str(error)


def test_a_right_that_is_missing_is_told_when_it_opens(postgres: Place, postgresql: PostgresqlAddress) -> None:
    table, user = postgres.table("id INTEGER, name TEXT"), fresh("reader")
    postgres.run(f"CREATE USER {user} PASSWORD 'pw-of-reader'", f"GRANT SELECT ON {table} TO {user}")
    error = refusal(SqlSink(f"postgresql://{user}:pw-of-reader@{postgresql.address}/postgres", table))
    assert error.code == "sql_refused"
    assert "permission denied" in str(error)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_text("no database at all, but a text that is long enough" * 100)
    assert refusal(SqlSink(f"sqlite:///{tmp_path}/shop.db", "orders")).code == "sql_refused"
    assert refusal(SqlSink(f"sqlite:///{tmp_path}/no/folder/shop.db", "orders")).code == "sql_refused"


# -- exactly once ------------------------------------------------------------------------------------------------------


def opened(place: Place, table: str, fields: Any = FIELDS, **options: Any) -> Any:
    """A cluster whose task `sql` is a sink that a test drives itself."""
    return through(SqlSink(place.url, table, **options), [], fields, table)


class Rows:
    """Rows as a sink gets them."""

    def __init__(self, *values: Any, fields: Any = FIELDS) -> None:
        self.fields, self.values = tuple(fields), values


def test_staged_rows_are_seen_when_their_epoch_is_committed_and_once(place: Place) -> None:
    table = place.table("id INTEGER, name VARCHAR(20)")
    with opened(place, table) as cluster:
        sink = cluster.task("sql", SqlSink)
        assert isinstance(sink, Transactional)
        assert sink.committed() == 0
        sink.stage([Rows(1, "a"), Rows(2, "b")])
        sink.stage([Rows(3, "c")])
        staged = sink.prepare(1)
        sink.stage([Rows(4, "d")])
        assert place.rows(f"SELECT id FROM {table}") == []
        for _ in range(2):
            sink.commit(1, staged)
        assert sorted(place.rows(f"SELECT id, name FROM {table}")) == [(1, "a"), (2, "b"), (3, "c")]
        assert sink.committed() == 1
        sink.commit(2, sink.prepare(2))
        sink.commit(1, staged)
        assert sorted(place.rows(f"SELECT id FROM {table}")) == [(1,), (2,), (3,), (4,)]
        assert sink.committed() == 2


def test_another_process_commits_what_one_that_died_had_prepared(place: Place) -> None:
    table = place.table("id INTEGER PRIMARY KEY, name VARCHAR(20)")
    with opened(place, table, upsert=("id",)) as cluster:
        cluster.task("sql", SqlSink).stage([Rows(1, "a"), Rows(1, "b")])
        staged = cluster.task("sql", SqlSink).prepare(7)
    with opened(place, table, upsert=("id",)) as cluster:
        sink = cluster.task("sql", SqlSink)
        assert sink.committed() == 0
        sink.commit(7, staged)
        assert sink.committed() == 7
    with opened(place, table, upsert=("id",)) as cluster:
        cluster.task("sql", SqlSink).commit(7, staged)
    assert place.rows(f"SELECT id, name FROM {table}") == [(1, "b")]


def test_an_epoch_with_a_row_that_is_refused_is_not_committed_at_all(place: Place) -> None:
    table = place.table("id INTEGER PRIMARY KEY, name VARCHAR(20)")
    with opened(place, table) as cluster:
        sink = cluster.task("sql", SqlSink)
        sink.stage([Rows(1, "a")])
        sink.stage([Rows(1, "b")])
        staged = sink.prepare(1)
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
            sink.commit(1, staged)
        assert sink.committed() == 0
        assert place.rows(f"SELECT id FROM {table}") == []


def test_a_value_of_a_secret_field_of_an_epoch_is_not_in_the_databases_words(postgres: Place) -> None:
    fields = ("id", "api_key")
    table = postgres.table("id INTEGER, api_key INTEGER")
    with opened(postgres, table, fields) as cluster:
        sink = cluster.task("sql", SqlSink)
        sink.stage([Rows(1, "7", fields=fields), Rows(2, "hush-7", fields=fields)])
        with pytest.raises(DeadLetter, match="invalid input syntax") as caught:
            sink.commit(1, sink.prepare(1))
    assert "hush" not in str(caught.value)
    assert "***" in str(caught.value)
