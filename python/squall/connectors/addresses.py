"""Addresses that sockets are bound to."""

from __future__ import annotations

import errno
import socket

from squall.errors import ClusterError, Defect, TopologyError, text_of

BACKLOG = 1024


def parse_address(address: str) -> tuple[str, int]:
    """HOST and PORT of `HOST:PORT`; IPv6 in brackets.

    Raises:
        TopologyError: `tcp_address`.
    """
    host, colon, port = text_of(address).rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535 or not host:
        raise TopologyError(
            Defect(
                "tcp_address",
                f'"{text_of(address)}" is no address',
                (),
                'write HOST:PORT with a port up to 65535: "127.0.0.1:9999"',
            )
        )
    return host.strip("[]"), int(port)


def bound(kind: socket.SocketKind, host: str, port: int, address: str) -> socket.socket:
    """A socket bound to an address of this machine.

    Raises:
        ClusterError: `port_taken`, `address_not_allowed` or `address_unusable`.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        if kind == socket.SOCK_STREAM:
            made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise cannot_bind(address, error) from error
    return made


def cannot_bind(address: str, error: OSError) -> ClusterError:
    """Why an address cannot be listened on."""
    because = (("because", error.strerror or str(error)),)
    match error.errno:
        case errno.EADDRINUSE:
            fix = "end what listens there (ss -lntup shows it), or choose another port"
            return ClusterError(Defect("port_taken", f"{address} is taken", because, fix), retryable=True)
        case errno.EACCES | errno.EPERM:
            fix = "choose a port from 1024 on, or allow this one"
            return ClusterError(Defect("address_not_allowed", f"{address} may not be listened on", because, fix))
        case _:
            fix = "use an address of this machine: 127.0.0.1 for itself only, 0.0.0.0 for everyone"
            return ClusterError(Defect("address_unusable", f"{address} cannot be listened on", because, fix))
