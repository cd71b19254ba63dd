"""Redis connectors while the server dies, is silent, is full, reads its data or forgets them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest
from servers import Redis, fresh
from squall.connectors.redis import List, RedisLookup, RedisStore, RedisStreamSink, RedisStreamSpout
from squall.connectors.redis.server import code_of, is_passing
from squall.testing import LocalCluster

from tests.component.conftest import Squall, squall, wait_until

from .redis_places import add, client, pending, reading, rows_of, run_until, through

ROWS = 30_000
__all__ = ["squall"]


def disturbed_by(disturb: Callable[[], object]) -> threading.Thread:
    """Does something on another thread, while rows flow."""
    thread = threading.Thread(target=disturb)
    thread.start()
    return thread


def killed(server: Redis) -> None:
    server.kill()
    server.start()


def suspended(server: Redis) -> None:
    server.suspend()
    threading.Event().wait(2.5)  # longer than the connectors wait for an answer
    server.resume()


@pytest.mark.parametrize("disturb", [killed, suspended])
def test_sink_waits_and_writes_all(own_redis: Redis, disturb: Callable[[Redis], None]) -> None:
    """A server that dies, or is silent, in the middle of it: nothing is lost, nothing fails."""
    stream = fresh("s")
    sink = RedisStreamSink(stream, url=own_redis.url, timeout=1.0)
    with through(sink, [(n,) for n in range(ROWS)], ["n"]) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) > 1000, "the first rows")
        thread = disturbed_by(lambda: disturb(own_redis))
        run_until(cluster, lambda: len(cluster.acked("rows")) == ROWS, "all rows", 60)
        thread.join()
        assert cluster.dead_letters() == []
        assert cluster.failed("rows") == []
    written = [int(entry[b"n"]) for _, entry in client(own_redis).xrange(stream)]
    assert set(written) == set(range(ROWS))


@pytest.mark.parametrize("disturb", [killed, suspended])
def test_spout_reads_all(own_redis: Redis, disturb: Callable[[Redis], None]) -> None:
    stream = fresh("s")
    add(own_redis, stream, range(ROWS))
    spout = RedisStreamSpout(stream, group="g", fields={"n": int}, url=own_redis.url, timeout=1.0, batch=100)
    with reading(spout) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) > 1000, "the first rows")
        thread = disturbed_by(lambda: disturb(own_redis))
        run_until(cluster, lambda: len({n for (n,) in rows_of(cluster)}) == ROWS, "all rows", 60)
        thread.join()
        run_until(cluster, lambda: pending(own_redis, stream, "g") == 0, "all acks", 60)
        assert cluster.failed("entries") == cluster.dead_letters() == []
        assert len(rows_of(cluster)) < 1.5 * ROWS


def test_run_begins_while_the_server_is_away(own_redis: Redis) -> None:
    stream = fresh("s")
    add(own_redis, stream, range(10))
    own_redis.kill()
    spout = RedisStreamSpout(stream, group="g", fields={"n": int}, url=own_redis.url, timeout=1.0)
    with reading(spout) as cluster:
        run_until(cluster, lambda: "is not available" in str(cluster.errors()), "the outage told")
        own_redis.start()
        run_until(cluster, lambda: len(rows_of(cluster)) == 10, "all rows")
        assert len(cluster.errors()) == 1


def mended(cluster: LocalCluster, told: str, mend: Callable[[], object]) -> threading.Thread:
    """Mends something, on another thread, as soon as it was told."""

    def act() -> None:
        wait_until(lambda: told in str(cluster.errors()), what=told)
        assert cluster.dead_letters() == []
        mend()

    return disturbed_by(act)


def test_full_server_slows_and_loses_nothing(own_redis: Redis) -> None:
    key = fresh("k")
    control = client(own_redis)
    control.config_set("maxmemory", control.info("memory")["used_memory"] + 2_000_000)
    store = RedisStore(List(key), url=own_redis.url)
    with through(store, [(f"{n:0500}",) for n in range(10_000)], ["value"]) as cluster:
        thread = mended(cluster, "OOM", lambda: control.config_set("maxmemory", 0))
        run_until(cluster, lambda: len(cluster.acked("rows")) == 10_000, "all rows")
        thread.join()
        assert control.llen(key) == 10_000, "what had been written is not written again"
        assert cluster.dead_letters() == []


def test_read_only_replica_is_waited_for(own_redis: Redis) -> None:
    key, control = fresh("k"), client(own_redis)
    control.replicaof("127.0.0.1", 1)
    with through(RedisStore(List(key), url=own_redis.url), [(n,) for n in range(100)], ["value"]) as cluster:
        thread = mended(cluster, "READONLY", lambda: control.replicaof("no", "one"))
        run_until(cluster, lambda: len(cluster.acked("rows")) == 100, "all rows")
        thread.join()
        assert control.llen(key) == 100
        assert cluster.dead_letters() == []


def test_replicas_that_are_wanted_are_waited_for(own_redis: Redis) -> None:
    stream = fresh("s")
    sink = RedisStreamSink(stream, url=own_redis.url, replicas=1, timeout=1.0)
    with Redis() as replica, through(sink, [(n,) for n in range(100)], ["n"]) as cluster:
        copied = lambda: client(replica).replicaof("127.0.0.1", own_redis.port)  # noqa: E731
        thread = mended(cluster, "0 replicas have what was written", copied)
        run_until(cluster, lambda: len(cluster.acked("rows")) == 100, "all rows")
        thread.join()
        assert {entry[b"n"] for _, entry in client(replica).xrange(stream)} == {b"%d" % n for n in range(100)}


def test_lookup_waits(own_redis: Redis) -> None:
    at = fresh("k")
    client(own_redis).hset(f"{at}:1", mapping={"name": "Ann"})
    lookup = RedisLookup(f"{at}:{{n}}", outputs=("n", "name"), url=own_redis.url, timeout=1.0, cache=0)
    with through(lookup, [(n % 3,) for n in range(5000)], ["n"]) as cluster:
        run_until(cluster, lambda: len(cluster.acked("rows")) > 100, "the first rows")
        thread = disturbed_by(lambda: killed(own_redis))
        run_until(cluster, lambda: len(cluster.acked("rows")) == 5000, "all rows")
        thread.join()
        assert cluster.failed("rows") == []


def test_what_can_be_waited_for() -> None:
    import redis.exceptions as its

    for error, code in (
        (its.BusyLoadingError("Redis is loading the dataset in memory"), "LOADING"),
        (its.ReadOnlyError("You can't write against a read only replica."), "READONLY"),
        (its.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "OOM"),
        (its.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "MISCONF"),
        (its.ResponseError("NOREPLICAS Not enough good replicas to write."), "NOREPLICAS"),
    ):
        assert code_of(error) == code
        assert is_passing(error)
    for error in (
        its.AuthenticationError("invalid username-password pair or user is disabled."),
        its.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        its.NoPermissionError("this user has no permissions to run the 'xadd' command"),
        ValueError("a defect of ours"),
    ):
        assert not is_passing(error)


RUN = """
    from squall import Topology
    from squall.connectors.files import FileSink
    from squall.connectors.redis import RedisStreamSpout

    topology = Topology("reading")
    entries = topology.spout("entries", RedisStreamSpout({stream!r}, group="g", fields=["n"], url={url!r}, batch=200))
    topology.bolt("file", FileSink("out")).shuffle(entries)
"""


def test_worker_that_dies_takes_up_what_it_held(own_redis: Redis, squall: Squall) -> None:
    """Real processes: each entry is written, and nothing stays pending, though a worker was killed in the middle."""
    stream = fresh("s")
    add(own_redis, stream, range(20_000))
    run = squall.run(RUN.format(stream=stream, url=own_redis.url))
    out = squall.folder / "out"
    pid = run.worker_pid()
    wait_until(lambda: out.exists() and out.stat().st_size > 10_000, what="the first rows")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(out.read_text().split())) >= 20_000, what="all rows")
    wait_until(lambda: pending(own_redis, stream, "g") == 0, what="all acks")
    run.interrupt()
    assert run.end() == 0
    assert set(out.read_text().split()) == {str(n) for n in range(20_000)}
