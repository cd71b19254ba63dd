"""What readers give: outputs of one file, with the place where they begin and the place after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from squall.errors import Defect, StateError


class Place(NamedTuple):
    """A place in a file from which it can be read again.

    `offset`: where a block of whole lines begins, uncompressed; of Parquet the number of a row group. `lines`: lines of
    it (batches of the group) that come before. `skip`: outputs after these that come before. `number`: lines of the
    file before `offset`.
    """

    offset: int = 0
    lines: int = 0
    skip: int = 0
    number: int = 0


START = Place()


class Bad(NamedTuple):
    """A record that is none: what is left of it, and why."""

    values: tuple[object, ...]
    error: Exception


@dataclass(frozen=True, slots=True)
class Chunk:
    """Outputs of a file in order. `bad`: those that cannot be emitted, by their place; their rows mean nothing."""

    rows: list[Any]
    before: Place
    after: Place
    bad: Mapping[int, Bad] = field(default_factory=dict[int, Bad])


class Reader(Protocol):
    """Reads one file."""

    def read(self, *, to_the_end: bool) -> Chunk | None:
        """The next outputs; None: there is nothing more now.

        Args:
            to_the_end: nothing will be added to the file: what is left of it is whole.

        Raises:
            Exception: the file cannot be read on.
        """
        ...

    def disk_bytes(self) -> int:
        """How far the file is read, in bytes as it lies on disk."""
        ...

    def close(self) -> None:
        """Lets go of the file."""
        ...


def bad_record(path: str, number: int, why: object, *values: object) -> Bad:
    """A record that is none, with the place where people find it."""
    fix = "mend it there, or let `format` say what the file is"
    return Bad(values, StateError(Defect("record_unreadable", f"{path}:{number}: {why}", (), fix)))


def bad_file(path: str, error: Exception) -> Bad:
    """A file that cannot be read, or not to its end."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    fix = "mend it; the run goes on without it, and the next one from its start does not"
    facts = (("because", why),)
    return Bad((path,), StateError(Defect("file_unreadable", f'"{path}" cannot be read to its end', facts, fix)))
