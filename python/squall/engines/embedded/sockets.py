"""Unix sockets at paths of any length, and lines over them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

MAX_COMMAND_BYTES = 64 << 10
"""Longest command, with its line feed; as in crates/squall-net/src/session.rs."""
MAX_LINE_BYTES = 16 << 20
"""Longest line of a worker: what it says of itself grows with its components."""


@contextmanager
def short_path(path: Path) -> Generator[str]:
    """A name of `path` that fits into a socket address, whatever the folder's length."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path) -> socket.socket:
    """A listening socket that only its owner can connect to."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        with short_path(path) as name:
            listener.bind(name)
    finally:
        os.umask(old)
    listener.listen(16)
    return listener


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A connection to the socket at `path`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    with short_path(path) as name:
        connection.connect(name)
    return connection


class LineBuffer:
    """Bytes that come in, as whole lines of JSON.

    Args:
        too_long: called for each line that is left out for its length.

    Bound: `max_bytes` of a line are kept; one with more is left out.
    """

    def __init__(self, max_bytes: int = MAX_LINE_BYTES, too_long: Callable[[], None] = lambda: None) -> None:
        self._max_bytes, self._too_long = max_bytes, too_long
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The objects of the lines that are complete now; what is no JSON object is left out."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[: self._max_bytes]  # with its line feed it is too long, whatever was cut
        kept = [line for line in lines if len(line) < self._max_bytes]
        for _ in range(len(lines) - len(kept)):
            self._too_long()
        return [parsed for line in kept if (parsed := _object(line)) is not None]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        parsed: Any = json.loads(line)
    except (ValueError, RecursionError):  # the second: brackets in brackets, by the thousand
        return None
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else None


def line(message: dict[str, Any]) -> bytes:
    """An object as a line."""
    return json.dumps(message, separators=(",", ":"), default=str).encode() + b"\n"
