"""Where a spout's files lie: on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from squall.connectors.files.compression import Compression
from squall.connectors.files.reading import found
from squall.connectors.files.reading.found import HEAD_BYTES, Found, Head, Order
from squall.connectors.files.reading.raw import Raw, open_raw


class Files(Protocol):
    """A place where files lie: finds them, knows them again, opens them."""

    @property
    def tells_changes(self) -> bool:
        """Whether a file that has other contents than a run before saw is to be told: files there do not grow."""
        ...

    def found_by(self, patterns: Sequence[str], order: Order) -> list[Found]:
        """The files that the patterns match, each once, in order."""
        ...

    def head_of(self, path: str, size: int = HEAD_BYTES, key: tuple[int, int] | None = None) -> Head | None:
        """By what a file is known again; None if it cannot be read, or is another one than `key` says."""
        ...

    def renamed(self, path: str, key: tuple[int, int], head: Head) -> Found | None:
        """The file that lay at a path, if it is found under another name."""
        ...

    def check_patterns(self, patterns: Sequence[str], *, follow: bool) -> None:
        """Refuses patterns that name nothing that can be read."""
        ...

    def raw(self, path: str, compression: Compression, offset: int) -> Raw:
        """The bytes of a file, from an offset of its uncompressed ones."""
        ...

    def source(self, path: str) -> Any:
        """A file as Arrow reads it."""
        ...

    def close(self) -> None:
        """Lets go of what it holds."""
        ...


class Disk:
    """Files on disk."""

    tells_changes = False
    found_by = staticmethod(found.found_by)
    head_of = staticmethod(found.head_of)
    renamed = staticmethod(found.renamed)
    check_patterns = staticmethod(found.check_patterns)
    raw = staticmethod(open_raw)

    def source(self, path: str) -> str:
        """Its path."""
        return path

    def close(self) -> None:
        """Nothing is held."""


DISK = Disk()
