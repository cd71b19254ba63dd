"""A spout of UDP datagrams."""

from __future__ import annotations

import socket
from typing import Any

from squall import _core
from squall.connectors.decoders import Decoder, Decoding, decoding_of
from squall.connectors.sockets import SocketSpout, bound, check_limit, parse_address
from squall.connectors.udp_sink import UdpSink
from squall.errors import Defect, TopologyError
from squall.model.addresses import address_of

__all__ = ["UdpSink", "UdpSpout"]

LONGEST = 65_507
"""Bytes of the longest datagram that UDP over IPv4 can carry."""
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

    figures = ("records", "bytes", "oversize", "dropped")

    def __init__(self, host: str, port: int, decoding: Decoding, max_record: int, receive_buffer: int) -> None:
        super().__init__(decoding)
        self._host, self._port = host, port
        self._max_record, self._receive_buffer = max_record, receive_buffer

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
        max_record: int = LONGEST,
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
        check_limit(who, "max_record", max_record)
        if max_record > LONGEST:
            message, fix = f"{who} has max_record={max_record}", f"give at most {LONGEST}, the longest datagram"
            raise TopologyError(Defect("tcp_limit", message, (), fix))
        if decoder is None and outputs is not None:
            fix = "give the function that makes them of a datagram's bytes: decoder=parse"
            raise TopologyError(Defect("decoder_invalid", f"{who} has outputs and no decoder", (), fix))
        plain = Decoding((field,), "text" if text else "bytes")
        decoded = plain if decoder is None else decoding_of(decoder, outputs, None)
        return cls(host, port, decoded, max_record, receive_buffer)

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
        return _core.SocketSource.datagrams(self._bound_fd(), self._decoding.native, max_record=self._max_record)
