"""TCP spouts, native in the core: their reading threads never take the interpreter lock."""

from __future__ import annotations

import os
import socket
from typing import Any, ClassVar

from squall import _core
from squall.connectors.addresses import bound, parse_address
from squall.connectors.contract import Delivery
from squall.connectors.decoders import Decoder, Decoding, Json, MessagePack
from squall.connectors.framing import Delimiter, Fixed, Framing, LengthPrefix, Lines
from squall.connectors.journal import DEFAULT_JOURNAL_MAX, journal_of
from squall.connectors.journal import FIGURES as JOURNAL_FIGURES
from squall.connectors.origins import Calling, Listening
from squall.connectors.sockets import (
    DEFAULT_CLIENT_BUFFER,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MAX_RECORD,
    Receipts,
    SocketSpout,
    Streams,
    decoding,
)
from squall.connectors.tcp_feeder import TcpFeeder
from squall.connectors.tcp_sink import TcpSink
from squall.connectors.tls import Tls, check_tls
from squall.errors import Defect, TopologyError, repr_of
from squall.model.addresses import address_of
from squall.model.durations import Seconds, seconds_or_none

__all__ = [
    "Decoder",
    "Delimiter",
    "Fixed",
    "Framing",
    "Json",
    "LengthPrefix",
    "Lines",
    "MessagePack",
    "Receipts",
    "TcpFeeder",
    "TcpSink",
    "TcpSpout",
    "Tls",
]

FIGURES = ("connections", "accepted", "resets", "oversize", "half", "crowded")


class TcpSpout(SocketSpout):
    """Takes records from TCP connections: those of clients to one listening socket, or its own to servers.

    Out: one field, named by the framing: text for `Lines`, bytes for the others; or the fields of a `decoder`.
    Delivery: at least once while the worker lives; the engine keeps what is pending and emits it again. A record that
        is no UTF-8, or that the decoder refuses, goes to the dead letters as bytes; one longer than `max_record` is
        skipped and reported. With `receipts` a client learns on its connection how many of its records have ended, so
        that it can send again what had not when the connection broke: at least once also across a crash. With a
        `journal` records survive a crash here, so a sender may forget them as soon as they are stored.
    Bound: when the topology cannot take more, sockets are not read, so the senders feel it; nothing is dropped.
        Unfinished records of all connections hold at most 64 MiB, or twice `max_record` if that is more: beyond it the
        connection with the longest one is closed and reported; what it had not ended is lost.
    Threading: one native thread reads all connections, and does TLS; another writes the journal, if there is one; a
        `decoder` runs on the loop's thread.
    Cost: with a journal a record waits for the disk, 1 to 10 ms, together with all that came meanwhile.
    """

    delivery: ClassVar[Delivery] = Delivery(
        "at least once while the worker lives; with `receipts` or `journal` across crashes too",
        "records of a connection in theirs; what failed comes again later",
        "loses what was pending; with `receipts` the sender sends it again, with `journal` it is read from disk",
        "clients over IPv4 and IPv6, with and without TLS",
    )

    def __init__(self, origin: Listening | Calling, streams: Streams, decoding: Decoding) -> None:
        super().__init__(decoding)
        self._origin, self._streams = origin, streams
        self.figures = FIGURES + (("refused", "handshakes") if isinstance(origin, Listening) else ("unreachable",))
        if streams.journal is not None:
            self.figures += JOURNAL_FIGURES

    @classmethod
    def listen(
        cls,
        address: str,
        /,
        *,
        framing: Framing | None = None,
        decoder: Decoder | None = None,
        outputs: Any = None,
        receipts: Receipts | None = None,
        journal: str | os.PathLike[str] | None = None,
        journal_max: int = DEFAULT_JOURNAL_MAX,
        tls: Tls | None = None,
        max_record: int = DEFAULT_MAX_RECORD,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        client_buffer: int = DEFAULT_CLIENT_BUFFER,
    ) -> TcpSpout:
        """A spout that listens on `HOST:PORT`.

        ```python
        TcpSpout.listen("0.0.0.0:9999", decoder=Json(outputs=("user", "url")), receipts="processed")
        ```

        Args:
            framing: how records are told apart; lines if not given.
            decoder: makes fields of a record: `Json(…)`, `MessagePack(…)`, or a function of its bytes, which returns by
                the rules of an output: a value, a tuple, a list of outputs, None. It runs on the loop's thread, one
                record at a time, so it should be quick: what waits or computes long belongs into a bolt. What it
                raises sends that record to the dead letters, unless `on_error` of the spout says drop or die.
            outputs: the fields of what a function as `decoder` returns.
            receipts: "processed": on each connection the number of records of its contiguous ended prefix, counted
                since it opened, in decimal and a line feed, at most 100 ms after it grew. Ended is what was acked,
                what was dropped (`on_error="drop"`: nothing is kept of it), what is a dead letter on disk, and what was
                skipped as too long. Of a connection that its client has half-closed all records are taken, and it is
                closed after its last receipt. Only the newest number is kept for a client that does not read.
                "stored": the number of its records that are in the journal, which is much sooner where bolts are slow.
                None: nothing is ever sent.
            journal: a directory on a local disk, made if it is not there. Every record is on disk in it before it is
                emitted, and until it has ended. What had not ended when a worker or the whole run died is emitted
                again, before new records and in its order, by the next life of the worker, or by the next run with
                this directory. Each task has a directory of its own in it, which only one process uses at a time.
            journal_max: bytes of the journal of a task, at which no socket is read until records have ended. So it is
                where the disk is full: that is reported once, and it goes on when there is room.
            tls: encrypts every connection; a hand-shake may take 10 s, and one that fails is counted and reported.
            max_record: longest record, in bytes.
            max_connections: more than this are closed at once.
            client_buffer: bytes read from a connection at a time.

        Raises:
            TopologyError: `tcp_address`, `tcp_framing`, `tcp_limit`, `tcp_receipts`, `tcp_journal`, `decoder_invalid`
                or `tls_invalid`.
        """
        who = "TcpSpout.listen"
        host, port = parse_address(address)
        framing = Lines() if framing is None else framing
        kept = journal_of(who, journal, journal_max)
        streams = Streams(who, framing, receipts, max_record, client_buffer, max_connections, kept)
        check_tls(who, tls)
        if tls is not None:
            tls.check_server(who)
        return cls(Listening(host, port, tls), streams, decoding(who, decoder, outputs, framing))

    @classmethod
    def connect(
        cls,
        *addresses: str,
        framing: Framing | None = None,
        decoder: Decoder | None = None,
        outputs: Any = None,
        receipts: Receipts | None = None,
        tls: Tls | None = None,
        reconnect: bool = True,
        backoff: Seconds = 0.1,
        backoff_max: Seconds = 10.0,
        connect_timeout: Seconds = 10.0,
        max_record: int = DEFAULT_MAX_RECORD,
        client_buffer: int = DEFAULT_CLIENT_BUFFER,
    ) -> TcpSpout:
        """A spout that connects to each `HOST:PORT`, and reads all of them at once.

        A server that is not there, or whose name has no address, is called until it is; each change is one line of the
        log. The servers are shared out among the spout's tasks.

        ```python
        TcpSpout.connect("feed-a:7001", "feed-b:7001", framing=Fixed(883), tls=Tls(ca="feeds.pem"))
        ```

        Args:
            framing, decoder, outputs, max_record, client_buffer: as for `listen`.
            receipts: "processed": sends the servers what `listen` sends its clients.
            tls: encrypts every connection.
            reconnect: calls a server again that has closed its connection. If not, the spout ends when all have.
            backoff: pause after a failed call; doubled each time up to `backoff_max`, and shortened by up to half at
                random. It begins anew after a connection that lasted.
            connect_timeout: how long a call may take.

        Raises:
            TopologyError: `tcp_address`, `tcp_framing`, `tcp_limit`, `tcp_receipts`, `decoder_invalid` or
                `tls_invalid`.
        """
        who = "TcpSpout.connect"
        framing = Lines() if framing is None else framing
        streams = Streams(who, framing, receipts, max_record, client_buffer)
        check_tls(who, tls)
        if tls is not None:
            tls.check_client(who)
        pauses_s = [
            _pause_s(who, name, value)
            for name, value in (
                ("backoff", backoff),
                ("backoff_max", backoff_max),
                ("connect_timeout", connect_timeout),
            )
        ]
        calling = Calling(_servers(who, addresses), tls, reconnect is not False, *pauses_s)
        return cls(calling, streams, decoding(who, decoder, outputs, framing))

    @property
    def framing(self) -> Framing:
        """How records are told apart."""
        return self._streams.framing

    @property
    def listens(self) -> bool:
        """Whether a socket is bound for it and handed over."""
        return isinstance(self._origin, Listening)

    @property
    def address(self) -> str:
        """Where it listens; with port 0 the system chooses one. Of a spout that connects: its servers."""
        if isinstance(self._origin, Listening):
            return address_of(self._origin.host, self._origin.port)
        return ", ".join(address_of(host, port) for host, port in self._origin.servers)

    def bind(self) -> socket.socket:
        """The listening socket; the parent of a run makes it, so that a new worker never finds its port taken.

        Raises:
            ClusterError: `port_taken`, `address_not_allowed`, `address_unusable` or `tls_unusable`.
        """
        assert isinstance(self._origin, Listening)
        if self._origin.tls is not None:
            self._origin.tls.server()  # wrong files are told at once, by the process that was started
        return bound(socket.SOCK_STREAM, self._origin.host, self._origin.port, self.address)

    def bound_address(self, bound: socket.socket) -> str:
        """Where the socket that `bind` made is reached."""
        return address_of(*bound.getsockname()[:2])

    def _native(self, part: int, parts: int) -> _core.SocketSource:
        if isinstance(self._origin, Listening):
            return self._origin.native(self._bound_fd(), part, parts, self._streams, self._decoding.native)
        return self._origin.native(part, parts, self._streams, self._decoding.native)


def _servers(who: str, addresses: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    if not addresses:
        fix = 'write TcpSpout.connect("127.0.0.1:9999")'
        raise TopologyError(Defect("tcp_address", f"{who} has no address to connect to", (), fix))
    servers = tuple(map(parse_address, addresses))
    for address, (_, port) in zip(addresses, servers, strict=True):
        if port == 0:
            fix = "name the port that the server listens on"
            raise TopologyError(Defect("tcp_address", f'"{address}" has port 0', (), fix))
    return servers


def _pause_s(who: str, name: str, value: Seconds) -> float:
    pause_s = seconds_or_none(value)
    if pause_s is None or not 0.001 <= pause_s <= 86_400:
        fix = "give seconds from 0.001 to 86400, or a timedelta"
        raise TopologyError(Defect("tcp_limit", f"{who} has {name}={repr_of(value)}", (), fix))
    return pause_s
