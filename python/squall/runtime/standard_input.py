"""Standard input as a worker sees it: what its parent reads and passes on."""

from __future__ import annotations

import socket
from typing import NamedTuple

import msgspec

SOURCE: socket.socket | None = None
"""The end of the connection that a spout reads; None: nobody passes standard input on."""


class Place(NamedTuple):
    """How far standard input has ended.

    `offset`: where a block of whole lines begins, in bytes since the run began. `lines`: lines of it that come before.
    `skip`: outputs after these that come before. `number`: lines before `offset`.
    """

    offset: int = 0
    lines: int = 0
    skip: int = 0
    number: int = 0

    def encode(self) -> bytes:
        """As a position of the spout."""
        return msgspec.json.encode(list(self))


def place_of(position: bytes) -> Place:
    """What `Place.encode` gave."""
    return Place(*msgspec.json.decode(position, type=tuple[int, int, int, int]))
