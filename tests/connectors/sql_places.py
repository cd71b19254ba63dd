"""Databases that the tests of the SQL connectors run against, and topologies of one bolt or spout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy
from servers import fresh
from squall import Bolt, Topology
from squall.testing import LocalCluster

from tests.component.conftest import wait_until

DATABASES = ("sqlite", "postgresql", pytest.param("mariadb", marks=pytest.mark.servers))


@dataclass
class Place:
    """A database, asked and changed by a connection of the test's own."""

    kind: str
    url: str

    def __post_init__(self) -> None:
        self._engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool)

    def run(self, *statements: str) -> None:
        with self._engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def table(self, columns: str, name: str = "orders") -> str:
        """Makes a table of a fresh name."""
        named = fresh(name)
        self.run(f"CREATE TABLE {named} ({columns})")
        return named


def place_of(kind: str, request: pytest.FixtureRequest) -> Place:
    if kind == "sqlite":
        return Place(kind, f"sqlite:///{request.getfixturevalue('tmp_path')}/shop.db")
    return Place(kind, request.getfixturevalue(kind).url)


def run_until(cluster: LocalCluster, condition: Callable[[], Any], what: str, within_s: float = 30.0) -> None:
    def reached() -> Any:
        cluster.advance(0.01)
        return condition()

    wait_until(reached, within_s, what)


def through(bolt: Bolt, rows: Sequence[Any], fields: Any, name: str = "selling") -> LocalCluster:
    """A topology with a mocked spout `rows`, the bolt `sql`, and one that keeps what comes out."""
    topology = Topology(name)
    source = topology.spout("rows", lambda: iter(()), outputs=fields)
    topology.bolt("sql", bolt).shuffle(source)
    return LocalCluster(topology, mock_sources={"rows": list(rows)}, simulated_time=False)


def send(bolt: Bolt, rows: Sequence[Any], fields: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Sends rows until each has ended; the errors of the dead letters."""
    with through(bolt, rows, fields) as cluster:
        run_until(
            cluster,
            lambda: len(cluster.acked("rows")) + len(cluster.dead_letters()) >= len(rows),
            "the end of all rows",
        )
        return [letter.error for letter in cluster.dead_letters()]
