"""Real runs with a sink that waits: the watchdog says for what, and ends no worker for it."""

from __future__ import annotations

import time

import fsspec
import pytest
from servers import S3, Redis, fresh

from tests.component.conftest import Squall, squall, wait_until

from .redis_places import client

__all__ = ["squall"]

TOPOLOGY = """
    from squall import Topology
    from squall.connectors.files import FileSpout
    from squall.connectors.redis import List, RedisStore

    limits = {{"topology.stuck.secs": 0.3, "topology.stuck.restart": True, "topology.message.timeout.secs": 0.5}}
    topology = Topology("waiting", settings=limits)
    rows = topology.spout("rows", FileSpout("rows.txt", follow=True, look_every=0.05))
    topology.bolt("save", RedisStore(List({key!r}, "line"), url={url!r}, timeout=1.5)).shuffle(rows)
"""
TO_A_STORE = """
    from squall import Topology
    from squall.connectors.files import FileSink, FileSpout, Rotation

    limits = {{"topology.stuck.secs": 0.3, "topology.stuck.restart": True, "topology.message.timeout.secs": 0.5}}
    topology = Topology("storing", settings=limits)
    rows = topology.spout("rows", FileSpout("rows.txt", follow=True, look_every=0.05))
    sink = FileSink({address!r}, rotate=Rotation(rows=10), storage={storage!r})
    topology.bolt("save", sink).shuffle(rows)
"""
LIMIT_S = 1.0


def pass_time() -> None:
    """Several times as long as a call that hangs may take."""
    until_s = time.monotonic() + 4 * LIMIT_S
    wait_until(lambda: time.monotonic() > until_s, what="some time")


def test_a_sink_that_waits_says_for_what_and_its_worker_is_not_ended(own_redis: Redis, squall: Squall) -> None:
    """Semantics 16. The server is silent for several times as long as a call that hangs may take."""
    key, rows = fresh("k"), squall.folder / "rows.txt"
    rows.write_text("0\n")
    run = squall.run(TOPOLOGY.format(key=key, url=own_redis.url))
    wait_until(lambda: client(own_redis).llen(key) == 1, what="the first row")
    own_redis.suspend()
    with rows.open("a") as more:
        more.writelines(f"{number}\n" for number in range(1, 100))
    stuck = run.event("stuck")
    assert (stuck["component"], stuck["waits_for"]) == ("save", f"Redis at 127.0.0.1:{own_redis.port}/0")
    pass_time()
    own_redis.resume()
    wait_until(lambda: client(own_redis).llen(key) >= 100, what="all rows")
    run.interrupt()
    assert run.end() == 0
    assert run.lost() == []
    assert {int(row) for row in client(own_redis).lrange(key, 0, -1)} == set(range(100))


@pytest.mark.servers
def test_a_store_that_is_silent_is_waited_for_when_its_sink_opens_and_later(own_s3: S3, squall: Squall) -> None:
    """Semantics 16. Clients of stores without time-outs wait for as long as it takes."""
    bucket = own_s3.bucket()
    rows = squall.folder / "rows.txt"
    rows.write_text("".join(f"{number}\n" for number in range(10)))
    address = f"s3://{bucket}/data"
    storage = {**own_s3.options, "config_kwargs": {"read_timeout": 60}}
    fs = fsspec.filesystem("s3", **own_s3.options, use_listings_cache=False, skip_instance_cache=True)
    own_s3.suspend()
    run = squall.run(TO_A_STORE.format(address=f"{address}/part.txt", storage=storage))
    stuck = run.event("stuck")
    assert (stuck["component"], stuck["waits_for"]) == ("save", address)
    pass_time()
    own_s3.resume()
    wait_until(lambda: len(fs.find(f"{bucket}/data")) == 1, what="the first file")
    own_s3.suspend()
    told = len(run.events("stuck"))
    with rows.open("a") as more:
        more.writelines(f"{number}\n" for number in range(10, 20))
    stuck = wait_until(lambda: run.events("stuck")[told:], what="the wait of an upload")[0]
    assert (stuck["component"], stuck["waits_for"]) == ("save", address)
    pass_time()
    own_s3.resume()
    wait_until(lambda: len(fs.find(f"{bucket}/data")) == 2, what="the second file")
    run.interrupt()
    assert run.end() == 0
    assert run.lost() == []
