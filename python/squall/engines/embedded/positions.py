"""Where the spouts of a topology had got to, kept over runs (semantics 31): a small file for each task.

`<storm.local.dir>/positions/<topology>/<component>/<index>`: a line of JSON after its CRC32, written beside its place,
synced, and renamed there, so that a crash leaves the old position or the new one. What cannot be read or matched is an
error, never "no position": to begin anew is the user's to say.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from squall.errors import ClusterError, Defect, StateError
from squall.model.graph import Graph, Kind
from squall.runtime.dead_log import sync_folder
from squall.runtime.positions import FROM_START, StoredPosition

LOCK = ".lock"
FORGOTTEN = ".forgotten"
"""While it is there, the positions beside it count for nothing: they were to be removed, and not all may be."""
VERSION = 1


class PositionStore:
    """The stored positions of one topology; one run at a time has them."""

    def __init__(self, local_dir: Path, topology: str) -> None:
        self._folder, self._topology = local_dir / "positions" / topology, topology
        self._lock: int | None = None

    def begin(self, graph: Graph, *, from_start: bool) -> list[StoredPosition]:
        """Where the last run stopped.

        Args:
            from_start: forget that first.

        Raises:
            ClusterError: `positions_in_use`.
            StateError: `position_unreadable` or `position_unmatched`.
        """
        if not self._folder.exists():
            return []
        self._take()
        if from_start or (self._folder / FORGOTTEN).exists():
            self.forget()
        stored = [self._read(path) for path in sorted(self._folder.glob("*/*")) if path.name.isdecimal()]
        for one in stored:
            if defect := unmatched(one, graph):
                raise StateError(defect)
        return stored

    def put(self, *positions: StoredPosition) -> list[OSError | None]:
        """Stores positions durably: why each is not stored, where the one before it still is; None: it is.

        Raises:
            ClusterError: `positions_in_use`.
            OSError: none is stored.

        Cost: a sync for each, and one for each folder.
        """
        self._take()
        why: list[OSError | None] = [_tried(partial(self._write, position)) for position in positions]
        names = {one.component for one, error in zip(positions, why, strict=True) if error is None}
        synced = {name: _tried(partial(sync_folder, self._folder / name)) for name in sorted(names)}
        return [error or synced[one.component] for one, error in zip(positions, why, strict=True)]

    def _write(self, position: StoredPosition) -> None:
        """Puts a position in its place, where it survives a crash when the folder is synced."""
        path = self._folder / position.component / str(position.task)
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700)
            for folder in (self._folder, *self._folder.parents[:2]):
                sync_folder(folder)  # what is made durable in a folder is lost with the folder's own name
        body = json.dumps({"version": VERSION, **position.json()}, separators=(",", ":")).encode()
        beside = path.with_suffix(".new")
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(b"%08x %s\n" % (zlib.crc32(body), body))
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)

    def forget(self) -> None:
        """The next run begins at the start of all its sources, or of none if the machine dies before the first step.

        Raises:
            OSError: they are forgotten, but not all are removed, which the next run does; or none is.
        """
        if self._lock is None:
            return
        forgotten = self._folder / FORGOTTEN
        forgotten.touch(mode=0o600)
        sync_folder(self._folder)
        for folder in self._folder.iterdir():
            if folder.is_dir():
                shutil.rmtree(folder)
        sync_folder(self._folder)
        forgotten.unlink()
        sync_folder(self._folder)

    def close(self) -> None:
        """Lets another run have them."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take(self) -> None:
        """Makes them this run's."""
        if self._lock is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            fix = "end the other run first, or give one of them a name or a state folder of its own"
            message = f'"{self._topology}" runs already, and both would store the positions of its spouts'
            raise ClusterError(Defect("positions_in_use", message, (), fix), retryable=True) from None
        self._lock = fd

    def _read(self, path: Path) -> StoredPosition:
        checksum, _, body = path.read_bytes().rstrip(b"\n").partition(b" ")
        try:
            if int(checksum, 16) != zlib.crc32(body):
                raise ValueError("its checksum is wrong")
            record = json.loads(body)
            if (version := record.pop("version")) != VERSION:
                raise ValueError(f"it is of version {version}, this squall knows {VERSION}")
            position = StoredPosition.of_json(record)
            if (position.component, str(position.task)) != (path.parent.name, path.name):
                raise ValueError(f'it is of task {position.task} of "{position.component}"')
            return position
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            facts = (("file", str(path)), ("because", str(error)))
            fix = f"restore the file, or begin anew: {FROM_START}"
            raise StateError(Defect("position_unreadable", "a stored position cannot be read", facts, fix)) from None


def _tried(act: Callable[[], None]) -> OSError | None:
    try:
        act()
    except OSError as error:
        return error
    return None


def unmatched(stored: StoredPosition, graph: Graph) -> Defect | None:
    """Why a position does not fit the topology as it is now."""
    spec = graph.components.get(stored.component)
    if spec is None or spec.kind is not Kind.SPOUT:
        message = f'a position is stored of spout "{stored.component}", which the topology does not have any more'
        fix = f"give the spout its name back, or begin anew: {FROM_START}"
        return Defect("position_unmatched", message, (), fix)
    if spec.tasks != stored.tasks:
        message = f'the positions of "{stored.component}" are of another number of tasks, which shared its source'
        facts = (("stored by", f"{stored.tasks} tasks"), ("now", f"{spec.tasks} tasks"))
        fix = f"run it with {stored.tasks} tasks until it has ended, or begin anew: {FROM_START}"
        return Defect("position_unmatched", message, facts, fix)
    return None


def told(stored: Sequence[StoredPosition]) -> str:
    """One line: where a run goes on, and how not to."""
    names = dict.fromkeys(one.component for one in stored)
    return f"going on where the last run stopped: {', '.join(names)}; --from-start forgets"
