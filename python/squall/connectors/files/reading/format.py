"""What a `FileSpout` asks of a format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from squall.connectors.files.compression import Compression, packing_of
from squall.connectors.files.reading.blocks import Blocks
from squall.connectors.files.reading.chunks import Place, Reader
from squall.connectors.files.reading.local import DISK, Files


@dataclass(frozen=True, slots=True)
class Opening:
    """How files are opened, and where they lie."""

    compression: Compression
    max_record: int
    follow: bool
    files: Files = DISK

    def is_compressed(self, path: str) -> bool:
        """Whether a file is compressed."""
        return packing_of(path, self.compression) is not None

    def blocks(self, path: str, place: Place) -> Blocks:
        """The blocks of a file from a place on.

        Raises:
            OSError: it cannot be opened.
        """
        return Blocks(self.files.raw(path, self.compression, place.offset), place.offset, self.max_record)


class ReadFormat(Protocol):
    """A format that files can be read in."""

    @property
    def grows(self) -> bool:
        """Whether a file of it can be read while it grows."""
        ...

    def outputs(self, first: Callable[[], str | None], opening: Opening) -> tuple[str, ...]:
        """The fields of the rows; `first` finds a file that has them, if the format does not say.

        Raises:
            TopologyError: `file_format`: it says too little to read files.
        """
        ...

    def reader(self, path: str, place: Place, opening: Opening) -> Reader | None:
        """A reader of a file from a place on; None: the file does not have yet what it needs to begin."""
        ...
