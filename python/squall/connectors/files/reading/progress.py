"""How far a task's files have ended, and how that is written down as a position.

A chunk has ended when all its outputs have. Of the one in which the first output is that has not ended, the outputs
before are skipped when it is read again: nothing of what was read has to be kept for that.
"""

from __future__ import annotations

import base64
import os
from collections import deque
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, NamedTuple

import msgspec

from squall.connectors.files.reading.chunks import START, Place
from squall.connectors.files.reading.found import Head

VERSION = 1
DONE = Struct("<QQHIQQ")
"""Device, inode, size and checksum of the head, size of the file, its lines."""


class Known(NamedTuple):
    """A file that was begun: by what it is known again, and from where it is to be read. `name`: where it lay."""

    device: int
    inode: int
    head: Head
    name: str
    place: Place


class Done(NamedTuple):
    """A file that was read to its end. `size`, `lines`: what it had then."""

    head: Head
    size: int
    lines: int


class _Mark(NamedTuple):
    """Outputs of a file: `first` and `end` count the task's outputs. `done`: the file's size, if they are its last."""

    first: int
    end: int
    file: tuple[int, int]
    before: Place
    after: Place
    done: int | None


@dataclass(slots=True)
class Progress:
    """The files of a task.

    Bound: a mark for each chunk that has not ended, and an entry for each file.
    """

    format: str
    known: dict[tuple[int, int], Known] = field(default_factory=dict[tuple[int, int], Known])
    done: dict[tuple[int, int], Done] = field(default_factory=dict[tuple[int, int], Done])
    _marks: deque[_Mark] = field(default_factory=deque[_Mark])

    def begin(self, file: tuple[int, int], head: Head, name: str, place: Place) -> None:
        """A file is read from a place on."""
        self.known[file] = Known(*file, head, name, place)

    def given(self, first: int, end: int, file: tuple[int, int], before: Place, after: Place) -> None:
        """Outputs of a file begin to be emitted."""
        self._marks.append(_Mark(first, end, file, before, after, None))

    def read_to_the_end(self, count: int, file: tuple[int, int], size: int) -> None:
        """A file gives nothing any more after the task's first `count` outputs."""
        self._marks.append(_Mark(count, count, file, START, START, size))

    def is_pending(self, file: tuple[int, int]) -> bool:
        """Whether outputs of a file have not ended."""
        return any(mark.file == file for mark in self._marks)

    def forget(self, file: tuple[int, int]) -> None:
        """A file is gone, or was emptied: what was read of it does not count any more."""
        self.known.pop(file, None)
        self.done.pop(file, None)
        self._marks = deque(mark for mark in self._marks if mark.file != file)

    def renumber(self, old: tuple[int, int], new: tuple[int, int]) -> None:
        """The device of a file has another number now."""
        if old in self.done:
            self.done[new] = self.done.pop(old)
        if old in self.known:
            self.known[new] = self.known.pop(old)._replace(device=new[0])

    def ended(self, count: int) -> None:
        """The task's first `count` outputs have ended."""
        while self._marks and self._marks[0].end <= count:
            mark = self._marks.popleft()
            known = self.known.get(mark.file)
            if known is None:
                continue
            if mark.done is None:
                self.known[mark.file] = known._replace(place=mark.after)
            else:
                del self.known[mark.file]
                self.done[mark.file] = Done(known.head, mark.done, known.place.number + known.place.lines)
        if self._marks and (mark := self._marks[0]).first < count and mark.file in self.known:
            place = mark.before._replace(skip=mark.before.skip + count - mark.first)
            self.known[mark.file] = self.known[mark.file]._replace(place=place)

    def encode(self) -> bytes:
        """The files as far as they have ended."""
        done = b"".join(DONE.pack(*file, *one.head, one.size, one.lines) for file, one in self.done.items())
        begun = (one for one in self.known.values() if one.place != START)
        known = [[*one[:2], *one.head, _as_text(one.name), *one.place] for one in begun]
        record = {"version": VERSION, "format": self.format, "done": base64.b64encode(done).decode(), "known": known}
        return msgspec.json.encode(record)

    def restore(self, position: bytes) -> None:
        """Takes over what `encode` gave.

        Raises:
            ValueError: it is of another format, or nothing that was given.
        """
        try:
            record: Any = msgspec.json.decode(position)
            version, format_ = record["version"], record["format"]
        except (msgspec.DecodeError, KeyError, TypeError):
            raise ValueError("it is no position of files") from None
        if version != VERSION:
            raise ValueError(f"it is of version {version}, this squall knows {VERSION}")
        if format_ != self.format:
            raise ValueError(f"files were read as {format_}, and are now to be read as {self.format}")
        for device, inode, size, crc, end, lines in DONE.iter_unpack(base64.b64decode(record["done"])):
            self.done[device, inode] = Done(Head(size, crc), end, lines)
        for device, inode, size, crc, name, *place in record["known"]:
            self.known[device, inode] = Known(device, inode, Head(size, crc), _as_path(name), Place(*place))


def _as_text(path: str) -> str:
    """A path as JSON can have it: names of files are bytes, not always text."""
    return os.fsencode(path).decode("latin-1")


def _as_path(text: str) -> str:
    return os.fsdecode(text.encode("latin-1"))
