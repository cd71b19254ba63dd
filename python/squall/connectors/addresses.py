"""Addresses that spouts listen on."""

from __future__ import annotations

import errno
import socket

from squall.errors import ClusterError, Defect, TopologyError
from squall.model.addresses import address_of

BACKLOG = 1024


def parse_address(address: str) -> tuple[str, int]:
    """HOST and PORT of `HOST:PORT`; IPv6 in brackets.

    Raises:
        TopologyError: `tcp_address`.
    """
    host, colon, port = str(address).rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535 or not host:
        raise TopologyError(
            Defect(
                "tcp_address",
                f'"{address}" is no address',
                (),
                'write HOST:PORT with a port up to 65535: "127.0.0.1:9999"',
            )
        )
    return host.strip("[]"), int(port)


def listening(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ClusterError: `port_taken`, `address_not_allowed` or `address_unusable`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_bind(address_of(host, port), error) from error
    return listener


def _cannot_bind(address: str, error: OSError) -> ClusterError:
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
