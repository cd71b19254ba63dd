"""How a Redis server is reached, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, cast
from urllib.parse import quote, urlsplit

from squall._core import Tuple
from squall.connectors.contract import Unavailable
from squall.connectors.extras import need
from squall.connectors.redis.options import refused, seconds_of
from squall.connectors.secrets import PREFIX, resolved
from squall.errors import ConfigError, DeadLetter, Defect, repr_of

DEFAULT_URL = "redis://127.0.0.1:6379/0"
SCHEMES = ("redis://", "rediss://", "unix://")
DEFAULT_TIMEOUT_S = 5.0
PASSING = ("LOADING", "READONLY", "OOM", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED")
"""Answers that are about the server as it is now, not about the command."""
FIX_LOGIN = "give the user and password that it knows, as env:NAME, and see what it allows: ACL LIST"


@dataclass(frozen=True)
class Server:
    """A server and how to log in. `url`, `username` and `password` may be, or hold, `env:NAME`."""

    url: str = field(repr=False)
    username: str | None
    password: str | None = field(repr=False)
    timeout_s: float

    @classmethod
    def given(cls, who: str, url: object, username: object, password: object, timeout: object) -> Server:
        """What a connector was given.

        Raises:
            TopologyError: `redis_option` or `extra_missing`.
        """
        need("redis", "redis", who)
        if not isinstance(url, str) or not url.startswith((*SCHEMES, PREFIX)):
            # It may be a password that was meant, so it is not shown.
            fix = f"begin it with {', '.join(SCHEMES)}, or give env:NAME"
            raise refused(f"{who} has a url that is none of Redis", fix)
        for name, value in (("username", username), ("password", password)):
            if value is not None and not isinstance(value, str):
                raise refused(f"{who} has a {name} of type {type(value).__name__}", "give a text, or env:NAME")
        user, secret = cast("str | None", username), cast("str | None", password)
        return cls(url, user, secret, seconds_of(who, "timeout", timeout))

    @property
    def where(self) -> str:
        """The server as people know it."""
        if self.url.startswith(PREFIX):
            return f"Redis at {self.url}"
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "localhost", parts.port or 6379
        except ValueError:
            return "Redis"
        if any("@" in part for part in parts[2:]):  # what stands before it may be of a password
            return "Redis"
        if parts.scheme == "unix":
            return f"Redis at {parts.path}"
        return f"Redis at {host}:{port}{parts.path.rstrip('/')}"

    def login(self, who: str) -> Login:
        """The values of `env:NAME`, as they are in this process.

        Raises:
            ConfigError: `secret_missing`, `secret_unusable` or `redis_url`.
        """
        given = {"username": self.username, "password": self.password, "url": self.url}
        try:
            in_url = urlsplit(self.url).password or ""
        except ValueError:
            in_url = ""
        if in_url.startswith(PREFIX):
            given["in url"] = in_url
        values = resolved({name: value for name, value in given.items() if value}, who)
        if "in url" in values:
            values["url"] = self.url.replace(f":{in_url}@", f":{quote(values['in url'], safe='')}@", 1)
        return Login(self.where, values["url"], values.get("username"), values.get("password"), self.timeout_s)


@dataclass(frozen=True)
class Login:
    """A server with all that it takes to log in."""

    where: str
    url: str = field(repr=False)
    username: str | None
    password: str | None = field(repr=False)
    timeout_s: float

    def connect(self) -> Any:
        """A client that has reached the server; it tries nothing again by itself.

        Raises:
            Unavailable: not now.
            ConfigError: `redis_url` or `redis_refused`.
        """
        redis: Any = import_module("redis")
        retry: Any = import_module("redis.retry")
        backoff: Any = import_module("redis.backoff")
        options = {
            "username": self.username,
            "password": self.password,
            "socket_timeout": self.timeout_s,
            "socket_connect_timeout": self.timeout_s,
            "retry": retry.Retry(backoff.NoBackoff(), 0),
        }
        try:
            if any("@" in part for part in urlsplit(self.url)[2:]):  # a password with a slash was taken for a host
                raise ValueError
            client = redis.Redis.from_url(self.url, **options)
            client.connection_pool.connection_kwargs["decode_responses"] = False
        except ValueError:  # its text may hold what was taken for a port, and is a part of the password
            fix = "write redis://USER:PASSWORD@HOST:PORT/DB; percent-encode what is special in a password"
            raise ConfigError(Defect("redis_url", f"{self.where}: the url cannot be read", (), fix)) from None
        try:
            client.ping()
        except Exception as error:
            client.close()
            raise self._refused(error) from error
        return client

    def _refused(self, error: Exception) -> Exception:
        """What it means that a connection was not made."""
        exceptions: Any = import_module("redis.exceptions")
        if (told := self.told(error)) is error and isinstance(error, exceptions.ResponseError):
            fix = "see the database that the url names, and what the server allows"
            message = f"{self.where} refuses the connection"
            return ConfigError(Defect("redis_refused", message, (("because", said(error)),), fix))
        return told

    def told(self, error: Exception) -> Exception:
        """What an error of the client means: `Unavailable`, a login that is refused, or the error."""
        exceptions: Any = import_module("redis.exceptions")
        refusals = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)
        if isinstance(error, refusals):
            message = f"{self.where} refuses this user"
            return ConfigError(Defect("redis_refused", message, (("because", said(error)),), FIX_LOGIN))
        return Unavailable(said(error)) if is_passing(error) else error


def is_passing(error: Exception) -> bool:
    """Whether an error is of the connection, or of the server as it is now."""
    exceptions: Any = import_module("redis.exceptions")
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return False
    return (
        isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError) or code_of(error) in PASSING
    )


def code_of(error: Exception) -> str:
    """The word that an answer of Redis begins with: WRONGTYPE, NOGROUP, …; the client leaves some of them out."""
    known = {
        "BusyLoadingError": "LOADING",
        "ReadOnlyError": "READONLY",
        "OutOfMemoryError": "OOM",
        "NoPermissionError": "NOPERM",
        "MasterDownError": "MASTERDOWN",
        "ClusterDownError": "CLUSTERDOWN",
        "TryAgainError": "TRYAGAIN",
        "AuthenticationError": "NOAUTH",
    }
    return known.get(type(error).__name__) or str(error).partition(" ")[0]


def said(error: Exception) -> str:
    """What Redis, or the client, says, with the word that it begins with."""
    code, text = code_of(error), str(error) or type(error).__name__
    return text if text.startswith(code) or code in ("NOAUTH", "") else f"{code} {text}"


def answered(error: Exception, key: object, *, keys_vary: bool) -> Exception:
    """What an error that answers one command means for its row.

    Redis would answer the same to another try, so the row is a dead letter, unless the answer is of the server as it is
    now. A right that is missing is one of all rows where all go to one key: then it is waited for.
    """
    if is_passing(error) or (code_of(error) == "NOPERM" and not keys_vary):
        return Unavailable(said(error))
    letter = DeadLetter(f"Redis refuses it for the key {repr_of(key)}: {said(error)}")
    letter.__cause__ = error
    return letter


def pipelined(client: Any, commands: list[tuple[Any, ...]]) -> list[Any]:
    """The answers to commands that are sent together; an exception stands for a command that was refused.

    Raises:
        Exception: the connection broke: nobody knows which of them were carried out.
    """
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return pipeline.execute(raise_on_error=False)


def written(
    login: Login,
    client: Any,
    rows: Sequence[Tuple],
    command_of: Callable[[Tuple], tuple[Any, ...]],
    *,
    keys_vary: bool,
    is_last_kept: bool = False,
) -> list[Exception | None] | None:
    """Sends a command for each row together.

    Args:
        command_of: a row's command, with its key behind the name; what it raises is of that row alone.
        keys_vary: see `answered`.
        is_last_kept: of a key the last row counts, and writing one twice changes nothing: when the server begins to
            take commands in the midst of them, those of a key behind one that it did not take are written again too.

    Returns:
        As `Sink.write` does.

    Raises:
        Exception: as `Login.told` says; nobody knows which of them were carried out.
    """
    outcome: list[Exception | None] = [None] * len(rows)
    sent: list[tuple[int, tuple[Any, ...]]] = []
    for at, tup in enumerate(rows):
        try:
            sent.append((at, command_of(tup)))
        except Exception as error:
            outcome[at] = error
    try:
        answers = pipelined(client, [command for _, command in sent])
    except Exception as error:
        raise login.told(error) from error
    behind = dict[object, Unavailable]()
    for (at, command), answer in zip(sent, answers, strict=True):
        key = command[1] if len(command) > 1 else None
        if isinstance(answer, Exception):
            outcome[at] = error = answered(answer, key, keys_vary=keys_vary)
            if isinstance(error, Unavailable):
                behind.setdefault(key, error)
        elif is_last_kept:
            outcome[at] = behind.get(key)
    return outcome if any(outcome) else None


def closed(client: Any) -> None:
    """Closes a client, whatever state it is in."""
    with suppress(Exception):
        client.close()


Report = Callable[[BaseException], None]
