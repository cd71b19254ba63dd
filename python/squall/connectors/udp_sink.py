"""Sends each input as one datagram."""

from __future__ import annotations

import errno
import socket
from typing import Any, ClassVar

from squall._core import Tuple
from squall.api.components import Bolt
from squall.connectors.addresses import parse_address
from squall.connectors.contract import Delivery
from squall.connectors.record_encoders import Encoder, encoder_of
from squall.connectors.sending.wire import bytes_of
from squall.errors import DeadLetter, RetryTuple

WAIT_S = 0.01
AWAY = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}
FULL = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM}


class UdpSink(Bolt):
    """Sends each input as one datagram.

    In: any stream.
    Delivery: at most once from here on: an input is acked when the operating system took the datagram, and nobody
        tells what becomes of it; also when nobody listens. What is too long for a datagram is a dead letter.
    Bound: what the system's socket buffer holds; when it is full, what does not fit is tried again, uncounted.
    Args:
        address: `HOST:PORT`.
        encoder: how a tuple becomes a datagram: "text", "json", "raw", or a function.

    Raises:
        TopologyError: `tcp_address` or `encoder_unknown`.
    """

    delivery: ClassVar[Delivery] = Delivery(
        "at most once",
        "as given; the network may change it",
        "repeats datagrams that were not acked",
        "Linux, IPv4 and IPv6",
    )

    def __init__(self, address: str, /, *, encoder: Encoder = "text") -> None:
        self._host, self._port = parse_address(address)
        self._encode = encoder_of(encoder, "UdpSink")

    def open(self, context: Any) -> None:
        """Finds the address."""
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._socket.connect(address)

    def process(self, tup: Tuple) -> None:
        """Sends one datagram."""
        data = bytes_of(self._encode(tup))
        try:
            self._send(data)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise DeadLetter(f"{len(data)} bytes are too long for a datagram") from error
            if error.errno in FULL:
                self.context.pause(WAIT_S)
                raise RetryTuple(f"UDP: {error.strerror}", after=WAIT_S, counts=False) from error
            if error.errno not in AWAY:
                raise

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except ConnectionRefusedError:  # nobody took an earlier one, which says nothing of this one
            self._socket.send(data)

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()
