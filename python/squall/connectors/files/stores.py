"""Stores that files lie in beside the disk: any that fsspec knows, by the scheme of an address (`s3://bucket/in/*.csv`).

One object stands for a store, for reading and for writing. Its client is made when it is first needed, in the process
that needs it; what the client raises is sorted into what can be waited for (`Unavailable`) and what cannot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, TypeVar, cast

from squall.connectors.contract import Unavailable
from squall.connectors.extras import need
from squall.connectors.files.writing.options import refused
from squall.connectors.secrets import PREFIX, resolved
from squall.errors import ConfigError, Defect, repr_of

T = TypeVar("T")
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(.*)", re.DOTALL)
HOSTED = {"webhdfs", "webHDFS", "swebhdfs", "hdfs", "sftp", "ssh", "ftp", "smb", "file", "local"}
"""Schemes in which a host follows, and not a bucket: what is written there is seen as it grows, and can be renamed."""
NEEDS = {"s3": ("s3", "s3fs"), "s3a": ("s3", "s3fs"), "webhdfs": ("hdfs", "requests")}
"""The extra and the package that a scheme needs, beside fsspec."""
TIMES_S = {"connect_timeout": 5, "read_timeout": 20}
"""Of the clients of S3 and WebHDFS; their own are 60, and none."""
FOR_GOOD = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    FileExistsError,
    ValueError,
    EOFError,
    TypeError,  # of an option that the client does not know
)
SECRET_MIN = 4
"""Shorter texts are not taken out of what is shown: they would be everywhere."""


def is_address(path: str) -> bool:
    """Whether a path is one of another store."""
    return ADDRESS.fullmatch(path) is not None


def without_login(address: str) -> str:
    """An address as people know it, without user and password; a path of the disk as it is."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@", r"\1", address)


@dataclass(frozen=True)
class Store:
    """A store: `scheme`, and for some the `host`. `storage`: what its client is given, with `env:NAME` as it stands."""

    scheme: str
    host: str
    storage: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, who: str, address: str, storage: object) -> Store:
        """The store of an address.

        Raises:
            TopologyError: `file_option` or `extra_missing`.
        """
        if storage is not None and not isinstance(storage, Mapping):
            raise refused(f"{who} has a storage of type {type(storage).__name__}", 'give a mapping: {"key": "env:KEY"}')
        match = ADDRESS.fullmatch(address)
        assert match is not None, "it is an address"
        scheme, host, _ = match.groups()
        for extra, package in (NEEDS.get(scheme, ("s3", "fsspec")), ("s3", "fsspec")):
            need(extra, package, f"{who} of {scheme}://")
        given = cast("Mapping[str, Any] | None", storage)
        return cls(scheme, host if scheme in HOSTED else "", dict(given or {}))

    @property
    def where(self) -> str:
        """The store as people know it, without users and passwords."""
        return f"{self.scheme}://{self.host.rpartition('@')[2]}"

    @property
    def renames(self) -> bool:
        """Whether a file grows before everybody's eyes there, so that it is written under another name first."""
        return self.scheme in HOSTED

    def path(self, address: str) -> str:
        """An address as the client has it."""
        match = ADDRESS.fullmatch(address)
        assert match is not None, "it is an address"
        _, host, path = match.groups()
        if self.scheme in HOSTED:
            return path or "/"
        return f"/{host}{path}" if self.scheme == "memory" else f"{host}{path}"

    def address(self, path: str) -> str:
        """What the client calls a path, as people know it."""
        return f"{self.where}{path if self.scheme in HOSTED else path.lstrip('/')}"

    def connect(self, who: str) -> Client:
        """Its client.

        Raises:
            ConfigError: `secret_missing`, or `file_store_options`.
        """
        secrets = list[str]()
        options = cast("dict[str, Any]", _resolved(dict(self.storage), who, secrets))
        if self.scheme in ("s3", "s3a"):
            options.setdefault("config_kwargs", TIMES_S)
        fsspec: Any = import_module("fsspec.core")
        try:
            made = fsspec.url_to_fs(
                f"{self.scheme}://{self.host}/", skip_instance_cache=True, use_listings_cache=False, **options
            )[0]
        except Exception as error:
            fix = "see fsspec's page of this store for its options; give them by storage={…}"
            facts = (("because", shown(error, secrets)),)
            defect = Defect("file_store_options", f"no client of {self.where} can be made", facts, fix)
            raise ConfigError(defect) from None
        if "webhdfs" in self.scheme.lower():
            _answers_or_raises(made)
        return Client(self, made, secrets)


@dataclass
class Client:
    """A store that is reached. Calls raise `Unavailable`, or what is so for good."""

    store: Store
    fs: Any
    secrets: list[str] = field(repr=False)

    def call(self, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """A call of the client's."""
        with self.sorted():
            return function(*args, **options)

    @contextmanager
    def sorted(self) -> Any:
        """Sorts what is raised in it."""
        try:
            yield
        except Unavailable:
            raise
        except Exception as error:
            if is_for_good(error):
                raise
            raise Unavailable(self.shown(error)) from None  # a traceback would show all that its text has

    def shown(self, error: BaseException) -> str:
        """An error without secrets."""
        return shown(error, self.secrets)

    def refused(self, path: str, error: BaseException) -> ConfigError:
        """The error of a store that will not have it."""
        fix = "see the name, and what these credentials may do there; give them by storage={…}, as env:NAME"
        facts = (("because", self.shown(error)),)
        return ConfigError(Defect("file_store_refused", f"{self.store.address(path)} cannot be used", facts, fix))


def _answers_or_raises(fs: Any) -> None:
    """Has the client of WebHDFS wait no longer for an answer than others, and not take a DataNode's error for data."""

    def checked(answer: Any, *_given: Any, **_options: Any) -> None:
        if not answer.url.startswith(fs.url):  # what the NameNode says the client understands
            answer.raise_for_status()

    fs.session.hooks["response"].append(checked)
    fs.session.request = partial(fs.session.request, timeout=tuple(TIMES_S.values()))


def is_for_good(error: BaseException) -> bool:
    """Whether an error says that it will not go better by waiting."""
    return isinstance(error, FOR_GOOD) or type(error).__name__ in ("FileExpired", "NoCredentialsError")


def shown(error: BaseException, secrets: list[str]) -> str:
    """The text of an error, without secrets."""
    text = str(error) or type(error).__name__
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _resolved(value: Any, who: str, secrets: list[str]) -> Any:
    """Options with what `env:NAME` stands for; collects what may not be shown."""
    if isinstance(value, Mapping):
        return {name: _resolved(one, who, secrets) for name, one in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, str):
        found = resolved({"storage": value}, who)["storage"] if PREFIX in value else value
        if (PREFIX in value or len(value) > 2 * SECRET_MIN) and len(found) >= SECRET_MIN and "://" not in found:
            secrets.append(found)
        return found
    return value


def check_one_store(who: str, addresses: tuple[str, ...], storage: object) -> Store | None:
    """The store of some addresses; None: they are paths of the disk.

    Raises:
        TopologyError: `file_option`: they are of several stores, or `storage` stands beside paths of the disk.
    """
    if not any(map(is_address, addresses)):
        if storage is not None:
            raise refused(f"{who} has a storage for paths of the disk", 'give an address: "s3://bucket/in/*.csv"')
        return None
    if not all(map(is_address, addresses)):
        raise refused(f"{who} is given paths of the disk and addresses: {_named(addresses)}", "make it two")
    stores = [Store.of(who, address, storage) for address in addresses]
    if any(store != stores[0] for store in stores):
        raise refused(f"{who} is given addresses of several stores: {_named(addresses)}", "make it one for each")
    return stores[0]


def _named(addresses: tuple[str, ...]) -> str:
    return repr_of(tuple(map(without_login, addresses)))
