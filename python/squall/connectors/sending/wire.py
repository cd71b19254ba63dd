"""Records on their way out: from what a program gives to the bytes that a framing cuts the same records from.

A record that its framing would cut in two, or change, is refused: the receiver's counts would no longer be the
sender's, and a receipt would take away what never arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias

from squall.connectors.framing import Delimiter, Fixed, Framing, LengthPrefix, Lines, check_framing
from squall.errors import Defect, TopologyError

Record: TypeAlias = str | bytes | bytearray | memoryview
"""What may be sent: bytes, or text, which goes as UTF-8."""

SHOWN = 60
LONGEST = 1 << 31
"""Records are shorter: no source takes longer ones."""


class Wire(Protocol):
    """One framing, seen from the sender."""

    def kept(self, record: Record, /) -> bytes:
        """A record as it is kept until it is joined.

        Raises:
            TopologyError: `tcp_record`.
        """
        ...

    def all_kept(self, records: Sequence[Record], /) -> list[bytes]:
        """Many records as they are kept; the check of all may be cheaper than that of each."""
        ...

    def joined(self, records: Iterable[bytes], /) -> bytes:
        """What goes over the connection for kept records, of which there is at least one."""
        ...


def wire_of(framing: Framing) -> Wire:
    """The sender's half of a framing.

    Raises:
        TopologyError: `tcp_framing`.
    """
    check_framing(framing, LONGEST - 1)
    match framing:
        case Lines():
            return Ended(b"\n", line_like=True)
        case Delimiter():
            return Ended(framing.delimiter)
        case Fixed():
            return Sized(framing.size)
        case LengthPrefix():
            return Prefixed(framing.bytes, "big" if framing.big_endian else "little")


def bytes_of(record: Record) -> bytes:
    """The bytes of a record.

    Raises:
        TopologyError: `tcp_record`.
    """
    if isinstance(record, bytes):
        return record
    if isinstance(record, str):
        try:
            return record.encode()
        except UnicodeEncodeError as error:
            raise _refused(record, f"cannot be UTF-8: {error.reason}", "send bytes, or other text") from None
    try:
        return bytes(memoryview(record))
    except TypeError:
        raise _refused(record, f"is of type {type(record).__name__}", "send str or bytes") from None


def _refused(record: object, why: str, fix: str) -> TopologyError:
    shown = repr(record)
    shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"
    return TopologyError(Defect("tcp_record", f"a record {why}", (("record", shown),), fix))


class Ended:
    """Records with the same bytes behind each; kept without them.

    `line_like`: a record may bring its end along, as what is read from a file does.
    """

    def __init__(self, end: bytes, *, line_like: bool = False) -> None:
        self._end, self._line_like = end, line_like

    def kept(self, record: Record, /) -> bytes:
        """A record without its end."""
        data, end = bytes_of(record), self._end
        if end not in data and (len(end) == 1 or (data + end).index(end) == len(data)):
            return data
        if self._line_like and data.index(end) == len(data) - 1:
            return data[:-1]
        holds = "holds a line feed in its middle" if self._line_like else f"holds the delimiter {end!r}, or begins it"
        raise _refused(record, holds, "send what lies between as records of their own, or choose LengthPrefix()")

    def all_kept(self, records: Sequence[Record], /) -> list[bytes]:
        """The records, if none holds the end; else each by itself."""
        end = self._end
        try:
            joined = end.join(records)  # type: ignore[arg-type]  (text is told by the exception)
        except TypeError:
            return [self.kept(record) for record in records]
        if len(end) > 1 or joined.count(end) != len(records) - 1:
            return [self.kept(record) for record in records]
        return list(records)  # type: ignore[arg-type]

    def joined(self, records: Iterable[bytes], /) -> bytes:
        """Each record and the end."""
        return self._end.join((*records, b""))


class Sized:
    """Records of one size."""

    def __init__(self, size: int) -> None:
        self._size = size

    def kept(self, record: Record, /) -> bytes:
        """The record."""
        data = bytes_of(record)
        if len(data) != self._size:
            raise _refused(record, f"has {len(data)} bytes", f"send records of {self._size} bytes")
        return data

    def all_kept(self, records: Sequence[Record], /) -> list[bytes]:
        """The records."""
        return [self.kept(record) for record in records]

    def joined(self, records: Iterable[bytes], /) -> bytes:
        """One after the other."""
        return b"".join(records)


class Prefixed:
    """Records with their length before each; kept with it."""

    def __init__(self, width: int, order: str) -> None:
        self._width, self._order = width, order

    def kept(self, record: Record, /) -> bytes:
        """Length and record."""
        data = bytes_of(record)
        try:
            length = len(data).to_bytes(self._width, "big" if self._order == "big" else "little")
        except OverflowError:
            most = (1 << 8 * self._width) - 1
            raise _refused(record, f"has {len(data)} bytes", f"send at most {most}, or LengthPrefix(4)") from None
        return length + data

    def all_kept(self, records: Sequence[Record], /) -> list[bytes]:
        """Each with its length."""
        return [self.kept(record) for record in records]

    def joined(self, records: Iterable[bytes], /) -> bytes:
        """One after the other."""
        return b"".join(records)
