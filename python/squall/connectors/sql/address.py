"""Where a database is, without what nobody may see."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from squall.connectors.extras import need
from squall.connectors.secrets import PREFIX, resolved
from squall.connectors.sql.dialects import DIALECTS
from squall.connectors.sql.dialects.base import Dialect
from squall.connectors.sql.options import checked_text, refused
from squall.errors import ConfigError, Defect, TopologyError, did_you_mean
from squall.model.masking import HIDDEN

EXAMPLE = '"postgresql://user:env:DB_PASSWORD@host/database", "sqlite:///shop.db"'
SHORTEST_SECRET = 4
"""Shorter ones are not looked for in texts: they would be found in any."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address as it was given, `SCHEME://USER:PASSWORD@HOST:PORT/DATABASE`; `env:NAME` stands for all or a part."""

    text: str = field(repr=False)
    who: str

    @classmethod
    def of(cls, who: str, url: object) -> Address:
        """Checks an address as far as it is known before it runs.

        Raises:
            TopologyError: `sql_option` or `extra_missing`.
        """
        address = cls(checked_text(who, "url", url, EXAMPLE), who)
        if address.text.startswith(PREFIX):
            need("sqlite", "sqlalchemy", who)
        else:
            dialect = _dialect_of(address.text, who)
            for package in ("sqlalchemy", dialect.package):
                need(dialect.extra, package, who)
        return address

    def resolve(self) -> Resolved:
        """The address with its secrets.

        Raises:
            ConfigError: `secret_missing` or `secret_unusable`.
            TopologyError: `sql_option` or `extra_missing`.
        """
        sqlalchemy: Any = import_module("sqlalchemy")
        text = resolved({"url": self.text}, self.who)["url"] if self.text.startswith(PREFIX) else self.text
        dialect = _dialect_of(text, self.who)
        need(dialect.extra, dialect.package, self.who)
        try:
            url = sqlalchemy.make_url(text)
        except Exception:
            raise _unreadable(self.who) from None  # its text has the password
        if "@" in (url.host or ""):  # what stands before it is of a password that has one too
            raise _unreadable(self.who)
        given = {"user": url.username or "", "password": url.password or ""}
        given |= {name: value for name, value in url.query.items() if isinstance(value, str)}
        values = resolved(given, self.who)
        query = {name: values.get(name, value) for name, value in url.query.items()}
        user, password = values["user"] or None, values["password"] or None
        url = url.set(drivername=dialect.driver, username=user, password=password, query=query)
        hidden = [values[name] for name, value in given.items() if value.startswith(PREFIX) or "password" in name]
        return Resolved(url, dialect, tuple(one for one in hidden if len(one) >= SHORTEST_SECRET))


@dataclass(frozen=True, slots=True)
class Resolved:
    """An address that can be connected to."""

    url: Any = field(repr=False)
    dialect: Dialect
    secrets: tuple[str, ...] = field(repr=False)

    @property
    def shown(self) -> str:
        """The database as people know it: `PostgreSQL at db:5432/shop`."""
        url = self.url
        place = f"{url.host or ''}{f':{url.port}' if url.port else ''}"
        return f"{self.dialect.shown} at {place}{'/' if place else ''}{url.database or 'memory'}"

    def hidden(self, text: str) -> str:
        """A text without the secrets."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return text


def shown(text: str) -> str:
    """An address as it may be shown before it is resolved."""
    if text.startswith(PREFIX):
        return text
    scheme, _, rest = text.partition("://")
    dialect = DIALECTS[scheme.partition("+")[0]]
    rest = re.sub(r"^[^:/]*(:.*)?@", "", rest)  # a password may have any sign, also where an address has it escaped
    place, _, database = rest.partition("?")[0].partition("/")
    return f"{dialect.shown} at {place}{'/' if place and database else ''}{unquote(database)}"


def _dialect_of(text: str, who: str) -> Dialect:
    scheme, found, _ = text.partition("://")
    name, _, driver = scheme.partition("+")
    dialect = DIALECTS.get(name) if found else None
    if dialect is None:
        near = did_you_mean(name, DIALECTS) if found else None
        fix = f'did you mean "{near}"?' if near else f"begin it with postgresql://, mariadb:// or sqlite://: {EXAMPLE}"
        raise refused(f"{who} has a url of an unknown kind", fix)
    if driver and dialect.driver.partition("+")[2] != driver:
        raise refused(f"{who} has a url with the driver {driver!r}", f"leave it out: {dialect.driver} is used")
    return dialect


def _unreadable(who: str) -> TopologyError:
    return refused(f"{who} has a url that cannot be read", f"write it so, a password with percent signs: {EXAMPLE}")


def connection_refused(shown: str, why: str) -> ConfigError:
    """The error of a database that will not let us in."""
    fix = "correct the url, or have the user, the database and the rights made there"
    return ConfigError(Defect("sql_refused", f"{shown} refuses the connection", (("because", why),), fix))
