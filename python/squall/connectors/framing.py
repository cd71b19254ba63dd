"""How the records of a byte stream are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from squall.errors import Defect, TopologyError, repr_of


@dataclass(frozen=True, slots=True)
class Lines:
    """Records ended by a line feed (or carriage return and line feed), as text.

    The last line of a stream needs no line feed. So what a sender had written of a line when it was killed counts as
    a record: the end of a connection looks the same. Where that matters, let a record say its length
    (`LengthPrefix`), or be of a form that cannot be cut unseen (JSON).
    """

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


def native_framing(framing: Framing) -> dict[str, Any]:
    """The framing as the core takes it."""
    match framing:
        case Lines():
            return {"framing": "lines"}
        case Delimiter():
            return {"framing": "delimiter", "delimiter": framing.delimiter}
        case Fixed():
            return {"framing": "fixed", "size": framing.size}
        case LengthPrefix():
            big_endian = bool(framing.big_endian)
            return {"framing": "length_prefix", "prefix_bytes": framing.bytes, "big_endian": big_endian}


def is_count(value: object) -> bool:
    """Whether it is a whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_delimiter(value: object) -> bool:
    return isinstance(value, bytes) and len(value) > 0


def check_framing(framing: object, max_record: int) -> None:
    """Refuses what the core could not cut records by.

    Raises:
        TopologyError: `tcp_framing`.
    """
    match framing:
        case Lines():
            return
        case Delimiter():
            delimiter = framing.delimiter
            is_right = _is_delimiter(delimiter)
            shown = delimiter if isinstance(delimiter, str) and delimiter else "|"
            fix = f"give at least one byte: Delimiter({shown.encode(errors='replace')!r})"
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
        raise TopologyError(Defect("tcp_framing", f"records cannot be told apart by {repr_of(framing)}", (), fix))
