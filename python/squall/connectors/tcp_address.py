"""Addresses of TCP connections as text."""

from __future__ import annotations

from squall.errors import Defect, TopologyError


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
