"""What the Redis connectors decide, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from squall.connectors.contract import Unavailable
from squall.connectors.decoders import Json
from squall.connectors.redis import Hash, RedisLookup, RedisStore, RedisStreamSink, RedisStreamSpout, String
from squall.connectors.redis.entries import rows_of
from squall.connectors.redis.group import Looked, before, dead_consumers, entries_of, start_again
from squall.connectors.redis.keys import stored
from squall.connectors.redis.server import Server, written
from squall.errors import ConfigError, DeadLetter, TopologyError


def looked(**figures: Any) -> Looked:
    given = {"length": 0, "added": 0, "read": 0, "first": None, "last": "0-0", "delivered": "0-0"}
    return Looked(**{**given, "pending": 0, "oldest": None, **figures})


def test_id_before_another() -> None:
    assert before("7-3") == "7-2"
    assert before("7-0") == f"6-{2**64 - 1}"
    assert before("0-0") == "0-0"


@pytest.mark.parametrize(
    "answer",
    [
        [[b"a", [(b"1-0", {b"n": b"1"}), (b"2-0", {})]]],
        {b"a": [(b"1-0", {b"n": b"1"}), (b"2-0", {})]},
        {b"a": [[(b"1-0", {b"n": b"1"}), (b"2-0", None)]]},
    ],
    ids=["RESP 2", "unified", "RESP 3"],
)
def test_entries_are_the_same_in_each_shape(answer: Any) -> None:
    assert entries_of(answer) == [("a", [(b"1-0", {b"n": b"1"}), (b"2-0", {})])]


def test_lag_and_what_was_passed_over() -> None:
    caught_up = looked(length=10, added=20, read=15, first="11-0", last="20-0", delivered="20-0")
    assert (caught_up.lag, caught_up.passed_over) == (0, 5)
    at_gap = looked(length=10, added=20, read=5, first="11-0", last="20-0", delivered="5-0")
    assert (at_gap.lag, at_gap.passed_over) == (10, 5)
    behind = looked(length=20, added=20, read=5, first="1-0", last="20-0", delivered="5-0")
    assert (behind.lag, behind.passed_over) == (15, None)
    old_server = looked(length=20, added=None, read=None, first="1-0", last="20-0", delivered="5-0")
    assert (old_server.lag, old_server.passed_over) == (20, None)


def test_group_is_made_again_where_all_had_ended() -> None:
    seen = looked(last="9-0", delivered="8-0", oldest="3-1", pending=2)
    assert start_again(seen, "9-5") == "3-0"
    assert start_again(looked(last="9-0", delivered="8-0"), "9-5") == "8-0"
    assert start_again(seen, "2-0") == "0-0", "another stream"
    assert start_again(seen, None) == start_again(None, "9-5") == "0-0"


def test_consumers_that_ask_are_not_dead() -> None:
    consumers = [
        {b"name": b"own", b"pending": 5, b"idle": 9000},
        {b"name": b"slow", b"pending": 5, b"idle": 10},
        {b"name": b"empty", b"pending": 0, b"idle": 9000},
        {b"name": b"dead", b"pending": 1, b"idle": 9000},
    ]
    assert dead_consumers(consumers, "own", 5000) == ["dead"]


def test_entries_become_rows() -> None:
    entries = [(b"1-0", {b"n": b"1", b"s": b"a"}), (b"2-0", {b"n": b"x", b"s": b"b"}), (b"3-0", {b"s": b"c"})]
    rows = rows_of("it", {"n": int, "s": bytes}, None, None, None, "stream", "id")
    assert rows.outputs == ("stream", "id", "n", "s")
    chunk = rows.chunk("a", entries)
    assert chunk.rows[0] == ("a", "1-0", 1, b"a")
    assert sorted(chunk.bad) == [1, 2]
    assert "the entry 3-0 of a cannot be a row: it has no field b'n'" in str(chunk.bad[2].error)
    assert chunk.bad[1].values == ("a", "2-0", {"n": "x", "s": "b"})
    assert rows_of("it", None, None, None, None, None, None).chunk("a", entries[:1]).rows == [({"n": "1", "s": "a"},)]
    decoded = rows_of("it", None, "d", Json(outputs={"n": int}), None, None, "id")
    assert decoded.outputs == {"id": str, "n": int}
    assert decoded.chunk("a", [(b"1-0", {b"d": b'{"n": 3}'})]).rows == [("1-0", 3)]
    called = rows_of("it", None, "d", lambda data: (len(data), 1), ("n", "m"), None, None)
    assert called.chunk("a", [(b"1-0", {b"d": b"abc"})]).rows == [(3, 1)]


def test_values_as_redis_keeps_them() -> None:
    from datetime import date
    from decimal import Decimal

    assert stored("a") == "a"
    assert stored(None) == "null"
    assert stored(True) == "true"
    assert stored([1, "a"]) == '[1,"a"]'
    assert stored(date(2026, 1, 2)) == "2026-01-02"
    assert stored(Decimal("1.50")) == "1.50"


def test_address_is_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server.given("it", "redis://bob:hush%40@db:7000/2", None, "hush", 5)
    assert server.where == "Redis at db:7000/2"
    assert "hush" not in repr(server)
    monkeypatch.setenv("PASSWORD", "p@ss/wd")
    login = Server.given("it", "redis://bob:env:PASSWORD@db/2", None, None, 5).login("it")
    assert login.url == "redis://bob:p%40ss%2Fwd@db/2"
    assert "p@ss" not in repr(login)
    monkeypatch.setenv("ADDRESS", "redis://db:1")
    assert Server.given("it", "env:ADDRESS", "bob", "env:PASSWORD", 5).login("it").password == "p@ss/wd"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RedisStreamSpout([], group="g"), "streams=[]"),
        (lambda: RedisStreamSpout("a", group=""), "group=''"),
        (lambda: RedisStreamSpout("a", group="g", start="now"), "start='now'"),
        (lambda: RedisStreamSpout("a", group="g", batch=0), "batch=0"),
        (lambda: RedisStreamSpout("a", group="g", claim_after=0), "claim_after=0"),
        (lambda: RedisStreamSpout("a", group="g", field="d"), "field or a decoder"),
        (lambda: RedisStreamSpout("a", group="g", fields={"n": 3}), "fields={'n': 3}"),
        (lambda: RedisStreamSpout("a", group="g", url="http://a"), "none of Redis"),
        (lambda: RedisStreamSpout("a", group="g", password=3), "password of type int"),
        (lambda: RedisStreamSink("a", fields=["n"], field="d"), "fields and a field"),
        (lambda: RedisStreamSink("a{b", fields=["n"]), "stream='a{b'"),
        (lambda: RedisStreamSink("a", maxlen=0), "maxlen=0"),
        (lambda: RedisStreamSink("a", encoder="xml"), "encoder='xml'"),
        (lambda: RedisStore("a"), "is given 'a'"),
        (lambda: RedisStore(String), "is given"),
        (lambda: Hash("a"), "both fields and a field, or neither"),
        (lambda: String("{0}"), "key='{0}'"),
        (lambda: RedisLookup("a", outputs=["b"]), "the same for all rows"),
        (lambda: RedisLookup("a{b}", outputs=["c"], missing="none"), "missing='none'"),
        (lambda: RedisLookup("a{b}", outputs=["c"], cache=-1), "cache=-1"),
        (lambda: RedisLookup("a{b}", outputs=["c"], kind="string", field="{b}"), "kind='string'"),
    ],
)
def test_options_of_no_use_are_refused_by_name(make: Any, said: str) -> None:
    with pytest.raises(TopologyError) as caught:
        make()
    assert said in str(caught.value)


class Answering:
    """A client whose server answers a pipeline so."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers, self.sent = answers, list[tuple[Any, ...]]()

    def pipeline(self, *, transaction: bool) -> Answering:
        assert not transaction
        return self

    def execute_command(self, *command: Any) -> None:
        self.sent.append(command)

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        return self.answers


@pytest.mark.parametrize(("is_last_kept", "again"), [(True, [True, False, False, True]), (False, [True] + [False] * 3)])
def test_rows_of_a_key_stay_in_their_order_when_the_server_takes_commands_again(
    *, is_last_kept: bool, again: list[bool]
) -> None:
    """It had no room for the first row, and then some: else the first would be written behind the last of its key."""
    import redis.exceptions as its

    rows: Any = [("SET", key, number) for number, key in enumerate("aaba")]
    client = Answering([its.OutOfMemoryError("no room"), its.ResponseError("WRONGTYPE"), b"OK", b"OK"])
    login = Server.given("RedisStore", "redis://h", None, None, 5).login("bolt")
    outcome = written(login, client, rows, lambda row: row, keys_vary=True, is_last_kept=is_last_kept)
    assert outcome is not None
    assert client.sent == rows
    assert [isinstance(error, Unavailable) for error in outcome] == again
    assert isinstance(outcome[1], DeadLetter)


@pytest.mark.parametrize("url", ["redis://u:secret/word@h", "redis://secret:7/word@h", "redis://:se#cret@h/0"])
def test_password_that_is_not_escaped_is_refused_and_not_shown(url: str) -> None:
    server = Server.given("RedisStore", url, None, None, 5)
    assert server.where == "Redis"
    with pytest.raises(ConfigError, match="redis_url") as caught:
        server.login("bolt").connect()
    assert "secret" not in f"{caught.value}{server!r}"
