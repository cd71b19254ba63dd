"""The durable log of dead letters (semantics 12): JSON lines with a checksum, appended and fsynced in groups.

A letter is safe before its spout moves on. What happens to it later (replayed, dropped) is appended too. A torn last
line is cut off by the next writer; a line whose checksum is wrong is reported and skipped, never guessed at.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from squall.errors import Defect, StateError
from squall.runtime.letters import Letter

log = logging.getLogger("squall.dead")
RETRY_S = 1.0
OPEN, ASKED, REPLAYED, DROPPED = "open", "asked", "replayed", "dropped"


@dataclass(frozen=True, slots=True)
class Stored:
    """A letter in the log: its number (from 1) and its state."""

    number: int
    letter: Letter
    state: str = OPEN
    replayable: bool = True


# -- values ----------------------------------------------------------------------------------------------------


def encode(value: Any) -> Any:
    """A value as JSON: plain where it can be, else {"$": type, "v": …}. What is not known is kept by its `repr`."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else {"$": "float", "v": repr(value)}
        case list():
            return [encode(item) for item in value]
        case tuple():
            return {"$": "tuple", "v": [encode(item) for item in value]}
        case dict():
            return {"$": "dict", "v": [[encode(key), encode(item)] for key, item in value.items()]}
        case set() | frozenset():
            return {"$": type(value).__name__, "v": [encode(item) for item in value]}
        case bytes() | bytearray():
            return {"$": "bytes", "v": base64.b64encode(bytes(value)).decode()}
        case datetime() | date() | time():
            return {"$": type(value).__name__, "v": value.isoformat()}
        case timedelta():
            return {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]}
        case Decimal() | UUID():
            return {"$": type(value).__name__, "v": str(value)}
        case _:
            return {"$": "repr", "v": repr(value)}


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "tuple": lambda v: tuple(decode(item) for item in v),
    "dict": lambda v: {decode(key): decode(item) for key, item in v},
    "set": lambda v: {decode(item) for item in v},
    "frozenset": lambda v: frozenset(decode(item) for item in v),
    "bytes": lambda v: base64.b64decode(v),
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda v: timedelta(*v),
    "Decimal": Decimal,
    "UUID": UUID,
    "repr": lambda v: Unknown(v),
}


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that was kept only by its `repr`; a letter with one cannot be replayed."""

    text: str

    def __repr__(self) -> str:
        return self.text


def decode(value: Any) -> Any:
    """The value that `encode` was given."""
    if isinstance(value, list):
        items: list[Any] = value
        return [decode(item) for item in items]
    if isinstance(value, dict):
        tagged: dict[str, Any] = value
        return _DECODERS[tagged["$"]](tagged["v"])
    return value


def _known(value: Any) -> bool:
    match value:
        case Unknown():
            return False
        case list() | tuple() | set() | frozenset():
            return all(_known(item) for item in value)
        case dict():
            return all(_known(key) and _known(item) for key, item in value.items())
        case _:
            return True


# -- the file --------------------------------------------------------------------------------------------------


def log_path(local_dir: Path, topology: str) -> Path:
    """Where a topology's dead letters lie."""
    return local_dir / "dead" / f"{topology}.log"


def _line(record: dict[str, Any]) -> bytes:
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _record(letter: Letter) -> dict[str, Any]:
    fields = {name: getattr(letter, name) for name in letter.__dataclass_fields__}
    return {"letter": {name: encode(value) for name, value in fields.items()}}


def _records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        checksum, _, body = line.partition(b" ")
        try:
            if int(checksum, 16) != zlib.crc32(body):
                raise ValueError("checksum")
            yield json.loads(body)
        except ValueError:
            log.error("event=corrupt_dead_letter file=%s line=%d", path, number)


def read(path: Path) -> list[Stored]:
    """Every letter of a log with its state, oldest first."""
    letters: dict[int, Stored] = {}
    for record in _records(path):
        if "letter" in record:
            letter = Letter(**{name: decode(value) for name, value in record["letter"].items()})
            known = letter.root_values is not None and _known(letter.root_values)
            letters[len(letters) + 1] = Stored(len(letters) + 1, letter, OPEN, known)
        elif (stored := letters.get(record["number"])) is not None:
            letters[stored.number] = replace(stored, state=record["state"])
    return list(letters.values())


def mark(path: Path, numbers: list[int], state: str) -> None:
    """Appends a new state of letters, durably."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for number in numbers:
            file.write(_line({"number": number, "state": state}))
        file.flush()
        os.fsync(file.fileno())


class DeadLog:
    """The writer of one topology's log: a thread that groups what waits into one fsync.

    Bound: a letter holds its root's place among the spout's pending roots until it is stored, so a log that cannot be
    written stops the spout instead of filling memory. Full disk: tried again each second; nothing is lost.
    """

    def __init__(self, path: Path, stored: Callable[[int], None], offer: Callable[[Letter], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            facts = (("file", str(path)), ("because", error.strerror or str(error)))
            fix = "make the folder writable, or set storm.local.dir"
            raise StateError(Defect("dead_log_unwritable", "the dead letters cannot be written", facts, fix)) from error
        self._path, self._stored, self._offer = path, stored, offer
        self._waiting: list[tuple[int, Letter]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._cut_torn_line()
        self._thread = threading.Thread(target=self._serve, name="squall-dead-letters", daemon=True)
        self._thread.start()

    def put(self, handle: int, letter: Letter) -> None:
        """Queues a letter; the core is told when it is safe."""
        with self._changed:
            self._waiting.append((handle, letter))
            self._changed.notify()

    def discard(self, handle: int) -> None:
        """Lets a root go without a letter."""
        self._stored(handle)

    def close(self) -> None:
        """Writes what waits and ends."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=10)

    def _cut_torn_line(self) -> None:
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, min(size, 1 << 20), max(0, size - (1 << 20)))
        if tail and not tail.endswith(b"\n"):
            os.ftruncate(self._fd, size - len(tail) + tail.rfind(b"\n") + 1)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                group, self._waiting = self._waiting, []
            if group:
                self._write(group)
            elif self._closing:
                os.close(self._fd)
                return

    def _write(self, group: list[tuple[int, Letter]]) -> None:
        data = b"".join(_line(_record(letter)) for _, letter in group)
        while True:
            size = os.fstat(self._fd).st_size
            try:
                self._write_all(data)
                os.fsync(self._fd)
                break
            except OSError as error:
                log.error("event=dead_letters_wait file=%s because=%r retry_s=%g", self._path, error.strerror, RETRY_S)
                os.ftruncate(self._fd, size)
                with self._changed:
                    if self._closing:
                        return
                    self._changed.wait(RETRY_S)
        for handle, letter in group:
            self._offer(letter)
            self._stored(handle)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
