"""Spouts of Unix sockets: as TCP, between processes of one machine."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

from squall import _core
from squall.connectors.decoders import Decoder, Decoding
from squall.connectors.framing import Framing, Lines
from squall.connectors.sockets import (
    BACKLOG,
    DEFAULT_CLIENT_BUFFER,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MAX_RECORD,
    Receipts,
    SocketSpout,
    Streams,
    cannot_bind,
    decoding,
)
from squall.errors import ClusterError, Defect

FIGURES = ("connections", "accepted", "refused", "resets", "oversize", "half", "crowded")
MODE = 0o600


class UnixSpout(SocketSpout):
    """Takes records from all connections to one Unix socket of the stream kind.

    Out, Delivery, Bound, Threading: those of `TcpSpout`.

    Only the user who started the run may connect (mode 0600). A socket that is left over from a run that was killed is
    replaced, if nobody listens on it; at the end of the run the socket is removed.
    """

    figures = FIGURES

    def __init__(self, path: Path, streams: Streams, decoding: Decoding) -> None:
        super().__init__(decoding)
        self._path, self._streams = path, streams
        self._made: tuple[int, int] | None = None

    @classmethod
    def listen(
        cls,
        path: str | os.PathLike[str],
        /,
        *,
        framing: Framing | None = None,
        decoder: Decoder | None = None,
        outputs: Any = None,
        receipts: Receipts | None = None,
        max_record: int = DEFAULT_MAX_RECORD,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        client_buffer: int = DEFAULT_CLIENT_BUFFER,
    ) -> UnixSpout:
        """A spout that listens on the socket at `path`; the arguments are those of `TcpSpout.listen`.

        Raises:
            TopologyError: `tcp_framing`, `tcp_limit`, `tcp_receipts` or `decoder_invalid`.
        """
        who = "UnixSpout.listen"
        framing = Lines() if framing is None else framing
        streams = Streams(who, framing, receipts, max_record, client_buffer, max_connections)
        return cls(Path(path).absolute(), streams, decoding(who, decoder, outputs, framing))

    @property
    def address(self) -> str:
        """The socket's path."""
        return str(self._path)

    def bind(self) -> socket.socket:
        """The listening socket.

        Raises:
            ClusterError: `port_taken`, `address_not_allowed` or `address_unusable`.
        """
        try:
            self._remove_left_over()
            listener = _listening(self._path)
            found = self._path.lstat()
        except OSError as error:
            raise cannot_bind(self.address, error) from error
        self._made = (found.st_dev, found.st_ino)
        return listener

    def _remove_left_over(self) -> None:
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            fix = "choose another path: what is there is kept"
            raise ClusterError(Defect("address_unusable", f"{self.address} is there already, and no socket", (), fix))
        if not _is_dead(self._path):
            raise OSError(errno.EADDRINUSE, "somebody listens there")
        self._path.unlink()

    def unbind(self) -> None:
        """Removes the socket, unless it is another one by now."""
        try:
            found = self._path.lstat()
            if self._made == (found.st_dev, found.st_ino):
                self._path.unlink()
        except OSError:
            pass  # it is gone, or its folder is not ours any more

    def bound_address(self, bound: socket.socket) -> str:
        """Where the socket that `bind` made is reached."""
        return self.address

    def _native(self, part: int, parts: int) -> _core.SocketSource:
        return _core.SocketSource.listen(self._bound_fd(), self._streams.native(), self._decoding.native)


def _listening(path: Path) -> socket.socket:
    from squall.engines.embedded.sockets import short_path

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o777 & ~MODE)
    try:
        with short_path(path) as name:
            listener.bind(name)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(old)
    return listener


def _is_dead(path: Path) -> bool:
    """Whether nobody listens on a socket."""
    from squall.engines.embedded.sockets import short_path

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, short_path(path) as name:
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            return True
    return False
