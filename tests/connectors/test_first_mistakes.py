"""Mistakes that people make first: a client that is not installed, an option that the client does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from servers import RedisAddress, S3Address
from squall import Topology
from squall.connectors.files import FileSink, FileSpout, Parquet
from squall.connectors.http import HttpSink, HttpSpout
from squall.connectors.kafka import KafkaSink, KafkaSpout
from squall.connectors.redis import RedisLookup, RedisStore, RedisStreamSink, RedisStreamSpout, Set
from squall.connectors.sql import SqlLookup, SqlSink, SqlSpout
from squall.errors import ConfigError, TopologyError
from squall.testing import LocalCluster

from tests.component.conftest import Squall, free_port, squall, wait_until

from .sql_places import run_until

__all__ = ["squall"]


@pytest.mark.parametrize(
    ("extra", "make"),
    [
        ("kafka", lambda: KafkaSpout("orders", servers="localhost:9092")),
        ("kafka", lambda: KafkaSink("orders", servers="localhost:9092")),
        ("postgresql", lambda: SqlSpout("postgresql://db/shop", "orders", columns=("id",), cursor="id")),
        ("postgresql", lambda: SqlSink("postgresql://db/shop", "orders")),
        ("mariadb", lambda: SqlSink("mariadb://db/shop", "orders")),
        ("sqlite", lambda: SqlLookup("sqlite:///shop.db", "names", keys={"id": "id"}, outputs=("id", "name"))),
        ("redis", lambda: RedisStreamSpout("orders", group="billing")),
        ("redis", lambda: RedisStreamSink("orders")),
        ("redis", lambda: RedisStore(Set("words"))),
        ("redis", lambda: RedisLookup("user:{user}", outputs=("user", "name"))),
        ("s3", lambda: FileSpout("s3://orders/*.csv")),
        ("hdfs", lambda: FileSink("webhdfs://host:9870/orders.csv")),
        ("parquet", Parquet),
        ("http", lambda: HttpSpout.listen("127.0.0.1:8080")),
        ("http", lambda: HttpSink("http://127.0.0.1:8080")),
    ],
)
def test_a_client_that_is_not_installed_is_told_with_the_command(
    extra: str, make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("squall.connectors.extras.find_spec", lambda _name: None)
    with pytest.raises(TopologyError, match="extra_missing") as caught:
        make()
    assert f'pip install "squall[{extra}]"' in str(caught.value)


def opened(spout: Any = None, bolt: Any = None) -> None:
    """Opens a topology of one connector."""
    topology = Topology("mistaken")
    rows = topology.spout("rows", spout or (lambda: iter(())), **({} if spout else {"outputs": ("line",)}))
    topology.bolt("take", bolt or (lambda line: None)).shuffle(rows)
    with LocalCluster(topology, simulated_time=False):
        pass


def test_an_option_that_a_store_does_not_know_is_told_when_it_opens_and_not_waited_for(s3: S3Address) -> None:
    storage = {"key": "a-key", "secrt": "a-secret-key", "endpoint_url": s3.url}
    bucket = s3.bucket()
    for mistaken in (
        lambda: opened(bolt=FileSink(f"s3://{bucket}/out/part.txt", storage=storage)),
        lambda: opened(spout=FileSpout(f"s3://{bucket}/in/*.txt", follow=True, storage=storage)),
    ):
        with pytest.raises(ConfigError, match="secrt") as caught:
            mistaken()
        assert "file_store_refused" in str(caught.value)
        assert "a-secret-key" not in str(caught.value)


def test_a_database_that_redis_does_not_have_is_told_when_it_opens(redis: RedisAddress) -> None:
    for mistaken in (
        lambda: opened(bolt=RedisStreamSink("orders", url=f"redis://{redis.address}/9999")),
        lambda: opened(
            spout=RedisStreamSpout("orders", group="g", fields=["line"], url=f"redis://{redis.address}/9999")
        ),
    ):
        with pytest.raises(ConfigError, match="DB index is out of range") as caught:
            mistaken()
        assert "redis_refused" in str(caught.value)


def test_a_database_that_a_spout_cannot_reach_is_told_once_with_what_to_see_to() -> None:
    port = free_port()
    topology = Topology("away")
    spout = SqlSpout(f"postgresql://app:very-secret@127.0.0.1:{port}/shop", "orders", columns=("id",), cursor="id")
    topology.bolt("take", lambda id: None).shuffle(topology.spout("orders", spout))
    with LocalCluster(topology, simulated_time=False) as cluster:
        run_until(cluster, lambda: cluster.metrics()["orders"]["user"]["waiting_s"] > 1, "some tries")
        [told] = [f"{report.error}{report.traceback}" for report in cluster.errors()]
    assert f"PostgreSQL at 127.0.0.1:{port}/shop is not available" in told
    assert "source_unavailable" in told
    assert "very-secret" not in told


@pytest.mark.servers
def test_brokers_that_cannot_be_reached_are_told_and_not_by_a_line_for_each_try(squall: Squall) -> None:
    run = squall.run(f"""
        from squall import Topology
        from squall.connectors.kafka import KafkaSpout
        from squall.connectors.standard import Print

        topology = Topology("away")
        spout = KafkaSpout("orders", servers="127.0.0.1:{free_port()}", group="away", fields=("value",))
        topology.bolt("print", Print).shuffle(topology.spout("orders", spout))
    """)
    wait_until(lambda: "kafka_unavailable" in run.err, what="word of the brokers")
    said = [line for line in run.err.splitlines() if "librdkafka" in line]
    assert 1 <= len(said) <= 2
    assert "Connection refused" in said[0]
