"""A sink that adds entries to a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from squall._core import Tuple
from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery, Sink, Unavailable
from squall.connectors.named_fields import check_fields
from squall.connectors.record_encoders import Encoder, encoder_of
from squall.connectors.redis.keys import Key, check_key, fields_in, key_of, picked, stored, varies
from squall.connectors.redis.options import check_count, check_name, names_of, refused, seconds_of
from squall.connectors.redis.server import (
    DEFAULT_TIMEOUT_S,
    DEFAULT_URL,
    Server,
    closed,
    code_of,
    pipelined,
    written,
)
from squall.connectors.redis.store import SERVERS
from squall.errors import Defect, StateError, repr_of
from squall.model.durations import Seconds

NO_ENTRY = ("NOMKSTREAM", "0-0", "squall", "probe")
"""What no stream takes: whether it may be written to is answered before that."""


class RedisStreamSink(Sink):
    """Adds each input to a Redis stream as an entry; needs `pip install "squall[redis]"`.

    In: any stream.
    Delivery: at least once: an input is acked when Redis has answered its `XADD`; a batch is one pipeline. It answers
        from memory: with `appendfsync everysec` a crash of its machine may lose about the last second of what it
        answered, with `always` nothing; `replicas` waits for copies. What it refuses for good is a dead letter, alone.
        While it cannot be reached, loads its data, is out of memory or a read-only replica, rows wait.
    Metrics: counters `rows` and `batches`, gauge `waiting_s`.
    Threading: on a thread of its own.
    Args:
        stream: its key, with fields in braces if wanted (`"orders:{country}"`), or a function of the tuple. It is made
            with its first entry.
        fields: which fields of the row are fields of the entry; all if not given. Text, bytes and numbers are as they
            are, all else is JSON.
        field: instead: the one field of the entry, which holds the row as `encoder` makes it.
        encoder: "json", "text", "raw", or a function that makes bytes or text of a tuple.
        maxlen: about how many entries the stream keeps: older ones are trimmed, read or not.
        replicas: how many replicas have to have a batch before it is acked (`WAIT`).
        url, username, password, timeout: as of `RedisStore`.

    Raises:
        TopologyError: `redis_option`, `encoder_unknown` or `extra_missing`, when it is made; `sink_field_unknown`,
            when it is opened.
        ConfigError: `redis_refused`, `redis_url` or `secret_missing`, when it is opened.
        StateError: `redis_key_type`, when it is opened.
    """

    delivery: ClassVar[Delivery] = Delivery(
        guarantee="at least once",
        order="of the rows of a task, by stream; rows that are written again after an outage stand behind others of "
        "their batch",
        restart="nothing; rows on their way are added again. Redis itself may lose the last second in a crash of its "
        "machine (AOF everysec)",
        tested=SERVERS,
    )

    def __init__(
        self,
        stream: Key,
        *,
        fields: Sequence[str] | None = None,
        field: str | None = None,
        encoder: Encoder = "json",
        maxlen: int | None = None,
        replicas: int = 0,
        url: str = DEFAULT_URL,
        username: str | None = None,
        password: str | None = None,
        timeout: Seconds = DEFAULT_TIMEOUT_S,
    ) -> None:
        who = "RedisStreamSink"
        self._server = Server.given(who, url, username, password, timeout)
        check_key(who, "stream", stream)
        if fields is not None and field is not None:
            raise refused(f"{who} has fields and a field", "give one of them")
        if field is not None:
            check_name(who, "field", field)
        if maxlen is not None:
            check_count(who, "maxlen", maxlen)
        if type(replicas) is not int or replicas != 0:
            check_count(who, "replicas", replicas)
        self._fields = None if fields is None else names_of(who, "fields", fields)
        self._field, self._encode = field, encoder_of(encoder, who)
        self._stream, self._key_of = stream, key_of(stream)
        self._trim: tuple[Any, ...] = () if maxlen is None else ("MAXLEN", "~", maxlen)
        self._replicas, self._timeout_ms = replicas, int(1000 * seconds_of(who, "timeout", timeout) / 2)
        self._named = {"stream": fields_in(stream), "fields": self._fields or ()}
        self._is_short = False

    def where(self) -> str:
        """The server."""
        return self._server.where

    def open(self, context: TopologyContext) -> None:
        """Sees that the fields are there, and logs in."""
        check_fields(f'bolt "{context.component}"', self._named, context.inputs)
        super().open(context)

    def connect(self) -> None:
        """Logs in, and sees whether the stream may be written to."""
        self._login = self._server.login(f'bolt "{self.context.component}"')
        self._client = self._login.connect()
        if not varies(self._stream):
            self._check(self._stream.format())  # pyright: ignore[reportFunctionMemberAccess]  # it is no function

    def disconnect(self) -> None:
        """Closes the connection."""
        if (client := getattr(self, "_client", None)) is not None:
            closed(client)

    def _check(self, stream: str) -> None:
        kind, probed = pipelined(self._client, [("TYPE", stream), ("XADD", stream, *NO_ENTRY)])
        if isinstance(probed, Exception) and code_of(probed) != "ERR" and code_of(probed) != "The":
            told = self._login.told(probed)
            if told is not probed:
                raise told
        check_type(self._server, stream, kind)

    def write(self, rows: Sequence[Tuple]) -> Sequence[Exception | None] | None:
        """Adds the entries of the rows together."""
        if self._is_short:
            self._wait(0)
        outcome = written(self._login, self._client, rows, self._added, keys_vary=varies(self._stream))
        if self._replicas:
            self._wait(self._timeout_ms)
        return outcome

    def _added(self, tup: Tuple) -> tuple[Any, ...]:
        return "XADD", self._key_of(tup), *self._trim, "*", *self._entry(tup)

    def _entry(self, tup: Tuple) -> list[Any]:
        if self._field is not None:
            return [self._field, self._encode(tup)]
        if self._fields is not None:
            return [part for pair in zip(self._fields, picked(tup, self._fields), strict=True) for part in pair]
        return [part for name, value in zip(tup.fields, tup.values, strict=True) for part in (name, stored(value))]

    def _wait(self, timeout_ms: int) -> None:
        """Waits until enough replicas have what was written.

        Raises:
            Unavailable: there are too few. Nothing is written before there are enough, so that little is written twice.
        """
        try:
            have = self._client.execute_command("WAIT", self._replicas, timeout_ms or self._timeout_ms)
        except Exception as error:
            raise self._login.told(error) from error
        self._is_short = have < self._replicas
        if self._is_short:
            raise Unavailable(f"{have} replicas have what was written, {self._replicas} should")


def check_type(server: Server, stream: str, kind: Any) -> None:
    """Refuses a key that is no stream.

    Raises:
        StateError: `redis_key_type`.
    """
    if isinstance(kind, bytes) and kind not in (b"stream", b"none"):
        message = f"the key {repr_of(stream)} of {server.where} is a {kind.decode()}, not a stream"
        raise StateError(Defect("redis_key_type", message, (), "name another key, or remove that one: TYPE, DEL"))
