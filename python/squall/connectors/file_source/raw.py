"""The bytes of a file, as if it were not compressed."""

from __future__ import annotations

import os
from io import UnsupportedOperation
from typing import Any, Literal, Protocol, TypeAlias

from squall.connectors.extras import need

Compression: TypeAlias = Literal["auto", "gzip", "zstd"] | None
SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
SKIP_BYTES = 1 << 20


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


def compression_of(path: str, compression: Compression) -> Literal["gzip", "zstd"] | None:
    """How a file is compressed: as was said, or by its suffix."""
    named: Any = SUFFIXES.get(os.path.splitext(path)[1]) if compression == "auto" else compression
    return named


def open_raw(path: str, compression: Compression, offset: int) -> Raw:
    """Opens a file at an offset of its uncompressed bytes.

    Raises:
        OSError: it cannot be opened.
    """
    match compression_of(path, compression):
        case None:
            return PlainFile(path, offset)
        case "gzip":
            import gzip

            raw = open(path, "rb")  # noqa: SIM115 (`close` does)
            return _Compressed(raw, gzip.GzipFile(fileobj=raw), offset)
        case "zstd":
            need("zstd", "zstandard", "a file that is compressed with zstd")
            import zstandard

            raw = open(path, "rb")  # noqa: SIM115 (`close` does)
            reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            return _Compressed(raw, reader, offset)


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


class _Compressed:
    """A compressed file. There is no way to an offset but to read up to it."""

    def __init__(self, raw: Any, reader: Any, offset: int) -> None:
        self._raw, self._reader = raw, reader
        while offset > 0 and (skipped := len(reader.read(min(offset, SKIP_BYTES)))):
            offset -= skipped

    def read(self, size: int, /) -> bytes:
        return self._reader.read(size)

    def go_back(self, offset: int, /) -> None:
        raise UnsupportedOperation("what is compressed is read from front to back")

    def disk_bytes(self) -> int:
        return self._raw.tell()

    def close(self) -> None:
        self._reader.close()
        self._raw.close()
