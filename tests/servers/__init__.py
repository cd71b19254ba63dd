"""Real servers for tests, benchmarks and examples: child processes on loopback ports of their own.

```python
with Kafka() as kafka:
    print(kafka.address)
```

`make servers` installs them; `python -m servers start kafka`, from `tests`, runs one by hand. Tests take fixtures:
`kafka`, `registry`, `postgresql`, `redis`, `s3`, `mariadb` and `hdfs` are shared by the whole session and only tell
where they are; what is to be killed or suspended is one's own (`own_kafka`, …).

| Room | |
|---|---|
| `kafka`, `registry`, `postgresql`, `redis`, `s3`, `mariadb`, `hdfs` | one server each |
| `server`, `process`, `java` | the life that all have |
| `installing`, `jars` | packages, and archives of known checksums |
| `keeper`, `shared`, `fixtures` | one of each for all processes of a test session |
| `__main__` | by hand |
"""

from __future__ import annotations

from servers.hdfs import Hdfs, HdfsAddress
from servers.kafka import Kafka, KafkaAddress
from servers.mariadb import Mariadb, MariadbAddress
from servers.names import fresh
from servers.postgresql import Postgresql, PostgresqlAddress
from servers.redis import Redis, RedisAddress
from servers.registry import Registry, RegistryAddress
from servers.s3 import S3, S3Address
from servers.server import Address, Server, free_ports

KINDS: dict[str, type[Server]] = {kind.name: kind for kind in (Kafka, Registry, Postgresql, Redis, S3, Mariadb, Hdfs)}

__all__ = [
    "KINDS",
    "S3",
    "Address",
    "Hdfs",
    "HdfsAddress",
    "Kafka",
    "KafkaAddress",
    "Mariadb",
    "MariadbAddress",
    "Postgresql",
    "PostgresqlAddress",
    "Redis",
    "RedisAddress",
    "Registry",
    "RegistryAddress",
    "S3Address",
    "Server",
    "free_ports",
    "fresh",
]
