"""What the spouts of sockets share: their native half, their limits, binding."""

from __future__ import annotations

import os
import socket
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from squall import _core
from squall.api.components import Spout
from squall.connectors.decoders import Decoder, Decoding, as_framed, decoding_of
from squall.connectors.framing import Framing, check_framing, is_count, native_framing
from squall.connectors.journal import Journal
from squall.errors import Defect, TopologyError, repr_of

DEFAULT_MAX_RECORD = 1 << 20
DEFAULT_MAX_CONNECTIONS = 10_000
DEFAULT_CLIENT_BUFFER = 256 << 10
LONGEST_DATAGRAM = 65_507
"""Bytes of the longest datagram that UDP over IPv4 can carry; those of Unix sockets may be longer."""

Receipts: TypeAlias = Literal["processed", "stored"]


class SocketSpout(Spout):
    """A spout whose records a native thread reads."""

    outputs: ClassVar[Any] = ()
    figures: tuple[str, ...] = ()
    """Counters of the native half that are shown among the component's metrics."""

    def __init__(self, decoding: Decoding) -> None:
        self._decoding = decoding
        vars(self)["outputs"] = decoding.outputs  # of this spout alone; the class has none
        self._fd: int | None = None
        self._source: _core.SocketSource | None = None

    @property
    def listens(self) -> bool:
        """Whether a socket is bound for it and handed over."""
        return True

    @abstractmethod
    def bind(self) -> socket.socket:
        """Its socket; the parent of a run makes it, so that a new worker never finds its address taken."""

    def unbind(self) -> None:
        """Removes what `bind` left in the world, when the run has ended."""

    @abstractmethod
    def bound_address(self, bound: socket.socket) -> str:
        """Where the socket that `bind` made is reached."""

    def adopt(self, fd: int) -> None:
        """Uses a bound socket that was inherited."""
        self._fd = os.dup(fd)

    def native_source(self, part: int = 0, parts: int = 1) -> _core.SocketSource:
        """The native half of one of `parts` tasks; binds here if no socket was inherited."""
        self._source = self._native(part, parts)
        return self._source

    @abstractmethod
    def _native(self, part: int, parts: int) -> _core.SocketSource: ...

    def _bound_fd(self) -> int:
        fd, self._fd = self._fd, None
        return self.bind().detach() if fd is None else fd

    def stats(self) -> dict[str, int]:
        """The native half's counters."""
        return {} if self._source is None else self._source.stats()

    def close(self) -> None:
        """Sends the last receipts and closes the connections."""
        if self._source is not None:
            self._source.close()


@dataclass(frozen=True, slots=True)
class Streams:
    """How records come from connections, checked when it is made.

    Raises:
        TopologyError: `tcp_limit`, `tcp_framing` or `tcp_receipts`.
    """

    who: str
    framing: Framing
    receipts: Receipts | None
    max_record: int
    client_buffer: int
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    journal: Journal | None = None

    def __post_init__(self) -> None:
        for name in ("max_record", "max_connections", "client_buffer"):
            check_limit(self.who, name, getattr(self, name))
        check_framing(self.framing, self.max_record)
        _check_receipts(self.who, self.receipts, self.journal)

    def journal_of(self, part: int, parts: int) -> tuple[str, int] | None:
        """The journal of one of `parts` tasks, as the core takes it.

        Raises:
            StateError: `journal_tasks`.
        """
        return None if self.journal is None else self.journal.of_task(part, parts)

    def native(self, tls: _core.TlsSide | None = None) -> _core.StreamSettings:
        """As the core takes it."""
        return _core.StreamSettings(
            **native_framing(self.framing),
            max_record=self.max_record,
            max_connections=self.max_connections,
            client_buffer=self.client_buffer,
            tls=tls,
            receipts=self.receipts,
        )


@dataclass(frozen=True, slots=True)
class Datagrams:
    """How records come from datagrams, checked when it is made.

    Raises:
        TopologyError: `tcp_limit`.
    """

    who: str
    max_record: int

    def __post_init__(self) -> None:
        check_limit(self.who, "max_record", self.max_record)
        if self.max_record > LONGEST_DATAGRAM:
            message = f"{self.who} has max_record={self.max_record}"
            fix = f"give at most {LONGEST_DATAGRAM}, the longest datagram"
            raise TopologyError(Defect("tcp_limit", message, (), fix))


def datagram_decoding(who: str, field: str, text: bool, decoder: Decoder | None, outputs: Any) -> Decoding:
    """What a datagram gives: one field, or what a decoder makes of it.

    Raises:
        TopologyError: `decoder_invalid`.
    """
    if decoder is not None:
        return decoding_of(decoder, outputs, None)
    if outputs is not None:
        raise _no_decoder(who)
    return Decoding((field,), "text" if text is True else "bytes")


def decoding(who: str, decoder: Decoder | None, outputs: Any, framing: Framing) -> Decoding:
    """What a decoder gives, or the framing without one.

    Raises:
        TopologyError: `decoder_invalid`.
    """
    if decoder is not None:
        return decoding_of(decoder, outputs, framing)
    if outputs is not None:
        raise _no_decoder(who)
    return as_framed(framing)


def _no_decoder(who: str) -> TopologyError:
    fix = "give the function that makes them of a record's bytes: decoder=parse"
    return TopologyError(Defect("decoder_invalid", f"{who} has outputs and no decoder", (), fix))


def check_limit(who: str, name: str, value: object) -> None:
    """Refuses what is no whole number that the core can take.

    Raises:
        TopologyError: `tcp_limit`.
    """
    if not is_count(value) or (isinstance(value, int) and value >= 1 << 31):
        fix = "give a whole number from 1 to 2147483647"
        raise TopologyError(Defect("tcp_limit", f"{who} has {name}={repr_of(value)}", (), fix))


def _check_receipts(who: str, receipts: object, journal: Journal | None) -> None:
    if receipts is None or (isinstance(receipts, str) and receipts == "processed"):
        return
    message = f"{who} has receipts={repr_of(receipts)}"
    if isinstance(receipts, str) and receipts == "stored":
        if journal is not None:
            return
        message += " and no journal that could store records"
        fix = 'write `TcpSpout.listen(…, journal=DIR)`, or receipts="processed"'
        raise TopologyError(Defect("tcp_receipts", message, (), fix))
    allowed = (
        "allowed",
        '"processed" (sent when a record has ended), "stored" (when it is in the journal), None (nothing is sent)',
    )
    raise TopologyError(Defect("tcp_receipts", message, (allowed,), 'write receipts="processed", or leave it out'))
