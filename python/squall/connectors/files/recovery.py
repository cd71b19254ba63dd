"""Publishes what a sink whose process died had not published yet; every acked row of it is whole.

Any task of any run of the sink may do so: a file's lock says whether its writer lives.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from squall.connectors.files.formats import Format, Seal
from squall.connectors.files.publishing import SEALING, publish
from squall.connectors.files.staging import OPEN, hidden, is_same, locked


def leftovers(root: Path, patterns: Sequence[re.Pattern[str]]) -> Iterator[Path]:
    """The targets of hidden files below a folder; `patterns`: names of folders and files, from the root on."""
    try:
        entries = list(os.scandir(root))
    except (FileNotFoundError, NotADirectoryError):
        return
    pattern, *below = patterns
    for entry in entries:
        if below:
            if pattern.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                yield from leftovers(Path(entry.path), below)
        elif entry.name.startswith(".") and entry.name.endswith(OPEN):
            name = entry.name[1 : -len(OPEN)]
            if pattern.fullmatch(name):
                yield root / name


def recover(target: Path, format: Format, seal: Seal | None, sync: bool) -> bool:
    """Publishes a leftover if its writer is gone and it has rows; whether it did."""
    path = hidden(target)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not locked(fd) or not is_same(fd, path):
            return False
        if target.exists():  # the writer died between the rename and this
            path.unlink()
            return False
        return _repaired(fd, target, format, seal, sync)
    finally:
        os.close(fd)


def _repaired(fd: int, target: Path, format: Format, seal: Seal | None, sync: bool) -> bool:
    size = os.fstat(fd).st_size
    whole = 0
    if size:
        with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as data:
            whole = format.whole(data)
    if not whole:
        hidden(target).unlink()
        target.with_name(f".{target.name}{SEALING}").unlink(missing_ok=True)
        return False
    if whole < size:
        os.ftruncate(fd, whole)
    os.fsync(fd)
    publish(target, seal, sync)
    return True
