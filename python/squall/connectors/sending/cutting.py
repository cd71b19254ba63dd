"""Where records lie in bytes that come in pieces, as the TCP source would find them. Pure."""

from __future__ import annotations

from typing import Literal, Protocol

from squall.connectors.framing import Delimiter, Fixed, Framing, LengthPrefix, Lines


class Cutter(Protocol):
    """Cuts one file after another."""

    def cut(self, data: bytes, /) -> list[bytes]:
        """The records that ended in `data`."""
        ...

    def end(self) -> list[bytes]:
        """The file is over: its last record, if that needs no end.

        Raises:
            HalfRecord: it ended inside a record of known length.
        """
        ...


class HalfRecord(Exception):
    """A file ended inside a record; how many bytes of it were there."""


def cutter_of(framing: Framing) -> Cutter:
    """The cutter of a framing, which was checked."""
    match framing:
        case Lines():
            return EndedCutter(b"\n")
        case Delimiter():
            return EndedCutter(framing.delimiter)
        case Fixed():
            return SizedCutter(framing.size)
        case LengthPrefix():
            return PrefixedCutter(framing.bytes, "big" if framing.big_endian else "little")


class EndedCutter:
    """Cuts at the same bytes behind each record; the last record may do without."""

    def __init__(self, end: bytes) -> None:
        self._end, self._rest = end, [b""]

    def cut(self, data: bytes, /) -> list[bytes]:
        """The records that ended in `data`."""
        if len(self._end) == 1 and self._end not in data:
            self._rest.append(data)  # joined once: a long record costs its length, not its square
            return []
        self._rest.append(data)
        *records, rest = b"".join(self._rest).split(self._end)
        self._rest = [rest]
        return records

    def end(self) -> list[bytes]:
        """What has no end, if there is something."""
        rest, self._rest = b"".join(self._rest), [b""]
        return [rest] if rest else []


class SizedCutter:
    """Cuts after so many bytes."""

    def __init__(self, size: int) -> None:
        self._size, self._rest = size, b""

    def cut(self, data: bytes, /) -> list[bytes]:
        """The records that ended in `data`."""
        data, size = self._rest + data, self._size
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        return [data[at : at + size] for at in range(0, whole, size)]

    def end(self) -> list[bytes]:
        """Nothing."""
        return _nothing(self._rest)


class PrefixedCutter:
    """Cuts after the length that leads each record."""

    def __init__(self, width: int, order: Literal["big", "little"]) -> None:
        self._width, self._rest = width, b""
        self._order: Literal["big", "little"] = order

    def cut(self, data: bytes, /) -> list[bytes]:
        """The records that ended in `data`."""
        data, width, records, at = self._rest + data, self._width, list[bytes](), 0
        while len(data) >= at + width:
            begin = at + width
            after = begin + int.from_bytes(data[at:begin], self._order)
            if after > len(data):
                break
            records.append(data[begin:after])
            at = after
        self._rest = data[at:]
        return records

    def end(self) -> list[bytes]:
        """Nothing."""
        return _nothing(self._rest)


def _nothing(rest: bytes) -> list[bytes]:
    if rest:
        raise HalfRecord(str(len(rest)))
    return []
