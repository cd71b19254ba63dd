"""A spout that takes records from HTTP requests."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, ClassVar, Literal, TypeAlias, cast

from squall import _core
from squall.api.components import Spout
from squall.connectors.addresses import bound, parse_address
from squall.connectors.contract import Delivery
from squall.connectors.extras import need
from squall.connectors.http.intake import Intake, Rules, Waiting
from squall.connectors.http.options import check_count, check_one_of, refused
from squall.connectors.tls import Tls, check_tls
from squall.errors import repr_of
from squall.model.addresses import address_of

Decode: TypeAlias = Literal["text", "json", "bytes"] | Callable[[bytes], object]
DEFAULT_MAX_BODY = 1 << 20
DEFAULT_MAX_QUEUED = 10_000
DEFAULT_MAX_CONNECTIONS = 1_000
WORDS = {"body": False, "lines": True, "auto": None}


class HttpSpout(Spout):
    """Takes records from the bodies of POST requests; needs `pip install "squall[http]"`.

    Out: one field, `record` if not named otherwise.
    Answers: 202 with `{"records": 1}` when the records are taken. With `receipts="processed"` 200 with
        `{"records": 1, "dead": 0}` when each has ended: acked, dropped, or safe in the dead letters. Refused are: no
        record or one that cannot be decoded 400, another path 404, another method 405, a body of which nothing comes
        for 30 s 408, a long one 413, a compressed one 415, all with problem JSON that says why, and nothing of the
        request taken. GET shows how to send.
    Delivery: with `receipts="processed"` at least once, if clients send again what was not answered by 200. A record
        answered by 202 is lost if the worker dies before it has ended, since HTTP cannot be rewound.
    Bound: `max_queued` records, and one body more, wait for the topology; a request that finds no room gets 503 with
        `Retry-After`, so the senders feel it. Bodies that are being received hold 64 MiB, and the last one more.
        A connection on which no whole head of a request comes for 30 s is closed.
    Threading: the server has a thread of its own.
    """

    delivery: ClassVar[Delivery] = Delivery(
        'with `receipts="processed"` at least once, if clients send again what was not answered by 200; '
        "else at most once across a crash",
        "records of a body in theirs; what failed comes again later",
        "loses records that were answered by 202 and had not ended",
        "uvicorn 0.34 and later; HTTP/1.1, HTTPS",
    )
    outputs: ClassVar[Any] = ()
    idle_wait = 0.1  # a request ends the pause, unless it comes in the moment before it

    def __init__(self, host: str, port: int, rules: Rules, field: str, max_connections: int, tls: Tls | None) -> None:
        self.host, self.port, self.rules, self.max_connections = host, port, rules, max_connections
        self._tls = tls
        self.outputs = (field,)  # pyright: ignore[reportAttributeAccessIssue]  # of this spout alone
        self._fd: int | None = None
        self._wake: Callable[[], object] = lambda: None

    @classmethod
    def listen(
        cls,
        address: str,
        /,
        *,
        path: str = "/",
        records: Literal["auto", "body", "lines"] = "auto",
        decode: Decode = "text",
        field: str = "record",
        receipts: Literal["taken", "processed"] = "taken",
        tls: Tls | None = None,
        max_body: int = DEFAULT_MAX_BODY,
        max_queued: int = DEFAULT_MAX_QUEUED,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
    ) -> HttpSpout:
        """A spout that listens on `HOST:PORT`.

        Args:
            path: where requests go to.
            records: whether a body is one record, or one a line; `auto`: lines for NDJSON and `text/plain`.
            decode: what a record is made into: text, a value from JSON, bytes; or a function of bytes, whose exception
                is answered by 400.
            field: the name of the field.
            receipts: whether a request is answered when its records are taken, or when they have ended.
            tls: HTTPS; with `client_ca` only for clients that show a certificate.
            max_body: longest body, in bytes.
            max_queued: records that wait for the topology.
            max_connections: more than this at a time get 503.

        Raises:
            TopologyError: `tcp_address`, `http_option`, `tls_invalid` or `extra_missing`.
        """
        host, port = parse_address(address)
        need("http", "uvicorn", "HttpSpout")
        if not isinstance(cast("object", path), str) or not path.startswith("/"):
            raise refused(f"HttpSpout.listen has path={repr_of(path)}", 'begin it with a slash: "/in"')
        check_one_of("HttpSpout.listen", "records", records, ("auto", "body", "lines"))
        check_one_of("HttpSpout.listen", "receipts", receipts, ("taken", "processed"))
        if not callable(decode):
            check_one_of("HttpSpout.listen", "decode", decode, ("text", "json", "bytes"))
        for name, value in (("max_body", max_body), ("max_queued", max_queued), ("max_connections", max_connections)):
            check_count("HttpSpout.listen", name, value)
        check_tls("HttpSpout.listen", tls)
        if tls is not None:
            tls.check_server("HttpSpout.listen")
        decoder = decode if callable(decode) else DECODERS[decode]
        rules = Rules(path, WORDS[records], decoder, receipts == "processed", max_body, max_queued)
        return cls(host, port, rules, field, max_connections, tls)

    @property
    def address(self) -> str:
        """`HOST:PORT`; with port 0 the system chooses one."""
        return address_of(self.host, self.port)

    def bind(self) -> socket.socket:
        """The listening socket; the parent of a run makes it, so that a new worker never finds its port taken.

        Raises:
            ClusterError: `port_taken`, `address_not_allowed` or `address_unusable`.
        """
        return bound(socket.SOCK_STREAM, self.host, self.port, self.address)

    def unbind(self) -> None:
        """A port leaves nothing behind."""

    def bound_address(self, listener: socket.socket) -> str:
        """Where the socket that `bind` made is reached."""
        return address_of(*listener.getsockname()[:2])

    def adopt(self, fd: int) -> None:
        """Uses a listening socket that was inherited."""
        self._fd = os.dup(fd)

    def wake_by(self, wake: Callable[[], object]) -> None:
        """Learns how the core is told that there is something."""
        self._wake = wake

    # -- life ----------------------------------------------------------------------------------------------------

    def open(self, context: Any) -> None:
        """Begins to serve.

        Raises:
            ClusterError: `tls_unusable`.
        """
        from squall.connectors.http.server import ServerThread

        self._ids = count()
        self._waiting: dict[int, Waiting] = {}
        self.app = Intake(self.rules, self._wake)
        context.gauge("queued", lambda: self.app.queued)
        listener = self.bind() if self._fd is None else socket.socket(fileno=self._fd)
        self._server = ServerThread(self.app, listener, self.max_connections, self._tls)

    def next_batch(self, limit: int) -> object:
        """The next records."""
        taken = self.app.take(limit)
        if not taken:
            return None
        rows = [(record,) for record, _ in taken]
        return _core.Batch(rows, ids=[self._id(waiting) for _, waiting in taken]) if self.rules.waits else rows

    def ack_many(self, ids: list[int]) -> None:
        """Records have been processed."""
        for id in ids:
            self.app.ended(self._waiting.pop(id), is_dead=False)

    def dead(self, id: int) -> None:
        """A record is safe in the dead letters."""
        self.app.ended(self._waiting.pop(id), is_dead=True)

    def deactivate(self) -> None:
        """Takes no more requests; gives the topology what was answered for."""
        self.app.close()
        for record, waiting in self.app.take(self.app.queued):
            self.emit(record, id=self._id(waiting) if waiting else None)

    def close(self) -> None:
        """Ends the server."""
        self._server.close()

    def _id(self, waiting: Waiting | None) -> int:
        assert waiting is not None
        id = next(self._ids)
        self._waiting[id] = waiting
        return id


def _json(data: bytes) -> object:
    import msgspec

    return msgspec.json.decode(data)


DECODERS: dict[str, Callable[[bytes], object]] = {
    "text": partial(str, encoding="utf-8"),
    "json": _json,
    "bytes": bytes,
}
