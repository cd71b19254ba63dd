"""A TCP spout that listens, native in the core: its reading threads never take the interpreter lock."""

from __future__ import annotations

import os
import socket
from typing import Any, ClassVar

from squall import _core
from squall.api.components import Spout
from squall.connectors.framing import Delimiter, Fixed, Framing, LengthPrefix, Lines, check_framing, is_count
from squall.connectors.sending.peer import ClientTls
from squall.connectors.tcp_address import parse_address
from squall.connectors.tcp_feeder import TcpFeeder
from squall.connectors.tcp_sink import TcpSink
from squall.connectors.udp_sink import UdpSink
from squall.errors import ClusterError, Defect, TopologyError
from squall.model.addresses import address_of

__all__ = [
    "ClientTls",
    "Delimiter",
    "Fixed",
    "Framing",
    "LengthPrefix",
    "Lines",
    "TcpFeeder",
    "TcpSink",
    "TcpSpout",
    "UdpSink",
    "parse_address",
]

DEFAULT_MAX_RECORD = 1 << 20
DEFAULT_MAX_CONNECTIONS = 10_000
DEFAULT_CLIENT_BUFFER = 256 << 10
BACKLOG = 1024


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
            if not is_count(value) or value >= 1 << 31:
                message = f"TcpSpout.listen has {name}={value!r}"
                raise TopologyError(Defect("tcp_limit", message, (), "give a whole number from 1 to 2147483647"))
        check_framing(framing, max_record)
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
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise _cannot_bind(self.address, error) from error
        return listener

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


def _cannot_bind(address: str, error: OSError) -> ClusterError:
    import errno

    because = (("because", error.strerror or str(error)),)
    match error.errno:
        case errno.EADDRINUSE:
            fix = "end what listens there (ss -ltnp shows it), or choose another port"
            return ClusterError(Defect("port_taken", f"{address} is taken", because, fix), retryable=True)
        case errno.EACCES | errno.EPERM:
            fix = "choose a port from 1024 on, or allow this one"
            return ClusterError(Defect("address_not_allowed", f"{address} may not be listened on", because, fix))
        case _:
            fix = "use an address of this machine: 127.0.0.1 for itself only, 0.0.0.0 for everyone"
            return ClusterError(Defect("address_unusable", f"{address} cannot be listened on", because, fix))
