"""Standard input of a run: the parent reads it, passes it on to a worker, and keeps what has not ended (semantics 31).

A worker is in a session of its own, where it cannot read from the terminal. When the worker is lost, the next one gets
everything again from where its spout's position stands.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from threading import Condition, Thread

from squall.runtime.standard_input import Place, place_of

STDIN = 0
PIECE_BYTES = 64 << 10
KEPT_BYTES = 64 << 20
HINT = "reading lines from the terminal; Ctrl-D ends them"


class StandardInput:
    """What was read and has not ended, and the connections on which workers get it.

    Threading: it is read on a thread, as a terminal may give nothing for hours; each life of the worker is written to
        by a thread of its own.
    Bound: `kept_bytes` are kept, about; with more nothing is read, so that the writer feels it. What is written in
        small pieces is kept in large ones.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._most = kept_bytes
        self._changed = Condition()
        self._pieces: deque[bytearray] = deque()
        self._place = Place()
        """Where the first piece begins, and what of it has ended."""
        self._kept_bytes = 0
        self._has_ended = False
        self._connections = 0

    @property
    def is_terminal(self) -> bool:
        """Whether a person types it."""
        return os.isatty(STDIN)

    def start(self) -> None:
        """Begins to read."""
        Thread(target=self._read, name="squall-stdin", daemon=True).start()

    def connect(self) -> socket.socket:
        """The end of a new connection for a new life of the worker; what has not ended comes on it.

        Raises:
            OSError: there is no descriptor or no thread left.
        """
        ours, theirs = socket.socketpair()
        with self._changed:
            self._connections += 1
            self._changed.notify_all()  # the one before is over
        thread = Thread(target=self._pass_on, args=(ours, self._connections), name="squall-stdin-out", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            ours.close()
            theirs.close()
            raise OSError(errno.EAGAIN, str(error)) from None
        return theirs

    def ended(self, position: bytes) -> None:
        """All before a position has ended."""
        place = place_of(position)
        with self._changed:
            self._drop(place.offset - self._place.offset)
            self._place = place
            self._changed.notify_all()

    def position(self) -> bytes | None:
        """Where a new life of the worker goes on; None: at the beginning."""
        with self._changed:
            return None if self._place == Place() else self._place.encode()

    def _drop(self, count: int) -> None:
        self._kept_bytes -= count
        while count > 0:
            piece = self._pieces[0]
            if len(piece) > count:
                del piece[:count]
                return
            count -= len(self._pieces.popleft())

    def _keep(self, piece: bytes) -> None:
        if self._pieces and len(self._pieces[-1]) + len(piece) <= PIECE_BYTES:
            self._pieces[-1] += piece
        else:
            self._pieces.append(bytearray(piece))
        self._kept_bytes += len(piece)

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(STDIN, PIECE_BYTES)
            except OSError:  # there is nothing that could be read
                piece = b""
            with self._changed:
                self._has_ended = not piece
                if piece:
                    self._keep(piece)
                self._changed.notify_all()
                if not piece:
                    return
                self._changed.wait_for(lambda: self._kept_bytes < self._most)

    def _pass_on(self, connection: socket.socket, number: int) -> None:
        with connection:
            try:
                at = self._place.offset
                while piece := self._next(at, number):
                    connection.sendall(piece)
                    at += len(piece)
            except OSError:  # the worker takes no more
                pass

    def _next(self, at: int, number: int) -> bytes:
        """The bytes from an offset on, as soon as there are some; none at the end, or for a connection that is over."""

        def has_news() -> bool:
            return self._has_ended or self._connections != number or at < self._place.offset + self._kept_bytes

        with self._changed:
            self._changed.wait_for(has_news)
            if self._connections != number:
                return b""
            left = self._place.offset + self._kept_bytes - at
            for piece in reversed(self._pieces) if left > 0 else ():  # it is near the end mostly
                if left <= len(piece):
                    return bytes(piece[len(piece) - left :])
                left -= len(piece)
            return b""
