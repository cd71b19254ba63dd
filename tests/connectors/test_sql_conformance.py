"""The SQL connectors pass the conformance kit: on SQLite, and on servers that are killed where they are to be away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from servers import Mariadb, Postgresql, fresh
from squall.connectors.sql import SqlSink, SqlSpout
from squall.testing import conformance
from squall.testing.conformance import EpochSchedule, SinkSchedule, SinkUnderTest, SourceSchedule, SourceUnderTest

from .sql_places import DATABASES, Place

SEED = 5


class Away(Place):
    """A database that can be taken away, with a schema for each test: what was committed is noted in it."""

    def __init__(self, kind: str, url: str, outage: Callable[[], Any]) -> None:
        super().__init__(kind, url)
        self.outage = outage
        self.schema = ""
        if kind != "sqlite":
            self.schema = fresh("conforming")
            self.run(f"CREATE SCHEMA {self.schema}")
        self.name = f"{self.schema}.orders" if self.schema else "orders"
        password = sqlalchemy.make_url(url).password
        self.secrets = [str(password)] if password else []

    def make(self, *, upserts: bool) -> None:
        """The table: with its numbers as key, or with a place for each row."""
        number = {"sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT", "postgresql": "BIGSERIAL PRIMARY KEY"}
        place = number.get(self.kind, "BIGINT AUTO_INCREMENT PRIMARY KEY")
        key = "number INTEGER PRIMARY KEY" if upserts else f"place {place}, number INTEGER"
        self.run(f"CREATE TABLE {self.name} ({key}, text VARCHAR(20) NOT NULL)")

    def numbers(self, order: str) -> list[int]:
        return [row[0] for row in self.rows(f"SELECT number FROM {self.name} ORDER BY {order}")]


@pytest.fixture(scope="module")
def killed_postgresql() -> Iterator[Postgresql]:
    with Postgresql() as server:
        yield server


@pytest.fixture(scope="module")
def killed_mariadb() -> Iterator[Mariadb]:
    with Mariadb() as server:
        yield server


@pytest.fixture(params=DATABASES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Away:
    """SQLite is away while another connection has locked it."""
    if request.param != "sqlite":
        server = request.getfixturevalue(f"killed_{request.param}")

        @contextmanager
        def killed() -> Iterator[None]:
            server.kill()
            yield
            server.start()

        return Away(server.name, server.url, killed)
    url = f"sqlite:///{tmp_path}/shop.db"

    @contextmanager
    def locked() -> Iterator[None]:
        engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
            yield
            connection.exec_driver_sql("COMMIT")

    return Away("sqlite", url, locked)


def sink_of(place: Away, *, upserts: bool) -> SinkUnderTest:
    place.make(upserts=upserts)
    upsert = ("number",) if upserts else None
    return SinkUnderTest(
        make=lambda: SqlSink(place.url, place.name, upsert=upsert, timeout=0.3 if place.kind == "sqlite" else 30),
        read_back=lambda: place.numbers("number" if upserts else "place"),
        poison=lambda number: (number, None),
        outage=place.outage,
        ordered=not upserts,
        upserts=upserts,
        secrets=place.secrets,
    )


@pytest.mark.parametrize("schedule", conformance.sink_schedules())
def test_upserts(schedule: SinkSchedule, place: Away) -> None:
    conformance.check_sink(sink_of(place, upserts=True), schedule, SEED)


@pytest.mark.parametrize("schedule", conformance.sink_schedules())
def test_inserts(schedule: SinkSchedule, place: Away) -> None:
    conformance.check_sink(sink_of(place, upserts=False), schedule, SEED)


@pytest.mark.parametrize("schedule", conformance.epoch_schedules())
def test_epochs(schedule: EpochSchedule, place: Away) -> None:
    conformance.check_epochs(sink_of(place, upserts=False), schedule, SEED)


@pytest.mark.parametrize("lag", [0, 5])
@pytest.mark.parametrize("schedule", conformance.source_schedules())
def test_polling(schedule: SourceSchedule, place: Away, lag: int) -> None:
    place.make(upserts=False)

    def put(numbers: Sequence[int]) -> None:
        place.run(*[f"INSERT INTO {place.name} (number, text) VALUES ({number}, 'x')" for number in numbers])

    under_test = SourceUnderTest(
        make=lambda: SqlSpout(
            place.url, place.name, columns=("number",), cursor="place", lag=lag, every=0.02, page=50, timeout=1
        ),
        put=put,
        number_of=lambda row: row[0],
        outage=place.outage,
        replay_max=lag + 1 if lag else 0,
        secrets=place.secrets,
    )
    conformance.check_source(under_test, schedule, SEED)
