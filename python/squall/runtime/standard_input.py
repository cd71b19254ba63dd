"""Standard input as a worker sees it: what its parent reads and passes on."""

from __future__ import annotations

import socket

SOURCE: socket.socket | None = None
"""The end of the connection that a spout reads; None: nobody passes standard input on."""
