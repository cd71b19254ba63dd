"""A web server in a thread of the worker."""

from __future__ import annotations

import logging
import socket
import threading
from importlib import import_module
from typing import Any

KEEP_ALIVE_S = 30
END_S = 5
"""How long requests may take to be answered when the server ends."""


class ServerThread:
    """Serves an ASGI application on a listening socket.

    Bound: `max_connections` requests at a time; further ones get 503.
    """

    def __init__(self, app: Any, listener: socket.socket, max_connections: int) -> None:
        uvicorn: Any = import_module("uvicorn")
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its life is the topology's
        config = uvicorn.Config(
            app,
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
        )
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
