"""Where a TCP spout's connections come from: clients who call it, or servers that it calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from squall import _core
from squall.connectors.sockets import Streams
from squall.connectors.tls import Tls


@dataclass(frozen=True, slots=True)
class Listening:
    """Connections are those of clients."""

    host: str
    port: int
    tls: Tls | None

    def native(self, fd: int, part: int, parts: int, streams: Streams, decode: Any) -> _core.SocketSource:
        """The native half of one of several tasks, on a listening socket."""
        settings, journal = streams.native(self.tls and self.tls.server()), streams.journal_of(part, parts)
        return _core.SocketSource.listen(fd, settings, decode, journal=journal)


@dataclass(frozen=True, slots=True)
class Calling:
    """Connections are made to servers."""

    servers: tuple[tuple[str, int], ...]
    tls: Tls | None
    reconnect: bool
    backoff_s: float
    backoff_max_s: float
    timeout_s: float

    def native(self, part: int, parts: int, streams: Streams, decode: Any) -> _core.SocketSource:
        """The native half of one of several tasks, which share the servers out."""
        return _core.SocketSource.connect(
            self.servers[part::parts],
            streams.native(self.tls and self.tls.client()),
            decode,
            reconnect=self.reconnect,
            first_pause=self.backoff_s,
            longest_pause=self.backoff_max_s,
            timeout=self.timeout_s,
        )
