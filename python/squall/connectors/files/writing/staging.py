"""A file that rows are added to: what is added is in it whole or not at all.

A file that will be published has a hidden name in its folder, `.NAME.KIND.open` (`staged` says what kinds there are),
and a lock on it for as long as its writer lives. So whoever finds such a file without a lock knows that its writer is
gone, also after a `kill -9`.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from squall.connectors.files.writing.rows import Encoder
from squall.connectors.files.writing.staged import Staged

WAITS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""What ends without anything being done to the topology: a full disk, no more open files."""
CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP}
"""`fsync` of a device or a pipe, which keep nothing."""
OPEN = ".open"


def sync_folder(folder: Path) -> None:
    """Has the names in a folder survive a loss of power."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise
    finally:
        os.close(fd)


def make_folder(folder: Path, sync: bool) -> None:
    """Makes a folder, and those above it."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing if sync else ():
        sync_folder(made.parent)


def locked(fd: int) -> bool:
    """Takes the lock of an open file, if nobody has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_same(fd: int, path: Path) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


class Appended:
    """An open file; knows its size, its rows and their times."""

    def __init__(self, fd: int, encoder: Encoder, now_s: float, target: Path | None) -> None:
        self.fd, self.encoder = fd, encoder
        self.target = target
        """Where it is to be published; None: it is visible already."""
        self.size: int = os.fstat(fd).st_size
        self.rows = self._synced_rows = 0
        self._synced_size: int = self.size
        self.began_s = self.touched_s = now_s
        self.error: OSError | None = None
        """Why rows that were added are not in it any more."""

    def add(self, data: bytes, rows: int, now_s: float) -> None:
        """Adds the bytes of some rows; what was written of them is taken back if they do not fit."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError:
            self._cut(self.size)
            raise
        if not self.rows:
            self.began_s = now_s
        self.touched_s = now_s
        self.size, self.rows = self.size + len(data), self.rows + rows

    def sync(self) -> None:
        """Waits until all of it is on disk; if that fails, what was added since the last time is taken back.

        Another try would not do: after a failure the system may forget what it could not write, and report no more.
        """
        if self.size == self._synced_size:
            return
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            if error.errno not in CANNOT_SYNC:
                self._cut(self._synced_size)
                self.size, self.rows, self.error = self._synced_size, self._synced_rows, error
                raise
        self._synced_size, self._synced_rows = self.size, self.rows

    def close(self) -> None:
        """Closes the file, and gives its lock away."""
        os.close(self.fd)

    def _cut(self, size: int) -> None:
        with suppress(OSError):  # a device has no length, and keeps nothing of what it refused
            os.ftruncate(self.fd, size)


def open_visible(path: Path, ending: Callable[[mmap.mmap], bytes], sync: bool) -> int:
    """Opens a file that is read while it grows, made if it is not there.

    Args:
        ending: what ends its last row, if a writer died in the middle of it; else the next row would be spoilt too.
    """
    make_folder(path.parent, sync)
    is_new = not path.exists()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    if sync and is_new:
        sync_folder(path.parent)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        with path.open("rb") as readable, mmap.mmap(readable.fileno(), 0, access=mmap.ACCESS_READ) as data:
            end = ending(data)
        os.write(fd, end)
    return fd


def hidden(target: Path, staged: Staged) -> Path:
    """The name that a file has until it is published."""
    return target.with_name(f".{target.name}.{staged.tag}{OPEN}")


def shown(path: Path) -> tuple[Path, str]:
    """The target of a hidden file, and the kind that its name says."""
    name, _, tag = path.name[1 : -len(OPEN)].rpartition(".")
    return path.with_name(name or tag), tag


def open_hidden(target: Path, staged: Staged, sync: bool) -> int | None:
    """Makes and locks the hidden file of a target; None if the name is taken."""
    make_folder(target.parent, sync)
    path = hidden(target, staged)
    if target.exists():
        return None
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return None
    if not locked(fd) or not is_same(fd, path):  # a recovery saw it before it was locked
        os.close(fd)
        return None
    if sync:
        sync_folder(target.parent)
    return fd
