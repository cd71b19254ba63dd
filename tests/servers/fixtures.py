"""Servers as pytest fixtures; a `conftest.py` imports those it has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers import (
    S3,
    Hdfs,
    HdfsAddress,
    Kafka,
    KafkaAddress,
    Mariadb,
    MariadbAddress,
    Postgresql,
    PostgresqlAddress,
    Redis,
    RedisAddress,
    Registry,
    RegistryAddress,
    S3Address,
)
from servers.shared import Shared

RARE = {"mariadb", "own_mariadb", "hdfs", "own_hdfs"}
"""Fixtures of servers that only `make test-servers` has."""


@pytest.fixture(scope="session")
def shared_servers(testrun_uid: str) -> Iterator[Shared]:
    """The servers that all processes of this session share."""
    shared = Shared(testrun_uid)
    yield shared
    shared.close()


@pytest.fixture(scope="session")
def kafka(shared_servers: Shared) -> KafkaAddress:
    """The session's Kafka: where it is. To disturb one, take `own_kafka`."""
    return KafkaAddress(shared_servers.ask(Kafka).ports)


@pytest.fixture
def own_kafka() -> Iterator[Kafka]:
    """Kafka for one test alone, to be killed, stopped and suspended."""
    with Kafka() as server:
        yield server


@pytest.fixture(scope="session")
def registry(shared_servers: Shared) -> RegistryAddress:
    """The session's Registry: where it is. To disturb one, take `own_registry`."""
    return RegistryAddress(shared_servers.ask(Registry).ports)


@pytest.fixture
def own_registry() -> Iterator[Registry]:
    """Registry for one test alone, to be killed, stopped and suspended."""
    with Registry() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql(shared_servers: Shared) -> PostgresqlAddress:
    """The session's Postgresql: where it is. To disturb one, take `own_postgresql`."""
    return PostgresqlAddress(shared_servers.ask(Postgresql).ports)


@pytest.fixture
def own_postgresql() -> Iterator[Postgresql]:
    """Postgresql for one test alone, to be killed, stopped and suspended."""
    with Postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def redis(shared_servers: Shared) -> RedisAddress:
    """The session's Redis: where it is. To disturb one, take `own_redis`."""
    return RedisAddress(shared_servers.ask(Redis).ports)


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """Redis for one test alone, to be killed, stopped and suspended."""
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def s3(shared_servers: Shared) -> S3Address:
    """The session's S3: where it is. To disturb one, take `own_s3`."""
    return S3Address(shared_servers.ask(S3).ports)


@pytest.fixture
def own_s3() -> Iterator[S3]:
    """S3 for one test alone, to be killed, stopped and suspended."""
    with S3() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(shared_servers: Shared) -> MariadbAddress:
    """The session's Mariadb: where it is. To disturb one, take `own_mariadb`."""
    return MariadbAddress(shared_servers.ask(Mariadb).ports)


@pytest.fixture
def own_mariadb() -> Iterator[Mariadb]:
    """Mariadb for one test alone, to be killed, stopped and suspended."""
    with Mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def hdfs(shared_servers: Shared) -> HdfsAddress:
    """The session's Hdfs: where it is. To disturb one, take `own_hdfs`."""
    return HdfsAddress(shared_servers.ask(Hdfs).ports)


@pytest.fixture
def own_hdfs() -> Iterator[Hdfs]:
    """Hdfs for one test alone, to be killed, stopped and suspended."""
    with Hdfs() as server:
        yield server
