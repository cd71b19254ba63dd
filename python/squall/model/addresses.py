"""Network addresses as text."""

from __future__ import annotations

MOST_PORT = 65_535


def address_of(host: str, port: int) -> str:
    """`HOST:PORT`; IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[IPv6]:PORT` or `PORT`; of the last the host is empty.

    Raises:
        ValueError: it is none of these.
    """
    host, colon, port = text.strip().rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if is_bracketed:
        host = host[1:-1]
    if not (port.isascii() and port.isdecimal()) or int(port) > MOST_PORT or bool(colon) != bool(host):
        raise ValueError(f"{text!r} is no address")
    if (":" in host) != is_bracketed:
        raise ValueError(f"{text!r} is no address")
    return host, int(port)
