"""A web server in a thread of the worker.

uvicorn times out a connection between two requests, but none that has not sent a whole head yet, and has no option for
it: its protocol is given a deadline here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from importlib import import_module
from typing import Any

from squall.connectors.tls import Tls, unusable

REQUEST_WITHIN_S = 30.0
"""How long a client may take from the first moment to the end of a request's head."""
KEEP_ALIVE_S = 30
END_S = 5
"""How long requests may take to be answered when the server ends."""


class ServerThread:
    """Serves an ASGI application on a listening socket.

    Bound: `max_connections` requests at a time; further ones get 503. A connection on which no request begins for 30 s
        is closed.

    Raises:
        ClusterError: `tls_unusable`.
    """

    def __init__(self, app: Any, listener: socket.socket, max_connections: int, tls: Tls | None = None) -> None:
        uvicorn: Any = import_module("uvicorn")
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its life is the topology's
        config = uvicorn.Config(
            app,
            http=_protocol(),
            log_config=None,
            access_log=False,
            lifespan="off",
            interface="asgi3",
            ws="none",
            limit_concurrency=max_connections,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=END_S,
            server_header=False,
            date_header=False,
            **({} if tls is None else _tls_options(tls)),
        )
        try:
            config.load()  # reads the files of TLS; else the thread would, and tell nobody
        except OSError as error:  # those of TLS are of its kind, too
            raise unusable(error.strerror or str(error)) from error
        self._server = uvicorn.Server(config)
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, name="squall-http", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._server.run(sockets=[self._listener])

    def close(self) -> None:
        """Ends the server when what it is answering is answered."""
        self._server.should_exit = True
        self._thread.join(END_S + 1)
        self._listener.close()


def _tls_options(tls: Tls) -> dict[str, Any]:
    """A server's part of TLS as uvicorn takes it.

    Raises:
        ClusterError: `tls_unusable`.
    """
    tls.server()  # tells which file is wrong, as of every source; uvicorn would not, nor would it refuse a locked key
    options: dict[str, Any] = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key, "ssl_ciphers": None}
    if tls.client_ca is not None:
        options |= {"ssl_ca_certs": tls.client_ca, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return options


def _protocol() -> type[asyncio.Protocol]:
    """uvicorn's protocol, with a deadline for the head of a request."""
    base: Any = import_module("uvicorn.protocols.http.auto").AutoHTTPProtocol

    class Protocol(base):
        """One connection."""

        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)  # pyright: ignore[reportUnknownMemberType]
            self._await_request()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)  # pyright: ignore[reportUnknownMemberType]
            if self.cycle is not None and not self.cycle.response_complete:
                self._forget()
            elif self._deadline is None:
                self._await_request()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)  # pyright: ignore[reportUnknownMemberType]

        def _await_request(self) -> None:
            self._deadline = self.loop.call_later(REQUEST_WITHIN_S, self.transport.close)

        def _forget(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Protocol
