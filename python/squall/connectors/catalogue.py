"""All connectors, a line each. Nothing of a connector is imported before it is asked for.

`squall connectors` and docs/connectors.md are written from here and from the `delivery` of each class. The example of a
connector is a file of the folder `examples`, and lies in the package so that the command can show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Any, Literal

from squall.connectors.contract import Delivery

Kind = Literal["source", "sink", "lookup"]


@dataclass(frozen=True, slots=True)
class Connector:
    """One connector.

    Args:
        at: module and class.
        system: what it connects to, as people call it.
        example: a file of `squall.connectors.examples`, without its suffix.
        extra: what `pip install "squall[…]"` needs, and a module that it brings; None: nothing more is needed.
        also: extras for more of the same: other databases, stores, formats.
    """

    at: str
    kind: Kind
    system: str
    example: str
    extra: str | None = None
    brings: str | None = None
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the class."""
        return self.at.partition(":")[2]

    @property
    def is_installed(self) -> bool:
        """Whether all that it needs is there."""
        return self.brings is None or find_spec(self.brings) is not None

    def load(self) -> Any:
        """The class."""
        module, _, name = self.at.partition(":")
        return getattr(import_module(module), name)

    @property
    def delivery(self) -> Delivery:
        """What it promises."""
        return self.load().delivery

    def code(self) -> str:
        """Its example."""
        folder = resources.files("squall.connectors") / "examples"
        return (folder / f"{self.example}.py").read_text(encoding="utf-8")


FILES = ("s3", "hdfs", "parquet", "zstd")
KAFKA = ("kafka", "confluent_kafka", ("kafka-schemas",))
SQL = ("postgresql", "sqlalchemy", ("mariadb", "sqlite"))

CONNECTORS = (
    Connector("squall.connectors.tcp:TcpSpout", "source", "TCP", "tcp_spout"),
    Connector("squall.connectors.tcp:TcpSink", "sink", "TCP", "tcp_sink"),
    Connector("squall.connectors.unix:UnixSpout", "source", "Unix sockets", "unix_spout"),
    Connector("squall.connectors.udp:UdpSpout", "source", "UDP", "udp_spout"),
    Connector("squall.connectors.udp:UdpSink", "sink", "UDP", "udp_sink"),
    Connector("squall.connectors.http:HttpSpout", "source", "HTTP", "http_spout", "http", "uvicorn"),
    Connector("squall.connectors.http:HttpSink", "sink", "HTTP", "http_sink", "http", "httpx"),
    Connector("squall.connectors.files:FileSpout", "source", "files", "file_spout", also=FILES),
    Connector("squall.connectors.files:FileSink", "sink", "files", "file_sink", also=FILES),
    Connector("squall.connectors.kafka:KafkaSpout", "source", "Kafka", "kafka_spout", *KAFKA),
    Connector("squall.connectors.kafka:KafkaSink", "sink", "Kafka", "kafka_sink", *KAFKA),
    Connector(
        "squall.connectors.files.store_sink:StoreFileSink",
        "sink",
        "object stores",
        "store_file_sink",
        "s3",
        "s3fs",
        FILES[1:],
    ),
    Connector("squall.connectors.sql:SqlSpout", "source", "SQL databases", "sql_spout", *SQL),
    Connector("squall.connectors.sql:SqlSink", "sink", "SQL databases", "sql_sink", *SQL),
    Connector("squall.connectors.sql:SqlLookup", "lookup", "SQL databases", "sql_lookup", *SQL),
    Connector("squall.connectors.redis:RedisStreamSpout", "source", "Redis", "redis_stream_spout", "redis", "redis"),
    Connector("squall.connectors.redis:RedisStreamSink", "sink", "Redis", "redis_stream_sink", "redis", "redis"),
    Connector("squall.connectors.redis:RedisStore", "sink", "Redis", "redis_store", "redis", "redis"),
    Connector("squall.connectors.redis:RedisLookup", "lookup", "Redis", "redis_lookup", "redis", "redis"),
    Connector("squall.connectors.stdin:StdinSpout", "source", "standard input", "stdin_spout"),
    Connector("squall.connectors.standard:Print", "sink", "standard output", "print"),
)
