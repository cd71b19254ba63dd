"""A bolt that looks rows up in Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias

from squall.connectors.contract import Delivery
from squall.connectors.lookup import Found, Key, Lookup, Missing
from squall.connectors.redis.keys import check_key, fields_of
from squall.connectors.redis.options import is_among, names_of, refused, seconds_of
from squall.connectors.redis.server import DEFAULT_TIMEOUT_S, DEFAULT_URL, Server, answered, closed, pipelined
from squall.connectors.redis.store import SERVERS
from squall.errors import DeadLetter, Defect, TopologyError, repr_of
from squall.model.durations import Seconds

Decode: TypeAlias = Literal["text", "bytes", "json"] | Callable[[bytes], Any]
DEFAULT_CACHE = 10_000
DEFAULT_TTL_S = 60.0
MISSING = ("null", "drop", "dead")


class RedisLookup(Lookup):
    """Adds to each row what a key of Redis has for it; needs `pip install "squall[redis]"`.

        RedisLookup("user:{user}", outputs=("url", "user", "name", "city"))

    In: any stream with the fields that are in braces.
    Out: `outputs`: each is a field that comes in, or else what is looked up: fields of the hash; with `field` the one
        value that this field of the hash has; with `kind="string"` the key's one value. A row whose key there is not,
        or has none of the fields, is treated as `missing` says.
    Delivery: a row is acked with what it puts out. A key of another type is a dead letter of its row. While Redis is
        away rows wait, and the topology slows down.
    Bound: `cache` keys with their values are kept.
    Cost: one pipeline for the keys of a batch that the cache does not have (`MGET` for strings). What the cache gives
        was asked for at most `ttl` ago, that there is nothing for a key too.
    Metrics: counters `rows`, `batches`, `hits` and `misses` (keys), gauges `cached` and `waiting_s`.
    Threading: on a thread of its own.
    Args:
        key: `"user:{user}"`.
        field: of a hash with a field for each row: `RedisLookup("counts", field="{word}", outputs=("word", "count"))`.
        kind: `"hash"`, or `"string"`.
        decode: what values are: `"text"`, `"bytes"`, `"json"`, or a function of bytes.
        missing: "null": None is put out for what is looked up; "drop": the row is dropped, and counted; "dead": it is a
            dead letter.
        cache: how many keys; 0 for none.
        ttl: for how long what was found may be used.
        url, username, password, timeout: as of `RedisStore`.

    Raises:
        TopologyError: `redis_option` or `extra_missing`, when it is made; `redis_outputs`, when it is opened.
        ConfigError: `redis_refused`, `redis_url` or `secret_missing`, when it is opened.
    """

    delivery: ClassVar[Delivery] = Delivery(
        guarantee="a row is acked with what it puts out",
        order="rows of a task in their order",
        restart="nothing is lost; the cache begins empty",
        tested=SERVERS,
    )

    def __init__(
        self,
        key: str,
        *,
        outputs: Sequence[str],
        field: str | None = None,
        kind: Literal["hash", "string"] = "hash",
        decode: Decode = "text",
        missing: Missing = "null",
        cache: int = DEFAULT_CACHE,
        ttl: Seconds = DEFAULT_TTL_S,
        url: str = DEFAULT_URL,
        username: str | None = None,
        password: str | None = None,
        timeout: Seconds = DEFAULT_TIMEOUT_S,
    ) -> None:
        who = "RedisLookup"
        self._server = Server.given(who, url, username, password, timeout)
        for name, value in (("key", key), ("field", field)):
            if callable(value):
                raise refused(f"{who} has {name}={repr_of(value)}", 'give a name with fields in braces: "user:{user}"')
            if name == "key" or value is not None:
                check_key(who, name, value)
        fields = tuple(dict.fromkeys([*fields_of(key), *fields_of(field or "")]))
        if not fields:
            raise refused(f"{who} has key={key!r}, which is the same for all rows", 'name a field: "user:{user}"')
        if not is_among(kind, ("hash", "string")) or (kind == "string" and field is not None):
            raise refused(
                f"{who} has kind={repr_of(kind)}, field={repr_of(field)}", "give hash or string; a field: hash"
            )
        if not callable(decode) and not is_among(decode, DECODERS):
            raise refused(f"{who} has decode={repr_of(decode)}", "give text, json, bytes or a function of bytes")
        if not is_among(missing, MISSING):
            raise refused(f"{who} has missing={repr_of(missing)}", f"choose among {', '.join(MISSING)}")
        if not isinstance(cache, int) or isinstance(cache, bool) or cache < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refused(f"{who} has cache={repr_of(cache)}", "give a number of keys, from 0")
        self._key, self._field, self._kind = key, field, kind
        self._decode = decode if callable(decode) else DECODERS[decode]
        super().__init__(fields, names_of(who, "outputs", outputs), missing, cache, seconds_of(who, "ttl", ttl))

    def where(self) -> str:
        """The server."""
        return self._server.where

    def connect(self) -> None:
        """Logs in."""
        who = f'bolt "{self.context.component}"'
        for types in self.context.inputs.values():
            self._check(who, tuple(types))
        self._login = self._server.login(who)
        self._client = self._login.connect()

    def _check(self, who: str, fields: Sequence[str]) -> None:
        """Refuses a stream without the fields of the key, and outputs for which there is no value."""
        facts = (("fields", ", ".join(fields)),)
        if absent := [name for name in self._fields if name not in fields]:
            message = f"{who} looks up by {', '.join(absent)}, which does not come in"
            raise TopologyError(Defect("redis_outputs", message, facts, "name fields of the stream in the key"))
        added = self.added(fields)
        if not added or (len(added) > 1 and (self._kind == "string" or self._field is not None)):
            message = f"{who} looks up one value, and {len(added)} outputs are none of its input: {', '.join(added)}"
            fix = "let outputs name fields that come in, and those that are looked up: of a string, or a field, one"
            raise TopologyError(Defect("redis_outputs", message, facts, fix))

    def disconnect(self) -> None:
        """Closes the connection."""
        if (client := getattr(self, "_client", None)) is not None:
            closed(client)

    def find(self, keys: Sequence[Key], columns: Sequence[str]) -> Mapping[Key, Found]:
        """Asks for keys that differ."""
        values = [dict(zip(self._fields, key, strict=True)) for key in keys]
        names = [self._key.format_map(row) for row in values]
        try:
            if self._kind == "string":
                answers: list[Any] = [[value] for value in self._client.execute_command("MGET", *names)]
            else:
                asked = [columns if self._field is None else (self._field.format_map(row),) for row in values]
                commands = [("HMGET", name, *fields) for name, fields in zip(names, asked, strict=True)]
                answers = pipelined(self._client, commands)
        except Exception as error:
            raise self._login.told(error) from error
        return {key: self._read(name, answer) for key, name, answer in zip(keys, names, answers, strict=True)}

    def _read(self, name: str, answer: Any) -> Found:
        if isinstance(answer, Exception):
            raise answered(answer, name, keys_vary=True)
        if all(value is None for value in answer):
            return ()
        try:
            return ([None if value is None else self._decode(value) for value in answer],)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise DeadLetter(f"what Redis has for the key {repr_of(name)} cannot be read: {why}") from error


def _json(data: bytes) -> Any:
    import msgspec

    return msgspec.json.decode(data)


DECODERS: dict[str, Callable[[bytes], Any]] = {"text": bytes.decode, "bytes": bytes, "json": _json}
