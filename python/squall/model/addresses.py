"""Network addresses as text."""

from __future__ import annotations


def address_of(host: str, port: int) -> str:
    """`HOST:PORT`; IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
