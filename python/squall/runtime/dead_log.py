"""The durable log of dead letters (semantics 12): JSON lines with a checksum, appended and fsynced in groups.

A letter is safe before its spout moves on. What happens to it later (replayed, dropped) is appended too: a replay that
was asked for counts as done when its root has ended, so that a worker's death loses none. A torn last line is cut off
by the next writer; a line whose checksum is wrong is reported and skipped, never guessed at.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from squall.runtime.letter_lines import Change, Run, change_lines, letter_line, run_line
from squall.runtime.letters import Letter

log = logging.getLogger("squall.dead")
RETRY_S = 1.0
CLOSE_WITHIN_S = 10.0
LOOK_BACK_BYTES = 1 << 16


def log_path(local_dir: Path, topology: str) -> Path:
    """Where a topology's dead letters lie."""
    return local_dir / "dead" / f"{topology}.log"


def mark(path: Path, changes: Sequence[Change]) -> None:
    """Appends new states of letters, durably."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        with _locked(fd):
            _append(fd, change_lines(changes))
    finally:
        os.close(fd)


@dataclass(slots=True)
class _Group:
    """What waits to be made durable by one fsync: letters with the handles of their roots, changes of older ones."""

    letters: list[tuple[int, Letter]] = field(default_factory=list[tuple[int, Letter]])
    changes: list[Change] = field(default_factory=list[Change])

    def __bool__(self) -> bool:
        return bool(self.letters or self.changes)

    def lines(self) -> bytes:
        return b"".join(letter_line(letter) for _, letter in self.letters) + change_lines(self.changes)


class DeadLog:
    """The writer of one topology's log: a thread that groups what waits into one fsync.

    The file is opened when there is something to write, and `run` is what it is told first. Two writers of one file (a
    topology that runs twice) take turns. Whoever deletes or moves it gives up the letters that it held: the next one
    goes to a new file, `replaced` is called, and changes of letters that are gone are not written.

    Bound: a letter holds its root's place among the spout's pending roots until it is stored, so a log that cannot be
    written stops the spout instead of filling memory. Full disk: tried again each second; nothing is lost.
    """

    def __init__(
        self,
        path: Path,
        stored: Callable[[int], None],
        offer: Callable[[Letter], None],
        marked: Callable[[Change], None] = lambda _change: None,
        run: Run | None = None,
        replaced: Callable[[], None] = lambda: None,
    ) -> None:
        self._path, self._stored, self._offer, self._marked, self._replaced = path, stored, offer, marked, replaced
        self._run = b"" if run is None else run_line(run)
        self._head = self._run
        self._fd: int | None = None
        self._waiting = _Group()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="squall-dead-letters", daemon=True)
        self._thread.start()

    def put(self, handle: int, letter: Letter) -> None:
        """Queues a letter; the core is told when it is safe."""
        with self._changed:
            self._waiting.letters.append((handle, letter))
            self._changed.notify()

    def change(self, change: Change) -> None:
        """Queues a new state of an older letter."""
        with self._changed:
            self._waiting.changes.append(change)
            self._changed.notify()

    def close(self) -> None:
        """Writes what waits, if the disk takes it, and ends."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=CLOSE_WITHIN_S)

    def _serve(self) -> None:
        while group := self._next_group():
            while not self._try_to_store(group):
                if self._rest():
                    return
            for handle, letter in group.letters:
                self._offer(letter)
                self._stored(handle)
            for change in group.changes:
                self._marked(change)
        if self._fd is not None:
            os.close(self._fd)

    def _next_group(self) -> _Group:
        """Everything that waits, as soon as something does; nothing at the end."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            group, self._waiting = self._waiting, _Group()
            return group

    def _rest(self) -> bool:
        """Waits a while before the next try; whether the log is closing instead."""
        with self._changed:
            return self._closing or (self._changed.wait_for(lambda: self._closing, RETRY_S))

    def _try_to_store(self, group: _Group) -> bool:
        """Whether all of the group is on disk now; else none of it is in the file."""
        try:
            if self._fd is None:
                self._fd = _opened(self._path)
            self._write(self._fd, group)
            while not _is_at(self._fd, self._path):
                self._fd = self._begin_again(self._fd, group)
                self._write(self._fd, group)
            return True
        except OSError as error:
            log.error("event=dead_letters_wait file=%s because=%r retry_s=%g", self._path, error.strerror, RETRY_S)
            return False

    def _write(self, fd: int, group: _Group) -> None:
        with _locked(fd):
            _append(fd, self._head + group.lines())
        self._head = b""

    def _begin_again(self, old: int, group: _Group) -> int:
        """A new file in place of one that was deleted or moved."""
        fd = _opened(self._path)
        os.close(old)  # now: the new one would else be given its number, and be taken for it by who follows the log
        log.error("event=dead_letters_gone file=%s because='it was deleted or moved': a new one begins", self._path)
        self._head = self._run
        with self._changed:
            group.changes.clear()
            self._waiting.changes.clear()
        self._replaced()
        return fd


def _is_at(fd: int, path: Path) -> bool:
    """Whether an open file is what its path leads to."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _opened(path: Path) -> int:
    """The file, whose name survives a loss of power too."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        for folder in (path.parent, path.parent.parent):
            sync_folder(folder)
    except OSError:
        os.close(fd)
        raise
    return fd


def sync_folder(folder: Path) -> None:
    """Has the names in a folder survive a loss of power."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _locked(fd: int) -> Generator[None]:
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _append(fd: int, data: bytes) -> None:
    """Appends lines durably, all or none, after what is whole in the file."""
    size = _whole_size(fd)
    os.ftruncate(fd, size)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise


def _whole_size(fd: int) -> int:
    """Where the last whole line ends: a process or a machine that stopped while writing left half a line behind it."""
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - LOOK_BACK_BYTES)
        if (at := os.pread(fd, end - start, start).rfind(b"\n")) >= 0:
            return start + at + 1
        end = start
    return 0
