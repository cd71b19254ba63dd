"""A file as a sink: appended, one line an input."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from squall._core import Tuple
from squall.api.components import Bolt
from squall.errors import RetryTuple

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
WAIT_S = 1.0


class FileSink(Bolt):
    """Appends each input as one line: the value, or the values with tabs between.

    In: any stream.
    Delivery: at least once: acked after the write (after fsync, with `fsync=True`). A full disk slows the topology:
        the task takes nothing for a second, then what failed is tried again, uncounted, until there is room; a
        half-written batch is taken back.
    Threading: on a thread of its own, so that a slow disk holds up nothing else.
    Args:
        path: made if it is not there, its folder too. With several tasks each writes its own: `name.N.suffix`.
        fsync: whether an input is acked only after its line is on disk.
    """

    blocking = True

    def __init__(self, path: str | Path, *, fsync: bool = False) -> None:
        self._path, self._fsync = Path(path), fsync

    def open(self, context: Any) -> None:
        """Opens the file."""
        path = self._path
        if context.task_count > 1:
            path = path.with_name(f"{path.stem}.{context.task_index}{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def process_batch(self, tuples: list[Tuple]) -> None:
        """Appends the lines of a batch."""
        data = "".join("\t".join(map(str, tup.values)) + "\n" for tup in tuples).encode("utf-8", "backslashreplace")
        size = os.fstat(self._fd).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            if self._fsync:
                os.fsync(self._fd)
        except OSError as error:
            with suppress(OSError):  # a device has no length, and keeps nothing of what it refused
                os.ftruncate(self._fd, size)
            if error.errno in FULL:
                self.context.pause(WAIT_S)  # else every other batch would be refused meanwhile
                raise RetryTuple(f"{self._path}: {error.strerror}", after=WAIT_S, counts=False) from error
            raise

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)
