"""The durable log of dead letters (semantics 12): JSON lines with a checksum, appended and fsynced in groups.

A letter is safe before its spout moves on. What happens to it later (replayed, dropped) is appended too: a replay that
was asked for counts as done when its root has ended, so that a worker's death loses none. A torn last line is cut off
by the next writer; a line whose checksum is wrong is reported and skipped, never guessed at.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from squall.runtime.letter_codec import Unknown, decode, encode, encode_row, is_known, shown
from squall.runtime.letters import Letter

log = logging.getLogger("squall.dead")
RETRY_S = 1.0
CLOSE_WITHIN_S = 10.0
LOOK_BACK_BYTES = 1 << 16
ROWS = ("values", "root_values")
OPEN, ASKED, REPLAYED, DROPPED = "open", "asked", "replayed", "dropped"


@dataclass(frozen=True, slots=True)
class Stored:
    """A letter in the log: its number (from 1) and its state."""

    number: int
    letter: Letter
    state: str = OPEN
    replayable: bool = True


def log_path(local_dir: Path, topology: str) -> Path:
    """Where a topology's dead letters lie."""
    return local_dir / "dead" / f"{topology}.log"


def _line(record: dict[str, Any]) -> bytes:
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _record(letter: Letter) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(letter, name) for name in letter.__dataclass_fields__}
    rows = {name: encode_row(fields.pop(name)) for name in ROWS if fields[name] is not None}
    return {"letter": {name: encode(value) for name, value in fields.items()} | rows}


def _letter_line(letter: Letter) -> bytes:
    """A letter's line. One that JSON refuses is kept as text: the others, and its source, must not wait for it."""
    try:
        return _line(_record(letter))
    except Exception as error:
        log.error("event=dead_letter_as_text component=%s because=%s", letter.component, type(error).__name__)
        return _line(_record(_as_text(letter)))


def _as_text(letter: Letter) -> Letter:
    def texts(row: tuple[Any, ...]) -> tuple[Unknown, ...]:
        return tuple(Unknown(shown(value)) for value in row)

    root_values = None if letter.root_values is None else texts(letter.root_values)
    message_id = Unknown(shown(letter.message_id))
    return replace(letter, values=texts(letter.values), root_values=root_values, message_id=message_id)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        if (record := record_of(line)) is not None:
            yield record
        else:
            log.error("event=corrupt_dead_letter file=%s line=%d", path, number)


def record_of(line: bytes) -> dict[str, Any] | None:
    """What a line of the log says; None if its checksum is wrong."""
    checksum, _, body = line.partition(b" ")
    try:
        return json.loads(body) if int(checksum, 16) == zlib.crc32(body) else None
    except ValueError:
        return None


def read(path: Path) -> list[Stored]:
    """Every letter of a log with its state, oldest first."""
    letters: dict[int, Stored] = {}
    for record in _records(path):
        if "letter" in record:
            letter = Letter(**{name: decode(value) for name, value in record["letter"].items()})
            known = letter.root_values is not None and is_known(letter.root_values)
            letters[len(letters) + 1] = Stored(len(letters) + 1, letter, OPEN, known)
        elif (stored := letters.get(record["number"])) is not None:
            letters[stored.number] = replace(stored, state=record["state"])
    return list(letters.values())


def mark(path: Path, numbers: list[int], state: str) -> None:
    """Appends a new state of letters, durably."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        with _locked(fd):
            _append(fd, _state_lines(numbers, state))
    finally:
        os.close(fd)


def _state_lines(numbers: list[int], state: str) -> bytes:
    return b"".join(_line({"number": number, "state": state}) for number in numbers)


@dataclass(slots=True)
class _Group:
    """What waits to be made durable by one fsync: letters with the handles of their roots, numbers of replayed ones."""

    letters: list[tuple[int, Letter]] = field(default_factory=list[tuple[int, Letter]])
    replayed: list[int] = field(default_factory=list[int])

    def __bool__(self) -> bool:
        return bool(self.letters or self.replayed)

    def lines(self) -> bytes:
        letters = b"".join(_letter_line(letter) for _, letter in self.letters)
        return letters + _state_lines(self.replayed, REPLAYED)


class DeadLog:
    """The writer of one topology's log: a thread that groups what waits into one fsync.

    The file is opened when there is something to write. Two writers of one file (a topology that runs twice) take
    turns.

    Bound: a letter holds its root's place among the spout's pending roots until it is stored, so a log that cannot be
    written stops the spout instead of filling memory. Full disk: tried again each second; nothing is lost.
    """

    def __init__(
        self,
        path: Path,
        stored: Callable[[int], None],
        offer: Callable[[Letter], None],
        marked: Callable[[int], None] = lambda _number: None,
    ) -> None:
        self._path, self._stored, self._offer, self._marked = path, stored, offer, marked
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

    def replayed(self, number: int) -> None:
        """Queues that a letter's replay has ended."""
        with self._changed:
            self._waiting.replayed.append(number)
            self._changed.notify()

    def close(self) -> None:
        """Writes what waits, if the disk takes it, and ends."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=CLOSE_WITHIN_S)

    def _serve(self) -> None:
        while group := self._next_group():
            data = group.lines()
            while not self._try_to_store(data):
                if self._rest():
                    return
            for handle, letter in group.letters:
                self._offer(letter)
                self._stored(handle)
            for number in group.replayed:
                self._marked(number)
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

    def _try_to_store(self, data: bytes) -> bool:
        """Whether all of `data` is on disk now; else none of it is in the file."""
        try:
            if self._fd is None:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with _locked(self._fd):
                _append(self._fd, data)
            return True
        except OSError as error:
            log.error("event=dead_letters_wait file=%s because=%r retry_s=%g", self._path, error.strerror, RETRY_S)
            return False


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
