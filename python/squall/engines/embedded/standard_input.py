"""Standard input of a run: the parent reads it and passes it on to the worker.

A worker is in a session of its own, where it cannot read from the terminal. The parent holds one piece at a time: when
the worker takes no more, it reads no more.
"""

from __future__ import annotations

import os
import socket
from threading import Thread

STDIN = 0
PIECE_BYTES = 64 << 10
HINT = "reading lines from the terminal; Ctrl-D ends them"


class StandardInput:
    """The connection on which a worker gets what is read here.

    Threading: it is read on a thread, as a terminal may give nothing for hours.
    """

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()

    @property
    def is_terminal(self) -> bool:
        """Whether a person types it."""
        return os.isatty(STDIN)

    def start(self) -> None:
        """Begins to read; the worker has its end by now."""
        self.theirs.close()
        Thread(target=self._pass_on, name="squall-stdin", daemon=True).start()

    def _pass_on(self) -> None:
        with self._ours:
            try:
                while piece := os.read(STDIN, PIECE_BYTES):
                    self._ours.sendall(piece)
            except OSError:  # the worker takes no more; or there is nothing that could be read
                pass
