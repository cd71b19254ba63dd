"""Where a spout's files lie: in a store. An object has a version, by which it is known again; it never grows."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from typing import IO, Any, cast

from squall.connectors.contract import Unavailable
from squall.connectors.files.compression import Compression
from squall.connectors.files.reading.format import ReadFormat
from squall.connectors.files.reading.found import HEAD_BYTES, Found, Head, Order
from squall.connectors.files.reading.raw import Raw, unpacked
from squall.connectors.files.stores import Client, Store, without_login
from squall.errors import Defect, StateError

BLOCK_BYTES = 4 << 20
"""What one request reads."""
VERSIONS = ("ETag", "etag", "LastModified", "modificationTime", "mtime", "created")
MAGIC = "*?["


class Objects:
    """The objects of a store.

    Bound: a version for each object that the patterns match.
    """

    tells_changes = True

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: Client | None = None
        self._versions: dict[str, str] = {}

    def __deepcopy__(self, _memo: object) -> Objects:
        return Objects(self._store)  # each task has a client of its own

    @property
    def _client(self) -> Client:
        if self._made is None:
            self._made = self._store.connect("FileSpout")
        return self._made

    def found_by(self, patterns: Sequence[str], order: Order) -> list[Found]:
        """The objects that the patterns match, each once, in order.

        Raises:
            Unavailable: not now.
        """
        files = dict[str, Found]()
        for pattern in patterns:
            for path, about in self._matched(pattern):
                address = self._store.address(path)
                self._versions[address] = _version(about)
                files.setdefault(address, _found(address, about))
        named = [files[address] for address in sorted(files)]
        return sorted(named, key=lambda file: file.modified) if order == "age" else named

    def _matched(self, pattern: str) -> list[tuple[str, Any]]:
        client, path = self._client, self._store.path(pattern)
        if not any(mark in path for mark in MAGIC):
            try:
                found = {path: client.call(client.fs.info, path)}
            except FileNotFoundError:
                return []
        else:
            found = cast("dict[str, Any]", client.call(client.fs.glob, path, detail=True))
        is_hidden = path.rpartition("/")[2].startswith(".")
        return [
            (path, about)
            for path, about in found.items()
            if about["type"] == "file" and (is_hidden or not path.rpartition("/")[2].startswith("."))
        ]

    def head_of(self, path: str, size: int = HEAD_BYTES, key: tuple[int, int] | None = None) -> Head | None:
        """The version of an object when it was last found."""
        version = self._versions.get(path)
        return None if version is None else Head(HEAD_BYTES, zlib.crc32(version.encode()))

    def renamed(self, path: str, key: tuple[int, int], head: Head) -> Found | None:
        """Objects are not renamed."""
        return None

    def check_patterns(self, patterns: Sequence[str], *, follow: bool) -> None:
        """Refuses patterns that name nothing that can be read.

        Raises:
            StateError: `file_not_found` or `file_not_regular`.
            ConfigError: `file_store_refused`.
            Unavailable: not now.
        """
        for pattern in patterns:
            path, shown = self._store.path(pattern), without_login(pattern)
            try:
                matched = self._matched(pattern)
                is_folder = not matched and not any(mark in path for mark in MAGIC) and self._is_folder(path)
                if not matched and self._store.scheme in ("s3", "s3a"):  # a bucket that is not there has no objects
                    self._client.call(self._client.fs.call_s3, "head_bucket", Bucket=path.partition("/")[0])
            except Exception as error:
                is_of_options = isinstance(error, TypeError) or "Credentials" in type(error).__name__
                if is_of_options or isinstance(error, PermissionError | FileNotFoundError):
                    raise self._client.refused(path, error) from None
                raise
            if is_folder:
                fix = f'name what is in it: "{shown.rstrip("/")}/*"'
                raise StateError(Defect("file_not_regular", f'"{shown}" is a folder', (), fix))
            if not matched and not follow:
                fix = "name objects that are there, or wait for them: FileSpout(…, follow=True)"
                raise StateError(Defect("file_not_found", f'no object matches "{shown}"', (), fix))

    def _is_folder(self, path: str) -> bool:
        return bool(self._client.call(self._client.fs.isdir, path))

    def raw(self, path: str, compression: Compression, offset: int) -> Raw:
        """The bytes of an object."""
        packed = unpacked(path, compression, offset, lambda: cast("IO[bytes]", self.source(path)))
        return packed or Blockwise(self.source(path), offset)

    def source(self, path: str) -> Ranges:
        """An object as a file.

        Raises:
            OSError: it was written anew since it was found.
        """
        client = self._client
        file = client.call(client.fs.open, self._store.path(path), "rb", block_size=BLOCK_BYTES, cache_type="readahead")
        version, known = _version(getattr(file, "details", {})), self._versions.get(path)
        if version and known and version != known:
            file.close()
            raise OSError("it was written anew while it was read; its new contents are read when it is found again")
        return Ranges(client, file)

    def close(self) -> None:
        """Forgets its client."""
        self._made = None


def _version(about: Any) -> str:
    found = next((about[name] for name in VERSIONS if about.get(name)), None)
    return "" if found is None else f"{found} {about.get('size')}"


def _found(address: str, about: Any) -> Found:
    number = int.from_bytes(blake2b(address.encode(), digest_size=8).digest(), "big")
    at: Any = next((about[name] for name in VERSIONS[2:] if about.get(name)), 0.0)
    modified = at.timestamp() if hasattr(at, "timestamp") else float(at) if isinstance(at, int | float) else 0.0
    return Found(address, 0, number, int(about["size"] or 0), modified)


class Ranges(io.RawIOBase):
    """An object that is read in blocks; what cannot be had for now is `Unavailable`."""

    def __init__(self, client: Client, file: Any) -> None:
        super().__init__()
        self._object_client, self._file = client, file
        self.size = int(file.size)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes."""
        return self._object_client.call(self._file.read, size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Goes to an offset."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Where it is."""
        return int(self._file.tell())

    def close(self) -> None:
        """Lets go of it."""
        if not self.closed:
            self._file.close()
        super().close()


class Blockwise:
    """An object that is not compressed."""

    def __init__(self, file: Ranges, offset: int) -> None:
        self._file = file
        self.disk_bytes, self.close = file.tell, file.close
        self.go_back(offset)

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes.

        Raises:
            Unavailable: it ended before its end.
        """
        data = self._file.read(size)
        if not data and self._file.tell() < self._file.size:
            raise Unavailable("an object ended before its end")
        return data

    def go_back(self, offset: int, /) -> None:
        """Reads on at an offset."""
        self._file.seek(min(offset, self._file.size))


class Whole:
    """A format of files that are whole: they never grow."""

    grows = False

    def __init__(self, format_: ReadFormat) -> None:
        self._format = format_
        self.outputs, self.reader = format_.outputs, format_.reader
