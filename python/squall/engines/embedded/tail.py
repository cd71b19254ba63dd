"""A growing file, line by line."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

READ_BYTES = 1 << 20


class Tail:
    """The lines that are appended to a file, also when a new file takes its place because it grew too large.

    Bound: at most 1 MiB is read at a time; a line that is longer comes in pieces. Of files that came and went between
        two looks the lines are in the files only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = path.open("rb", buffering=0) if path.exists() else None
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)
        self._rest = b""

    def lines(self) -> list[str]:
        """Whole lines that came since the last call."""
        try:
            data = self._read()
        except OSError:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > READ_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        return [line.decode("utf-8", "replace") for line in lines]

    def _read(self) -> bytes:
        """What the file has more; of one whose place another has taken first the rest."""
        if self._file is None:
            self._file = self._path.open("rb", buffering=0)
        if data := self._file.read(READ_BYTES):
            return data
        if os.fstat(self._file.fileno()).st_ino == self._path.stat().st_ino:
            return b""
        self._file.close()
        self._file = self._path.open("rb", buffering=0)
        return self._file.read(READ_BYTES)

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()

    def rest(self) -> list[str]:
        """Everything that is left, an unended line too."""
        lines: list[str] = []
        while more := self.lines():
            lines += more
        rest, self._rest = self._rest, b""
        return [*lines, rest.decode("utf-8", "replace")] if rest else lines
