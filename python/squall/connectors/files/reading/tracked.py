"""A file that a task reads, from its first look at it to its end."""

from __future__ import annotations

import errno

from squall.connectors.contract import Unavailable
from squall.connectors.files.reading.chunks import START, Chunk, Place, Reader, bad_file
from squall.connectors.files.reading.format import Opening, ReadFormat
from squall.connectors.files.reading.found import Found

PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors that are of the machine, not of a file: it is tried again."""


class Tracked:
    """One file: where it lies, from where it is to be read, its reader while it is open.

    `skip`: how many of its next outputs have ended already.
    """

    def __init__(self, found: Found, place: Place, format_: ReadFormat, opening: Opening) -> None:
        self.found, self.place, self.skip = found, place._replace(skip=0), place.skip
        self._format, self._opening = format_, opening
        self._reader: Reader | None = None
        self._read_bytes = place.offset if format_.grows and not self._is_compressed() else 0
        self.lost_at_s: float | None = None
        """Since when no pattern matches it."""
        self._has_failed = False
        self.is_whole = not opening.follow or not format_.grows or self._is_compressed()
        """Whether nothing will be added to it any more, so that its end is its end."""

    def _is_compressed(self) -> bool:
        return self._opening.is_compressed(self.found.path)

    @property
    def is_open(self) -> bool:
        """Whether a descriptor is held."""
        return self._reader is not None

    @property
    def may_have_more(self) -> bool:
        """Whether it is worth a read: it is open, or longer than what was read of it when it was last looked at."""
        return self.is_whole or self.is_open or self.found.size > self._read_bytes

    @property
    def end(self) -> int:
        """Its size when it was read to its end."""
        return self._read_bytes if self._format.grows and not self._is_compressed() else self.found.size

    @property
    def read_bytes(self) -> int:
        """How far it was read, in bytes on disk."""
        return self._read_bytes

    def read(self) -> Chunk | None:
        """Its next outputs; None: there is nothing more now. A file that fails gives one bad output and has ended.

        Raises:
            OSError: the machine has no room for an open file now.
            Unavailable: its store is away.
        """
        if self._has_failed:
            return None
        try:
            if self._reader is None:
                self._reader = self._format.reader(self.found.path, self.place, self._opening)
                if self._reader is None:
                    return None
            chunk = self._reader.read(to_the_end=self.is_whole)
            self._read_bytes = self._reader.disk_bytes()
        except Exception as error:
            if isinstance(error, Unavailable):
                self.close()  # what was read of it halfway is read again
                raise
            if isinstance(error, OSError) and error.errno in PASSING:
                raise
            self.is_whole = self._has_failed = True
            self.skip = 0  # this output has not ended: it is new
            self.close()
            return Chunk([None], self.place, self.place, {0: bad_file(self.found.path, error)})
        if chunk is not None:
            self.place = chunk.after
        return chunk

    def got_shorter(self) -> bool:
        """Whether the file is shorter than what was read of it."""
        return not self._is_compressed() and self._format.grows and self.found.size < self._read_bytes

    def start_anew(self) -> None:
        """Reads it from its start."""
        self.close()
        self.place, self.skip, self._read_bytes = START, 0, 0

    def close(self) -> None:
        """Lets go of its descriptor; it is opened again when it is read."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
