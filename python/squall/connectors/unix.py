"""Spouts of Unix sockets: as TCP, between processes of one machine."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any, ClassVar

from squall import _core
from squall.connectors.addresses import BACKLOG, cannot_bind
from squall.connectors.contract import Delivery
from squall.connectors.decoders import Decoder, Decoding
from squall.connectors.framing import Framing, Lines
from squall.connectors.journal import DEFAULT_JOURNAL_MAX, journal_of
from squall.connectors.journal import FIGURES as JOURNAL_FIGURES
from squall.connectors.sockets import (
    DEFAULT_CLIENT_BUFFER,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MAX_RECORD,
    LONGEST_DATAGRAM,
    Datagrams,
    Receipts,
    SocketSpout,
    Streams,
    datagram_decoding,
    decoding,
)
from squall.errors import ClusterError, Defect, TopologyError, repr_of

FIGURES = ("connections", "accepted", "refused", "resets", "oversize", "half", "crowded")
MODE = 0o600


class UnixSpout(SocketSpout):
    """Takes records from one Unix socket: from all connections to it, or each datagram that is sent to it.

    Out, Delivery, Bound, Threading: those of `TcpSpout`. A sender of datagrams waits, too, when the topology cannot
    take more: none is lost.

    Only the user who started the run may connect (mode 0600). A socket that is left over from a run that was killed is
    replaced, if nobody listens on it; at the end of the run the socket is removed.
    """

    delivery: ClassVar[Delivery] = Delivery(
        "at least once while the worker lives; with `receipts` or `journal` across crashes too",
        "records of a connection, or datagrams, in theirs; what failed comes again later",
        "loses what was pending; with `receipts` the sender sends it again, with `journal` it is read from disk",
        "Linux",
    )

    def __init__(self, path: str | os.PathLike[str], records: Streams | Datagrams, decoding: Decoding) -> None:
        super().__init__(decoding)
        try:
            self._path = Path(os.fsdecode(path)).absolute()
        except (TypeError, ValueError):
            message = f"{repr_of(path)} is no path of a socket"
            raise TopologyError(Defect("tcp_address", message, (), "name a file: /run/feed.sock")) from None
        self._records = records
        self.figures = FIGURES if isinstance(records, Streams) else ("records", "bytes", "oversize")
        if isinstance(records, Streams) and records.journal is not None:
            self.figures += JOURNAL_FIGURES
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
        journal: str | os.PathLike[str] | None = None,
        journal_max: int = DEFAULT_JOURNAL_MAX,
        max_record: int = DEFAULT_MAX_RECORD,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        client_buffer: int = DEFAULT_CLIENT_BUFFER,
    ) -> UnixSpout:
        """A spout that listens on the socket at `path`; the arguments are those of `TcpSpout.listen`.

        Raises:
            TopologyError: `tcp_framing`, `tcp_limit`, `tcp_receipts`, `tcp_journal` or `decoder_invalid`.
        """
        who = "UnixSpout.listen"
        framing = Lines() if framing is None else framing
        kept = journal_of(who, journal, journal_max)
        streams = Streams(who, framing, receipts, max_record, client_buffer, max_connections, kept)
        return cls(path, streams, decoding(who, decoder, outputs, framing))

    @classmethod
    def datagrams(
        cls,
        path: str | os.PathLike[str],
        /,
        *,
        field: str = "record",
        text: bool = False,
        decoder: Decoder | None = None,
        outputs: Any = None,
        max_record: int = LONGEST_DATAGRAM,
    ) -> UnixSpout:
        """A spout that takes the datagrams sent to the socket at `path`; the arguments are those of `UdpSpout.listen`.

        Raises:
            TopologyError: `tcp_limit` or `decoder_invalid`.
        """
        who = "UnixSpout.datagrams"
        return cls(path, Datagrams(who, max_record), datagram_decoding(who, field, text, decoder, outputs))

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
            listener = _bound(self._path, self._kind())
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
        if not _is_dead(self._path, self._kind()):
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
        fd, decode = self._bound_fd(), self._decoding.native
        if isinstance(self._records, Streams):
            journal = self._records.journal_of(part, parts)
            return _core.SocketSource.listen(fd, self._records.native(), decode, journal=journal)
        return _core.SocketSource.datagrams(fd, decode, max_record=self._records.max_record)

    def _kind(self) -> socket.SocketKind:
        return socket.SOCK_STREAM if isinstance(self._records, Streams) else socket.SOCK_DGRAM


def _bound(path: Path, kind: socket.SocketKind) -> socket.socket:
    from squall.engines.embedded.sockets import short_path

    listener = socket.socket(socket.AF_UNIX, kind)
    old = os.umask(0o777 & ~MODE)
    try:
        with short_path(path) as name:
            listener.bind(name)
        if kind == socket.SOCK_STREAM:
            listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(old)
    return listener


def _is_dead(path: Path, kind: socket.SocketKind) -> bool:
    """Whether nobody listens on a socket."""
    from squall.engines.embedded.sockets import short_path

    with socket.socket(socket.AF_UNIX, kind) as probe, short_path(path) as name:
        probe.setblocking(False)  # else it would wait until a listener whose queue is full takes somebody
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            return False
    return False
