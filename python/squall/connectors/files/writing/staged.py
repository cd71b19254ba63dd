"""What a file that is not published yet holds, and what is made of it: its hidden name says so.

Whoever finds the file after a crash may be of another mind: another format, other compression, no rotation. So how it
is cut at its last whole record, and published, depends on nothing but the file. The alternative, a description beside
it, would be one more thing to sync, and to lose.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

PIECE_BYTES = 1 << 20


class Log(Protocol):
    """Rows as they are written, one batch after the other: how much of it is whole when it was cut off anywhere."""

    @property
    def tag(self) -> str:
        """What it is called in the names of hidden files."""
        ...

    def whole(self, data: mmap.mmap) -> int:
        """How many bytes at the beginning are whole records; 0 if there is no record."""
        ...

    def ending(self, data: mmap.mmap) -> bytes:
        """What ends the last record, if it is not ended."""
        ...


@dataclass(frozen=True, slots=True)
class LineLog:
    """Each line is a record: no value has a line feed, or one that counts."""

    tag = "lines"

    def whole(self, data: mmap.mmap) -> int:
        """Up to the last line feed."""
        return data.rfind(b"\n") + 1

    def ending(self, data: mmap.mmap) -> bytes:
        """A line feed, if there is none."""
        return b"" if data[-1:] == b"\n" else b"\n"


@dataclass(frozen=True, slots=True)
class CsvLog:
    """Records whose values may have line feeds: in quotes, or after an escape. `quote`, `escape`: empty, or ASCII."""

    quote: str
    escape: str
    has_header: bool

    @property
    def tag(self) -> str:
        """With the marks as numbers: any may be one, and not all can be in a name."""
        marks = f"q{ord(self.quote):02x}" if self.quote else f"e{ord(self.escape):02x}" if self.escape else ""
        return f"csv{'h' * self.has_header}{marks}"

    def whole(self, data: mmap.mmap) -> int:
        """Up to the last line feed that ends a record; 0 if that is the header."""
        at = self._last_end(data)
        return at + 1 if at >= 0 and (not self.has_header or data.rfind(b"\n", 0, at) >= 0) else 0

    def ending(self, data: mmap.mmap) -> bytes:
        """A quote if one is open, and a line feed; two if the first one is escaped."""
        if self.quote:
            is_open = _count(data, self.quote.encode()) % 2 == 1
            return (self.quote.encode() if is_open else b"") + (b"\n" if is_open or data[-1:] != b"\n" else b"")
        if data[-1:] == b"\n" and not self._is_escaped(data, len(data) - 1):
            return b""
        return b"\n\n" if self._is_escaped(data, len(data)) else b"\n"

    def _last_end(self, data: mmap.mmap) -> int:
        """Where the last line feed is that ends a record; -1: nowhere."""
        at = data.rfind(b"\n")
        if not self.quote:
            while at >= 0 and self._is_escaped(data, at):
                at = data.rfind(b"\n", 0, at)
            return at
        quote, before = self.quote.encode(), len(data)
        quotes = _count(data, quote)
        while at >= 0:
            quotes -= data[at + 1 : before].count(quote)
            if quotes % 2 == 0:  # else it is within quotes
                return at
            at, before = data.rfind(b"\n", 0, at), at + 1
        return -1

    def _is_escaped(self, data: mmap.mmap, at: int) -> bool:
        """Whether an odd number of escapes stands before a place."""
        first = at
        while self.escape and first > 0 and data[first - 1 : first] == self.escape.encode():
            first -= 1
        return (at - first) % 2 == 1


def _count(data: mmap.mmap, mark: bytes) -> int:
    return sum(data[at : at + PIECE_BYTES].count(mark) for at in range(0, len(data), PIECE_BYTES))


@dataclass(frozen=True, slots=True)
class ArrowLog:
    """Batches of an Arrow stream."""

    tag = "arrow"

    def whole(self, data: mmap.mmap) -> int:
        """Up to the last whole batch."""
        pa: Any = import_module("pyarrow")
        source = pa.BufferReader(pa.py_buffer(data))
        end, batches = 0, 0
        while True:
            try:
                message = pa.ipc.read_message(source)
            except (EOFError, OSError, pa.ArrowInvalid):
                return end if batches else 0
            batches += message.type == "record batch"
            end = source.tell()

    def ending(self, data: mmap.mmap) -> bytes:
        """Nothing: its files are never added to by another process."""
        return b""


LINES, ARROW = LineLog(), ArrowLog()
TAG = re.compile(
    r"(?:(?P<plain>lines|arrow)|csv(?P<header>h?)(?:(?P<kind>[qe])(?P<mark>[0-7][0-9a-f]))?)(?:-(?P<seal>\w+))?"
)


@dataclass(frozen=True, slots=True)
class Staged:
    """What a hidden file holds, and how the published one is made of it: `seal`; empty: it is the log itself."""

    log: Log
    seal: str = ""

    @property
    def tag(self) -> str:
        """What stands for it in the file's name."""
        return f"{self.log.tag}-{self.seal}" if self.seal else self.log.tag

    @classmethod
    def of_tag(cls, tag: str) -> Staged:
        """What a hidden file's name says.

        Raises:
            ValueError: nothing that this squall knows.
        """
        if (match := TAG.fullmatch(tag)) is None:
            raise ValueError(f'"{tag}" is no kind of file that this squall knows')
        if match["plain"]:
            return cls(LINES if match["plain"] == LINES.tag else ARROW, match["seal"] or "")
        mark = chr(int(match["mark"], 16)) if match["mark"] else ""
        marks = (mark, "") if match["kind"] == "q" else ("", mark)
        return cls(CsvLog(*marks, has_header=bool(match["header"])), match["seal"] or "")
