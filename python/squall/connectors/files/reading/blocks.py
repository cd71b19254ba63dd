"""Blocks of whole lines, and the lines and JSON records in them.

A block is what one read gives, up to its last line feed; the rest waits for the next read. Blocks are large, so that
what is done once for each (decode, split) costs next to nothing a line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from squall.connectors.files.reading.chunks import Bad, Chunk, Place, bad_record
from squall.connectors.files.reading.raw import Raw

BLOCK_BYTES = 256 << 10
SHOWN_BYTES = 1 << 10
"""Bytes that a dead letter shows of a line that is too long."""
BOM = b"\xef\xbb\xbf"


class Piece(NamedTuple):
    """Whole lines of a file, and how many bytes of it they are; of a line that is too long only its beginning."""

    data: bytes
    size: int
    is_too_long: bool = False


class Blocks:
    """The blocks of one file.

    What a block is depends on how the file came to be read; what a line is, and which one is too long, does not.

    Bound: of a line of more than `max_record` bytes 1 KiB is kept; the rest is skipped.
    """

    def __init__(self, raw: Raw, offset: int, max_record: int) -> None:
        self._raw, self._max_record = raw, max_record
        self._shown = min(SHOWN_BYTES, max_record)
        self._pieces: deque[Piece] = deque()
        self._rest = b""
        self._long: Piece | None = None
        """The line that is being skipped."""
        self.offset = offset
        """Where the next block begins."""

    def read(self, *, to_the_end: bool) -> tuple[int, bytes, bool] | None:
        """Offset and bytes of the next block, and whether it is a line that is too long; None: there is none now."""
        while not self._pieces and (data := self._raw.read(BLOCK_BYTES)):
            self._feed(data)
        if (
            not self._pieces
            and to_the_end
            and (last := self._long or (self._rest and Piece(self._rest, len(self._rest))))
        ):
            self._pieces.append(last)
            self._long, self._rest = None, b""
        if not self._pieces:
            return None
        piece, began = self._pieces.popleft(), self.offset
        self.offset += piece.size
        return began, piece.data, piece.is_too_long

    def go_back(self, offset: int) -> None:
        """Reads the block at an offset again, of a file that is not compressed."""
        self._raw.go_back(offset)
        self._pieces.clear()
        self.offset, self._rest, self._long = offset, b"", None

    def disk_bytes(self) -> int:
        """How far the file is read."""
        return self._raw.disk_bytes()

    def close(self) -> None:
        """Lets go of the file."""
        self._raw.close()

    def _feed(self, data: bytes) -> None:
        if self._long is not None:
            end = data.find(b"\n") + 1
            self._long = self._long._replace(size=self._long.size + (end or len(data)))
            if not end:
                return
            self._pieces.append(self._long)
            self._long, data = None, data[end:]
        cut = data.rfind(b"\n") + 1
        if cut:
            self._cut(self._rest + data[:cut])
            self._rest = data[cut:]
        else:
            self._rest += data
        if len(self._rest) > self._max_record:
            self._long, self._rest = Piece(self._rest[: self._shown], len(self._rest), True), b""

    def _cut(self, block: bytes) -> None:
        """Takes the lines out of a block that are too long."""
        if len(block) <= self._max_record:
            self._pieces.append(Piece(block, len(block)))
            return
        began = at = 0
        for line in block.split(b"\n")[:-1]:
            end = at + len(line) + 1
            if len(line) > self._max_record:
                self._take(block[began:at])
                self._pieces.append(Piece(line[: self._shown], end - at, True))
                began = end
            at = end
        self._take(block[began:])

    def _take(self, lines: bytes) -> None:
        if lines:
            self._pieces.append(Piece(lines, len(lines)))


Parsed: TypeAlias = tuple[list[Any], dict[int, Bad], int]
"""Rows, the bad ones of them by their place, and how many lines they are."""
Parse: TypeAlias = Callable[[str, int, bytes], Parsed]
"""Makes a block into rows; is told the file and the number of the first line, for what it says of bad ones."""
RowsOf: TypeAlias = Callable[[list[Any]], list[Any]]
"""Makes records into rows."""


class LineReader:
    """A file whose records are lines.

    Args:
        parse: makes a block into rows, with bad records by their place.
    """

    def __init__(self, path: str, blocks: Blocks, place: Place, max_record: int, parse: Parse) -> None:
        self._path, self._blocks, self._max_record, self._parse = path, blocks, max_record, parse
        self._number = place.number
        self.disk_bytes, self.close = blocks.disk_bytes, blocks.close

    def read(self, *, to_the_end: bool) -> Chunk | None:
        """The rows of the next block."""
        if (found := self._blocks.read(to_the_end=to_the_end)) is None:
            return None
        offset, block, is_too_long = found
        before = Place(offset, number=self._number)
        if is_too_long:
            why = f"a line of more than {self._max_record:,} bytes"
            rows, bad, lines = [None], {0: bad_record(self._path, before.number + 1, why, block)}, 1
        else:
            rows, bad, lines = self._parse(
                self._path, before.number + 1, block.removeprefix(BOM) if offset == 0 else block
            )
        self._number += lines
        return Chunk(rows, before, Place(self._blocks.offset, number=self._number), bad)


def lines_of(block: bytes) -> list[bytes]:
    """The lines of a block, without their ends; a carriage return without a line feed is none."""
    *lines, rest = block.split(b"\n")
    if b"\r" in block:
        lines = [line.removesuffix(b"\r") for line in lines]
    return [*lines, rest] if rest else lines


def text_lines(encoding: str, errors: str) -> Parse:
    """Each line as text; one that is none is bad."""

    def parse(path: str, number: int, block: bytes) -> Parsed:
        try:
            text = block.decode(encoding, errors)
        except UnicodeDecodeError:
            return one_by_one(path, number, lines_of(block), lambda line: line.decode(encoding, errors))
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        lines = text.split("\n")
        if not lines[-1]:
            del lines[-1]
        return lines, {}, len(lines)

    return parse


def json_lines(decode: Callable[[bytes], Any], rows: RowsOf) -> Parse:
    """Each line that is not blank as a JSON record; one that is none is bad.

    Line by line: as one stream, a block could hold records over several lines, and a block more or less would change
    which ones.
    """
    import msgspec

    def parse(path: str, number: int, block: bytes) -> Parsed:
        lines = lines_of(block)
        try:
            return rows(list(map(decode, lines))), {}, len(lines)
        except (msgspec.MsgspecError, UnicodeDecodeError):  # a record is bad, or a line is blank
            return one_by_one(path, number, lines, lambda line: rows([decode(line)])[0], skips_blank=True)

    return parse


def one_by_one(
    path: str, number: int, lines: Sequence[bytes], parse: Callable[[bytes], Any], *, skips_blank: bool = False
) -> Parsed:
    """As a whole block, but line by line: where a line is bad only that one is lost."""
    rows: list[Any] = []
    bad: dict[int, Bad] = {}
    for at, line in enumerate(lines, number):
        if skips_blank and not line.strip():
            continue
        try:
            rows.append(parse(line))
        except Exception as error:
            bad[len(rows)] = bad_record(path, at, error, line)
            rows.append(None)
    return rows, bad, len(lines)
