"""Connectors, tested against real servers (`tests/servers`)."""

from __future__ import annotations

import pytest
from servers.fixtures import (
    RARE,
    hdfs,
    kafka,
    mariadb,
    own_hdfs,
    own_kafka,
    own_mariadb,
    own_postgresql,
    own_redis,
    own_registry,
    own_s3,
    postgresql,
    redis,
    registry,
    s3,
    shared_servers,
)

__all__ = [
    "hdfs",
    "kafka",
    "mariadb",
    "own_hdfs",
    "own_kafka",
    "own_mariadb",
    "own_postgresql",
    "own_redis",
    "own_registry",
    "own_s3",
    "postgresql",
    "redis",
    "registry",
    "s3",
    "shared_servers",
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of servers that `make test` does not have are of `make test-servers`."""
    for item in items:
        if RARE & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")
