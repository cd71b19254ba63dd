"""What a dialect says. Only what differs between databases stands there; SQLAlchemy has the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from squall.connectors.sql.failures import Meaning

Row: TypeAlias = Sequence[Any]
Encoded: TypeAlias = list[Any]
"""Rows as a dialect's statement takes them: plain values that JSON can have, but for bytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take.

    Args:
        connect_s: until a connection is made.
        answer_s: a statement; the server ends it then, and a server that does not answer is given up soon after.
        name: by which the server's views call the connection.
    """

    connect_s: float
    answer_s: float
    name: str

    @property
    def silence_s(self) -> float:
        """How long nothing is heard before a connection is given up: the server's own limit comes first."""
        return self.answer_s + 5.0


@dataclass(frozen=True, slots=True)
class Statement:
    """How rows of some columns are written.

    Args:
        encode: rows as `write` takes them; raises ValueError, TypeError, OverflowError for values of no use.
        write: has the database do it, with a connection of the driver.
        is_whole: whether `write` does all or nothing; else it is to be called in a transaction.
        explain: the statement that tells whether the database would, without doing it; parameters beside it.
    """

    encode: Callable[[Sequence[Row]], Encoded]
    write: Callable[[Any, Encoded], None]
    is_whole: bool
    explain: tuple[str, Any]


class Dialect(Protocol):
    """A kind of database."""

    shown: str
    driver: str
    package: str
    extra: str

    def engine(self, url: Any, limits: Limits) -> Any:
        """An engine of SQLAlchemy without a pool; its connections commit by themselves."""
        ...

    def session(self, raw: Any) -> object:
        """What tells this connection from all others on the server."""
        ...

    def end_session(self, connection: Any, session: object) -> None:
        """Has the server end a connection that was given up, before it does what was still on its way to it."""
        ...

    def transaction(self, raw: Any) -> AbstractContextManager[object]:
        """All that is done within it, or nothing."""
        ...

    def meaning(self, error: BaseException) -> Meaning:
        """What an error of the driver means."""
        ...

    def text(self, error: BaseException) -> str:
        """The database's own words, in one line, without the row that it refused."""
        ...

    def statement(self, connection: Any, table: Any, columns: Sequence[str], upsert: Sequence[str]) -> Statement:
        """How rows of these columns are written; with `upsert`, the key by which an older row is replaced."""
        ...


def assignments(columns: Sequence[str], key: Sequence[str]) -> list[str]:
    """The columns that an upsert changes."""
    return [name for name in columns if name not in key]
