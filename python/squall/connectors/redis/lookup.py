"""A bolt that looks rows up in Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, TypeAlias, cast

from squall._core import Tuple
from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery, RemoteBolt
from squall.connectors.lookups import MISSING, Cache, Missing
from squall.connectors.redis.keys import varies
from squall.connectors.redis.kinds import Asked, Looked, String, question
from squall.connectors.redis.options import names_of, refused, seconds_of
from squall.connectors.redis.server import DEFAULT_TIMEOUT_S, DEFAULT_URL, Server, answered, closed, pipelined
from squall.connectors.redis.store import SERVERS
from squall.errors import DeadLetter, repr_of
from squall.model.durations import Seconds

Decode: TypeAlias = Literal["text", "bytes", "json"] | Callable[[bytes], Any]
DEFAULT_CACHE = 10_000


class RedisLookup(RemoteBolt):
    """Adds to each input what Redis has for it; needs `pip install "squall[redis]"`.

    `RedisLookup(Hash("user:{user}", fields=["name", "city"]), outputs=["url", "name", "city"])` looks up name and city,
    and passes the input's url on.

    In: any stream with the fields that `kind` and `outputs` name.
    Out: `outputs`.
    Delivery: an input is acked when what comes of it is; looking up changes nothing. Rows of a batch are asked for in
        one pipeline, each key once. A key of another type is a dead letter of its row. While Redis cannot be reached,
        rows wait and nothing fails.
    Bound: `cache` keys.
    Metrics: counters `rows`, `batches`, `found in cache` and `missing`, gauges `cache` and `waiting_s`.
    Threading: on a thread of its own.
    Args:
        kind: `String` or `Hash`.
        outputs: names; those that `kind` looks up, and fields of the input.
        cache: how many keys are remembered; 0 asks each time.
        ttl: for how long something found is believed; None: as long as it is remembered.
        missing: what becomes of a row for which there is nothing: `"null"`: it goes on with None; `"drop"`: it is acked
            and gone; `"dead"`: it goes to the dead letters. What is missing is asked for again each time.
        decode: what the values are: `"text"`, `"bytes"`, `"json"`, or a function of bytes.
        url, username, password, timeout: as of `RedisStore`.

    Raises:
        TopologyError: `redis_option` or `extra_missing`, when it is made.
        ConfigError: `redis_refused`, `redis_url` or `secret_missing`, when it is opened.
    """

    delivery: ClassVar[Delivery] = Delivery(
        guarantee="that of its input: it only reads",
        order="kept, by task",
        restart="nothing; the cache begins empty",
        tested=SERVERS,
    )
    outputs: ClassVar[Any] = ()

    def __init__(
        self,
        kind: Looked,
        *,
        outputs: Sequence[str],
        cache: int = DEFAULT_CACHE,
        ttl: Seconds | None = 60.0,
        missing: Missing = "null",
        decode: Decode = "text",
        url: str = DEFAULT_URL,
        username: str | None = None,
        password: str | None = None,
        timeout: Seconds = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._server = Server.given("RedisLookup", url, username, password, timeout)
        if not isinstance(cast("object", kind), Looked):
            raise refused(f"RedisLookup is given {repr_of(kind)}", 'give String("user:{user}") or Hash(…)')
        names = names_of("RedisLookup", "outputs", outputs)
        if lacking := [name for name in kind.names if name not in names]:
            fix = f"add it to outputs, or look up less: {', '.join(kind.names)} are what it asks for"
            raise refused(f"RedisLookup has outputs={repr_of(outputs)} without {', '.join(lacking)}", fix)
        if not isinstance(cast("object", cache), int) or isinstance(cache, bool) or cache < 0:
            raise refused(f"RedisLookup has cache={repr_of(cache)}", "give a number of keys, from 0")
        if missing not in MISSING:
            raise refused(f"RedisLookup has missing={repr_of(missing)}", f"choose among {', '.join(MISSING)}")
        if not callable(decode) and decode not in DECODERS:
            raise refused(f"RedisLookup has decode={repr_of(decode)}", "give text, json, bytes or a function of bytes")
        self._ttl_s = None if ttl is None else seconds_of("RedisLookup", "ttl", ttl)
        self._kind, self._names, self._cache_max, self._missing = kind, names, cache, missing
        self._decode = decode if callable(decode) else DECODERS[decode]
        self._keys_vary = varies(kind.key)
        self.outputs = names  # pyright: ignore[reportAttributeAccessIssue]  # of this bolt alone

    def where(self) -> str:
        """The server."""
        return self._server.where

    def open(self, context: TopologyContext) -> None:
        """Connects."""
        self._cache = Cache(self._cache_max, self._ttl_s)
        self._hits, self._lacking = context.counter("found in cache"), context.counter("missing")
        context.gauge("cache", lambda: len(self._cache))
        super().open(context)

    def connect(self) -> None:
        """Logs in."""
        self._client = self._server.login(f'bolt "{self.context.component}"').connect()

    def disconnect(self) -> None:
        """Closes the connection."""
        if (client := getattr(self, "_client", None)) is not None:
            closed(client)

    def handle(self, rows: Sequence[Tuple]) -> Sequence[object]:
        """Looks the rows up."""
        asked: list[Asked | Exception] = []
        for tup in rows:
            try:
                asked.append(self._kind.asked(tup))
            except Exception as error:
                asked.append(error)
        found = self._found([one for one in asked if not isinstance(one, Exception)])
        return [
            one if isinstance(one, Exception) else self._row(tup, found[one])
            for tup, one in zip(rows, asked, strict=True)
        ]

    def _found(self, asked: Sequence[Asked]) -> dict[Asked, Any]:
        """For what is asked the values by their names; None: there is nothing; or why it cannot be looked up."""
        now_s, found, unknown = self.context.monotonic(), dict[Asked, Any](), list[Asked]()
        for one in dict.fromkeys(asked):
            if (kept := self._cache.get(one, now_s)) is None:
                unknown.append(one)
            else:
                found[one] = kept
        self._hits.add(self._cache.hits)
        self._cache.hits = 0
        for one, answer in zip(unknown, self._answers(unknown), strict=True):
            found[one] = value = self._read(one, answer)
            if isinstance(value, dict):
                self._cache.put(one, value, now_s)
        return found

    def _answers(self, unknown: Sequence[Asked]) -> Sequence[Any]:
        if not unknown:
            return ()
        try:
            if isinstance(self._kind, String):
                values = self._client.execute_command("MGET", *(key for key, _ in unknown))
                return [[value] for value in values]
            return pipelined(self._client, [question(self._kind, one) for one in unknown])
        except Exception as error:
            raise self._server.told(error) from error

    def _read(self, asked: Asked, answer: Any) -> Any:
        if isinstance(answer, Exception):
            return answered(answer, asked[0], keys_vary=self._keys_vary)
        if all(value is None for value in answer):
            return None
        try:
            values = [None if value is None else self._decode(value) for value in answer]
        except Exception as error:
            letter = DeadLetter(
                f"what Redis has for {repr_of(asked[0])} cannot be read: {type(error).__name__}: {error}"
            )
            letter.__cause__ = error
            return letter
        return dict(zip(self._kind.names, values, strict=True))

    def _row(self, tup: Tuple, found: Any) -> object:
        if isinstance(found, Exception):
            return found
        if found is None:
            self._lacking.add()
            if self._missing == "drop":
                return None
            if self._missing == "dead":
                return DeadLetter(f"Redis has nothing for the row: {self._kind}")
            found = {}
        try:
            return tuple([found.get(name) if name in self._kind.names else tup[name] for name in self._names])
        except (KeyError, IndexError) as error:
            fix = f"its fields are {', '.join(tup.fields)}, looked up are {', '.join(self._kind.names)}"
            return DeadLetter(f"the row has no field {error} for the outputs: {fix}")


def _json(data: bytes) -> Any:
    import msgspec

    return msgspec.json.decode(data)


DECODERS: dict[str, Callable[[bytes], Any]] = {"text": bytes.decode, "bytes": bytes, "json": _json}
