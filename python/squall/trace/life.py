"""One life of a worker, as its trace tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from struct import Struct
from typing import BinaryIO, NamedTuple, Self

from squall.trace.notes import Note, decoded

MAGIC, VERSION = b"SQTRACE\n", 1
HEAD, BLOCK = Struct("<8sIIII"), Struct("<IQQ")
CUTS: tuple[str, ...] = ("", "it had become as long as it may be", "it could not be written")


class Block(NamedTuple):
    """What a life did in one turn: times by the machine's monotonic clock, before the first note and after the last."""

    began_ns: int
    ended_ns: int
    notes: Sequence[Note]


@dataclass(frozen=True)
class Life:
    """A life of a worker. `cut`: why its trace does not go on to its end, or nothing.

    Its blocks are read anew each time, as a trace may be longer than memory. That raises a ValueError where the trace
    was damaged.
    """

    worker: int
    incarnation: int
    cut: str
    blocks: Callable[[], Iterator[Block]]

    def __str__(self) -> str:
        return f"worker {self.worker}, life {self.incarnation}"

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """The life whose trace a file holds.

        Raises:
            ValueError: the file is no trace, or one of another form.
        """
        with path.open("rb") as file:
            return cls._of(file, path.name, lambda: path.open("rb"))

    @classmethod
    def of_bytes(cls, data: bytes) -> Self:
        """The same of a trace in memory."""
        return cls._of(BytesIO(data), "it", lambda: BytesIO(data))

    @classmethod
    def _of(cls, file: BinaryIO, name: str, reopen: Callable[[], BinaryIO]) -> Self:
        head = file.read(HEAD.size)
        if len(head) < HEAD.size or not head.startswith(MAGIC):
            raise ValueError(f"{name} is no trace of a worker")
        version: int
        cut: int
        worker: int
        incarnation: int
        _, version, cut, worker, incarnation = HEAD.unpack(head)
        if version != VERSION or cut >= len(CUTS):
            raise ValueError(f"{name} is a trace of form {version}; form {VERSION} can be read")

        def blocks() -> Iterator[Block]:
            with reopen() as again:
                end = again.seek(0, SEEK_END)
                again.seek(HEAD.size)
                try:
                    yield from _blocks(again, end)
                except ValueError as error:
                    raise ValueError(f"{name} is damaged: {error}") from error

        return cls(worker, incarnation, CUTS[cut], blocks)


def _blocks(file: BinaryIO, end: int) -> Iterator[Block]:
    """The whole blocks of a file; one that was being written when the worker died was seen by nobody.

    Raises:
        ValueError: one was damaged.
    """
    at = HEAD.size
    while len(head := file.read(BLOCK.size)) == BLOCK.size:
        size, began_ns, ended_ns = BLOCK.unpack(head)
        at += BLOCK.size + size
        if at > end:  # not read to learn that: a damaged size may be larger than memory
            return
        yield Block(began_ns, ended_ns, list(decoded(file.read(size))))


def lives_in(folder: Path) -> list[Life]:
    """The lives of one run, in the order of their numbers. A file of a worker that died before its head was whole tells
    nothing, as that life did nothing.

    Raises:
        ValueError: a file in it is no trace.
    """
    paths = [path for path in folder.glob("*.trace") if path.stat().st_size >= HEAD.size]
    return sorted(map(Life.of_file, paths), key=lambda life: life.incarnation)
