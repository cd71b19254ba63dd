"""The bytes of a file, as if it were not compressed."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from io import UnsupportedOperation
from typing import IO, Any, Protocol

from squall.connectors.extras import need
from squall.connectors.files.compression import Compression, packing_of

SKIP_BYTES = 1 << 20
PIECE_BYTES = 64 << 10


class Raw(Protocol):
    """A file that is read from front to back."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none: there are no more now."""
        ...

    def go_back(self, offset: int, /) -> None:
        """Reads on at an offset that was read already."""
        ...

    def disk_bytes(self) -> int:
        """How many bytes of it, as they lie on disk, were read."""
        ...

    def close(self) -> None:
        """Lets go of the file."""
        ...


def open_raw(path: str, compression: Compression, offset: int) -> Raw:
    """Opens a file at an offset of its uncompressed bytes.

    Raises:
        OSError: it cannot be opened.
    """
    return unpacked(path, compression, offset, lambda: open(path, "rb")) or PlainFile(path, offset)


def unpacked(path: str, compression: Compression, offset: int, open_packed: Callable[[], IO[bytes]]) -> Raw | None:
    """The uncompressed bytes of a file; None: it is not compressed.

    Raises:
        OSError: it cannot be opened.
    """
    match packing_of(path, compression):
        case None:
            return None
        case "gzip":
            return _Compressed(open_packed(), _gzip(), offset)
        case "zstd":
            need("zstd", "zstandard", "a file that is compressed with zstd")
            return _Compressed(open_packed(), _zstd(), offset)


class PlainFile:
    """A file as it lies on disk; reads on when it grows."""

    def __init__(self, path: str, offset: int) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        self._at = offset

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes."""
        data = os.pread(self._fd, size, self._at)
        self._at += len(data)
        return data

    def go_back(self, offset: int, /) -> None:
        """Reads on at an offset."""
        self._at = offset

    def disk_bytes(self) -> int:
        """How far it is read."""
        return self._at

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)


class Decoder(Protocol):
    """Decompresses one member or frame."""

    @property
    def eof(self) -> bool:
        """Whether it has come to its end."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What follows its end."""
        ...

    def decompress(self, data: bytes, /) -> bytes:
        """What so much more of it gives."""
        ...


def _gzip() -> Callable[[], Decoder]:
    import zlib

    return lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)


def _zstd() -> Callable[[], Decoder]:
    zstandard: Any = import_module("zstandard")
    return zstandard.ZstdDecompressor().decompressobj


class _Compressed:
    """A compressed file, of one member or several. There is no way to an offset but to read up to it.

    Bound: what a piece of 64 KiB gives is held: with gzip at most 64 MiB, of a file that is made to be large.
    """

    def __init__(self, file: IO[bytes], decoder: Callable[[], Decoder], offset: int) -> None:
        self._file = file
        self._new_decoder = decoder
        self._decoder: Decoder | None = None
        """None between two members."""
        self._rest = self._unread = b""
        while offset > 0 and (skipped := len(self.read(min(offset, SKIP_BYTES)))):
            offset -= skipped

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes.

        Raises:
            EOFError: the file ends before its data do.
        """
        while not self._rest and (piece := self._piece()):
            if self._decoder is None:
                self._decoder = self._new_decoder()
            self._rest = self._decoder.decompress(piece)
            if self._decoder.eof:
                self._unread = self._decoder.unused_data
                self._decoder = None
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _piece(self) -> bytes:
        piece, self._unread = self._unread or self._file.read(PIECE_BYTES), b""
        if not piece and self._decoder is not None:
            raise EOFError("it is cut off: its compressed data go on")
        return piece

    def go_back(self, offset: int, /) -> None:
        raise UnsupportedOperation("what is compressed is read from front to back")

    def disk_bytes(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
