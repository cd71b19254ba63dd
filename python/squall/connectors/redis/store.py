"""A sink that writes rows to keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

from squall._core import Tuple
from squall.api.context import TopologyContext
from squall.connectors.contract import Delivery, Sink
from squall.connectors.named_fields import check_fields
from squall.connectors.redis.keys import varies
from squall.connectors.redis.kinds import Command, Kind, List
from squall.connectors.redis.options import refused
from squall.connectors.redis.server import DEFAULT_TIMEOUT_S, DEFAULT_URL, Server, closed, written
from squall.errors import DeadLetter, repr_of
from squall.model.durations import Seconds

SERVERS = "Redis 7.0"


class RedisStore(Sink):
    """Writes each input to a key of Redis; needs `pip install "squall[redis]"`.

    In: any stream.
    Delivery: at least once: an input is acked when Redis has answered its command; a batch is one pipeline. What Redis
        refuses for good (a key of another type, a right that is missing for that key) is a dead letter, alone. While it
        cannot be reached, loads its data, is out of memory or a read-only replica, rows wait and nothing fails.
    Metrics: counters `rows` and `batches`, gauge `waiting_s`.
    Threading: on a thread of its own.
    Args:
        kind: `String`, `Hash`, `List`, `Set`, `SortedSet` or `HyperLogLog`; or a function that makes a command of a
            tuple: `lambda tup: ("HINCRBY", "counts", tup["word"], 1)`.
        url: `redis://USER:PASSWORD@HOST:PORT/DB`, `rediss://…` (TLS), `unix://PATH`, or `env:NAME`.
        username, password: if they are not in the url; `env:NAME` is read from the environment of the worker.
        timeout: for an answer.

    Raises:
        TopologyError: `redis_option` or `extra_missing`, when it is made; `sink_field_unknown`, when it is opened.
        ConfigError: `redis_refused`, `redis_url` or `secret_missing`, when it is opened.
    """

    delivery: ClassVar[Delivery] = Delivery(
        guarantee="at least once; what a row leaves is the same when it is written twice, except in a `List` and by "
        "some commands of one's own",
        order="of the rows of a task, by key; in a `List`, and by commands of one's own, rows that are written again "
        "after an outage stand behind others of their batch",
        restart="nothing; rows on their way are written again. What Redis itself loses in a crash depends on its AOF: "
        "with everysec the last second",
        tested=SERVERS,
    )

    def __init__(
        self,
        kind: Kind | Callable[[Tuple], Sequence[Any]],
        *,
        url: str = DEFAULT_URL,
        username: str | None = None,
        password: str | None = None,
        timeout: Seconds = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._server = Server.given("RedisStore", url, username, password, timeout)
        made = cast("object", kind)
        if isinstance(made, Kind):
            self._command: Callable[[Tuple], Sequence[Any]] = made.command
            self._named = made.named
            self._keys_vary, self._is_last_kept = varies(made.key), not isinstance(made, List)
        elif callable(made) and not isinstance(made, type):
            self._command = cast("Callable[[Tuple], Sequence[Any]]", made)
            self._named = {}
            self._keys_vary, self._is_last_kept = True, False
        else:
            fix = 'give Hash("user:{user}", fields=["name"]), another kind, or a function that makes a command'
            raise refused(f"RedisStore is given {repr_of(made)}", fix)

    def where(self) -> str:
        """The server."""
        return self._server.where

    def open(self, context: TopologyContext) -> None:
        """Sees that the fields are there, and logs in."""
        check_fields(f'bolt "{context.component}"', self._named, context.inputs)
        super().open(context)

    def connect(self) -> None:
        """Logs in."""
        self._login = self._server.login(f'bolt "{self.context.component}"')
        self._client = self._login.connect()

    def disconnect(self) -> None:
        """Closes the connection."""
        if (client := getattr(self, "_client", None)) is not None:
            closed(client)

    def write(self, rows: Sequence[Tuple]) -> Sequence[Exception | None] | None:
        """Sends the commands of the rows together."""
        return written(
            self._login,
            self._client,
            rows,
            self._made,
            keys_vary=self._keys_vary,
            is_last_kept=self._is_last_kept,
        )

    def _made(self, tup: Tuple) -> Command:
        try:
            command = tuple(self._command(tup))
        except DeadLetter:
            raise
        except Exception as error:
            raise DeadLetter(f"no command can be made of the row: {type(error).__name__}: {error}") from error
        if not command or not all(isinstance(one, str | bytes | int | float) for one in command):
            raise DeadLetter(f"{repr_of(command)} is no command: it is a name and texts, bytes or numbers")
        return command
