"""A growing file, line by line."""

from __future__ import annotations

import os
from pathlib import Path

READ_BYTES = 1 << 20


class Tail:
    """The lines that are appended to a file, also when a new file takes its place because it grew too large.

    Bound: at most 1 MiB is read at a time; a line that is longer comes in pieces.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def lines(self) -> list[str]:
        """Whole lines that came since the last call."""
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._at:
                    self._at = 0
                file.seek(self._at)
                data = file.read(READ_BYTES)
        except OSError:
            return []
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > READ_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        return [line.decode("utf-8", "replace") for line in lines]

    def rest(self) -> list[str]:
        """Everything that is left, an unended line too."""
        lines: list[str] = []
        while more := self.lines():
            lines += more
        rest, self._rest = self._rest, b""
        return [*lines, rest.decode("utf-8", "replace")] if rest else lines
