"""Redis streams as source and sink, on a real server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import squall
from servers import RedisAddress, fresh
from squall.connectors.decoders import Json
from squall.connectors.redis import RedisStreamSink, RedisStreamSpout
from squall.errors import ConfigError, StateError

from .redis_places import add, client, pending, reading, rows_of, run_until, send


def spout(redis: RedisAddress, stream: str, **options: object) -> RedisStreamSpout:
    given = {"group": "g", "fields": {"n": int}, "url": redis.url, **options}
    return RedisStreamSpout(stream, **given)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("protocol", [2, 3])
def test_entries_are_read_and_acked(redis: RedisAddress, protocol: int) -> None:
    stream = fresh("s")
    add(redis, stream, range(3000))
    with reading(spout(redis, stream, url=f"{redis.url}?protocol={protocol}", batch=700)) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) >= 3000, "3000 rows")
        run_until(cluster, lambda: pending(redis, stream, "g") == 0, "all acks")
        add(redis, stream, [3000])
        run_until(cluster, lambda: len(rows_of(cluster)) >= 3001, "one more")
        assert rows_of(cluster) == [(n,) for n in range(3001)]
    assert pending(redis, stream, "g") == 0


def test_what_a_run_held_comes_again_at_once(redis: RedisAddress) -> None:
    stream = fresh("s")
    add(redis, stream, range(50))
    with reading(spout(redis, stream), acks=False) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) == 50, "50 rows")
    assert pending(redis, stream, "g") == 50
    with reading(spout(redis, stream, claim_after=None)) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) == 50, "the same again")
        run_until(cluster, lambda: pending(redis, stream, "g") == 0, "all acks")


@pytest.mark.parametrize("protocol", [pytest.param(2, marks=pytest.mark.servers), 3])
def test_what_a_dead_consumer_held_is_claimed_and_a_slow_one_is_left_alone(redis: RedisAddress, protocol: int) -> None:
    stream = fresh("s")
    add(redis, stream, range(20))
    url = f"{redis.url}?protocol={protocol}"
    with reading(spout(redis, stream, url=url), acks=False, name="dead") as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) == 20, "20 rows")
    add(redis, stream, range(20, 30))
    slow = reading(spout(redis, stream, url=url, claim_after=5), acks=False, name="slow")
    with slow, reading(spout(redis, stream, url=url, claim_after=5), acks=False, name="other") as other:

        def taken() -> int:
            slow.advance(0.01)
            return len(rows_of(slow)) + len(rows_of(other))

        claims = other.task("entries", RedisStreamSpout)._reading  # pyright: ignore[reportPrivateUsage]
        run_until(other, lambda: taken() >= 30, "what is claimed")
        looked = claims._next_claim_s  # pyright: ignore[reportPrivateUsage]
        more_looks = lambda: taken() and claims._next_claim_s > looked + 2  # noqa: E731  # pyright: ignore[reportPrivateUsage]
        run_until(other, more_looks, "more looks")
        assert sorted(n for (n,) in rows_of(slow) + rows_of(other)) == list(range(30))


def test_several_tasks_and_streams_share_the_entries(redis: RedisAddress) -> None:
    first, second = fresh("s"), fresh("s")
    add(redis, first, range(500))
    add(redis, second, range(500, 1000))
    source = RedisStreamSpout(
        [first, second], group="g", fields={"n": int}, stream_field="stream", id_field="id", url=redis.url, batch=50
    )
    with reading(source, tasks=2) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) >= 1000, "1000 rows")
        run_until(cluster, lambda: pending(redis, first, "g") + pending(redis, second, "g") == 0, "all acks")
        assert sorted(n for _, _, n in rows_of(cluster)) == list(range(1000))
        assert {stream for stream, _, _ in rows_of(cluster)} == {first, second}


def test_entry_that_is_no_row_is_a_dead_letter_and_acked(redis: RedisAddress) -> None:
    stream = fresh("s")
    connection = client(redis)
    for value in (b'{"n": 1}', b"no JSON", b'{"n": 2}'):
        connection.xadd(stream, {"data": value})
    connection.xadd(stream, {"other": 1})
    source = RedisStreamSpout(stream, group="g", field="data", decoder=Json(outputs={"n": int}), url=redis.url)
    with reading(source) as cluster:
        run_until(cluster, lambda: len(cluster.dead_letters()) == 2, "two letters")
        run_until(cluster, lambda: pending(redis, stream, "g") == 0, "all acks")
        assert rows_of(cluster) == [(1,), (2,)]
        assert "cannot be a row" in cluster.dead_letters()[0].error
        assert cluster.dead_letters()[0].fields == ("stream", "id", "fields")


def test_removed_entries_are_told(redis: RedisAddress) -> None:
    """What was read and not processed when it was removed, and what never was read."""
    stream = fresh("s")
    ids = add(redis, stream, range(10))
    with reading(spout(redis, stream), acks=False) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) == 10, "10 rows")
    connection = client(redis)
    connection.xdel(stream, *ids[:4])
    add(redis, stream, range(10, 20))
    connection.xtrim(stream, maxlen=5, approximate=False)
    with reading(spout(redis, stream)) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) >= 5, "what is left")
        run_until(cluster, lambda: pending(redis, stream, "g") == 0, "all acks")
        told = lambda: " ".join(str(error) for error in cluster.errors())  # noqa: E731
        run_until(cluster, lambda: "had not been read yet" in told(), "the gap")
        assert "10 entries" in told()
        assert "were not processed yet" in told()
        assert rows_of(cluster) == [(n,) for n in range(15, 20)]


def test_lag_is_shown(redis: RedisAddress) -> None:
    stream = fresh("s")
    add(redis, stream, range(5000))
    with reading(spout(redis, stream, batch=100), acks=False) as cluster:
        source = cluster.task("entries", RedisStreamSpout)
        run_until(cluster, lambda: source._reading.pending() > 0, "a look")  # pyright: ignore[reportPrivateUsage]
        seen = source._reading.lag()[stream]  # pyright: ignore[reportPrivateUsage]
        assert 0 <= seen < 5000


def test_flushed_data_are_told_and_read_on(redis: RedisAddress) -> None:
    stream = fresh("s")
    add(redis, stream, range(10))
    with reading(spout(redis, stream)) as cluster:
        run_until(cluster, lambda: len(rows_of(cluster)) == 10, "10 rows")
        client(redis).delete(stream)
        add(redis, stream, range(10, 20))
        run_until(cluster, lambda: len(rows_of(cluster)) >= 20, "10 more")
        assert rows_of(cluster) == [(n,) for n in range(20)]
        assert any("was gone, and is made anew" in str(error) for error in cluster.errors())


def test_group_that_was_removed_is_made_where_all_had_ended(redis: RedisAddress) -> None:
    stream = fresh("s")
    add(redis, stream, range(10))
    with reading(spout(redis, stream)) as cluster:
        source = cluster.task("entries", RedisStreamSpout)
        run_until(cluster, lambda: len(rows_of(cluster)) == 10, "10 rows")
        seen = source._reading._seen  # pyright: ignore[reportPrivateUsage]
        run_until(cluster, lambda: stream in seen and seen[stream].is_caught_up and not seen[stream].pending, "a look")
        client(redis).xgroup_destroy(stream, "g")
        add(redis, stream, range(10, 20))
        run_until(cluster, lambda: len(rows_of(cluster)) >= 20, "10 more")
        assert rows_of(cluster) == [(n,) for n in range(20)]


def test_what_is_wrong_is_an_error_when_it_opens(redis: RedisAddress) -> None:
    stream = fresh("s")
    with pytest.raises(StateError, match="redis_stream_missing"), reading(spout(redis, stream)):
        pass
    client(redis).set(stream, "a string")
    with pytest.raises(StateError, match="is a string, not a stream"), reading(spout(redis, stream)):
        pass
    with pytest.raises(StateError, match="is a string, not a stream"):
        send(RedisStreamSink(stream, url=redis.url), [(1,)], ["n"])
    wrong = f"redis://bob:hush-hush@{redis.address}/0"
    with pytest.raises(ConfigError, match="redis_refused") as caught, reading(spout(redis, stream, url=wrong)):
        pass
    assert "hush" not in str(caught.value)
    with pytest.raises(ConfigError, match="redis_refused"):
        send(RedisStreamSink(fresh("s"), url=wrong), [(1,)], ["n"])
    with pytest.raises(ConfigError, match="secret_missing"), reading(spout(redis, stream, password="env:NO_SUCH")):
        pass


def test_rights_that_are_missing_are_an_error_when_it_opens(redis: RedisAddress) -> None:
    stream, user = fresh("s"), fresh("user")
    client(redis).acl_setuser(user, enabled=True, passwords=["+secret"], keys=["other:*"], commands=["+@all"])
    url = f"redis://{user}:secret@{redis.address}/0"
    with pytest.raises(ConfigError, match="redis_refused"):
        send(RedisStreamSink(stream, url=url), [(1,)], ["n"])
    add(redis, stream, [1])
    with pytest.raises(ConfigError, match="redis_refused"), reading(spout(redis, stream, url=url)):
        pass


def test_rights_that_the_page_of_the_error_names_are_enough(redis: RedisAddress) -> None:
    stream, user = fresh("s"), fresh("user")
    page = (Path(squall.__file__).parent / "explained/redis_refused.md").read_text()
    for_source, for_sink = (re.findall(r"\+[a-z]+", rights) for rights in re.findall(r"`(\+[^`]+)`", page))
    add(redis, stream, range(10))
    connection = client(redis)
    connection.execute_command("ACL", "SETUSER", user, "on", ">secret", "~*", *for_source)
    url = f"redis://{user}:secret@{redis.address}/0"
    with reading(spout(redis, stream, url=url)) as cluster:
        source = cluster.task("entries", RedisStreamSpout)
        run_until(cluster, lambda: len(rows_of(cluster)) == 10, "10 rows")
        run_until(cluster, lambda: pending(redis, stream, "g") == 0, "all acks")
        run_until(cluster, lambda: stream in source._reading.lag(), "a look")  # pyright: ignore[reportPrivateUsage]
        assert cluster.errors() == []
    connection.execute_command("ACL", "SETUSER", user, "reset", "on", ">secret", "~*", *for_sink)
    assert send(RedisStreamSink(stream, url=url), [(1,)], ["n"]) == []


def test_a_stream_is_waited_for_where_that_is_wanted(redis: RedisAddress) -> None:
    stream = fresh("s")
    with reading(spout(redis, stream, create=True)) as cluster:
        add(redis, stream, range(3))
        run_until(cluster, lambda: len(rows_of(cluster)) == 3, "3 rows")


# -- the sink ----------------------------------------------------------------------------------------------------------


def test_rows_become_entries(redis: RedisAddress) -> None:
    stream = fresh("s")
    rows = [(n, f"name {n}", n % 2 == 0) for n in range(2000)]
    assert send(RedisStreamSink(stream, url=redis.url), rows, ["n", "name", "even"]) == []
    entries = client(redis).xrange(stream)
    assert len(entries) == 2000
    assert entries[7][1] == {b"n": b"7", b"name": b"name 7", b"even": b"false"}


def test_entry_may_be_one_record_and_streams_differ_by_row(redis: RedisAddress) -> None:
    prefix = fresh("s")
    rows = [("a", 1), ("b", 2), ("a", 3)]
    send(RedisStreamSink(f"{prefix}:{{key}}", field="data", url=redis.url), rows, ["key", "n"])
    assert [entry for _, entry in client(redis).xrange(f"{prefix}:a")] == [
        {b"data": b'{"key":"a","n":1}'},
        {b"data": b'{"key":"a","n":3}'},
    ]
    assert client(redis).xlen(f"{prefix}:b") == 1


def test_stream_is_trimmed(redis: RedisAddress) -> None:
    stream = fresh("s")
    send(RedisStreamSink(stream, fields=["n"], maxlen=100, url=redis.url), [(n, 0) for n in range(3000)], ["n", "m"])
    assert client(redis).xlen(stream) < 1000


def test_row_that_redis_refuses_is_a_dead_letter_alone(redis: RedisAddress) -> None:
    prefix = fresh("s")
    client(redis).set(f"{prefix}:7", "a string")
    letters = send(RedisStreamSink(f"{prefix}:{{n}}", url=redis.url), [(n,) for n in range(20)], ["n"])
    assert len(letters) == 1
    assert "WRONGTYPE" in letters[0]
    assert all(client(redis).xlen(f"{prefix}:{n}") == 1 for n in range(20) if n != 7)
