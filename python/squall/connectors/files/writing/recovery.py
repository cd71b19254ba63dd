"""Publishes what a sink whose process died had not published yet; every acked row of it is whole.

Any task of any run of the sink may do so, whatever its format: a file's lock says whether its writer lives, its name
what is in it.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from squall.connectors.files.writing.publishing import SEALING, publish
from squall.connectors.files.writing.staged import Staged
from squall.connectors.files.writing.staging import OPEN, hidden, is_same, locked, shown


def leftovers(root: Path, patterns: Sequence[re.Pattern[str]]) -> Iterator[Path]:
    """The hidden files below a folder.

    Args:
        patterns: what folders, and files that are published, are called, from the root on.

    Raises:
        OSError: a folder cannot be listed.
    """
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
            path = root / entry.name
            if pattern.fullmatch(shown(path)[0].name):
                yield path


def recover(target: Path, staged: Staged, sync: bool) -> bool:
    """Publishes a leftover if its writer is gone and it has rows; whether it did."""
    path = hidden(target, staged)
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
        return _repaired(fd, target, staged, sync)
    finally:
        os.close(fd)


def _repaired(fd: int, target: Path, staged: Staged, sync: bool) -> bool:
    size = os.fstat(fd).st_size
    whole = 0
    if size:
        with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as data:
            whole = staged.log.whole(data)
    if not whole:
        hidden(target, staged).unlink()
        target.with_name(f".{target.name}{SEALING}").unlink(missing_ok=True)
        return False
    if whole < size:
        os.ftruncate(fd, whole)
    os.fsync(fd)
    publish(target, staged, sync)
    return True
