"""A spout of UDP datagrams."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from squall import _core
from squall.connectors.addresses import bound, parse_address
from squall.connectors.contract import Delivery
from squall.connectors.decoders import Decoder, Decoding
from squall.connectors.sockets import (
    LONGEST_DATAGRAM,
    Datagrams,
    SocketSpout,
    check_limit,
    datagram_decoding,
)
from squall.connectors.udp_sink import UdpSink
from squall.model.addresses import address_of

__all__ = ["UdpSink", "UdpSpout"]

DEFAULT_RECEIVE_BUFFER = 4 << 20


class UdpSpout(SocketSpout):
    """Takes datagrams from one UDP socket: each is one record.

    Out: one field: the bytes, or text; or the fields of a `decoder`.
    Delivery: **UDP can lose datagrams before this spout sees them**, on their way and when nobody reads them in time:
        no sender of UDP can be made to wait. What the kernel drops here is counted (`dropped`) and reported; what is
        lost on the way is not known to anybody. From the moment it is read a datagram is treated as any record: at
        least once while the worker lives. Use TCP where nothing may be lost.
    Bound: when the topology cannot take more the socket is not read, and the kernel's buffer, `receive_buffer`, fills.
    Threading: one native thread reads the socket; a `decoder` runs on the loop's thread.
    """

    delivery: ClassVar[Delivery] = Delivery(
        "at most once up to this spout, since UDP loses datagrams; from there on at least once",
        "as they come; what failed comes again later",
        "loses what was pending, and what comes until the new worker reads beyond the kernel's buffer",
        "Linux, IPv4 and IPv6; not driven by the conformance kit, which asks that every record comes",
    )

    figures = ("records", "bytes", "oversize", "dropped")

    def __init__(self, host: str, port: int, records: Datagrams, decoding: Decoding, receive_buffer: int) -> None:
        super().__init__(decoding)
        self._host, self._port = host, port
        self._records, self._receive_buffer = records, receive_buffer

    @classmethod
    def listen(
        cls,
        address: str,
        /,
        *,
        field: str = "record",
        text: bool = False,
        decoder: Decoder | None = None,
        outputs: Any = None,
        max_record: int = LONGEST_DATAGRAM,
        receive_buffer: int = DEFAULT_RECEIVE_BUFFER,
    ) -> UdpSpout:
        """A spout that takes what is sent to `HOST:PORT`.

        ```python
        UdpSpout.listen("0.0.0.0:5140", field="line", text=True)
        ```

        Args:
            field: the name of the one field, without a decoder.
            text: whether records are text in UTF-8; what is none goes to the dead letters. Else they are bytes.
            decoder, outputs: as for `TcpSpout.listen`.
            max_record: longest datagram, in bytes; longer ones are counted, reported and skipped.
            receive_buffer: bytes that the kernel keeps until they are read. The system may allow less
                (`net.core.rmem_max`).

        Raises:
            TopologyError: `tcp_address`, `tcp_limit` or `decoder_invalid`.
        """
        who = "UdpSpout.listen"
        host, port = parse_address(address)
        check_limit(who, "receive_buffer", receive_buffer)
        decoded = datagram_decoding(who, field, text, decoder, outputs)
        return cls(host, port, Datagrams(who, max_record), decoded, receive_buffer)

    @property
    def address(self) -> str:
        """`HOST:PORT`; with port 0 the system chooses one."""
        return address_of(self._host, self._port)

    def bind(self) -> socket.socket:
        """The socket; datagrams are kept for it from now on.

        Raises:
            ClusterError: `port_taken`, `address_not_allowed` or `address_unusable`.
        """
        made = bound(socket.SOCK_DGRAM, self._host, self._port, self.address)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        return made

    def bound_address(self, bound: socket.socket) -> str:
        """Where the socket that `bind` made is reached."""
        return address_of(*bound.getsockname()[:2])

    def _native(self, part: int, parts: int) -> _core.SocketSource:
        fd, max_record = self._bound_fd(), self._records.max_record
        return _core.SocketSource.datagrams(fd, self._decoding.native, max_record=max_record)
