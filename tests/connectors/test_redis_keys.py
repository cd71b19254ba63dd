"""Keys of Redis, written and looked up, on a real server."""

from __future__ import annotations

from datetime import date

import pytest
from servers import RedisAddress, fresh
from squall.connectors.redis import (
    Hash,
    HyperLogLog,
    List,
    RedisLookup,
    RedisStore,
    Set,
    SortedSet,
    String,
)
from squall.errors import ConfigError, TopologyError

from .redis_places import client, put_out, send

ROWS = [("ann", 3, date(2026, 1, 2)), ("bob", 5, date(2026, 1, 3)), ("ann", 7, date(2026, 1, 4))]
FIELDS = ["user", "value", "day"]


def test_each_kind_of_key(redis: RedisAddress) -> None:
    at, connection = fresh("k"), client(redis)
    for kind in (
        String(f"{at}:string:{{user}}", ttl=100),
        Hash(f"{at}:hash:{{user}}", fields=["value", "day"]),
        Hash(f"{at}:field", field="{user}", value="value"),
        List(f"{at}:list"),
        Set(f"{at}:set", value="user"),
        SortedSet(f"{at}:zset", value="user", score="value"),
        HyperLogLog(f"{at}:hll", value="user"),
    ):
        assert send(RedisStore(kind, url=redis.url), ROWS, FIELDS) == []
    assert connection.get(f"{at}:string:ann") == b"7"
    assert 90 < connection.ttl(f"{at}:string:bob") <= 100
    assert connection.hgetall(f"{at}:hash:ann") == {b"value": b"7", b"day": b"2026-01-04"}
    assert connection.hgetall(f"{at}:field") == {b"ann": b"7", b"bob": b"5"}
    assert connection.lrange(f"{at}:list", 0, -1) == [b"3", b"5", b"7"]
    assert connection.smembers(f"{at}:set") == {b"ann", b"bob"}
    assert connection.zrange(f"{at}:zset", 0, -1, withscores=True) == [(b"bob", 5.0), (b"ann", 7.0)]
    assert connection.pfcount(f"{at}:hll") == 2


def test_any_command(redis: RedisAddress) -> None:
    key = fresh("k")
    store = RedisStore(lambda tup: ("HINCRBY", key, tup["user"], tup["value"]), url=redis.url)
    send(store, ROWS, FIELDS)
    assert client(redis).hgetall(key) == {b"ann": b"10", b"bob": b"5"}


def test_row_that_cannot_be_written_is_a_dead_letter_alone(redis: RedisAddress) -> None:
    at = fresh("k")
    client(redis).set(f"{at}:ann", "a string")
    letters = send(RedisStore(List(f"{at}:{{user}}"), url=redis.url), ROWS, FIELDS)
    assert len(letters) == 2
    assert all("WRONGTYPE" in letter and f"{at}:ann" in letter for letter in letters)
    assert client(redis).lrange(f"{at}:bob", 0, -1) == [b"5"]
    assert "no command" in send(RedisStore(lambda tup: ("SET", "k", None), url=redis.url), ROWS[:1], FIELDS)[0]


def test_key_that_this_user_may_not_have_is_a_dead_letter(redis: RedisAddress) -> None:
    at, user = fresh("k"), fresh("user")
    client(redis).acl_setuser(user, enabled=True, passwords=["+secret"], keys=[f"{at}:b*"], commands=["+@all"])
    url = f"redis://{redis.address}/0"
    store = RedisStore(String(f"{at}:{{user}}"), url=url, username=user, password="secret")
    letters = send(store, ROWS, FIELDS)
    assert len(letters) == 2
    assert "NOPERM" in letters[0]
    assert client(redis).get(f"{at}:bob") == b"5"


def test_wrong_password_ends_the_run(redis: RedisAddress) -> None:
    with pytest.raises(ConfigError, match="redis_refused") as caught:
        send(RedisStore(String("k"), url=redis.url, username="bob", password="hush-hush"), ROWS, FIELDS)
    assert "hush" not in str(caught.value)


# -- looked up ---------------------------------------------------------------------------------------------------------

ASKED = [("a", "ann"), ("b", "bob"), ("c", "cid"), ("d", "ann")]


def test_hash_is_looked_up(redis: RedisAddress) -> None:
    at = fresh("k")
    client(redis).hset(f"{at}:ann", mapping={"name": "Ann", "city": "Ulm"})
    client(redis).hset(f"{at}:bob", mapping={"name": "Bob"})
    given = {"outputs": ("url", "name", "city"), "url": redis.url}
    assert put_out(RedisLookup(f"{at}:{{user}}", **given), ASKED, ["url", "user"]) == [
        ("a", "Ann", "Ulm"),
        ("b", "Bob", None),
        ("c", None, None),
        ("d", "Ann", "Ulm"),
    ]
    dropping = RedisLookup(f"{at}:{{user}}", missing="drop", **given)
    assert [url for url, *_ in put_out(dropping, ASKED, ["url", "user"])] == ["a", "b", "d"]
    letters = send(RedisLookup(f"{at}:{{user}}", missing="dead", **given), ASKED, ["url", "user"])
    assert len(letters) == 1
    assert "has nothing for user 'cid'" in letters[0]


@pytest.mark.parametrize("protocol", [2, 3])
def test_strings_and_fields_are_looked_up(redis: RedisAddress, protocol: int) -> None:
    at = fresh("k")
    url = f"{redis.url}?protocol={protocol}"
    client(redis).mset({f"{at}:ann": "[1]", f"{at}:bob": "2"})
    lookup = RedisLookup(f"{at}:{{user}}", kind="string", decode="json", outputs=("url", "value"), url=url)
    found = put_out(lookup, ASKED, ["url", "user"])
    assert found == [("a", [1]), ("b", 2), ("c", None), ("d", [1])]
    client(redis).hset(at, mapping={"ann": 1, "bob": 2})
    lookup = RedisLookup(at, field="{user}", outputs=("user", "count"), url=url)
    assert put_out(lookup, ASKED, ["url", "user"]) == [("ann", "1"), ("bob", "2"), ("cid", None), ("ann", "1")]


def test_key_of_another_type_is_a_dead_letter_of_its_row(redis: RedisAddress) -> None:
    at = fresh("k")
    client(redis).hset(f"{at}:ann", mapping={"name": "Ann"})
    client(redis).set(f"{at}:bob", "a string")
    letters = send(RedisLookup(f"{at}:{{user}}", outputs=("url", "name"), url=redis.url), ASKED, ["url", "user"])
    assert len(letters) == 1
    assert "WRONGTYPE" in letters[0]


def test_outputs_that_mean_nothing_are_an_error_when_it_opens(redis: RedisAddress) -> None:
    with pytest.raises(TopologyError, match="redis_outputs"):
        send(RedisLookup("k:{nobody}", outputs=("url", "name"), url=redis.url), ASKED, ["url", "user"])
    with pytest.raises(TopologyError, match="redis_outputs"):
        send(RedisLookup("k:{user}", kind="string", outputs=("a", "b"), url=redis.url), ASKED, ["url", "user"])
