"""Real runs with a sink that waits: the watchdog says for what, and ends no worker for it."""

from __future__ import annotations

import time

from servers import Redis, fresh

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
LIMIT_S = 1.0


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
    silent_until_s = time.monotonic() + 4 * LIMIT_S
    wait_until(lambda: time.monotonic() > silent_until_s, what="some time")
    own_redis.resume()
    wait_until(lambda: client(own_redis).llen(key) >= 100, what="all rows")
    run.interrupt()
    assert run.end() == 0
    assert run.lost() == []
    assert {int(row) for row in client(own_redis).lrange(key, 0, -1)} == set(range(100))
