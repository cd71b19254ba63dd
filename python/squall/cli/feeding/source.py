"""The records of the files of `squall feed`, and how far they are read."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

from squall.connectors.framing import Delimiter, Fixed, Framing, LengthPrefix, Lines
from squall.connectors.sending.cutting import HalfRecord, cutter_of
from squall.connectors.sending.wire import wire_of
from squall.errors import ConfigError, Defect, StateError, TopologyError

BLOCK_BYTES = 256 << 10
STDIN = "-"


def framing_of(text: str) -> Framing:
    """The framing that `--framing` names.

    Raises:
        ConfigError: `feed_framing`.
    """
    kind, _, rest = text.partition(":")
    try:
        framing = _framing(kind, rest)
        wire_of(framing)
    except (ValueError, TopologyError):
        fix = "write lines, delimiter:HEX (delimiter:0d0a), fixed:SIZE, length:4 or length:4:little"
        raise ConfigError(Defect("feed_framing", f'"--framing {text}" is no framing', (), fix)) from None
    return framing


def _framing(kind: str, rest: str) -> Framing:
    match kind:
        case "lines" if not rest:
            return Lines()
        case "delimiter":
            return Delimiter(bytes.fromhex(rest))
        case "fixed":
            return Fixed(int(rest))
        case "length":
            width, _, order = rest.partition(":")
            if order not in ("", "big", "little"):
                raise ValueError
            return LengthPrefix(int(width or "4"), order != "little")
        case _:
            raise ValueError


class FeedInput:
    """All records of some files, several times over.

    Raises:
        ConfigError: `feed_input`, if a file cannot be opened.
    """

    def __init__(self, files: list[str], framing: Framing, repeat: int, skip: int) -> None:
        self._files, self._framing, self._repeat, self._skip = files, framing, repeat, skip
        if STDIN in files and (repeat != 1 or len(files) > 1):
            fix = "give it alone and once, or write it to a file"
            raise ConfigError(Defect("feed_input", "standard input cannot be read again", (), fix))
        sizes = [0 if file == STDIN else _size(file) for file in files]
        self.total_bytes = sum(sizes) * repeat if STDIN not in files and all(sizes) else 0
        """Bytes of all files, as they are stored; 0 if that is not known."""
        self.read_bytes = 0
        """Bytes that were read, as they are stored."""
        self.skipped = 0

    def __iter__(self) -> Iterator[list[bytes]]:
        """Records, some at a time.

        Raises:
            StateError: `feed_unreadable`.
        """
        rounds = 0
        while rounds < self._repeat or not self._repeat:
            rounds += 1
            for file in self._files:
                for records in self._records(file):
                    if kept := self._after_skip(records):
                        yield kept

    def _after_skip(self, records: list[bytes]) -> list[bytes]:
        drop = min(self._skip - self.skipped, len(records))
        self.skipped += drop
        return records[drop:] if drop else records

    def _records(self, file: str) -> Iterator[list[bytes]]:
        cutter, before = cutter_of(self._framing), self.read_bytes
        try:
            with ExitStack() as opened:
                raw: BinaryIO = opened.enter_context(_opened(file))
                data: Any = opened.enter_context(gzip.GzipFile(fileobj=raw)) if file.endswith(".gz") else raw
                while block := data.read1(BLOCK_BYTES):
                    self.read_bytes = before + raw.tell() if raw.seekable() else self.read_bytes + len(block)
                    yield cutter.cut(block)
                yield cutter.end()
        except HalfRecord as half:
            raise _unreadable(file, f"it ends {half} bytes into a record") from None
        except (OSError, EOFError, zlib.error) as error:
            raise _unreadable(file, (error.strerror if isinstance(error, OSError) else None) or str(error)) from error


def _opened(file: str) -> BinaryIO:
    """A file; standard input by a reader of its own, as the process may end while a thread reads."""
    return open(0, "rb", closefd=False) if file == STDIN else open(file, "rb")


def _size(file: str) -> int:
    """Size of a file that can be opened; 0 for what has none (a pipe)."""
    try:
        with open(file, "rb") as opened:
            return os.fstat(opened.fileno()).st_size
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        facts = (("because", (error.strerror if isinstance(error, OSError) else None) or str(error)),)
        raise ConfigError(Defect("feed_input", f'"{file}" cannot be read', facts, "check the path")) from None


def _unreadable(file: str, why: str) -> StateError:
    fix = "check that it is whole, and that --framing is the one that it was written by"
    return StateError(Defect("feed_unreadable", f'"{file}" cannot be read to its end', (("because", why),), fix))
