"""How records are told apart on a connection: what the TCP source cuts by, and what senders write by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from squall.errors import Defect, TopologyError


@dataclass(frozen=True, slots=True)
class Lines:
    """Records ended by a line feed (or carriage return and line feed), as text."""

    field: str = "line"


@dataclass(frozen=True, slots=True)
class Delimiter:
    """Records ended by these bytes, as bytes."""

    delimiter: bytes
    field: str = "record"


@dataclass(frozen=True, slots=True)
class Fixed:
    """Records of `size` bytes each, as bytes."""

    size: int
    field: str = "record"


@dataclass(frozen=True, slots=True)
class LengthPrefix:
    """Records led by their length in `bytes` (1, 2, 4 or 8) bytes, as bytes."""

    bytes: int = 4
    big_endian: bool = True
    field: str = "record"


Framing: TypeAlias = Lines | Delimiter | Fixed | LengthPrefix


def is_count(value: object) -> bool:
    """Whether a value is a whole number from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_delimiter(value: object) -> bool:
    return isinstance(value, bytes) and len(value) > 0


def check_framing(framing: object, max_record: int) -> None:
    """Refuses what records cannot be cut by.

    Raises:
        TopologyError: `tcp_framing`.
    """
    match framing:
        case Lines():
            return
        case Delimiter(delimiter=delimiter):
            is_right = _is_delimiter(delimiter)
            fix = f"give at least one byte: Delimiter({str(delimiter or '|').encode(errors='replace')!r})"
        case Fixed(size=size):
            is_right = is_count(size) and size <= max_record
            fix = f"give a size in bytes, from 1 to max_record ({max_record})"
        case LengthPrefix(bytes=width):
            is_right = is_count(width) and width in (1, 2, 4, 8)
            fix = "give 1, 2, 4 or 8 bytes"
        case _:
            is_right = False
            fix = "give Lines(), Delimiter(b'|'), Fixed(16) or LengthPrefix(4)"
    if not is_right:
        raise TopologyError(Defect("tcp_framing", f"records cannot be told apart by {framing!r}", (), fix))
