"""One connection to a database, made anew when it was lost, and its errors as squall knows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from random import Random
from typing import Any, TypeVar

from squall.api.context import TopologyContext
from squall.connectors.contract import Unavailable
from squall.connectors.sql.address import Address, Resolved, connection_refused, shown
from squall.connectors.sql.dialects.base import Limits
from squall.connectors.sql.failures import Meaning
from squall.errors import ConfigError, DeadLetter, Defect, SquallError

T = TypeVar("T")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.5


class Database:
    """A database as one task uses it.

    Args:
        limits: without a name: the connection is called by topology, component and task.

    Threading: one thread at a time.
    """

    def __init__(self, address: Address, connect_s: float, answer_s: float, context: TopologyContext) -> None:
        self._address = address
        name = f"squall {context.topology}/{context.component}/{context.task_index}"
        self._limits = Limits(connect_s, answer_s, name)
        self._random = Random()
        self._resolved: Resolved | None = None
        self._engine: Any = None
        self._connection: Any = None
        self._session: object = None
        self._left: object = None

    @property
    def shown(self) -> str:
        """The database as people know it, without secrets."""
        return shown(self._address.text) if self._resolved is None else self._resolved.shown

    @property
    def resolved(self) -> Resolved:
        """Its address; known once it was to be connected to."""
        if self._resolved is None:
            self._resolved = self._address.resolve()
        return self._resolved

    @property
    def connection(self) -> Any:
        """SQLAlchemy's connection; it commits by itself."""
        assert self._connection is not None, "connected"
        return self._connection

    @property
    def raw(self) -> Any:
        """The driver's connection."""
        return self.connection.connection.driver_connection

    def connect(self) -> None:
        """Connects, and has the server end what was given up before.

        Raises:
            Unavailable: not now.
            ConfigError: `sql_refused`, `secret_missing` or `secret_unusable`.
            TopologyError: `sql_option` or `extra_missing`.
        """
        resolved = self.resolved
        if self._engine is None:
            self._engine = resolved.dialect.engine(resolved.url, self._limits)
        try:
            self._connection = self._engine.connect()
            self._session, left = resolved.dialect.session(self.raw), self._left
            if left is not None:
                resolved.dialect.end_session(self._connection, left)
            self._left = self._session
        except Exception as error:
            self.disconnect()
            if self.meaning(error) in (Meaning.AWAY, Meaning.AGAIN):
                raise self.translated(error) from None
            raise connection_refused(self.shown, self._text(_original(error))) from None

    def disconnect(self) -> None:
        """Closes the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # a broken one raises
                connection.connection.driver_connection.close()
            with suppress(Exception):
                connection.invalidate()
                connection.close()

    def table(self, name: str) -> Any:
        """SQLAlchemy's table of this name, as the database has it; None: there is none."""
        sqlalchemy: Any = import_module("sqlalchemy")
        schema, _, own = name.rpartition(".")
        inspector = sqlalchemy.inspect(self.connection)
        if not inspector.has_table(own, schema=schema or None):
            return None
        return sqlalchemy.Table(own, sqlalchemy.MetaData(), schema=schema or None, autoload_with=self.connection)

    def names(self, name: str) -> list[str]:
        """The tables that are there, in the schema that a table's name has."""
        sqlalchemy: Any = import_module("sqlalchemy")
        schema = name.rpartition(".")[0] or None
        prefix = f"{schema}." if schema else ""
        return [prefix + one for one in sqlalchemy.inspect(self.connection).get_table_names(schema=schema)]

    # -- errors ----------------------------------------------------------------------------------------------------

    def run(self, call: Callable[[], T]) -> T:
        """Does something; again, if transactions got in each other's way.

        Raises:
            Unavailable: the database cannot for now, or its definitions are to be mended.
            DeadLetter: it refuses a row.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return call()
            except Exception as error:
                if self.meaning(error) is not Meaning.AGAIN or pause_s > LONGEST_PAUSE_S:
                    raise self.translated(error) from None
                time.sleep(pause_s * self._random.uniform(0.5, 1))
                pause_s *= 2

    def meaning(self, error: Exception) -> Meaning:
        """What an error means; one of Python's own is of a value that the driver cannot take."""
        original = _original(error)
        if isinstance(original, TypeError | ValueError | OverflowError):
            return Meaning.ROW
        return self.resolved.dialect.meaning(original)

    def translated(self, error: Exception) -> Exception:
        """An error as `contract` has it, without what is secret."""
        if isinstance(error, Unavailable):
            return error
        text = self._text(_original(error))
        match self.meaning(error):
            case Meaning.AWAY | Meaning.AGAIN | Meaning.DEFINITION:
                return Unavailable(text)
            case Meaning.ROW:
                return DeadLetter(f"{self.shown}: {text}")
            case Meaning.OTHER:
                return SqlFailure(f"{self.shown}: {text}")

    def refused(self, error: Exception, doing: str) -> ConfigError:
        """The error of something that the database will not do, whenever it is asked."""
        facts = (("because", self._text(_original(error))),)
        fix = "correct what is named there, or give the user the right to it"
        return ConfigError(Defect("sql_refused", f"{self.shown} refuses {doing}", facts, fix))

    def checked(self, call: Callable[[], T], doing: str) -> T:
        """Does something that must be possible from the beginning.

        Raises:
            Unavailable: not now.
            ConfigError: `sql_refused`.
        """
        try:
            return call()
        except SquallError:
            raise
        except Exception as error:
            if self.meaning(error) in (Meaning.AWAY, Meaning.AGAIN):
                raise self.translated(error) from None
            raise self.refused(error, doing) from None

    def _text(self, error: Exception) -> str:
        resolved = self.resolved
        return resolved.hidden(resolved.dialect.text(error))


class SqlFailure(Exception):
    """A database failed in a way that is not known."""


def _original(error: Any) -> Any:
    """The driver's error in SQLAlchemy's."""
    return getattr(error, "orig", None) or error


def values_of(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Rows of SQLAlchemy as plain tuples."""
    return [tuple(row) for row in rows]
