"""Which files a task reads: patterns, the task's part, and how a file is known again under another name."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Sequence
from dataclasses import replace
from glob import glob, has_magic
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from squall.errors import Defect, StateError

Order: TypeAlias = Literal["name", "age"]
HEAD_BYTES = 1 << 10
"""First bytes of a file that it is known by, beside its inode, which may be given again."""


class Found(NamedTuple):
    """A file as it is now. `modified`: when, in epoch seconds."""

    path: str
    device: int
    inode: int
    size: int
    modified: float

    @property
    def key(self) -> tuple[int, int]:
        """What stays the same when it is renamed."""
        return self.device, self.inode


class Head(NamedTuple):
    """The first bytes of a file: how many, and their checksum."""

    size: int
    crc: int


def head_of(path: str, size: int = HEAD_BYTES, key: tuple[int, int] | None = None) -> Head | None:
    """The first bytes of a file; None if it cannot be read, or is another one than `key` says."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if key not in (None, (status.st_dev, status.st_ino)):
                return None
            head = file.read(size)
    except OSError:
        return None
    return Head(len(head), zlib.crc32(head))


def found_by(patterns: Sequence[str], order: Order) -> list[Found]:
    """The files that the patterns match, each once, in order; folders are left out."""
    files: dict[tuple[int, int], Found] = {}
    for path in sorted({path for pattern in patterns for path in glob(os.path.expanduser(pattern), recursive=True)}):
        if (file := found_at(path)) is not None:
            files.setdefault(file.key, file)
    return sorted(files.values(), key=lambda file: file.modified) if order == "age" else list(files.values())


def found_at(path: str) -> Found | None:
    """The file at a path; None if there is none that can be read as one."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Found(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime)


def renamed(path: str, key: tuple[int, int], head: Head) -> Found | None:
    """The file that lay at a path, looked for in the same folder; its inode may be another file's by now."""
    try:
        beside = [entry.path for entry in os.scandir(os.path.dirname(path) or ".") if entry.inode() == key[1]]
    except OSError:
        return None
    files = (file for file in map(found_at, beside) if file is not None and file.key == key)
    return next((file for file in files if head_of(file.path, head.size) == head), None)


def is_part_of(file: Found, task: int, tasks: int) -> bool:
    """Whether a file is this task's: by its inode, so that it stays so when it is renamed, or its device renumbered."""
    return zlib.crc32(b"%d" % file.inode) % tasks == task


def check_patterns(patterns: Sequence[str], *, follow: bool) -> None:
    """Refuses patterns that name nothing that can be read.

    Raises:
        StateError: `file_not_found`, `file_not_regular` or `file_unreadable`; it lists all that is wrong.
    """
    defects = [defect for pattern in patterns if (defect := _wrong(os.path.expanduser(pattern), follow))]
    if defects:
        first, *others = defects
        also = tuple(("also", other.message) for other in others)
        raise StateError(replace(first, facts=(*first.facts, *also)))


def _wrong(pattern: str, follow: bool) -> Defect | None:
    paths = glob(pattern, recursive=True)
    files = [path for path in paths if found_at(path) is not None]
    if not paths or (has_magic(pattern) and not files):
        if follow:
            return None
        what = "no file matches" if has_magic(pattern) else "there is no file"
        facts = (("looked in", str(Path.cwd())),) if not os.path.isabs(pattern) else ()
        fix = "name files that are there, or wait for them: FileSpout(…, follow=True)"
        return Defect("file_not_found", f'{what} "{pattern}"', facts, fix)
    if os.path.isdir(pattern):
        fix = f'name what is in it: "{os.path.join(pattern, "*")}", or "{os.path.join(pattern, "**")}" with its folders'
        return Defect("file_not_regular", f'"{pattern}" is a folder', (), fix)
    if not files:
        fix = "give a regular file; standard input is read by StdinSpout"
        return Defect("file_not_regular", f'"{pattern}" is no file that can be read twice', (), fix)
    for path in files:
        if not os.access(path, os.R_OK):
            return Defect("file_unreadable", f'"{path}" may not be read', (), "allow it, or name other files")
    return None
