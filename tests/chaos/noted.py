"""How the topologies under faults and who watches them talk: by files, which outlive every process."""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOK_EVERY_S = 0.05


def folder() -> Path:
    """Where this run's files lie."""
    return Path(os.environ["SQUALL_CHAOS_FOLDER"])


def checksum(*parts: object) -> int:
    """What a record says of itself."""
    return zlib.crc32("/".join(map(str, parts)).encode())


class Notes:
    """Lines that are kept although the process is killed."""

    def __init__(self, kind: str) -> None:
        self._kind, self._fd = kind, -1

    def mention(self, line: str) -> None:
        """As `write`, where work must go on if the disk is full."""
        with suppress(OSError):
            self.write(line)

    def write(self, *lines: str) -> None:
        """Appends lines with one write, which a kill does not cut."""
        if self._fd < 0:
            # No buffer of a process lies between; a new file for each life.
            name = f"{self._kind}-{os.getpid()}-{id(self):x}"
            self._fd = os.open(folder() / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        data = "".join(f"{line}\n" for line in lines).encode()
        written = os.write(self._fd, data)
        if written < len(data):
            raise OSError(f"the disk took {written} of {len(data)} bytes")


def lines(path: Path) -> list[str]:
    """The whole lines of one of these files; what a full disk cut, and what was joined to it, is none."""
    return path.read_text(errors="replace").split("\n")[:-1]


class High:
    """The number that a source's task will emit next, where the next life of it finds the number."""

    def __init__(self, kind: str) -> None:
        with (folder() / f"high-{kind}").open("a+b") as file:
            file.truncate(8)
            self._page = mmap.mmap(file.fileno(), 8)
        self.of_last_life: int = struct.unpack_from("<q", self._page)[0]

    def set(self, number: int) -> None:
        """Numbers below this one were emitted."""
        struct.pack_into("<q", self._page, 0, number)


@dataclass
class Order:
    """Something that user code is to do wrong for a while."""

    kind: str
    until_s: float
    chance: float = 1.0
    size: int = 0


class Orders:
    """The order that is in force for one component, looked at now and then."""

    def __init__(self, component: str) -> None:
        self._path, self._next_s = folder() / f"order-{component}", 0.0
        self._order: Order | None = None

    def now(self) -> Order | None:
        """What is to be done wrong now."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + LOOK_EVERY_S
            try:
                said: dict[str, Any] = json.loads(self._path.read_text())
                self._order = Order(**said)
            except (FileNotFoundError, ValueError):
                self._order = None
        return self._order if self._order is not None and now_s < self._order.until_s else None


def order(component: str, what: Order, run: Path) -> None:
    """Gives an order to all tasks of a component."""
    path = run / f"order-{component}"
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(what.__dict__))
    draft.rename(path)


class End:
    """The number at which a source ends, once somebody has written it down."""

    def __init__(self) -> None:
        self._path, self._next_s, self._end = folder() / "end", 0.0, 1 << 62

    def now(self) -> int:
        now_s = time.monotonic()
        if self._end == 1 << 62 and now_s >= self._next_s:
            self._next_s = now_s + LOOK_EVERY_S
            if self._path.exists():
                self._end = int(self._path.read_text())
        return self._end
