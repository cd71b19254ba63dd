"""The other side of an outgoing connection: its address, TLS, how to reach it."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squall.connectors.addresses import parse_address
from squall.connectors.tls import Tls, check_tls, unusable
from squall.errors import Defect, TopologyError, text_of
from squall.model.addresses import address_of

if TYPE_CHECKING:
    import ssl

UNIX = "unix:"
CONNECT_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Where to connect to; `path` is that of a Unix socket, else there are host and port."""

    host: str
    port: int
    path: str | None = None
    tls: Tls | None = None

    def __str__(self) -> str:
        return f"{UNIX}{self.path}" if self.path is not None else address_of(self.host, self.port)


class Dialer:
    """Makes connections to one peer.

    Raises:
        ClusterError: `tls_unusable`.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._context = _context(peer.tls) if peer.tls is not None else None

    def connect(self) -> socket.socket:
        """A connection that does not block.

        Raises:
            OSError: it could not be made; `ssl.SSLError` if the two sides do not agree.
        """
        deadline = time.monotonic() + CONNECT_WITHIN_S
        if self.peer.path is not None:
            link = _local(self.peer.path)
        else:
            link = socket.create_connection((self.peer.host, self.peer.port), CONNECT_WITHIN_S)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._context is not None:
            link = self._secured(self._context, link, deadline)
        link.setblocking(False)
        return link

    def _secured(self, context: ssl.SSLContext, link: socket.socket, deadline: float) -> socket.socket:
        link.settimeout(max(0.1, deadline - time.monotonic()))
        name = self.peer.tls.server_name if self.peer.tls is not None else None
        try:
            return context.wrap_socket(link, server_hostname=name or self.peer.host or "localhost")
        except BaseException:
            link.close()
            raise


def _context(tls: Tls) -> ssl.SSLContext:
    """What Python's own TLS needs of the files."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        files = ", ".join(str(file) for file in (tls.ca, tls.certificate, tls.key) if file is not None)
        raise unusable(f"{files}: {error}") from error
    return context


def _local(path: str) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(CONNECT_WITHIN_S)
    try:
        link.connect(path)
    except BaseException:
        link.close()
        raise
    return link


def peer_of(who: str, address: str, tls: Tls | bool | None) -> Peer:
    """The other side at `HOST:PORT` or `unix:PATH`; `tls=True` trusts what the system trusts.

    Raises:
        TopologyError: `tcp_address` or `tls_invalid`.
    """
    secured = Tls() if tls is True else None if tls is False else tls
    check_tls(who, secured)
    if secured is not None:
        secured.check_client(who)
    if text_of(address).startswith(UNIX):
        path = text_of(address).removeprefix(UNIX)
        if not path or len(path.encode()) > 107 or "\0" in path:
            fix = "write unix: and a path of at most 107 bytes: unix:/run/feed.sock"
            raise TopologyError(Defect("tcp_address", f'"{address}" is no address', (), fix))
        return Peer("", 0, path, secured)
    host, port = parse_address(address)
    return Peer(host, port, None, secured)
