"""Random bytes as decisions: each law plays a story that its bytes tell, and any bytes tell one."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
MEMORY = "/dev/shm"


def folder() -> Path:
    """A folder for this process; in memory, where nobody waits for a disk."""
    path = tempfile.mkdtemp(prefix="squall-fuzz-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


class Script:
    """What is left of the bytes; nothing but zeros comes behind them."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        """One byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, end: int) -> int:
        """A number below `end`, which is at most 65,536."""
        high = self.byte() << 8 if end > 256 else 0
        return (high | self.byte()) % max(1, end)

    def one_of(self, items: Sequence[T]) -> T:
        """One of them."""
        return items[self.below(len(items))]

    def bytes(self, most: int) -> bytes:
        """At most so many bytes."""
        self._at += most
        return self._data[self._at - most : self._at]

    def text(self, most: int) -> str:
        """At most so many characters."""
        return self.bytes(most).decode("utf-8", "replace")

    def rest(self) -> bytes:
        """All that is left."""
        return self.bytes(max(0, len(self._data) - self._at))
