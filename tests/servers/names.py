"""Names that nobody else has: those who share a server keep apart by them."""

from __future__ import annotations

import secrets


def fresh(name: str) -> str:
    """`orders_5f0c9a3e`: good for a topic, a table, a key, a bucket with `_` as `-`."""
    return f"{name}_{secrets.token_hex(4)}"
