"""A TCP spout that listens, native in the core: its reading threads never take the interpreter lock."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from squall import _core
from squall.api.components import Spout
from squall.connectors.addresses import listening, parse_address
from squall.errors import Defect, TopologyError
from squall.model.addresses import address_of

DEFAULT_MAX_RECORD = 1 << 20
DEFAULT_MAX_CONNECTIONS = 10_000
DEFAULT_CLIENT_BUFFER = 256 << 10


@dataclass(frozen=True, slots=True)
class Lines:
    """Records ended by a line feed (or carriage return and line feed), as text."""

    field: str = "line"


@dataclass(frozen=True, slots=True)
class Delimiter:
    """Records ended by these bytes, as bytes."""

    delimiter: bytes
    field: str = "record"


@dataclass(frozen=True, slots=True)
class Fixed:
    """Records of `size` bytes each, as bytes."""

    size: int
    field: str = "record"


@dataclass(frozen=True, slots=True)
class LengthPrefix:
    """Records led by their length in `bytes` (1, 2, 4 or 8) bytes, as bytes."""

    bytes: int = 4
    big_endian: bool = True
    field: str = "record"


Framing: TypeAlias = Lines | Delimiter | Fixed | LengthPrefix


class TcpSpout(Spout):
    """Takes records from all connections to one listening socket.

    Out: one field, named by the framing: text for `Lines`, bytes for the others.
    Delivery: at least once while the worker lives; the engine keeps what is pending and emits it again. A record that
        is no UTF-8 goes to the dead letters as bytes; one longer than `max_record` is skipped and reported.
    Bound: when the topology cannot take more, sockets are not read, so the senders feel it; nothing is dropped.
        Unfinished records of all connections hold at most 64 MiB, or twice `max_record` if that is more: beyond it the
        connection with the longest one is closed and reported; what it had not ended is lost.
    Threading: one native thread reads all connections.
    """

    outputs: ClassVar[Any] = ()

    def __init__(
        self, host: str, port: int, framing: Framing, max_record: int, max_connections: int, client_buffer: int
    ) -> None:
        self.host, self.port, self.framing = host, port, framing
        self.max_record, self.max_connections, self.client_buffer = max_record, max_connections, client_buffer
        vars(self)["outputs"] = (framing.field,)  # of this spout alone; the class has none
        self._fd: int | None = None

    @classmethod
    def listen(
        cls,
        address: str,
        /,
        *,
        framing: Framing | None = None,
        max_record: int = DEFAULT_MAX_RECORD,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        client_buffer: int = DEFAULT_CLIENT_BUFFER,
    ) -> TcpSpout:
        """A spout that listens on `HOST:PORT`.

        Args:
            framing: how records are told apart; lines if not given.
            max_record: longest record, in bytes.
            max_connections: more than this are closed at once.
            client_buffer: bytes read from a connection at a time.

        Raises:
            TopologyError: `tcp_address`, `tcp_framing` or `tcp_limit`.
        """
        host, port = parse_address(address)
        framing = Lines() if framing is None else framing
        for name, value in (
            ("max_record", max_record),
            ("max_connections", max_connections),
            ("client_buffer", client_buffer),
        ):
            if not _is_count(value) or value >= 1 << 31:
                message = f"TcpSpout.listen has {name}={value!r}"
                raise TopologyError(Defect("tcp_limit", message, (), "give a whole number from 1 to 2147483647"))
        _check_framing(framing, max_record)
        return cls(host, port, framing, max_record, max_connections, client_buffer)

    @property
    def address(self) -> str:
        """`HOST:PORT`; with port 0 the system chooses one."""
        return address_of(self.host, self.port)

    def bind(self) -> socket.socket:
        """The listening socket; the parent of a run makes it, so that a new worker never finds its port taken.

        Raises:
            ClusterError: `port_taken`, `address_not_allowed` or `address_unusable`.
        """
        return listening(self.host, self.port)

    def adopt(self, fd: int) -> None:
        """Uses a listening socket that was inherited."""
        self._fd = os.dup(fd)

    def native_source(self) -> _core.TcpSource:
        """The native half; binds here if no socket was inherited."""
        fd = self._fd if self._fd is not None else self.bind().detach()
        framing = self.framing
        options: dict[str, Any] = {"framing": "lines", "decode": "text"}
        match framing:
            case Delimiter():
                options = {"framing": "delimiter", "delimiter": framing.delimiter, "decode": "bytes"}
            case Fixed():
                options = {"framing": "fixed", "size": framing.size, "decode": "bytes"}
            case LengthPrefix():
                options = {
                    "framing": "length_prefix",
                    "prefix_bytes": framing.bytes,
                    "big_endian": bool(framing.big_endian),
                    "decode": "bytes",
                }
            case Lines():
                pass
        return _core.TcpSource(
            fd,
            max_record=self.max_record,
            max_connections=self.max_connections,
            client_buffer=self.client_buffer,
            **options,
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_delimiter(value: object) -> bool:
    return isinstance(value, bytes) and len(value) > 0


def _check_framing(framing: object, max_record: int) -> None:
    """Refuses what the core could not cut records by."""
    match framing:
        case Lines():
            return
        case Delimiter(delimiter=delimiter):
            is_right = _is_delimiter(delimiter)
            fix = f"give at least one byte: Delimiter({str(delimiter or '|').encode(errors='replace')!r})"
        case Fixed(size=size):
            is_right = _is_count(size) and size <= max_record
            fix = f"give a size in bytes, from 1 to max_record ({max_record})"
        case LengthPrefix(bytes=width):
            is_right = _is_count(width) and width in (1, 2, 4, 8)
            fix = "give 1, 2, 4 or 8 bytes"
        case _:
            is_right = False
            fix = "give Lines(), Delimiter(b'|'), Fixed(16) or LengthPrefix(4)"
    if not is_right:
        raise TopologyError(Defect("tcp_framing", f"records cannot be told apart by {framing!r}", (), fix))
