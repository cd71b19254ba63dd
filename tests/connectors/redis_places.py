"""Topologies of one Redis connector, run in the test's process, in real time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis
from servers import Redis, RedisAddress
from squall import Bolt, Topology, Tuple
from squall.connectors.redis import RedisStreamSpout
from squall.testing import LocalCluster

from tests.component.conftest import wait_until


def client(server: RedisAddress | Redis) -> Any:
    """A client of the test's own."""
    return redis.Redis.from_url(server.url, protocol=2, socket_timeout=10)


def run_until(cluster: LocalCluster, condition: Callable[[], Any], what: str, within_s: float = 30.0) -> None:
    """Runs a topology until something is so."""

    def reached() -> Any:
        cluster.advance(0.01)
        return condition()

    wait_until(reached, within_s, what)


def through(bolt: Bolt, rows: Iterable[Any], fields: Any) -> LocalCluster:
    """A topology with a mocked spout `rows` and the bolt `redis`."""
    topology = Topology("writing")
    source = topology.spout("rows", lambda: iter(()), outputs=fields)
    topology.bolt("redis", bolt).shuffle(source)
    return LocalCluster(topology, mock_sources={"rows": list(rows)}, simulated_time=False)


def send(bolt: Bolt, rows: Sequence[Any], fields: Any) -> list[str]:
    """Sends rows until each has ended; the errors of the dead letters."""
    with through(bolt, rows, fields) as cluster:
        ended = lambda: len(cluster.acked("rows")) + len(cluster.dead_letters()) >= len(rows)  # noqa: E731
        run_until(cluster, ended, "the end of all rows")
        return [letter.error for letter in cluster.dead_letters()]


def put_out(bolt: Bolt, rows: Sequence[Any], fields: Any) -> list[Any]:
    """What a bolt puts out for rows."""
    with through(bolt, rows, fields) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) >= len(rows), "the end of all rows")
        return cluster.emitted("redis")


class Keep(Bolt):
    """Keeps what comes, and acks it unless it is told not to."""

    manual_ack = True
    hold_max = 3600.0

    def __init__(self, *, acks: bool = True) -> None:
        self.acks = acks

    def open(self, context: Any) -> None:
        self.rows: list[Any] = []

    def process(self, tup: Tuple) -> None:
        self.rows.append(tup.values)
        if self.acks:
            self.ack(tup)


def reading(spout: RedisStreamSpout, *, acks: bool = True, name: str = "reading", tasks: int = 1) -> LocalCluster:
    """A topology with the spout `entries` and the bolt `keep`."""
    topology = Topology(name)
    source = topology.spout("entries", spout, parallelism=tasks)
    topology.bolt("keep", Keep(acks=acks)).shuffle(source)
    return LocalCluster(topology, simulated_time=False)


def rows_of(cluster: LocalCluster) -> list[Any]:
    return cluster.task("keep", Keep).rows


def add(server: RedisAddress | Redis, stream: str, numbers: Iterable[int]) -> list[str]:
    """Adds entries `{n: …}`; their ids."""
    pipeline = client(server).pipeline(transaction=False)
    for number in numbers:
        pipeline.xadd(stream, {"n": number})
    return [id.decode() for id in pipeline.execute()]


def pending(server: RedisAddress | Redis, stream: str, group: str) -> int:
    return client(server).xpending(stream, group)["pending"]
